//! ONNX files: their bytes ([`onnx`]), what they compute and what is trained of it ([`graph`]), changed tensors put back
//! ([`writeback`]), and the temporary folders for it ([`scratch`]).

pub mod graph;
pub mod onnx;
pub mod scratch;
pub mod writeback;

pub use onnx_forget_base::{Error, Result};
use onnx_forget_base::{batch, each, error, label_facts, limits, quiet, tensor};
