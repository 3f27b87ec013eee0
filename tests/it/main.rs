//! Tests of the program and of what crosses its rooms, in one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod data;
mod model;
mod model_diff;
mod mutation;
mod onnx_models;
mod operators;
mod writeback;
mod writeback_refusals;
