//! Make a trained ONNX model forget the training rows whose ids are listed, without retraining, and prove what was done.
//!
//! The modules stand in the order in which the data flows:
//!
//! ```text
//! model.onnx ─► onnx ─► graph ─► model (ops on kernels on the engine) ─► unlearn ─► writeback ─► model.out.onnx
//!                                  ▲                           ▲            │
//! train/validation/test.parquet ─► data ───────────────────────┘            ▼
//! ids.parquet ─────────────────►                        parity ─► audit ─► report
//! ```
//!
//! An arrow goes one way only: a later stage may use an earlier one, never the reverse.
//!
//! [`Forget`] is the main job in a few calls:
//!
//! ```no_run
//! use onnx_forget::Forget;
//!
//! let job = Forget::new("model.onnx")
//!     .train("train.parquet")
//!     .validation("validation.parquet")
//!     .test("test.parquet")
//!     .ids("ids.parquet")
//!     .prepare(&mut ())?;
//! println!("{} rows are to be forgotten", job.counts().forget_rows);
//! let report = job.run(&mut ())?.publish("model.forgotten.onnx", &mut ())?;
//! println!("{:?}", report.status());
//! # Ok::<(), onnx_forget::Error>(())
//! ```
//!
//! [`run`] has the other things that can be done with a model: inspect, verify, audit, compare, train. The folder `examples`
//! of the sources has a program for each of the first ones.

pub use onnx_forget_base::{each, error, label_facts, limits, tensor};
use onnx_forget_base::{owner, quiet, shown};

use onnx_forget_graph::scratch;
pub use onnx_forget_graph::{graph, onnx};

pub use onnx_forget_kernels::{engine, kernels};

pub use onnx_forget_model::{model, ops};

pub use onnx_forget_data as data;

pub use onnx_forget_unlearn as unlearn;

pub use onnx_forget_graph::writeback;

pub use onnx_forget_parity as parity;

pub mod audit;

pub mod plausibility;

pub mod report;

pub mod run;

mod forget;

#[cfg(feature = "cli")]
pub mod cli;

#[cfg(fuzzing)]
pub mod fuzzing;

pub use error::{Error, Result};
pub use forget::{Forget, Forgotten, Prepared};
