//! AdamW over a model's parameters.

use super::schedule::StepSize;
use crate::{
    engine::{Buffer, Context, Float, Grads, KernelChoice, Tensor, device_error},
    error::Result,
    kernels::{AdamArgs, AdamStep, Backend},
    model::{Model, Parameter},
};
use dfdx::tensor::Storage;

/// AdamW (arXiv 1711.05101) with betas 0.9 and 0.999 and ε 1e-8: the reference's optimizer.
pub struct AdamW<E: Float, D: Backend<E>> {
    states: Vec<State<E, D>>,
    weight_decay: f64,
    steps: i32,
}

/// The optimizer's state for one parameter.
struct State<E: Float, D: Backend<E>> {
    first: Buffer<E, D>,
    second: Buffer<E, D>,
    /// The factor of the step of each output channel.
    share: Option<Tensor<E, D>>,
}

impl<E: Float, D: Backend<E>> AdamW<E, D> {
    /// Zero moments for every parameter of `model`, and step factors from its current weights.
    ///
    /// # Errors
    /// [`crate::Error::DeviceFailed`] if the device has no room for the moments.
    pub fn new(model: &Model<E, D>, weight_decay: f64, step_size: StepSize) -> Result<Self> {
        let cx = Context::inference(model.device().clone(), KernelChoice::default());
        let zeros = |n| <D as Storage<E>>::try_alloc_len(model.device(), n).map_err(device_error);
        let state = |p: &Parameter<E, D>| {
            let share = match step_size {
                StepSize::Fitted => share(&cx, model.parameters(), p)?,
                StepSize::Published => None,
            };
            Ok(State { first: zeros(p.tensor.len())?, second: zeros(p.tensor.len())?, share })
        };
        let states = model.parameters().iter().map(state).collect::<Result<_>>()?;
        Ok(Self { states, weight_decay, steps: 0 })
    }

    /// One step of size `rate` against the gradients. Returns the name of a parameter whose gradient is not finite, if
    /// there is one; the parameters are then unusable. An asynchronous device reports this only through
    /// [`AdamW::broken`].
    ///
    /// # Errors
    /// [`crate::Error::DeviceFailed`] if the device fails.
    pub fn step(&mut self, model: &mut Model<E, D>, grads: &mut Grads<E, D>, rate: f64) -> Result<Option<String>> {
        self.steps += 1;
        let step = AdamStep { number: self.steps, rate, betas: [0.9, 0.999], epsilon: 1e-8, decay: self.weight_decay };
        let mut cx = Context::inference(model.device().clone(), model.kernels());
        for (parameter, state) in model.parameters_mut().iter_mut().zip(&mut self.states) {
            let gradient = grads.buffer(&parameter.tensor)?;
            let moments = [&mut state.first, &mut state.second];
            let (parameter, name) = (&mut parameter.tensor, &parameter.name);
            let args = AdamArgs { step: &step, parameter, moments, gradient, share: state.share.as_ref() };
            if !D::adamw(&mut cx, args)? {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }

    /// The name of a parameter that was not finite after a step since the last call, if there is one. Waits for the
    /// device.
    ///
    /// # Errors
    /// [`crate::Error::DeviceFailed`] if the device fails.
    pub fn broken(&self, model: &Model<E, D>) -> Result<Option<String>> {
        if D::stayed_finite(&Context::inference(model.device().clone(), model.kernels()))? {
            return Ok(None);
        }
        for parameter in model.parameters() {
            if !parameter.tensor.is_finite()? {
                return Ok(Some(parameter.name.clone()));
            }
        }
        Ok(None)
    }
}

/// ‖w_c‖₂ for each channel c of a weight w, which is `parameter` itself or the weight that `parameter` is the bias of.
/// |γ_c| for the scale γ and the bias of a normalization. The result has the axes of `parameter`.
///
/// A step is then relative: it turns the weights of a channel by an angle that does not depend on their size. If an
/// exporter has multiplied a channel by a factor, its step is multiplied by the same factor. The published step suits
/// weights at initialization, whose norm is about 1 (fan-in values of size 1/√fan-in). For those, both steps are the
/// same.
fn share<E: Float, D: Backend<E>>(
    cx: &Context<E, D>,
    parameters: &[Parameter<E, D>],
    parameter: &Parameter<E, D>,
) -> Result<Option<Tensor<E, D>>> {
    let Some(scale) = parameter.scale else { return Ok(None) };
    let Some(weight) = parameters.get(scale.of) else { return Ok(None) };
    let norms = norms(&weight.tensor, scale.of_axis);
    let own = &parameter.tensor;
    if own.dims().get(scale.axis) != Some(&norms.len()) {
        return Ok(None);
    }
    let dims = (0..own.rank()).map(|i| if i == scale.axis { norms.len() } else { 1 }).collect();
    cx.upload(dims, norms.into_iter().map(E::of).collect()).map(Some)
}

/// ‖w_c‖₂ for each slice c along `axis`.
fn norms<E: Float, D: Backend<E>>(weight: &Tensor<E, D>, axis: usize) -> Vec<f64> {
    let channels = weight.dims().get(axis).copied().unwrap_or(1);
    let inner: usize = weight.dims().iter().skip(axis + 1).product();
    let mut squares = vec![0.0; channels];
    for (block, elements) in weight.to_vec().chunks(inner.max(1)).enumerate() {
        if let Some(square) = squares.get_mut(block % channels.max(1)) {
            *square += elements.iter().map(|x| x.f64().powi(2)).sum::<f64>();
        }
    }
    squares.into_iter().map(f64::sqrt).collect()
}
