//! ∇τ (Trippa et al., arXiv 2403.14339): raise the loss of the forget set to the loss of unseen rows, lower the loss of
//! the retain set.
//!
//! Each step takes a batch of each set. A `Rule` says what the step is: `Published` is the published loop,
//! [`Version::Published`], beside its formulas; `Invariant` is the default, [`Version::Invariant`], with the points in
//! which it differs. What is here is common to both: the passes over the sets, the two backward passes of a step, and
//! the record.
//!
//! Once the forget loss has reached its goal, the gradient of its term is zero, and its backward pass is skipped.

mod invariant;
mod objective;
mod published;
mod unseen;

use self::{invariant::Invariant, published::Published, unseen::Unseen};
use super::{
    Batches,
    cycle::Cycle,
    optim::AdamW,
    schedule::Schedule,
    trace::{EpochRecord, Observer, StepRecord, Trajectory},
    version::Version,
};
use crate::{
    batch::{Batch, Targets},
    engine::{Float, Grads},
    error::{Error, Result},
    kernels::Backend,
    model::{Losses, Model},
};
use std::time::{Duration, Instant};

/// The name of the descended loss in messages.
const RETAIN: &str = "the loss of a retain batch";

/// What a step knows of its forget batch.
struct Forgotten<'a> {
    /// The share of the run before the step, in [0, 1).
    done: f64,
    /// Mean loss, L_f.
    loss: f64,
    /// What the rows should have been.
    targets: &'a Targets,
    /// The weight of each row in the loss.
    weights: &'a [f64],
    /// The losses of unseen rows, when they were last computed.
    unseen: &'a Unseen,
}

/// A step: the coefficients of its gradient, its length, and what the record tells of them.
struct Step {
    /// Coefficient of ∇L_f, never above 0.
    forget: f64,
    /// Coefficient of ∇L_r.
    retain: f64,
    /// Learning rate.
    rate: f64,
    /// The goal for the forget loss.
    goal: f64,
    /// α.
    alpha: f64,
    /// Weight of the forget term.
    weight: f64,
}

/// What the two loops do differently.
trait Rule {
    /// Whether the losses of unseen rows are computed again before an epoch. `last` are those of the last time.
    fn renews_tau(&self, epoch: usize, last: Option<&Unseen>) -> bool;

    /// Sets the goal by losses that have just been computed: their mean, τ, if nothing else is said.
    ///
    /// # Errors
    /// Those of batches.
    fn aim<E: Float, D: Backend<E>>(
        &mut self,
        unseen: Unseen,
        _model: &Model<E, D>,
        _batches: &mut dyn Batches,
        _so_far: &Trajectory,
    ) -> Result<Unseen> {
        Ok(unseen)
    }

    /// The share of the run before a step, in [0, 1), with step and epoch counted from 0.
    fn done(&self, epoch: usize, step: usize) -> f64;

    /// Called with the batches of each step, before it.
    fn takes(&mut self, _forget: &Batch, _retain: &Batch) {}

    /// The step that follows from the forget batch's loss.
    fn step(&mut self, forget: &Forgotten<'_>) -> Step;
}

/// Runs ∇τ on `model` in place.
///
/// # Errors
/// [`Error::Unlearning`] if a loss, a gradient, or a weight is not finite; errors of the batches and of `observer`.
/// The model's parameters are then unusable.
pub fn run<E: Float, D: Backend<E>>(
    model: &mut Model<E, D>,
    batches: &mut dyn Batches,
    schedule: &Schedule,
    observer: &mut dyn Observer,
) -> Result<Trajectory> {
    match schedule.version {
        Version::Published => follow(Published(schedule), model, batches, schedule, observer),
        Version::Invariant => follow(Invariant::new(schedule), model, batches, schedule, observer),
    }
}

fn follow<E: Float, D: Backend<E>>(
    mut rule: impl Rule,
    model: &mut Model<E, D>,
    batches: &mut dyn Batches,
    schedule: &Schedule,
    observer: &mut dyn Observer,
) -> Result<Trajectory> {
    let mut optimizer = AdamW::new(model, schedule.weight_decay, schedule.step_size)?;
    let mut log = Log { trajectory: Trajectory::default(), open: None, observer, steps: schedule.steps() };
    let mut retain = Cycle::new("retain");
    let mut unseen: Option<Unseen> = None;
    let mut evaluating = Duration::ZERO;
    let start = Instant::now();
    for epoch in 0..schedule.epochs {
        let first = log.trajectory.steps.len();
        if rule.renews_tau(epoch, unseen.as_ref()) {
            let clock = Instant::now();
            let found = Unseen::measure(model, batches.validation()?)?;
            log.trajectory.tau.push(finite(found.all.mean, "the loss on validation rows", first)?);
            unseen = Some(rule.aim(found, model, batches, &log.trajectory)?);
            evaluating += clock.elapsed();
        }
        let Some(unseen) = &unseen else { return Err(Error::Internal("no τ before the first epoch".into())) };
        if schedule.restarts_retain(epoch) {
            retain.restart(&mut |pass| batches.retain(pass))?;
        }
        for (step, forget) in (first..).zip(batches.forget(epoch)?) {
            let at = Position { step, done: rule.done(epoch, step), unseen };
            let (forget, retain) = (forget?, retain.next(&mut |pass| batches.retain(pass))?);
            rule.takes(&forget, &retain);
            self::step(&mut rule, model, &mut optimizer, &mut log, (&forget, &retain), at)?;
        }
        log.close(model, &optimizer)?;
        log.epoch(first, epoch, schedule.epochs)?;
    }
    log.trajectory.seconds = (start.elapsed() - evaluating).as_secs_f64();
    Ok(log.trajectory)
}

/// The record of the run, and its observer.
struct Log<'a, E: Float, D: Backend<E>> {
    trajectory: Trajectory,
    /// The last step, and the losses of its retain batch. Reading them waits for the device.
    open: Option<(StepRecord, Losses<E, D>)>,
    observer: &'a mut dyn Observer,
    /// Of the whole run.
    steps: usize,
}

impl<E: Float, D: Backend<E>> Log<'_, E, D> {
    /// Reads the result of the last step and records it.
    fn close(&mut self, model: &Model<E, D>, optimizer: &AdamW<E, D>) -> Result<()> {
        let Some((record, losses)) = self.open.take() else { return Ok(()) };
        let retain_loss = finite(losses.mean(), RETAIN, record.step)?;
        if let Some(name) = optimizer.broken(model)? {
            return Err(diverged(&format!("the gradient of {name}"), record.step));
        }
        let record = StepRecord { retain_loss, ..record };
        self.observer.step(&record, self.steps)?;
        self.trajectory.steps.push(record);
        Ok(())
    }

    /// Summarizes the steps from `first` on.
    fn epoch(&mut self, first: usize, epoch: usize, epochs: usize) -> Result<()> {
        let steps = self.trajectory.steps.get(first..).unwrap_or_default();
        let Some(record) = summarize(steps, epoch, epochs, first + steps.len()) else {
            return Err(Error::Data("the forget set is empty".into()));
        };
        self.observer.epoch(&record)?;
        self.trajectory.epochs.push(record);
        Ok(())
    }
}

/// The position of a step in the run.
struct Position<'a> {
    step: usize,
    done: f64,
    unseen: &'a Unseen,
}

fn step<E: Float, D: Backend<E>>(
    rule: &mut impl Rule,
    model: &mut Model<E, D>,
    optimizer: &mut AdamW<E, D>,
    log: &mut Log<'_, E, D>,
    (forget, retain): (&Batch, &Batch),
    at: Position,
) -> Result<()> {
    let forward = model.forward(forget, None)?;
    // The only place where a step waits for the device: the next move depends on this loss. The last step's result is
    // known then, too.
    let loss = forward.losses.mean();
    log.close(model, optimizer)?;
    let loss = finite(loss, "the loss of a forget batch", at.step)?;
    let (targets, weights) = (&forget.targets, forward.losses.weights.as_slice());
    let taken = rule.step(&Forgotten { done: at.done, loss, targets, weights, unseen: at.unseen });
    let active = taken.forget < 0.0;
    let mut grads: Option<Grads<E, D>> = None;
    if active {
        grads = Some(forward.backward(taken.forget)?);
    } else {
        forward.release();
    }
    let forward = model.forward(retain, grads)?;
    let losses = forward.losses.clone();
    let mut grads = forward.backward(taken.retain)?;
    if let Some(name) = optimizer.step(model, &mut grads, taken.rate)? {
        finite(losses.mean(), RETAIN, at.step)?;
        return Err(diverged(&format!("the gradient of {name}"), at.step));
    }
    let Step { rate: lr, goal, alpha, weight, .. } = taken;
    let (step, tau, retain_loss) = (at.step, at.unseen.all.mean, f64::NAN);
    log.open =
        Some((StepRecord { step, alpha, weight, lr, forget_loss: loss, retain_loss, goal, tau, active }, losses));
    Ok(())
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

fn summarize(steps: &[StepRecord], epoch: usize, epochs: usize, done: usize) -> Option<EpochRecord> {
    let last = steps.last()?;
    let mean = |f: fn(&StepRecord) -> f64| steps.iter().map(f).sum::<f64>() / steps.len() as f64;
    Some(EpochRecord {
        epoch: epoch + 1,
        epochs,
        step: done,
        alpha: last.alpha,
        weight: last.weight,
        lr: last.lr,
        forget_loss: mean(|s| s.forget_loss),
        retain_loss: mean(|s| s.retain_loss),
        tau: last.tau,
        active: mean(|s| f64::from(u8::from(s.active))),
    })
}
