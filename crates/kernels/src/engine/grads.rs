//! Gradients after a backward pass.

use super::{Float, Tensor};
use crate::error::Result;
use dfdx::{
    prelude::Device,
    tensor::{Gradients, Storage},
};

/// Elements in the memory of a device.
pub type Buffer<E, D> = <D as Storage<E>>::Vec;

/// The gradients of the tensors that were kept, by tensor identity.
pub struct Grads<E: Float, D: Device<E>>(pub(super) Gradients<E, D>);

impl<E: Float, D: Device<E>> Grads<E, D> {
    /// The gradient buffer of `tensor`, zero if nothing flowed into it.
    ///
    /// # Errors
    /// [`crate::Error::DeviceFailed`] if the device has no room for a buffer of zeros.
    pub fn buffer(&mut self, tensor: &Tensor<E, D>) -> Result<&mut Buffer<E, D>> {
        self.0.get_or_alloc_mut(tensor.flat()).map_err(super::device_error)
    }

    /// The gradient of `tensor` as a tensor of its own, of zeros if nothing flowed into it.
    ///
    /// # Errors
    /// [`crate::Error::DeviceFailed`] if the device has no room for a buffer of zeros.
    pub fn tensor(&mut self, tensor: &Tensor<E, D>) -> Result<Tensor<E, D>> {
        self.buffer(tensor)?;
        Ok(Tensor::constant(self.0.get(tensor.flat()), tensor.dims().to_vec()))
    }

    /// Copies the gradient of `tensor` to the host, row-major.
    ///
    /// # Errors
    /// [`crate::Error::DeviceFailed`] if the device has no room for a buffer of zeros.
    pub fn to_vec(&mut self, tensor: &Tensor<E, D>) -> Result<Vec<E>> {
        self.buffer(tensor)?;
        Ok(if tensor.is_empty() { vec![] } else { self.0.get(tensor.flat()).as_vec() })
    }
}
