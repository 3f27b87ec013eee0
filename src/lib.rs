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
//! Rows may be in memory ([`data::MemoryTable`]), and the method one's own ([`unlearn::own::OwnMethod`]). [`Inspect`],
//! [`Verify`], [`Audit`], [`Compare`] and [`Train`] are the other things that can be done with a model; the folder `examples` of
//! the sources has programs. What builders do is in [`run`]. Runs side by side in one process know nothing of each other:
//! threads and limits are theirs, see [`scope`].

pub use onnx_forget_base::{each, error, label_facts, limits, scope, tensor};
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

mod face;

#[cfg(feature = "cli")]
pub mod cli;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;

pub use error::{Error, Result};
pub use face::{Audit, Compare, Forget, Forgotten, Inspect, Prepared, PreparedAudit, PreparedCompare, Train, Verify};
