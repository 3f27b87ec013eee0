//! ONNX's operators on kernels ([`ops`]), and a graph bound to a device: parameters, forward pass, loss, gradients
//! ([`model`]).

pub mod model;
pub mod ops;

pub use onnx_forget_base::{Error, Result};
use onnx_forget_base::{batch, each, error, limits, tensor};
use onnx_forget_graph::graph;
use onnx_forget_kernels::{engine, kernels};
