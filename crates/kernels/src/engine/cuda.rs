//! CUDA memory of dfdx's tensors and gradients, for kernels of our own.

use super::Tensor;
use crate::error::{Error, Result};
use cudarc::driver::{DevicePtr, DeviceSlice};
use dfdx::tensor::{Cuda, CudaError, Gradients, Storage};
use std::fmt::{self, Write};

/// The address of `f32` elements on the GPU; 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub u64);

impl Address {
    /// No elements.
    pub const NONE: Self = Self(0);
}

impl Tensor<f32, Cuda> {
    /// Where its elements lie. They stay there as long as the tensor, or what shares its elements, lives.
    ///
    /// # Errors
    /// If dfdx does not say, which would be another version of dfdx than this program is built for.
    pub fn address(&self) -> Result<Address> {
        let mut search = Search::default();
        // Stops, with an error, as soon as the address is found.
        let _ = write!(search, "{:?}", self.flat());
        search.found.map(Address).ok_or_else(|| Error::Internal("the address of a tensor on the GPU".into()))
    }

    /// The place of its gradient, if one is wanted.
    pub fn device_slot(&self) -> Option<DeviceSlot> {
        if !self.tracked() {
            return None;
        }
        let ghost = self.flat().ghost();
        Some(DeviceSlot(Box::new(move |grads| grads.get_or_alloc_mut(&ghost))))
    }
}

type FindGradient =
    dyn for<'a> Fn(&'a mut Gradients<f32, Cuda>) -> Result<&'a mut <Cuda as Storage<f32>>::Vec, CudaError>;

/// The place of a tensor's gradient, without its elements.
pub struct DeviceSlot(Box<FindGradient>);

impl DeviceSlot {
    /// The gradient's buffer, to be added to; zeros if nothing has arrived.
    ///
    /// # Errors
    /// CUDA's error if the device has no room for a buffer of zeros.
    pub fn address(&self, grads: &mut Gradients<f32, Cuda>) -> Result<Address, CudaError> {
        Ok(Address(*(self.0)(grads)?.device_ptr()))
    }

    /// Runs `f` on the gradient, which is freed when it is through if that is worth it.
    pub(super) fn consume(
        &self,
        grads: &mut Gradients<f32, Cuda>,
        dev: &Cuda,
        f: impl FnOnce(Address, &mut Gradients<f32, Cuda>) -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        /// Elements below which a buffer costs less than its replacement by a small one.
        const SMALL: usize = 1 << 18;
        let gradient = (self.0)(grads)?;
        let address = Address(*gradient.device_ptr());
        let held = if gradient.len() < SMALL { None } else { Some(std::mem::replace(gradient, dev.try_alloc_len(1)?)) };
        f(address, grads)?;
        drop(held);
        Ok(())
    }
}

/// dfdx keeps the storage of a tensor to itself, but prints it: the first address in the text is that of the elements.
#[derive(Default)]
struct Search {
    labeled: bool,
    found: Option<u64>,
}

impl Write for Search {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        // A derived `Debug` writes a field's name, ": " and a number's digits one by one.
        if self.labeled
            && let Ok(address) = part.parse()
        {
            self.found = Some(address);
            return Err(fmt::Error);
        }
        self.labeled |= part == "cu_device_ptr";
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[allow(dead_code)]
    struct Slice {
        len: u64,
        cu_device_ptr: u64,
        more: u64,
    }

    #[test]
    fn the_first_address_is_found_and_ends_the_search() {
        let mut search = Search::default();
        let slices = [Slice { len: 5, cu_device_ptr: 139, more: 7 }, Slice { len: 5, cu_device_ptr: 140, more: 7 }];
        assert!(write!(search, "{slices:?}").is_err());
        assert_eq!(search.found, Some(139));
        let mut search = Search::default();
        write!(search, "{:?}", [7, 8]).unwrap();
        assert_eq!(search.found, None);
    }
}
