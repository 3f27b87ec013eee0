//! Selective Synaptic Dampening (Foster et al., arXiv 2308.07707): no training steps. Weights that matter much more for
//! the rows to forget than for all training rows are dampened.
//!
//! The importance of a weight for a set is the mean square of the gradient over the set's batches, an estimate of the
//! diagonal of the Fisher information. If F_f > α·F_D, the weight is multiplied by min(λ·F_D/F_f, 1). As in the paper
//! and in the code of arXiv 2403.14339: α = 10, λ = 1, gradients of batches.

use super::further;
use crate::{
    engine::{Context, Float, Tensor, device_error},
    error::Result,
    kernels::{Backend, Unary},
    method::{Method, MethodName, MethodSettings, Set, Sets, Wanted},
    model::Model,
    recorder::Recorder,
    trace::{Observer, Trajectory},
};

/// α: how much more a weight must matter.
const ALPHA: f64 = 10.0;
/// λ: the strength of dampening.
const LAMBDA: f64 = 1.0;

/// SSD's settings.
#[derive(Clone, Debug)]
pub struct Ssd {
    batch_size: usize,
    batches: usize,
}

impl Ssd {
    /// For these sizes.
    pub fn new(wanted: &Wanted) -> Self {
        let batches = wanted.batches(wanted.forget) + wanted.batches(wanted.forget + wanted.retain);
        Self { batch_size: wanted.batch_size, batches }
    }
}

/// A weight after dampening, with importance `forget` for the rows to forget and `all` for all rows.
pub fn dampened(weight: f64, forget: f64, all: f64, alpha: f64, lambda: f64) -> f64 {
    if forget > alpha * all { weight * (lambda * all / forget).min(1.0) } else { weight }
}

impl<E: Float, D: Backend<E>> Method<E, D> for Ssd {
    fn name(&self) -> MethodName {
        MethodName::Ssd
    }

    fn described(&self) -> MethodSettings {
        MethodSettings {
            batch_size: self.batch_size,
            epochs: 0,
            steps: self.batches,
            further: further! { "alpha": ALPHA, "lambda": LAMBDA },
            ..MethodSettings::default()
        }
    }

    fn run(&self, model: &mut Model<E, D>, sets: &mut dyn Sets, observer: &mut dyn Observer) -> Result<Trajectory> {
        let mut recorder = Recorder::new(observer, self.batches, 1);
        let forget = importance(model, sets, Set::Forget, self.batch_size, &mut recorder)?;
        let all = importance(model, sets, Set::Train, self.batch_size, &mut recorder)?;
        for (i, (forget, all)) in forget.iter().zip(&all).enumerate() {
            let Some(parameter) = model.parameters().get(i) else { break };
            let importances = forget.to_vec().into_iter().zip(all.to_vec());
            let weights = parameter.tensor.to_vec().into_iter().zip(importances);
            let values: Vec<E> =
                weights.map(|(w, (f, a))| E::of(dampened(w.f64(), f.f64(), a.f64(), ALPHA, LAMBDA))).collect();
            model.set_parameter(i, &values)?;
        }
        Ok(recorder.finish())
    }
}

/// The importance of each weight for a set.
fn importance<E: Float, D: Backend<E>>(
    model: &Model<E, D>,
    sets: &mut dyn Sets,
    set: Set,
    batch_size: usize,
    recorder: &mut Recorder<'_>,
) -> Result<Vec<Tensor<E, D>>> {
    let mut cx = Context::inference(model.device().clone(), model.kernels());
    let mut sums: Vec<Tensor<E, D>> = Vec::new();
    let mut batches = 0;
    for batch in sets.pass(set, 0, batch_size)? {
        let batch = batch?;
        let forward = model.forward(&batch, None)?;
        let loss = forward.losses.mean();
        let mut grads = forward.backward(1.0)?;
        for (i, parameter) in model.parameters().iter().enumerate() {
            let square = D::unary(&mut cx, Unary::PowScalar(2.0), &grads.tensor(&parameter.tensor)?)?;
            match sums.get_mut(i) {
                Some(sum) => sum.flat_mut().try_axpy(1.0, square.flat(), 1.0).map_err(device_error)?,
                None => sums.push(square),
            }
        }
        batches += 1;
        recorder.seen(0.0, loss, Some(set))?;
    }
    let share = Unary::MulScalar(1.0 / f64::from(batches.max(1)));
    sums.iter().map(|sum| D::unary(&mut cx, share, sum)).collect()
}
