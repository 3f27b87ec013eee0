//! Stochastic gradient descent, and the choice between it and AdamW.

use super::{method::Set, optim::AdamW, recorder::Recorder, schedule::StepSize};
use crate::{
    batch::Batch,
    engine::{Context, Flat, Float, Grads, Tensor, device_error},
    error::{Error, Result},
    kernels::{Backend, Binary, Reduce},
    model::{Model, Parameter},
};

/// SGD with momentum and weight decay, as in PyTorch: v ← μ·v + g + λ·w, w ← w − rate·v.
pub struct Sgd<E: Float, D: Backend<E>> {
    momentum: f64,
    weight_decay: f64,
    velocities: Vec<Flat<E, D>>,
    masks: Option<Vec<Tensor<E, D>>>,
}

impl<E: Float, D: Backend<E>> Sgd<E, D> {
    /// Zero velocities for every parameter of `model`.
    ///
    /// # Errors
    /// [`crate::Error::DeviceFailed`] if the device has no room for the optimizer's state.
    pub fn new(model: &Model<E, D>, momentum: f64, weight_decay: f64) -> Result<Self> {
        let zeros = |n: usize| model.device().try_zeros_like(&(n,)).map_err(device_error);
        let velocities = model.parameters().iter().map(|p| zeros(p.tensor.len())).collect::<Result<_>>()?;
        Ok(Self { momentum, weight_decay, velocities, masks: None })
    }

    /// Adds masks of 0 and 1, one per parameter. Weights at 0 do not change.
    pub fn masked(self, masks: Vec<Tensor<E, D>>) -> Self {
        Self { masks: Some(masks), ..self }
    }

    /// One step of size `rate` against the gradients. Returns the name of a parameter that is no longer finite, if
    /// there is one.
    fn step(&mut self, model: &mut Model<E, D>, grads: &mut Grads<E, D>, rate: f64) -> Result<Option<String>> {
        let mut cx = Context::inference(model.device().clone(), model.kernels());
        for (i, (parameter, velocity)) in model.parameters_mut().iter_mut().zip(&mut self.velocities).enumerate() {
            let mut gradient = grads.tensor(&parameter.tensor)?;
            if self.weight_decay != 0.0 {
                gradient.flat_mut().try_axpy(1.0, parameter.tensor.flat(), self.weight_decay).map_err(device_error)?;
            }
            if let Some(mask) = self.masks.as_ref().and_then(|masks| masks.get(i)) {
                gradient = D::binary(&mut cx, Binary::Mul, &gradient, mask)?;
            }
            velocity.try_axpy(self.momentum, gradient.flat(), 1.0).map_err(device_error)?;
            parameter.tensor.flat_mut().try_axpy(1.0, velocity, -rate).map_err(device_error)?;
        }
        not_finite(&mut cx, model.parameters())
    }
}

/// The name of the first parameter that is not finite. Its sum is then not finite either, so one read from the device
/// is enough for all.
fn not_finite<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    parameters: &[Parameter<E, D>],
) -> Result<Option<String>> {
    let mut sum =
        |p: &Parameter<E, D>| D::reduce(cx, Reduce::Sum, &p.tensor.reshaped(vec![p.tensor.len()])?, &[0], true);
    let sums = parameters.iter().map(&mut sum).collect::<Result<Vec<_>>>()?;
    if sums.is_empty() {
        return Ok(None);
    }
    let sums = D::concat(cx, &sums.iter().collect::<Vec<_>>(), 0)?.to_vec();
    Ok(sums.iter().zip(parameters).find(|(sum, _)| !num_traits::Float::is_finite(**sum)).map(|(_, p)| p.name.clone()))
}

/// The optimizers.
pub enum Optimizer<E: Float, D: Backend<E>> {
    /// SGD.
    Sgd(Sgd<E, D>),
    /// AdamW, with the published step; without weight decay it is Adam.
    AdamW(AdamW<E, D>),
}

impl<E: Float, D: Backend<E>> Optimizer<E, D> {
    /// SGD.
    ///
    /// # Errors
    /// [`crate::Error::DeviceFailed`] if the device has no room for the optimizer's state.
    pub fn sgd(model: &Model<E, D>, momentum: f64, weight_decay: f64) -> Result<Self> {
        Ok(Self::Sgd(Sgd::new(model, momentum, weight_decay)?))
    }

    /// AdamW, or Adam without weight decay.
    ///
    /// # Errors
    /// [`crate::Error::DeviceFailed`] if the device has no room for the optimizer's state.
    pub fn adamw(model: &Model<E, D>, weight_decay: f64) -> Result<Self> {
        Ok(Self::AdamW(AdamW::new(model, weight_decay, StepSize::Published)?))
    }

    /// One step.
    ///
    /// # Errors
    /// [`Error::Unlearning`] if a parameter is no longer finite.
    pub fn step(&mut self, model: &mut Model<E, D>, mut grads: Grads<E, D>, rate: f64, number: usize) -> Result<()> {
        let wrong = match self {
            Self::Sgd(sgd) => sgd.step(model, &mut grads, rate)?,
            Self::AdamW(adamw) => match adamw.step(model, &mut grads, rate)? {
                None => adamw.broken(model)?,
                wrong => wrong,
            },
        };
        match wrong {
            None => Ok(()),
            Some(name) => Err(Error::Unlearning(format!(
                "{name} is not finite after step {number}; a smaller step size may help"
            ))),
        }
    }

    /// A step of size `rate` against the gradient of `weight` times the mean loss of `batch`. The loss is recorded as
    /// that of `set`, if it belongs to one set.
    ///
    /// # Errors
    /// [`Error::Unlearning`] if the loss or a parameter is not finite; errors of the observer.
    pub fn descend(
        &mut self,
        model: &mut Model<E, D>,
        batch: &Batch,
        weight: f64,
        rate: f64,
        set: Option<Set>,
        recorder: &mut Recorder<'_>,
    ) -> Result<()> {
        let forward = model.forward(batch, None)?;
        let loss = forward.losses.mean();
        let grads = forward.backward(weight)?;
        recorder.seen(rate, loss, set)?;
        self.step(model, grads, rate, recorder.steps())
    }
}
