//! AdamW over a model's parameters, by dfdx's optimizer kernel on any device.

use crate::{
    engine::{Buffer, Float, Grads},
    error::{Error, Result},
    kernels::Backend,
    model::Model,
};
use dfdx::{
    tensor::Storage,
    tensor_ops::{AdamConfig, WeightDecay},
};

/// AdamW (arXiv 1711.05101) with betas 0.9 and 0.999 and ε 1e-8: the reference's optimizer.
pub struct AdamW<E: Float, D: Backend<E>> {
    moments: Vec<(Buffer<E, D>, Buffer<E, D>)>,
    weight_decay: f64,
    steps: i32,
}

impl<E: Float, D: Backend<E>> AdamW<E, D> {
    /// Moments of zero for every parameter of `model`.
    pub fn new(model: &Model<E, D>, weight_decay: f64) -> Result<Self> {
        let zeros = |n| <D as Storage<E>>::try_alloc_len(model.device(), n).map_err(device_error);
        let moments = model.parameters().iter().map(|p| Ok((zeros(p.tensor.len())?, zeros(p.tensor.len())?)));
        Ok(Self { moments: moments.collect::<Result<_>>()?, weight_decay, steps: 0 })
    }

    /// One step of size `rate` against the gradients.
    pub fn step(&mut self, model: &mut Model<E, D>, grads: &mut Grads<E, D>, rate: f64) -> Result<()> {
        self.steps += 1;
        let adam = AdamConfig {
            lr: rate,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: Some(WeightDecay::Decoupled(self.weight_decay)),
        };
        for (parameter, (first, second)) in model.parameters_mut().iter_mut().zip(&mut self.moments) {
            let gradient = grads.buffer(&parameter.tensor)?;
            adam.try_update(self.steps, parameter.tensor.flat_mut(), first, second, gradient).map_err(device_error)?;
        }
        Ok(())
    }
}

fn device_error(e: impl std::fmt::Debug) -> Error {
    Error::Internal(format!("device: {e:?}"))
}
