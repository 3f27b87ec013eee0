//! Ordinary training: of a model from the beginning, without some rows, or further.

use super::{
    BatchIter,
    method::Set,
    recorder::Recorder,
    sgd::Optimizer,
    trace::{Observer, Trajectory},
};
use crate::{
    batch::{Augment, epoch_seed},
    engine::Float,
    error::{Error, Result},
    kernels::Backend,
    model::{Initial, Model},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

/// Most batches over which the statistics of BatchNormalization are measured.
const STATISTICS_BATCHES: usize = 200;

/// The optimizers of a recipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// AdamW with betas 0.9 and 0.999
    #[default]
    AdamW,
    /// SGD with momentum
    Sgd,
}

/// How the learning rate changes over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateSchedule {
    /// No change
    Constant,
    /// Falls linearly to 0
    Linear,
    /// Falls to 0 along half a cosine
    #[default]
    Cosine,
    /// Falls to a tenth after half of the steps, and to a hundredth after three quarters
    Step,
    /// Rises from 1/25 over three tenths of the steps, then falls to 0, both along half a cosine
    OneCycle,
}

impl RateSchedule {
    /// The factor of the learning rate at step `step` of `steps`, counted from 0.
    pub fn share(self, step: usize, steps: usize) -> f64 {
        let done = step as f64 / steps.max(1) as f64;
        let cosine =
            |from: f64, to: f64, done: f64| to + (from - to) * (1.0 + (std::f64::consts::PI * done).cos()) / 2.0;
        match self {
            Self::Constant => 1.0,
            Self::Linear => 1.0 - done,
            Self::Cosine => cosine(1.0, 0.0, done),
            Self::Step => match done {
                d if d < 0.5 => 1.0,
                d if d < 0.75 => 0.1,
                _ => 0.01,
            },
            Self::OneCycle if done < 0.3 => cosine(0.04, 1.0, done / 0.3),
            Self::OneCycle => cosine(1.0, 4e-6, (done - 0.3) / 0.7),
        }
    }
}

/// The settings of a training that a user may give. All are optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecipeSettings {
    /// The optimizer.
    pub optimizer: Option<OptimizerName>,
    /// Largest learning rate.
    pub learning_rate: Option<f64>,
    /// Momentum of SGD.
    pub momentum: Option<f64>,
    /// Weight decay: AdamW's is decoupled.
    pub weight_decay: Option<f64>,
    /// Rows in a batch.
    pub batch_size: Option<usize>,
    /// Passes over the rows.
    pub epochs: Option<usize>,
    /// Schedule of the learning rate.
    pub schedule: Option<RateSchedule>,
    /// Whether half of the images are mirrored at random.
    pub flip: Option<bool>,
    /// Black pixels added around each image, before it is cropped at random to its size.
    pub crop: Option<usize>,
}

/// The resolved settings of a training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recipe {
    /// The optimizer.
    pub optimizer: OptimizerName,
    /// Largest learning rate.
    pub learning_rate: f64,
    /// Momentum of SGD.
    pub momentum: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Rows in a batch.
    pub batch_size: usize,
    /// Passes over the rows.
    pub epochs: usize,
    /// Schedule of the learning rate.
    pub schedule: RateSchedule,
    /// Augmentation of images.
    #[serde(flatten)]
    pub augment: Augment,
}

impl Recipe {
    /// Resolves the settings. The defaults: 50 epochs along a cosine, with AdamW from 1e-3 and weight decay 0.01, or
    /// SGD from 0.1 (proportionally less with batches below 128), momentum 0.9, and weight decay 5e-4, in batches of
    /// `batch_size`.
    pub fn new(settings: &RecipeSettings, batch_size: usize, mut augment: Augment) -> Self {
        let optimizer = settings.optimizer.unwrap_or_default();
        let sgd = optimizer == OptimizerName::Sgd;
        (augment.flip, augment.crop) = (settings.flip.unwrap_or(false), settings.crop.unwrap_or(0));
        let batch_size = settings.batch_size.unwrap_or(batch_size).max(1);
        let rate = if sgd { 0.1 * (batch_size as f64 / 128.0).min(1.0) } else { 1e-3 };
        Self {
            optimizer,
            learning_rate: settings.learning_rate.unwrap_or(rate),
            momentum: settings.momentum.unwrap_or(0.9),
            weight_decay: settings.weight_decay.unwrap_or(if sgd { 5e-4 } else { 0.01 }),
            batch_size,
            epochs: settings.epochs.unwrap_or(50),
            schedule: settings.schedule.unwrap_or_default(),
            augment,
        }
    }

    /// Steps of a training on this many rows.
    pub fn steps(&self, rows: usize) -> usize {
        self.epochs * rows.div_ceil(self.batch_size)
    }
}

/// Draws every parameter anew, by the rule for its role ([`crate::model::Parameter::initial`]). Weights that are not
/// trained keep their values, and with them whatever they learned from the rows.
///
/// # Errors
/// [`Error::Untrainable`] with the names of parameters whose initial values are unknown; [`Error::Internal`] if the
/// device fails.
pub fn initialize<E: Float, D: Backend<E>>(model: &mut Model<E, D>, seed: u64) -> Result<()> {
    let unknown: Vec<&str> =
        model.parameters().iter().filter(|p| p.initial == Initial::Unknown).map(|p| p.name.as_str()).collect();
    if !unknown.is_empty() {
        return Err(Error::Untrainable(format!(
            "the nodes that take {} do not tell how such a parameter starts: train with --keep-weights, or compare with --reference",
            unknown.join(", ")
        )));
    }
    for i in 0..model.parameters().len() {
        let Some(parameter) = model.parameters().get(i) else { break };
        let mut rng = ChaCha8Rng::seed_from_u64(epoch_seed(seed, "initial", i));
        let mut draw = || match parameter.initial {
            Initial::Uniform(bound) => bound * (2.0 * rng.random::<f64>() - 1.0),
            Initial::Normal(deviation) => deviation * rng.sample::<f64, _>(StandardNormal),
            Initial::Constant(value) => value,
            Initial::Unknown => 0.0,
        };
        let values: Vec<E> = (0..parameter.tensor.len()).map(|_| E::of(draw())).collect();
        model.set_parameter(i, &values)?;
    }
    Ok(())
}

/// Trains `model` on the rows that `pass` gives, pass after pass. Then measures the statistics of its
/// BatchNormalization.
///
/// # Errors
/// [`Error::Unlearning`] if a loss or a weight is not finite; errors of the rows and of `observer`.
pub fn train<E: Float, D: Backend<E>>(
    model: &mut Model<E, D>,
    pass: &mut dyn FnMut(usize, usize) -> Result<BatchIter>,
    rows: usize,
    recipe: &Recipe,
    seed: u64,
    observer: &mut dyn Observer,
) -> Result<Trajectory> {
    let mut optimizer = match recipe.optimizer {
        OptimizerName::AdamW => Optimizer::adamw(model, recipe.weight_decay)?,
        OptimizerName::Sgd => Optimizer::sgd(model, recipe.momentum, recipe.weight_decay)?,
    };
    let steps = recipe.steps(rows);
    let mut recorder = Recorder::new(observer, steps, recipe.epochs);
    for epoch in 0..recipe.epochs {
        for batch in pass(epoch, recipe.batch_size)? {
            let mut batch = batch?;
            let step = recorder.steps();
            recipe.augment.apply(&mut batch, epoch_seed(seed, "augment", step));
            let rate = recipe.learning_rate * recipe.schedule.share(step, steps);
            optimizer.descend(model, &batch, 1.0, rate, Some(Set::Train), &mut recorder)?;
        }
        recorder.epoch()?;
    }
    if model.trains_on_batch_statistics() {
        let batches = pass(recipe.epochs, recipe.batch_size)?;
        model.measure_statistics(batches.take(STATISTICS_BATCHES))?;
    }
    Ok(recorder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_start_and_end_where_they_should() {
        let at = |schedule: RateSchedule, step| schedule.share(step, 100);
        assert_eq!((at(RateSchedule::Constant, 0), at(RateSchedule::Constant, 99)), (1.0, 1.0));
        assert_eq!((at(RateSchedule::Linear, 0), at(RateSchedule::Linear, 50)), (1.0, 0.5));
        assert_eq!(at(RateSchedule::Cosine, 0), 1.0);
        assert!((at(RateSchedule::Cosine, 50) - 0.5).abs() < 1e-12 && at(RateSchedule::Cosine, 99) < 1e-3);
        let step: Vec<f64> = [49, 50, 74, 75].into_iter().map(|s| at(RateSchedule::Step, s)).collect();
        assert_eq!(step, [1.0, 0.1, 0.1, 0.01]);
        assert!((at(RateSchedule::OneCycle, 0) - 0.04).abs() < 1e-12);
        assert!((at(RateSchedule::OneCycle, 30) - 1.0).abs() < 1e-12 && at(RateSchedule::OneCycle, 99) < 1e-3);
    }

    #[test]
    fn a_recipe_follows_its_optimizer() {
        let sgd = RecipeSettings { optimizer: Some(OptimizerName::Sgd), ..RecipeSettings::default() };
        let sgd = Recipe::new(&sgd, 128, Augment::default());
        assert_eq!((sgd.learning_rate, sgd.weight_decay, sgd.batch_size, sgd.epochs), (0.1, 5e-4, 128, 50));
        assert_eq!(sgd.steps(300), 150);
        let small =
            RecipeSettings { optimizer: Some(OptimizerName::Sgd), batch_size: Some(32), ..RecipeSettings::default() };
        assert_eq!(Recipe::new(&small, 128, Augment::default()).learning_rate, 0.025);
        let asked = RecipeSettings { batch_size: Some(7), flip: Some(true), ..RecipeSettings::default() };
        let asked = Recipe::new(&asked, 128, Augment::default());
        assert_eq!((asked.batch_size, asked.learning_rate, asked.augment.flip), (7, 1e-3, true));
    }
}
