//! The record of a run, and its observer.

use crate::error::Result;
use serde::Serialize;

/// One optimizer step. A value that a method does not have, or does not compute in a step, is NaN here and null in
/// files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRecord {
    /// Counted from 0.
    pub step: usize,
    /// α. The weight of the retain term is 1 − α.
    pub alpha: f64,
    /// Weight of the forget term: α + λ.
    pub weight: f64,
    /// Learning rate of this step.
    pub lr: f64,
    /// Mean task loss of the forget batch, before the step.
    pub forget_loss: f64,
    /// Mean task loss of the retain batch, before the step.
    pub retain_loss: f64,
    /// Goal for the forget loss: τ, or the mean task loss of validation rows of the batch's classes.
    pub goal: f64,
    /// τ: mean task loss on validation rows, when it was last computed.
    pub tau: f64,
    /// Whether the forget term had a gradient.
    pub active: bool,
}

impl StepRecord {
    /// A step without any values.
    pub fn none(step: usize) -> Self {
        let [alpha, weight, lr, forget_loss, retain_loss, goal, tau] = [f64::NAN; 7];
        Self { step, alpha, weight, lr, forget_loss, retain_loss, goal, tau, active: false }
    }
}

/// One epoch: means over its steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: usize,
    /// Number of epochs in the run.
    pub epochs: usize,
    /// Steps done so far.
    pub step: usize,
    /// α.
    pub alpha: f64,
    /// Weight of the forget term at the end.
    pub weight: f64,
    /// Learning rate at the end.
    pub lr: f64,
    /// Mean of the forget batches' losses.
    pub forget_loss: f64,
    /// Mean of the retain batches' losses.
    pub retain_loss: f64,
    /// τ in this epoch.
    pub tau: f64,
    /// Share of this epoch's steps in which the forget term had a gradient.
    pub active: f64,
}

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Trajectory {
    /// Each step.
    pub steps: Vec<StepRecord>,
    /// Each epoch.
    pub epochs: Vec<EpochRecord>,
    /// Each τ, in the order in which they were computed.
    pub tau: Vec<f64>,
    /// Wall time of the steps, without the computation of τ.
    pub seconds: f64,
}

impl Trajectory {
    /// Number of steps in which the forget term had a gradient.
    pub fn active_steps(&self) -> usize {
        self.steps.iter().filter(|s| s.active).count()
    }
}

/// Watches a run, and may end it.
pub trait Observer {
    /// Called after each step, once its losses are known, which may be during the next step. An error ends the run;
    /// this is how an interruption is reported.
    ///
    /// # Errors
    /// To end the run.
    fn step(&mut self, _record: &StepRecord, _steps: usize) -> Result<()> {
        Ok(())
    }
    /// Called after each epoch.
    ///
    /// # Errors
    /// To end the run.
    fn epoch(&mut self, _record: &EpochRecord) -> Result<()> {
        Ok(())
    }
}

/// Watches nothing.
impl Observer for () {}
