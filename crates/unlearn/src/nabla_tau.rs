//! ∇τ (Trippa et al., arXiv 2403.14339): raise the loss of the forget set to the loss of unseen rows, lower the loss of
//! the retain set.
//!
//! Each step takes a batch of each set and minimizes
//!
//! ```text
//! L(θ) = α · ReLU(τ − L_f(θ))² + (1 − α) · L_r(θ)
//! ∇L   = −2α · ReLU(τ − L_f) · ∇L_f + (1 − α) · ∇L_r
//! ```
//!
//! where τ is the mean loss on validation rows, a constant. Once the forget loss has reached τ, its term and gradient
//! are zero, and its backward pass is skipped.
//!
//! This is the published loop, [`Version::Published`]. The default, [`Version::Invariant`], differs in seven points
//! (docs/method.md gives the reasons):
//!
//! - Losses are measured in units of the goal, so nothing depends on the unit of the loss ([`objective`]).
//! - A step is proportional to the norm of each channel's weights, so nothing depends on how the exporter scaled them
//!   ([`super::optim`]).
//! - The distance to the goal is the mean over the last [`BATCH_SIZE`](super::schedule::BATCH_SIZE) rows, or over the
//!   batch if it is larger, so the noise of a small batch has little effect.
//! - While the goal is not reached, the weight of the forget term grows from α to α + λ, and the step by the factor 1 +
//!   λ ([`Growth`]): a goal out of reach shows that steps are too short. The smaller the batch, the sooner both end
//!   ([`Schedule::calm`]).
//! - The goal is the loss of unseen rows of the same classes, minus what cannot be distinguished from it and, with
//!   small batches, minus what the run itself added to it ([`Unseen::aimed`]). Forgetting moves the goal, so it is
//!   computed again before each epoch, or as soon as steps have seen as many rows as it takes. A class without retained
//!   rows has a goal of its own ([`Unseen::keeping`]).
//! - Except with small batches, α and the learning rate fall from step to step, not from epoch to epoch, since there
//!   may be few epochs ([`Schedule::done`]).
//! - A run passes over the forget set at least [`MIN_EPOCHS`](super::schedule::MIN_EPOCHS) times, so that the retain
//!   set can recover.

pub mod objective;
pub mod unseen;

use self::{
    objective::{Distance, Growth, Version, hinge},
    unseen::Unseen,
};
use super::{
    cycle::Cycle,
    optim::AdamW,
    schedule::Schedule,
    trace::{EpochRecord, Observer, StepRecord, Trajectory},
};
use crate::{
    batch::{Batch, Targets},
    engine::{Float, Grads},
    error::{Error, Result},
    kernels::Backend,
    model::{Losses, Model},
};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Three times the reach of AdamW's first moment, 1/(1 − β₁) steps: before that, the effect of a changed weight cannot
/// be seen.
const RESPONSE: usize = 30;

/// The name of the descended loss in messages.
const RETAIN: &str = "the loss of a retain batch";

/// An iterator over decoded batches.
pub type BatchIter = Box<dyn Iterator<Item = Result<Batch>>>;

/// The source of a run's batches.
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
/// [`Error::Unlearning`] if a loss, a gradient, or a weight is not finite; errors of the batches and of `observer`.
/// The model's parameters are then unusable.
pub fn run<E: Float, D: Backend<E>>(
    model: &mut Model<E, D>,
    batches: &mut dyn Batches,
    schedule: &Schedule,
    observer: &mut dyn Observer,
) -> Result<Trajectory> {
    let mut optimizer = AdamW::new(model, schedule.weight_decay, schedule.step_size)?;
    let mut log = Log { trajectory: Trajectory::default(), open: None, observer, steps: schedule.steps() };
    let mut retain = Cycle::new("retain");
    let (mut unseen, mut before, mut control) = (None, None, Control::default());
    // The classes of the retained rows so far.
    let mut kept = BTreeSet::new();
    // Rows that steps have seen since τ was computed.
    let mut trained = 0;
    let mut evaluating = Duration::ZERO;
    let start = Instant::now();
    for epoch in 0..schedule.epochs {
        let first = log.trajectory.steps.len();
        if schedule.renews_tau(epoch, trained, unseen.as_ref().map_or(0, |u: &Unseen| u.all.rows)) {
            let clock = Instant::now();
            let found = Unseen::measure(model, batches.validation()?)?;
            log.trajectory.tau.push(finite(found.all.mean, "the loss on validation rows", first)?);
            let found = match schedule.version {
                Version::Published => found,
                Version::Invariant => aimed(found, &mut before, &kept, model, batches, schedule, &log.trajectory)?,
            };
            (unseen, trained) = (Some(found), 0);
            evaluating += clock.elapsed();
        }
        let Some(unseen) = &unseen else { return Err(Error::Internal("no τ before the first epoch".into())) };
        if schedule.restarts_retain(epoch) {
            retain.restart(&mut |pass| batches.retain(pass))?;
        }
        for (step, forget) in (first..).zip(batches.forget(epoch)?) {
            let at = Position { step, done: schedule.done(epoch, step), schedule, unseen };
            let (forget, retain) = (forget?, retain.next(&mut |pass| batches.retain(pass))?);
            trained += forget.rows() + retain.rows();
            if let Targets::Classes(labels) = &retain.targets {
                kept.extend(labels);
            }
            self::step(model, &mut optimizer, &mut control, &mut log, &forget, &retain, at)?;
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
        let Some(record) = summarise(steps, epoch, epochs, first + steps.len()) else {
            return Err(Error::Data("the forget set is empty".into()));
        };
        self.observer.epoch(&record)?;
        self.trajectory.epochs.push(record);
        Ok(())
    }
}

/// Losses before the first step.
struct Before {
    /// Mean loss of a sample of retained rows.
    retained: f64,
    unseen: Unseen,
}

/// `found`, with the goal of the default loop.
fn aimed<E: Float, D: Backend<E>>(
    found: Unseen,
    before: &mut Option<Before>,
    kept: &BTreeSet<i64>,
    model: &Model<E, D>,
    batches: &mut dyn Batches,
    schedule: &Schedule,
    so_far: &Trajectory,
) -> Result<Unseen> {
    let few = schedule.smoothed();
    let last = so_far.steps.get(so_far.steps.len().saturating_sub(few)..).unwrap_or_default();
    let lowest = so_far.tau.iter().copied().fold(f64::INFINITY, f64::min);
    let Some(before) = before else {
        let retained = Unseen::measure(model, Box::new(batches.retain(0)?.take(few)))?.all.mean;
        *before = Some(Before { retained, unseen: found.clone() });
        return Ok(found.aimed(0.0, lowest, schedule.forget_rows));
    };
    let retained = last.iter().map(|s| s.retain_loss).sum::<f64>() / last.len().max(1) as f64;
    let damage = if schedule.is_steady() { 0.0 } else { retained - before.retained };
    let found = found.aimed(damage, lowest, schedule.forget_rows);
    // The classes of retained rows are known only after a whole pass over them.
    let known = so_far.epochs.len() >= schedule.retain_restart;
    Ok(if known { found.keeping(kept.clone(), &before.unseen, schedule.forget_rows) } else { found })
}

/// The default loop's state from step to step.
#[derive(Default)]
struct Control {
    distance: Distance,
    growth: Growth,
}

/// The position of a step in the run.
struct Position<'a> {
    step: usize,
    done: f64,
    schedule: &'a Schedule,
    unseen: &'a Unseen,
}

fn step<E: Float, D: Backend<E>>(
    model: &mut Model<E, D>,
    optimizer: &mut AdamW<E, D>,
    control: &mut Control,
    log: &mut Log<'_, E, D>,
    forget: &Batch,
    retain: &Batch,
    at: Position,
) -> Result<()> {
    let (alpha, rate, tau) = (at.schedule.alpha(at.done), at.schedule.rate(at.done), at.unseen.all.mean);
    let forward = model.forward(forget, None)?;
    // The only place where a step waits for the device: the next move depends on this loss. The last step's result is
    // known then, too.
    let forget_loss = forward.losses.mean();
    log.close(model, optimizer)?;
    let forget_loss = finite(forget_loss, "the loss of a forget batch", at.step)?;
    let unit = at.schedule.version.unit(at.unseen.goal());
    let (goal, distance, grown) = match at.schedule.version {
        Version::Published => (tau, tau - forget_loss, 0.0),
        Version::Invariant => {
            let goal = at.unseen.goal_beside(&forget.targets, &forward.losses.weights);
            let distance = (goal - forget_loss) / unit;
            let grown = control.growth.after(distance, at.schedule.forget_batches.max(RESPONSE));
            (goal, control.distance.after(distance, at.schedule.smoothed()), grown)
        }
    };
    let calm = at.schedule.calm();
    let grown = grown * (1.0 - calm * at.done);
    let near = (1.0 - distance).clamp(0.0, 1.0);
    let (weight, lr) = (alpha + grown, rate * (1.0 + grown * (1.0 - calm * near)));
    let push = hinge(weight, distance, unit);
    let mut grads: Option<Grads<E, D>> = None;
    if push < 0.0 {
        grads = Some(forward.backward(push)?);
    } else {
        forward.release();
    }
    let forward = model.forward(retain, grads)?;
    let losses = forward.losses.clone();
    let mut grads = forward.backward((1.0 - alpha) / unit)?;
    if let Some(name) = optimizer.step(model, &mut grads, lr)? {
        finite(losses.mean(), RETAIN, at.step)?;
        return Err(diverged(&format!("the gradient of {name}"), at.step));
    }
    let (step, retain_loss, active) = (at.step, f64::NAN, push < 0.0);
    log.open = Some((StepRecord { step, alpha, weight, lr, forget_loss, retain_loss, goal, tau, active }, losses));
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

fn summarise(steps: &[StepRecord], epoch: usize, epochs: usize, done: usize) -> Option<EpochRecord> {
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
