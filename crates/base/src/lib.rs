//! What every part of onnx-forget stands on: its errors and limits, tensors and batches on the host, and text that is safe to print.

pub mod batch;
pub mod error;
pub mod label_facts;
pub mod limits;
pub mod nearest;
pub mod owner;
pub mod python;
pub mod quiet;
pub mod scope;
pub mod shown;
pub mod tensor;

pub use error::{DeviceFailure, DeviceFault, Error, Result};
