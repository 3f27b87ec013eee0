//! What a device's errors mean.

use crate::error::{DeviceFailure, Error};
use std::{any::Any, fmt::Debug};

/// The error of dfdx or of CUDA, by its type.
pub fn device_error<E: Debug + Any>(e: E) -> Error {
    let text = format!("device: {e:?}");
    Error::DeviceFailed(match name(&e) {
        Some(name) => DeviceFailure::named(&name, text),
        None => DeviceFailure::unnamed(text),
    })
}

/// CUDA's name of an error of CUDA.
#[cfg(feature = "cuda")]
fn name(e: &dyn Any) -> Option<String> {
    use dfdx::tensor::CudaError;
    Some(match e.downcast_ref::<CudaError>()? {
        CudaError::Driver(e) => format!("{:?}", e.0),
        CudaError::Blas(e) => format!("{:?}", e.0),
        _ => return None,
    })
}

#[cfg(not(feature = "cuda"))]
fn name(_: &dyn Any) -> Option<String> {
    None
}
