//! The default loop. It differs from the published one in seven points (docs/method.md gives the reasons):
//!
//! - Losses are measured in units of the goal, so nothing depends on the unit of the loss ([`objective`](super::objective)).
//! - A step is proportional to the norm of each channel's weights, so nothing depends on how the exporter scaled them
//!   ([`optim`](crate::optim)).
//! - The distance to the goal is the mean over the last [`BATCH_SIZE`] rows, or over the batch if it is larger, so the
//!   noise of a small batch has little effect.
//! - While the goal is not reached, the weight of the forget term grows from α to α + λ, and the step by the factor 1 +
//!   λ ([`Growth`]): a goal out of reach shows that steps are too short. The smaller the batch, the sooner both end
//!   ([`Invariant::calm`]).
//! - The goal is the loss of unseen rows of the same classes, minus what cannot be distinguished from it and, with
//!   small batches, minus what the run itself added to it ([`Unseen::aimed`]). Forgetting moves the goal, so it is
//!   computed again before each epoch, or as soon as steps have seen as many rows as it takes. A class without retained
//!   rows has a goal of its own ([`Unseen::keeping`]).
//! - Except with small batches, α and the learning rate fall from step to step, not from epoch to epoch, since there
//!   may be few epochs ([`Rule::done`]).
//! - A run passes over the forget set at least [`MIN_EPOCHS`](crate::schedule::MIN_EPOCHS) times, so that the
//!   retain set can recover.

use super::{
    Forgotten, Rule, Step, Unseen,
    objective::{Distance, Growth, hinge, unit},
};
use crate::{
    Batches, Trajectory,
    batch::{Batch, Targets},
    engine::Float,
    error::Result,
    kernels::Backend,
    model::Model,
    schedule::{BATCH_SIZE, FINAL_LEARNING_RATE, STEADY_BATCH_SIZE, Schedule},
};
use std::collections::BTreeSet;

/// Three times the reach of AdamW's first moment, 1/(1 − β₁) steps: before that, the effect of a changed weight cannot
/// be seen.
const RESPONSE: usize = 30;

/// The rule of the default loop, with what it keeps from step to step.
pub(super) struct Invariant<'a> {
    schedule: &'a Schedule,
    distance: Distance,
    growth: Growth,
    before: Option<Before>,
    /// The classes of the retained rows so far.
    kept: BTreeSet<i64>,
    /// Rows that steps have seen since τ was computed.
    trained: usize,
}

/// Losses before the first step.
struct Before {
    /// Mean loss of a sample of retained rows.
    retained: f64,
    unseen: Unseen,
}

impl<'a> Invariant<'a> {
    pub(super) fn new(schedule: &'a Schedule) -> Self {
        let (distance, growth) = (Distance::default(), Growth::default());
        Self { schedule, distance, growth, before: None, kept: BTreeSet::new(), trained: 0 }
    }

    /// Whether batches have [`STEADY_BATCH_SIZE`] rows or more.
    fn is_steady(&self) -> bool {
        self.schedule.batch_size >= STEADY_BATCH_SIZE
    }

    /// How far the loop must calm down at its end, from 0 to nearly 1. The smaller the batch, the noisier a step, and
    /// the larger this number. At 0, λ and its effect on the step last until the end.
    fn calm(&self) -> f64 {
        (1.0 - (self.schedule.batch_size as f64 / STEADY_BATCH_SIZE as f64).powi(2)).max(0.0)
    }

    /// Number of steps over which the distance to the goal is averaged.
    fn smoothed(&self) -> usize {
        BATCH_SIZE.div_ceil(self.schedule.batch_size.max(1))
    }

    /// The learning rate when this share of the run is done, before λ. It falls linearly to a tenth, and further with
    /// smaller batches.
    fn rate(&self, done: f64) -> f64 {
        let last = FINAL_LEARNING_RATE * (1.0 - self.calm());
        self.schedule.learning_rate * (1.0 - (1.0 - last) * done)
    }
}

impl Rule for Invariant<'_> {
    /// As soon as computing it costs no more than the steps since the last time did.
    fn renews_tau(&self, _: usize, last: Option<&Unseen>) -> bool {
        self.trained >= last.map_or(0, |unseen| unseen.all.rows)
    }

    fn aim<E: Float, D: Backend<E>>(
        &mut self,
        unseen: Unseen,
        model: &Model<E, D>,
        batches: &mut dyn Batches,
        so_far: &Trajectory,
    ) -> Result<Unseen> {
        self.trained = 0;
        let (few, rows) = (self.smoothed(), self.schedule.forget_rows);
        let last = so_far.steps.get(so_far.steps.len().saturating_sub(few)..).unwrap_or_default();
        let lowest = so_far.tau.iter().copied().fold(f64::INFINITY, f64::min);
        let Some(before) = &self.before else {
            let retained = Unseen::measure(model, Box::new(batches.retain(0)?.take(few)))?.all.mean;
            self.before = Some(Before { retained, unseen: unseen.clone() });
            return Ok(unseen.aimed(0.0, lowest, rows));
        };
        let retained = last.iter().map(|s| s.retain_loss).sum::<f64>() / last.len().max(1) as f64;
        let damage = if self.is_steady() { 0.0 } else { retained - before.retained };
        let unseen = unseen.aimed(damage, lowest, rows);
        // The classes of retained rows are known only after a whole pass over them.
        let known = so_far.epochs.len() >= self.schedule.retain_restart;
        Ok(if known { unseen.keeping(self.kept.clone(), &before.unseen, rows) } else { unseen })
    }

    fn done(&self, epoch: usize, step: usize) -> f64 {
        match self.is_steady() {
            true => step as f64 / self.schedule.steps() as f64,
            false => epoch as f64 / self.schedule.epochs as f64,
        }
    }

    fn takes(&mut self, forget: &Batch, retain: &Batch) {
        self.trained += forget.rows() + retain.rows();
        if let Targets::Classes(labels) = &retain.targets {
            self.kept.extend(labels);
        }
    }

    fn step(&mut self, forget: &Forgotten<'_>) -> Step {
        let (alpha, rate, calm) = (self.schedule.alpha(forget.done), self.rate(forget.done), self.calm());
        let unit = unit(forget.unseen.goal());
        let goal = forget.unseen.goal_beside(forget.targets, forget.weights);
        let distance = (goal - forget.loss) / unit;
        let grown = self.growth.after(distance, self.schedule.forget_batches.max(RESPONSE));
        let distance = self.distance.after(distance, self.smoothed());
        let grown = grown * (1.0 - calm * forget.done);
        let near = (1.0 - distance).clamp(0.0, 1.0);
        let weight = alpha + grown;
        Step {
            forget: hinge(weight, distance, unit),
            retain: (1.0 - alpha) / unit,
            rate: rate * (1.0 + grown * (1.0 - calm * near)),
            goal,
            alpha,
            weight,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    #[test]
    fn large_batches_count_steps_and_small_ones_calm_down() {
        // CIFAR-10, 15 % forgotten.
        let schedule = Schedule::new(&Settings::default(), 7_500, 42_500);
        let small = Schedule::new(&Settings { batch_size: Some(16), ..Settings::default() }, 7_500, 42_500);
        let (large, small) = (Invariant::new(&schedule), Invariant::new(&small));
        assert_eq!([large.done(0, 0), large.done(8, 240), large.done(8, 255)], [0.0, 0.5, 255.0 / 480.0]);
        assert_eq!((large.calm(), small.calm()), (0.0, 0.75));
        assert_eq!((large.is_steady(), small.is_steady(), small.done(8, 255)), (true, false, 0.5));
        assert_eq!((large.rate(0.0), small.rate(0.0)), (1e-3, 1e-3));
        assert!((large.rate(0.5) - 5.5e-4).abs() < 1e-12 && (small.rate(0.5) - 5.125e-4).abs() < 1e-12);
    }

    #[test]
    fn tau_is_renewed_when_steps_have_seen_as_many_rows() {
        let schedule = Schedule::new(&Settings::default(), 10, 100);
        let renews =
            |trained, last: Option<&Unseen>| Invariant { trained, ..Invariant::new(&schedule) }.renews_tau(1, last);
        let unseen = Unseen::of_rows(100);
        assert!(renews(0, None) && !renews(80, Some(&unseen)) && renews(160, Some(&unseen)));
    }
}
