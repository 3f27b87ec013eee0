//! ∇τ (Trippa et al., arXiv 2403.14339): ascend the loss of the forget set up to the loss of unseen data, descend the
//! loss of the rest.
//!
//! Each step takes a batch of each and minimises
//!
//! ```text
//! L(θ) = α · ReLU(τ − L_f(θ))² + (1 − α) · L_r(θ)
//! ∇L   = −2α · ReLU(τ − L_f) · ∇L_f + (1 − α) · ∇L_r
//! ```
//!
//! with τ the mean loss on validation rows, a constant. Where the forget loss has reached τ its term and gradient are
//! zero, and its backward pass is skipped.

use super::{
    optim::AdamW,
    schedule::Schedule,
    trace::{EpochRecord, Observer, StepRecord, Trajectory},
};
use crate::{
    data::Batch,
    engine::{Float, Grads},
    error::{Error, Result},
    kernels::Backend,
    model::Model,
};
use std::time::{Duration, Instant};

/// An iterator over decoded batches.
pub type BatchIter = Box<dyn Iterator<Item = Result<Batch>>>;

/// Where a run takes its batches from.
pub trait Batches {
    /// One pass over the forget set, in an order that depends on `epoch`.
    fn forget(&mut self, epoch: usize) -> Result<BatchIter>;
    /// One pass over the retain set, in an order that depends on `pass`, which counts the passes begun.
    fn retain(&mut self, pass: usize) -> Result<BatchIter>;
    /// One pass over the validation set, always in the same order.
    fn validation(&mut self) -> Result<BatchIter>;
}

/// Runs ∇τ on `model` in place.
///
/// # Errors
/// [`Error::Unlearning`] if a loss, a gradient or a weight is not finite; whatever the batches or `observer` report.
/// The model's parameters are then of no use.
pub fn run<E: Float, D: Backend<E>>(
    model: &mut Model<E, D>,
    batches: &mut dyn Batches,
    schedule: &Schedule,
    observer: &mut dyn Observer,
) -> Result<Trajectory> {
    let mut optimizer = AdamW::new(model, schedule.weight_decay, schedule.step_size)?;
    let mut trajectory = Trajectory::default();
    let mut retain = Cycle::default();
    let mut tau = f64::NAN;
    let mut evaluating = Duration::ZERO;
    let start = Instant::now();
    for epoch in 0..schedule.epochs {
        if schedule.renews_tau(epoch) {
            let clock = Instant::now();
            tau = finite(
                mean_loss(model, batches.validation()?)?,
                "the loss on validation rows",
                trajectory.steps.len(),
            )?;
            trajectory.tau.push(tau);
            evaluating += clock.elapsed();
        }
        if schedule.restarts_retain(epoch) {
            retain.restart(batches)?;
        }
        let first = trajectory.steps.len();
        for forget in batches.forget(epoch)? {
            let at =
                Position { step: trajectory.steps.len(), alpha: schedule.alpha(epoch), lr: schedule.rate(epoch), tau };
            let record = step(model, &mut optimizer, &forget?, &retain.next(batches)?, at)?;
            observer.step(&record, schedule.steps())?;
            trajectory.steps.push(record);
        }
        let done = trajectory.steps.get(first..).unwrap_or_default();
        let Some(record) = summarise(done, epoch, schedule.epochs, trajectory.steps.len()) else {
            return Err(Error::Data("the forget set is empty".into()));
        };
        observer.epoch(&record)?;
        trajectory.epochs.push(record);
    }
    trajectory.seconds = (start.elapsed() - evaluating).as_secs_f64();
    Ok(trajectory)
}

/// Where in the run a step stands.
struct Position {
    step: usize,
    alpha: f64,
    lr: f64,
    tau: f64,
}

fn step<E: Float, D: Backend<E>>(
    model: &mut Model<E, D>,
    optimizer: &mut AdamW<E, D>,
    forget: &Batch,
    retain: &Batch,
    at: Position,
) -> Result<StepRecord> {
    let forward = model.forward(forget, None)?;
    let forget_loss = finite(forward.mean, "the loss of a forget batch", at.step)?;
    let gap = (at.tau - forget_loss).max(0.0);
    let mut grads: Option<Grads<E, D>> = None;
    if gap > 0.0 && at.alpha > 0.0 {
        grads = Some(forward.backward(-2.0 * at.alpha * gap)?);
    } else {
        forward.release();
    }
    let forward = model.forward(retain, grads)?;
    let retain_loss = finite(forward.mean, "the loss of a retain batch", at.step)?;
    let mut grads = forward.backward(1.0 - at.alpha)?;
    if let Some(name) = optimizer.step(model, &mut grads, at.lr)? {
        return Err(diverged(&format!("the gradient of {name}"), at.step));
    }
    Ok(StepRecord { step: at.step, alpha: at.alpha, lr: at.lr, forget_loss, retain_loss, tau: at.tau })
}

/// The mean loss over all rows of `batches`, each row weighing what the loss gives it.
pub fn mean_loss<E: Float, D: Backend<E>>(model: &Model<E, D>, batches: BatchIter) -> Result<f64> {
    let (mut sum, mut total) = (0.0, 0.0);
    for batch in batches {
        let scores = model.scores(&batch?)?;
        for (&loss, &weight) in scores.losses.iter().zip(&scores.weights) {
            sum += f64::from(loss) * f64::from(weight);
            total += f64::from(weight);
        }
    }
    Ok(sum / total)
}

fn finite(loss: f64, what: &str, step: usize) -> Result<f64> {
    if loss.is_finite() {
        return Ok(loss);
    }
    Err(diverged(what, step))
}

fn diverged(what: &str, step: usize) -> Error {
    Error::Unlearning(format!(
        "{what} is not finite at step {step}; nothing was written. Try a smaller learning rate (--learning-rate)"
    ))
}

fn summarise(steps: &[StepRecord], epoch: usize, epochs: usize, done: usize) -> Option<EpochRecord> {
    let last = steps.last()?;
    let mean = |f: fn(&StepRecord) -> f64| steps.iter().map(f).sum::<f64>() / steps.len() as f64;
    Some(EpochRecord {
        epoch: epoch + 1,
        epochs,
        step: done,
        alpha: last.alpha,
        lr: last.lr,
        forget_loss: mean(|s| s.forget_loss),
        retain_loss: mean(|s| s.retain_loss),
        tau: last.tau,
        active: mean(|s| f64::from(u8::from(s.active()))),
    })
}

/// The retain set's batches, pass after pass.
#[derive(Default)]
struct Cycle {
    current: Option<BatchIter>,
    passes: usize,
}

impl Cycle {
    fn restart(&mut self, batches: &mut dyn Batches) -> Result<()> {
        // First the old pass goes: what it holds of the file is not held twice.
        self.current = None;
        self.current = Some(batches.retain(self.passes)?);
        self.passes += 1;
        Ok(())
    }

    fn next(&mut self, batches: &mut dyn Batches) -> Result<Batch> {
        // The second turn is for a pass that is used up: fewer retain batches than forget batches.
        for _ in 0..2 {
            if let Some(batch) = self.current.as_mut().and_then(Iterator::next) {
                return batch;
            }
            self.restart(batches)?;
        }
        Err(Error::Data("the retain set is empty".into()))
    }
}
