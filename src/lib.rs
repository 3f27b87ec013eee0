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

pub use onnx_forget_base::{each, error, label_facts, limits, tensor};
use onnx_forget_base::{owner, python, quiet, shown};

mod scratch;

pub mod onnx;

pub mod graph;

pub use onnx_forget_kernels::{engine, kernels};

pub mod ops;

pub mod model;

pub use onnx_forget_data as data;

pub mod unlearn;

pub mod writeback;

pub mod parity;

pub mod audit;

pub mod plausibility;

pub mod report;

pub mod run;

#[cfg(feature = "cli")]
pub mod cli;

#[cfg(fuzzing)]
pub mod fuzzing;

pub use error::{Error, Result};
