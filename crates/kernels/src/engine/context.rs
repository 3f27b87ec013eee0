//! One step's tape, lent to one operation after the other. The only file that calls `add_backward_op`.

use super::{Flat, Float, GradSink, Grads, Taped, Tensor, device_error};
use crate::{
    error::{Error, Result},
    limits,
    tensor::HostTensor,
};
use dfdx::{
    prelude::{Backward, Cpu, Device, Rank0, SumTo, TryMul},
    tensor::{Gradients, Merge, OwnedTape, PutTape, SplitTape, Tape, Trace},
};
use std::sync::Arc;

/// Which kernels an operation runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelChoice {
    /// The device's own kernels, and definitions where there are none.
    #[default]
    Fast,
    /// Only the definitions, which are composed of dfdx operations.
    Definition,
}

/// Indices on a device.
pub type Indices<D> = dfdx::tensor::Tensor<(usize,), usize, D>;

/// What an operation needs while it runs: the device, the step's tape, and how it is asked to run.
pub struct Context<E: Float, D: Device<E>> {
    /// Where tensors live.
    pub dev: D,
    /// Which kernels to run on.
    pub kernels: KernelChoice,
    /// How many of the device's own kernels have run.
    pub fast_kernels: usize,
    tape: Option<OwnedTape<E, D>>,
}

/// The number of elements of `dims`, unless a product of its extents, zeros aside, is beyond all memory.
pub(super) fn checked_len(dims: &[usize]) -> Option<usize> {
    let nonzero = dims.iter().filter(|&&n| n > 0).try_fold(1usize, |all, &n| all.checked_mul(n))?;
    (nonzero <= isize::MAX as usize / 16).then_some(if dims.contains(&0) { 0 } else { nonzero })
}

impl<E: Float, D: Device<E>> Context<E, D> {
    /// A context that records nothing.
    pub fn inference(dev: D, kernels: KernelChoice) -> Self {
        Self { dev, kernels, fast_kernels: 0, tape: None }
    }

    /// A context that records on a new tape.
    pub fn recording(dev: D, kernels: KernelChoice) -> Self {
        Self { dev, kernels, fast_kernels: 0, tape: Some(OwnedTape::default()) }
    }

    /// Makes the backward pass add to `grads`.
    ///
    /// # Errors
    /// If this context does not record.
    pub fn accumulate(&mut self, grads: Grads<E, D>) -> Result<()> {
        let recorded = self.tape.take().ok_or_else(|| Error::Internal("gradients for a pass without a tape".into()))?;
        let anchor: Flat<E, D> = self.dev.try_zeros_like(&(1,)).map_err(device_error)?;
        let (_, tape) = anchor.traced(grads.0).split_tape();
        self.tape = Some(tape.merge(recorded));
        Ok(())
    }

    /// Whether operations on tracked tensors are recorded.
    pub fn is_recording(&self) -> bool {
        self.tape.is_some()
    }

    /// Whether an operation on `inputs` has to be recorded.
    pub fn records(&self, inputs: &[&Tensor<E, D>]) -> bool {
        self.tape.is_some() && inputs.iter().any(|t| t.tracked())
    }

    /// Moves host values to the device, as a constant.
    ///
    /// # Errors
    /// If there are not as many values as `dims` asks for.
    pub fn upload(&self, dims: Vec<usize>, values: Vec<E>) -> Result<Tensor<E, D>> {
        let n = values.len();
        if checked_len(&dims) != Some(n) {
            return Err(Error::Internal(format!("{n} values for a tensor of {dims:?}")));
        }
        let flat = self.dev.try_tensor_from_vec(values, (n,)).map_err(device_error)?;
        Ok(Tensor::constant(flat, dims))
    }

    /// Moves indices to the device, for dfdx's gathers.
    ///
    /// # Errors
    /// [`Error::DeviceFailed`] if the device has no room for them, or fails.
    pub fn upload_indices(&self, indices: Vec<usize>) -> Result<Indices<D>> {
        let n = indices.len();
        self.dev.try_tensor_from_vec(indices, (n,)).map_err(device_error)
    }

    /// Moves a host tensor of any element type to the device, converted to `E`.
    ///
    /// # Errors
    /// [`Error::Internal`] if the tensor has more elements than memory can hold; [`Error::DeviceFailed`] if the device
    /// has no room, or fails.
    pub fn upload_host(&self, tensor: &HostTensor) -> Result<Tensor<E, D>> {
        let values = match E::array(tensor) {
            Some(same) => same.iter().copied().collect(),
            None => tensor.to_f64().into_iter().map(E::of).collect(),
        };
        self.upload(tensor.dims().to_vec(), values)
    }

    /// Moves a host tensor to the device, as [`Context::upload_host`] does. Elements of type `E` that nobody else holds
    /// are moved without a copy.
    ///
    /// # Errors
    /// Those of [`Context::upload_host`].
    pub fn upload_held(&self, tensor: Arc<HostTensor>) -> Result<Tensor<E, D>> {
        let dims = tensor.dims().to_vec();
        match Arc::try_unwrap(tensor).map(E::own) {
            Ok(Ok(array)) if array.is_standard_layout() => self.upload(dims, array.into_raw_vec_and_offset().0),
            Ok(Ok(array)) => self.upload(dims, array.into_iter().collect()),
            Ok(Err(other)) => self.upload_host(&other),
            Err(shared) => self.upload_host(&shared),
        }
    }

    /// Runs `f`, composed of dfdx operations, on the first of `inputs` with the step's tape in it. `f` may use the
    /// others' `flat()`; `inputs` names all that gradients may flow into. The result has `dims`.
    ///
    /// # Errors
    /// [`Error::Internal`] if `inputs` is empty; [`Error::Node`] if `dims` have more elements than the limits allow;
    /// [`Error::DeviceFailed`] if `f` fails.
    pub fn compose<F>(&mut self, inputs: &[&Tensor<E, D>], dims: Vec<usize>, f: F) -> Result<Tensor<E, D>>
    where
        F: FnOnce(Taped<E, D>) -> Result<Taped<E, D>, D::Err>,
    {
        // What is not larger than an input is there already.
        if inputs.iter().all(|input| checked_len(&dims) > Some(input.len())) {
            limits::count(&dims)?;
        }
        let tracked = self.records(inputs);
        if tracked {
            inputs.iter().for_each(|t| t.to_dfdx());
        }
        let first = inputs.first().ok_or_else(|| Error::Internal("an operation without inputs".into()))?;
        let tape = if tracked { self.tape.take().unwrap_or_default() } else { OwnedTape::default() };
        let (flat, tape) = f(first.flat().clone().put_tape(tape)).map_err(device_error)?.split_tape();
        if tracked {
            self.tape = Some(tape);
        }
        Ok(Tensor::new(flat, dims, tracked))
    }

    /// A tensor with the same elements and an identity of its own, whose gradient flows on to `tensor`: dfdx's
    /// binary operations refuse one tensor on both sides.
    ///
    /// # Errors
    /// [`Error::DeviceFailed`] if the device fails.
    pub fn alias(&mut self, tensor: &Tensor<E, D>) -> Result<Tensor<E, D>> {
        self.compose(&[tensor], tensor.dims().to_vec(), |x| x.try_mul(E::ONE))
    }

    /// Runs the tape backwards from `Σ weights[i] · losses[i]` and hands back the gradients of `keep`.
    ///
    /// # Errors
    /// If this context does not record, or `losses` depends on nothing that is tracked.
    pub fn backward(mut self, losses: &Tensor<E, D>, weights: Vec<E>, keep: &[&Tensor<E, D>]) -> Result<Grads<E, D>> {
        let weights = self.upload(losses.dims().to_vec(), weights)?;
        losses.to_dfdx();
        let Some(tape) = self.tape.take().filter(|_| losses.tracked()) else {
            return Err(Error::Internal("backward pass without a recorded loss".into()));
        };
        let weighted = losses.flat().clone().put_tape(tape).try_mul(weights.flat().clone()).map_err(device_error)?;
        let total = weighted.try_sum::<Rank0, _>().map_err(device_error)?;
        let mut grads: Gradients<E, D> = total.try_backward().map_err(device_error)?;
        let ids: Vec<_> = keep.iter().filter_map(|t| t.id()).collect();
        grads.retain_leafs(&ids);
        Ok(Grads(grads))
    }
}

impl<E: Float> Context<E, Cpu>
where
    Cpu: Device<E>,
{
    /// Wraps the result of a CPU kernel and records `backward`, which is given the result's gradient and adds to the
    /// gradients of `inputs`. It is not kept if none of `inputs` is tracked, and not called if no gradient arrives.
    ///
    /// # Errors
    /// [`Error::Internal`] if there are not as many values as `dims` asks for; [`Error::DeviceFailed`] if the device
    /// fails.
    pub fn record<F>(
        &mut self,
        inputs: &[&Tensor<E, Cpu>],
        dims: Vec<usize>,
        values: Vec<E>,
        backward: F,
    ) -> Result<Tensor<E, Cpu>>
    where
        F: 'static + FnOnce(Vec<E>, &mut GradSink<'_, E>) -> Result<(), dfdx::tensor::CpuError>,
    {
        self.record_with(inputs, dims, values, |_| backward)
    }

    /// Does what [`Context::record`] does, for a backward pass that needs the result itself: `prepare` is given the
    /// result and makes `backward`.
    ///
    /// # Errors
    /// Those of [`Context::record`].
    pub fn record_with<F, P>(
        &mut self,
        inputs: &[&Tensor<E, Cpu>],
        dims: Vec<usize>,
        values: Vec<E>,
        prepare: P,
    ) -> Result<Tensor<E, Cpu>>
    where
        F: 'static + FnOnce(Vec<E>, &mut GradSink<'_, E>) -> Result<(), dfdx::tensor::CpuError>,
        P: FnOnce(&Tensor<E, Cpu>) -> F,
    {
        let out = self.upload(dims, values)?;
        if !self.records(inputs) {
            return Ok(out);
        }
        let out = out.recorded();
        let backward = prepare(&out);
        if let (Some(tape), Some(slot)) = (&mut self.tape, out.slot()) {
            tape.add_backward_op(move |grads| {
                let mut sink = GradSink(grads);
                // Taken, not borrowed: the buffer is reused, or freed as soon as its operation is through.
                match sink.arrived(&slot)? {
                    Some(gradient) => backward(gradient, &mut sink),
                    None => Ok(()),
                }
            });
        }
        Ok(out)
    }
}

#[cfg(feature = "cuda")]
impl Context<f32, dfdx::prelude::Cuda> {
    /// Makes `out`, computed by a kernel of our own from `inputs`, a recorded result. `backward` is given the address
    /// of the result's gradient and adds to the gradients of `inputs`; it is not kept if none of them is tracked.
    ///
    /// # Errors
    /// There is none: it returns a [`Result`], as all that records does.
    pub fn record_on_device<F>(
        &mut self,
        inputs: &[&Tensor<f32, dfdx::prelude::Cuda>],
        out: Tensor<f32, dfdx::prelude::Cuda>,
        backward: F,
    ) -> Result<Tensor<f32, dfdx::prelude::Cuda>>
    where
        F: 'static
            + FnOnce(super::Address, &mut Gradients<f32, dfdx::prelude::Cuda>) -> Result<(), dfdx::tensor::CudaError>,
    {
        if !self.records(inputs) {
            return Ok(out);
        }
        let out = Tensor::new(out.flat().clone(), out.dims().to_vec(), true);
        let dev = self.dev.clone();
        if let (Some(tape), Some(slot)) = (&mut self.tape, out.device_slot()) {
            tape.add_backward_op(move |grads| slot.consume(grads, &dev, backward));
        }
        Ok(out)
    }
}
