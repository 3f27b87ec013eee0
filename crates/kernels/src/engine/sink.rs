//! Gradients on their way backwards between CPU kernels.
//!
//! dfdx keeps every gradient in a buffer that it fills with zeros on one thread before anything is added. Where both ends of
//! an edge are CPU kernels that is memory traffic for nothing: there the first gradient to arrive becomes the buffer, and
//! only further ones are added. Parameters and tensors that dfdx's own operations made or take have dfdx's buffers.

use super::{Buffer, Float, Tensor};
use dfdx::{
    prelude::{Cpu, Device},
    tensor::{CpuError, Gradients},
};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// The gradient of a CPU kernel's result, as far as it has arrived.
#[derive(Debug)]
pub(super) struct Pending<E> {
    arrived: Mutex<Option<Vec<E>>>,
    /// Whether one of dfdx's operations takes the result, and leaves its gradient in a buffer of dfdx's.
    to_dfdx: AtomicBool,
}

impl<E> Pending<E> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { arrived: Mutex::new(None), to_dfdx: AtomicBool::new(false) })
    }

    pub(super) fn to_dfdx(&self) {
        self.to_dfdx.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> Option<Vec<E>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, gradient: Vec<E>) {
        *self.arrived.lock().unwrap_or_else(PoisonError::into_inner) = Some(gradient);
    }
}

type FindGradient<E> = dyn for<'a> Fn(&'a mut Gradients<E, Cpu>) -> Result<&'a mut Vec<E>, CpuError>;

/// The place of a tensor's gradient: what a backward pass keeps of an input whose elements it does not need, so that
/// they can be freed.
pub struct Slot<E: Float> {
    len: usize,
    pending: Option<Arc<Pending<E>>>,
    in_dfdx: Box<FindGradient<E>>,
}

impl<E: Float> Slot<E> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<E: Float> Tensor<E, Cpu>
where
    Cpu: Device<E>,
{
    /// The place of its gradient, if one is wanted.
    pub fn slot(&self) -> Option<Slot<E>> {
        if !self.tracked() {
            return None;
        }
        // A ghost holds the identity, not the elements.
        let ghost = self.flat().ghost();
        Some(Slot {
            len: self.len(),
            pending: self.pending().cloned(),
            in_dfdx: Box::new(move |grads| Ok(host(grads.get_or_alloc_mut(&ghost)?))),
        })
    }
}

/// Where a CPU kernel's backward pass leaves its results.
pub struct GradSink<'a, E: Float>(pub(super) &'a mut Gradients<E, Cpu>);

impl<E: Float> GradSink<'_, E>
where
    Cpu: Device<E>,
{
    /// What has arrived at `slot` so far, to be added to and [put](Self::put) back; `None` if nothing has.
    ///
    /// # Errors
    /// If dfdx cannot allocate the gradient.
    pub fn take(&mut self, slot: &Slot<E>) -> Result<Option<Vec<E>>, CpuError> {
        match &slot.pending {
            Some(pending) => Ok(pending.take()),
            None => Ok(Some(std::mem::take((slot.in_dfdx)(self.0)?))),
        }
    }

    /// Makes `gradient` what has arrived at `slot`, after [`take`](Self::take).
    ///
    /// # Errors
    /// If dfdx cannot allocate the gradient.
    pub fn put(&mut self, slot: &Slot<E>, gradient: Vec<E>) -> Result<(), CpuError> {
        debug_assert_eq!(gradient.len(), slot.len);
        match &slot.pending {
            Some(pending) => pending.put(gradient),
            None => *(slot.in_dfdx)(self.0)? = gradient,
        }
        Ok(())
    }

    /// The whole gradient of a kernel's result; `None` if none arrived.
    pub(super) fn arrived(&mut self, slot: &Slot<E>) -> Result<Option<Vec<E>>, CpuError> {
        let Some(pending) = &slot.pending else { return self.take(slot) };
        let mut gradient = pending.take();
        if pending.to_dfdx.load(Ordering::Relaxed) {
            let other = std::mem::take((slot.in_dfdx)(self.0)?);
            gradient = Some(match gradient {
                Some(sum) => sum.into_iter().zip(other).map(|(a, b)| a + b).collect(),
                None => other,
            });
        }
        Ok(gradient)
    }
}

/// A buffer of the CPU as what it is. (Where `Cpu: Device<E>` is assumed, the compiler does not look it up.)
fn host<E: Float>(buffer: &mut Buffer<E, Cpu>) -> &mut Vec<E> {
    buffer
}
