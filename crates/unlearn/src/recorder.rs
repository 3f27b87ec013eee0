//! Records a method's steps, and informs the observer.

use super::{
    method::Set,
    trace::{EpochRecord, Observer, StepRecord, Trajectory},
};
use crate::error::{Error, Result};
use std::time::Instant;

/// A run in progress. A value that a method does not compute in a step is NaN in its record.
pub struct Recorder<'o> {
    observer: &'o mut dyn Observer,
    trajectory: Trajectory,
    steps: usize,
    epochs: usize,
    first: usize,
    start: Instant,
}

impl<'o> Recorder<'o> {
    /// For a run of this many steps and epochs.
    pub fn new(observer: &'o mut dyn Observer, steps: usize, epochs: usize) -> Self {
        Self { observer, trajectory: Trajectory::default(), steps, epochs, first: 0, start: Instant::now() }
    }

    /// Steps so far.
    pub fn steps(&self) -> usize {
        self.trajectory.steps.len()
    }

    /// Records a step of size `lr` and its mean losses.
    ///
    /// # Errors
    /// [`Error::Unlearning`] for a loss that is not finite; errors of the observer.
    pub fn step(&mut self, lr: f64, forget: Option<f64>, retain: Option<f64>) -> Result<()> {
        let step = self.steps();
        if let Some(loss) = [forget, retain].into_iter().flatten().find(|loss| !loss.is_finite()) {
            return Err(Error::Unlearning(format!(
                "a loss became {loss} at step {step}; a smaller step size may help"
            )));
        }
        let (forget_loss, retain_loss) = (forget.unwrap_or(f64::NAN), retain.unwrap_or(f64::NAN));
        let record = StepRecord { lr, forget_loss, retain_loss, ..StepRecord::none(step) };
        self.observer.step(&record, self.steps)?;
        self.trajectory.steps.push(record);
        Ok(())
    }

    /// Records a step of size `lr` on a batch with this mean loss. The loss counts as that of `set`, if it belongs to
    /// one set.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn seen(&mut self, lr: f64, loss: f64, set: Option<Set>) -> Result<()> {
        let of = |wanted: bool| Some(loss).filter(|_| wanted);
        self.step(lr, of(set == Some(Set::Forget)), of(matches!(set, Some(Set::Retain | Set::Train))))
    }

    /// Ends an epoch, unless it had no step.
    ///
    /// # Errors
    /// Errors of the observer.
    pub fn epoch(&mut self) -> Result<()> {
        let steps = self.trajectory.steps.get(self.first..).unwrap_or_default();
        let Some(last) = steps.last() else { return Ok(()) };
        let mean = |of: fn(&StepRecord) -> f64| {
            let seen: Vec<f64> = steps.iter().map(of).filter(|loss| loss.is_finite()).collect();
            seen.iter().sum::<f64>() / seen.len() as f64
        };
        let record = EpochRecord {
            epoch: self.trajectory.epochs.len() + 1,
            epochs: self.epochs,
            step: self.trajectory.steps.len(),
            alpha: f64::NAN,
            weight: f64::NAN,
            lr: last.lr,
            forget_loss: mean(|s| s.forget_loss),
            retain_loss: mean(|s| s.retain_loss),
            tau: f64::NAN,
            active: 0.0,
        };
        self.observer.epoch(&record)?;
        self.trajectory.epochs.push(record);
        self.first = self.trajectory.steps.len();
        Ok(())
    }

    /// The run's record.
    pub fn finish(mut self) -> Trajectory {
        self.trajectory.seconds = self.start.elapsed().as_secs_f64();
        self.trajectory
    }
}
