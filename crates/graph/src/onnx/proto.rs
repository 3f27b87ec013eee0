//! The messages of `onnx/onnx.proto`, as `prost` generates them. Used to decode only.

#![allow(missing_docs, clippy::all, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
