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

pub mod error;
pub mod label_facts;
pub mod limits;
mod nearest;
mod owner;
mod python;
mod quiet;
mod scratch;
mod shown;
pub mod tensor;

pub mod onnx;

pub mod graph;

pub mod engine;

pub mod kernels;

pub mod ops;

pub mod model;

pub mod data;

pub mod unlearn;

pub mod writeback;

pub mod parity;

pub mod audit;

pub mod plausibility;

pub mod report;

pub mod cli;

#[cfg(fuzzing)]
pub mod fuzzing;

pub use error::{Error, Result};
