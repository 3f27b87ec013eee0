//! Batches on their way to the GPU while it works: on a stream of their own, through buffers that are used in turn.

use super::{
    Cx, F32,
    gpu::{Gpu, device_error, gpu, zeros},
};
use crate::{
    error::Result,
    tensor::{Element, HostTensor},
};
use cudarc::driver::{DriverError, result as driver, sys as driver_sys};
use dfdx::tensor::CudaError;
use driver_sys::{CUevent_flags::CU_EVENT_DISABLE_TIMING, CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT};
use std::sync::{Mutex, PoisonError};

/// See [`crate::kernels::Backend::feed`].
pub(in crate::kernels) fn feed(cx: &Cx, tensor: &HostTensor) -> Result<F32> {
    let Some(values) = <f32 as Element>::array(tensor).and_then(|a| a.as_slice()).filter(|v| !v.is_empty()) else {
        return cx.upload_host(tensor);
    };
    let (gpu, to) = (gpu(cx)?, zeros(cx, tensor.dims())?);
    gpu.uploads.copy(gpu, values, to.address()?.0).map_err(device_error)?;
    Ok(to)
}

/// Buffers, so that one can be filled while the others are read.
const BUFFERS: usize = 4;

/// The way to the GPU. The driver's handles are kept as numbers; they live as long as the program.
pub(super) struct Uploads {
    stream: usize,
    /// A buffer has been filled.
    filled: usize,
    buffers: Mutex<Buffers>,
}

#[derive(Default)]
struct Buffers {
    next: usize,
    each: [Buffer; BUFFERS],
}

/// Memory on the GPU, and the event that it has been read.
#[derive(Clone, Copy, Default)]
struct Buffer {
    address: u64,
    bytes: usize,
    read: usize,
}

impl Uploads {
    /// On the device that this thread is bound to.
    ///
    /// # Errors
    /// CUDA's error if it makes no stream or event.
    pub fn open() -> Result<Self, DriverError> {
        // It does not wait for the default stream.
        let stream = driver::stream::create(driver::stream::StreamKind::NonBlocking)? as usize;
        let event = || Ok(driver::event::create(CU_EVENT_DISABLE_TIMING)? as usize);
        let mut buffers = Buffers::default();
        for buffer in &mut buffers.each {
            buffer.read = event()?;
        }
        Ok(Self { stream, filled: event()?, buffers: Mutex::new(buffers) })
    }

    /// Copies `values` to the buffer `to` of as many elements, which kernels launched from here on find there.
    fn copy(&self, gpu: &Gpu, values: &[f32], to: u64) -> Result<(), CudaError> {
        let bytes = size_of_val(values);
        let (own, default) = (self.stream as driver_sys::CUstream, *gpu.device.cu_stream());
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let next = buffers.next;
        buffers.next = (next + 1) % BUFFERS;
        let Some(buffer) = buffers.each.get_mut(next) else { return Ok(()) };
        gpu.device.bind_to_thread()?;
        let (read, filled) = (buffer.read as driver_sys::CUevent, self.filled as driver_sys::CUevent);
        // SAFETY: handles and buffers are live, and as long as what is copied.
        unsafe {
            if buffer.bytes < bytes {
                if buffer.bytes > 0 {
                    buffer.bytes = 0;
                    driver::stream::synchronize(default)?;
                    driver::memory_free(buffer.address)?;
                }
                buffer.address = driver::malloc_sync(bytes)?;
                buffer.bytes = bytes;
            } else {
                driver::stream::wait_event(own, read, CU_EVENT_WAIT_DEFAULT)?;
            }
            driver::memcpy_htod_async(buffer.address, values, own)?;
            driver::event::record(filled, own)?;
            // The host's values may go then. What kernels do is not waited for.
            driver::stream::synchronize(own)?;
            driver::stream::wait_event(default, filled, CU_EVENT_WAIT_DEFAULT)?;
            driver::memcpy_dtod_async(to, buffer.address, bytes, default)?;
            driver::event::record(read, default)?;
        }
        Ok(())
    }
}
