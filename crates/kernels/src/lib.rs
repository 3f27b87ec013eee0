//! The numerics of onnx-forget: dfdx tensors with dimensions beside them and one tape a step ([`engine`]), and kernels that
//! run on any dfdx device, with fast versions for the CPU and CUDA ([`kernels`]).

pub mod engine;
pub mod kernels;

#[cfg(any(feature = "cuda", test))]
use onnx_forget_base::python;
pub use onnx_forget_base::{Error, Result};
use onnx_forget_base::{error, limits, tensor};
