//! AdamW over a model's parameters.

use super::schedule::StepSize;
use crate::{
    engine::{Buffer, Context, Float, Grads, KernelChoice, Tensor},
    error::{Error, Result},
    kernels::{AdamStep, Backend},
    model::{Model, Parameter},
};
use dfdx::tensor::Storage;

/// AdamW (arXiv 1711.05101) with betas 0.9 and 0.999 and ε 1e-8: the reference's optimizer.
pub struct AdamW<E: Float, D: Backend<E>> {
    states: Vec<State<E, D>>,
    weight_decay: f64,
    steps: i32,
}

/// What is kept of one parameter.
struct State<E: Float, D: Backend<E>> {
    first: Buffer<E, D>,
    second: Buffer<E, D>,
    /// The share of a step that each output channel takes.
    share: Option<Tensor<E, D>>,
}

impl<E: Float, D: Backend<E>> AdamW<E, D> {
    /// Moments of zero for every parameter of `model`.
    pub fn new(model: &Model<E, D>, weight_decay: f64, step_size: StepSize) -> Result<Self> {
        let cx = Context::inference(model.device().clone(), KernelChoice::default());
        let zeros = |n| <D as Storage<E>>::try_alloc_len(model.device(), n).map_err(device_error);
        let state = |p: &Parameter<E, D>| {
            let fitted = p.own_scale.filter(|_| step_size == StepSize::Fitted);
            Ok(State {
                first: zeros(p.tensor.len())?,
                second: zeros(p.tensor.len())?,
                share: fitted.map(|axis| share(&cx, &p.tensor, axis)).transpose()?,
            })
        };
        let states = model.parameters().iter().map(state).collect::<Result<_>>()?;
        Ok(Self { states, weight_decay, steps: 0 })
    }

    /// One step of size `rate` against the gradients. The name of a parameter whose gradient is not finite, if one is: then
    /// the parameters are of no use.
    pub fn step(&mut self, model: &mut Model<E, D>, grads: &mut Grads<E, D>, rate: f64) -> Result<Option<String>> {
        self.steps += 1;
        let step = AdamStep { number: self.steps, rate, betas: [0.9, 0.999], epsilon: 1e-8, decay: self.weight_decay };
        let mut cx = Context::inference(model.device().clone(), model.kernels());
        for (parameter, state) in model.parameters_mut().iter_mut().zip(&mut self.states) {
            let gradient = grads.buffer(&parameter.tensor)?;
            let moments = [&mut state.first, &mut state.second];
            if !D::adamw(&mut cx, &step, &mut parameter.tensor, moments, gradient, state.share.as_ref())? {
                return Ok(Some(parameter.name.clone()));
            }
        }
        if D::stayed_finite(&cx)? {
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

/// min(1, ‖w_c‖₂) for each channel c along `axis` of the weight w, with the axes of w.
///
/// The published step is for weights as they are initialised and as BatchNormalization leaves them: fan-in many of
/// size 1/√fan-in, a norm of about 1. Folding BatchNormalization into the convolution multiplies a channel by γ/σ, its
/// norm becomes about γ/σ, and a step of the weight before folding is γ/σ times that step after it.
fn share<E: Float, D: Backend<E>>(cx: &Context<E, D>, weight: &Tensor<E, D>, axis: usize) -> Result<Tensor<E, D>> {
    let channels = weight.dims().get(axis).copied().unwrap_or(1);
    let inner: usize = weight.dims().iter().skip(axis + 1).product();
    let mut squares = vec![0.0; channels];
    for (block, elements) in weight.to_vec().chunks(inner.max(1)).enumerate() {
        if let Some(square) = squares.get_mut(block % channels.max(1)) {
            *square += elements.iter().map(|x| x.f64().powi(2)).sum::<f64>();
        }
    }
    let dims = (0..weight.rank()).map(|i| if i == axis { channels } else { 1 }).collect();
    cx.upload(dims, squares.into_iter().map(|s| E::of(s.sqrt().min(1.0))).collect())
}

fn device_error(e: impl std::fmt::Debug) -> Error {
    Error::Internal(format!("device: {e:?}"))
}
