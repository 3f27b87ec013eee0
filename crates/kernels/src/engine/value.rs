//! What flows along the edges of a graph at run time.

use super::{Float, context::checked_len, sink::Pending};
use crate::{error::Error, tensor::HostTensor};
use dfdx::{
    prelude::{Cpu, Device, Rank0, SumTo, UnusedTensors},
    tensor::{NoneTape, OwnedTape, UniqueId},
};
use std::sync::Arc;

/// A dfdx tensor of one dimension: the row-major elements.
pub type Flat<E, D> = dfdx::tensor::Tensor<(usize,), E, D, NoneTape>;
/// The same with the step's tape in it, as dfdx's operations take and return it.
pub type Taped<E, D> = dfdx::tensor::Tensor<(usize,), E, D, OwnedTape<E, D>>;

/// A differentiable tensor on a device: row-major elements and, beside them, the dimensions.
///
/// Cloning shares the elements and the identity under which gradients are kept, so a reshape costs nothing and
/// records nothing.
#[derive(Clone, Debug)]
pub struct Tensor<E: Float, D: Device<E>> {
    flat: Flat<E, D>,
    dims: Vec<usize>,
    tracked: bool,
    /// Of a CPU kernel's result: the gradient that arrives from other CPU kernels.
    pending: Option<Arc<Pending<E>>>,
}

impl<E: Float, D: Device<E>> Tensor<E, D> {
    /// A constant: no gradient is wanted for it.
    pub fn constant(flat: Flat<E, D>, dims: Vec<usize>) -> Self {
        Self { flat, dims, tracked: false, pending: None }
    }

    /// With `tracked` saying whether a gradient is wanted for it, or for something it was computed from.
    pub fn new(flat: Flat<E, D>, dims: Vec<usize>, tracked: bool) -> Self {
        Self { flat, dims, tracked, pending: None }
    }

    /// The same tensor as the recorded result of a CPU kernel.
    pub(super) fn recorded(self) -> Self {
        Self { tracked: true, pending: Some(Pending::new()), ..self }
    }

    pub(super) fn pending(&self) -> Option<&Arc<Pending<E>>> {
        self.pending.as_ref()
    }

    /// Says that an operation of dfdx takes this tensor.
    pub(super) fn to_dfdx(&self) {
        if let Some(pending) = &self.pending {
            pending.to_dfdx();
        }
    }

    /// Extent of each axis.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a gradient is wanted for it, or for something it was computed from.
    pub fn tracked(&self) -> bool {
        self.tracked
    }

    /// The dfdx tensor.
    pub fn flat(&self) -> &Flat<E, D> {
        &self.flat
    }

    /// The dfdx tensor, to be changed in place by an optimizer.
    pub fn flat_mut(&mut self) -> &mut Flat<E, D> {
        &mut self.flat
    }

    /// The identity under which gradients are kept. dfdx tells it only through its list of unused tensors.
    pub(super) fn id(&self) -> Option<UniqueId> {
        let mut list = UnusedTensors::default();
        list.add(&self.flat);
        list.ids.pop()
    }

    /// Whether gradients of `self` and `other` are one and the same.
    pub fn is(&self, other: &Self) -> bool {
        self.id() == other.id()
    }

    /// The same elements under other dimensions.
    ///
    /// # Errors
    /// If the number of elements differs.
    pub fn reshaped(&self, dims: Vec<usize>) -> Result<Self, Error> {
        if checked_len(&dims) != Some(self.len()) {
            return Err(Error::Internal(format!("reshape of {:?} to {dims:?}", self.dims)));
        }
        Ok(Self { flat: self.flat.clone(), dims, tracked: self.tracked, pending: self.pending.clone() })
    }

    /// The same value, cut off from the tape.
    pub fn detached(&self) -> Self {
        Self { flat: self.flat.clone(), dims: self.dims.clone(), tracked: false, pending: None }
    }

    /// Whether every element is finite.
    ///
    /// # Errors
    /// [`Error::DeviceFailed`] if the device fails.
    pub fn is_finite(&self) -> Result<bool, Error> {
        all_finite(self.flat.clone())
    }

    /// Copies the elements to the host.
    pub fn to_vec(&self) -> Vec<E> {
        // dfdx reads element 0 even where there is none.
        if self.is_empty() { vec![] } else { self.flat.as_vec() }
    }

    /// Copies the tensor to the host.
    pub fn to_host(&self) -> HostTensor {
        let shape = ndarray::IxDyn(&self.dims);
        let array = ndarray::ArrayD::from_shape_vec(shape, self.to_vec());
        E::wrap(array.unwrap_or_default())
    }
}

impl<E: Float> Tensor<E, Cpu>
where
    Cpu: Device<E>,
{
    /// The elements in host memory, without a copy.
    pub fn as_slice(&self) -> &[E] {
        let n = self.len();
        if n == 0 {
            return &[];
        }
        // SAFETY: `flat` has one dimension of `n` elements and stride 1 (every `Flat` is made contiguous), so its
        // buffer holds `n` initialized elements from index 0 on, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(&self.flat[[0]], n) }
    }
}

impl Tensor<f32, Cpu> {
    /// The elements in host memory, to be changed in place; copied first if another tensor shares them.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        let n = self.len();
        if n == 0 {
            return &mut [];
        }
        // SAFETY: as in `as_slice`; indexing makes the buffer this tensor's own.
        unsafe { std::slice::from_raw_parts_mut(&mut self.flat[[0]], n) }
    }
}

/// Whether every element is finite: then so is their sum, unless it overflows, which no useful tensor's does.
pub(super) fn all_finite<E: Float, D: Device<E>>(flat: Flat<E, D>) -> Result<bool, Error> {
    let sum = flat.try_sum::<Rank0, _>().map_err(super::device_error)?;
    Ok(sum.as_vec().iter().all(|x| num_traits::Float::is_finite(*x)))
}

/// A value on an edge of the graph: floats live on the device and are differentiable; integers, booleans and shapes
/// live on the host and are not.
#[derive(Clone, Debug)]
pub enum Value<E: Float, D: Device<E>> {
    /// A float tensor on the device.
    Float(Tensor<E, D>),
    /// An integer or boolean tensor on the host.
    Host(HostTensor),
}

impl<E: Float, D: Device<E>> Value<E, D> {
    /// Extent of each axis.
    pub fn dims(&self) -> &[usize] {
        match self {
            Self::Float(t) => t.dims(),
            Self::Host(t) => t.dims(),
        }
    }
}

impl<E: Float, D: Device<E>> From<Tensor<E, D>> for Value<E, D> {
    fn from(tensor: Tensor<E, D>) -> Self {
        Self::Float(tensor)
    }
}

impl<E: Float, D: Device<E>> From<HostTensor> for Value<E, D> {
    fn from(tensor: HostTensor) -> Self {
        Self::Host(tensor)
    }
}
