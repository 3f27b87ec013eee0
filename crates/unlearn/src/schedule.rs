//! The rules that replace hyperparameters. They depend only on the sizes of the sets.

use super::version::Version;
use serde::{Deserialize, Serialize};

/// Most epochs of a run.
pub const MAX_EPOCHS: usize = 80;
/// Fewest passes of the default loop over the forget set.
pub const MIN_EPOCHS: usize = 10;
/// Epochs between two computations of τ in the published loop.
pub const TAU_EVERY: usize = 5;
/// Batch size if there are enough rows.
pub const BATCH_SIZE: usize = 256;
/// From this batch size on, a step is so little affected by chance that the default loop keeps λ until the end.
pub const STEADY_BATCH_SIZE: usize = 32;
/// Fewest batches that all training rows are divided into.
pub const MIN_BATCHES: usize = 128;
/// Smallest batch size, unless the user sets another.
pub const MIN_BATCH_SIZE: usize = 4;
/// AdamW's learning rate at the start.
pub const LEARNING_RATE: f64 = 1e-3;
/// The learning rate falls linearly to this share of its start.
pub const FINAL_LEARNING_RATE: f64 = 0.1;

/// Scale of the steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepSize {
    /// Proportional to the norm of each output channel's weights.
    #[default]
    Fitted,
    /// As published: the same for all weights.
    Published,
}

/// The settings that a user may give. All are optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The method.
    pub method: Option<super::MethodName>,
    /// Rows in a batch.
    pub batch_size: Option<usize>,
    /// Rows of a batch that run at once.
    pub micro_batch: Option<usize>,
    /// Passes over the forget set.
    pub epochs: Option<usize>,
    /// Weight of the forget term at the start, in [0, 1].
    pub alpha: Option<f64>,
    /// AdamW's learning rate at the start.
    pub learning_rate: Option<f64>,
    /// AdamW's decoupled weight decay.
    pub weight_decay: Option<f64>,
    /// Scale of the steps.
    pub step_size: Option<StepSize>,
    /// Seed of the order of batches, the choice of rows for checks, and dropout.
    pub seed: Option<u64>,
}

/// The resolved settings of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Schedule {
    /// The loop.
    pub version: Version,
    /// Rows in a batch.
    pub batch_size: usize,
    /// Rows of a batch that run at once, if not all. This needs the memory of these rows only; steps are the same up to
    /// rounding.
    pub micro_batch: Option<usize>,
    /// Passes over the forget set.
    pub epochs: usize,
    /// Rows to forget.
    pub forget_rows: usize,
    /// Batches in a pass over the forget set: steps in an epoch.
    pub forget_batches: usize,
    /// Batches in a pass over the retain set.
    pub retain_batches: usize,
    /// α₀: weight of the forget term at the start.
    pub alpha0: f64,
    /// AdamW's learning rate at the start.
    pub learning_rate: f64,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
    /// Scale of the steps.
    pub step_size: StepSize,
    /// Epochs after which the retain set is shuffled and started again.
    pub retain_restart: usize,
    /// The epochs by the published rule, or the user's setting.
    #[serde(skip)]
    published_epochs: usize,
}

impl Schedule {
    /// Resolves the settings for a forget set of `forget` rows and a retain set of `retain` rows, neither empty.
    ///
    /// Epochs: `⌊n_retain_batches / (2 · n_forget_batches) · 6⌋`, about three passes over the retain set; at most
    /// [`MAX_EPOCHS`], at least [`MIN_EPOCHS`] (in the published loop 1). α₀: `5/3 · |D_f| / |D|`, at most 0.5 (arXiv
    /// 2403.14339, section 4, and its reference code).
    pub fn new(settings: &Settings, forget: usize, retain: usize) -> Self {
        let batch_size = settings.batch_size.unwrap_or_else(|| default_batch_size(forget, retain)).max(1);
        let forget_batches = forget.div_ceil(batch_size).max(1);
        let retain_batches = retain.div_ceil(batch_size).max(1);
        let rule = (retain_batches as f64 / (2.0 * forget_batches as f64) * 6.0) as usize;
        let epochs = |least| settings.epochs.unwrap_or(rule.clamp(least, MAX_EPOCHS));
        let share = forget as f64 / (forget + retain).max(1) as f64;
        Self {
            version: Version::default(),
            batch_size,
            micro_batch: settings.micro_batch,
            epochs: epochs(MIN_EPOCHS),
            forget_rows: forget,
            forget_batches,
            retain_batches,
            alpha0: settings.alpha.unwrap_or((5.0 / 3.0 * share).min(0.5)),
            learning_rate: settings.learning_rate.unwrap_or(LEARNING_RATE),
            weight_decay: settings.weight_decay.unwrap_or(0.01),
            step_size: settings.step_size.unwrap_or_default(),
            retain_restart: (retain_batches / forget_batches).max(1),
            published_epochs: epochs(1),
        }
    }

    /// The published loop: its objective, its epochs, and the same AdamW step for all weights.
    ///
    /// Everything else follows the published rules for images, or the user's settings, whatever the rows are. For text
    /// the authors' code has other settings: α₀ 0.5, learning rate 3e-4 throughout, batches of 128, a sixth of the
    /// epochs, and dropout.
    pub fn published(self) -> Self {
        Self { version: Version::Published, step_size: StepSize::Published, epochs: self.published_epochs, ..self }
    }

    /// Steps of the whole run.
    pub fn steps(&self) -> usize {
        self.epochs * self.forget_batches
    }

    /// α when this share of the run is done. It falls linearly from α₀ to 0.
    pub fn alpha(&self, done: f64) -> f64 {
        self.alpha0 * (1.0 - done)
    }

    /// Whether the retain set is shuffled and started again before an epoch.
    pub fn restarts_retain(&self, epoch: usize) -> bool {
        epoch.is_multiple_of(self.retain_restart)
    }
}

/// [`BATCH_SIZE`] if there are enough rows. With few rows, an epoch would then have only a step or two. The batch size
/// is therefore the largest power of two that divides all training rows into at least [`MIN_BATCHES`] batches.
fn default_batch_size(forget: usize, retain: usize) -> usize {
    let rows = ((forget + retain) / MIN_BATCHES).max(1);
    (1 << rows.ilog2()).clamp(MIN_BATCH_SIZE, BATCH_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_published_rules() {
        // CIFAR-10, 15 % forgotten: 7,500 and 42,500 rows in batches of 256 are 30 and 167 batches.
        let s = Schedule::new(&Settings::default(), 7_500, 42_500);
        assert_eq!((s.batch_size, s.forget_batches, s.retain_batches), (256, 30, 167));
        assert_eq!((s.epochs, s.steps(), s.retain_restart), (16, 480, 5));
        assert!((s.alpha0 - 0.25).abs() < 1e-12);
        assert_eq!(s.alpha(0.0), s.alpha0);
        assert!((s.alpha(15.0 / 16.0) - 0.25 / 16.0).abs() < 1e-12);
    }

    #[test]
    fn the_published_loop_knows_no_fitted_steps() {
        let s = Schedule::new(&Settings::default(), 10, 100);
        assert_eq!((s.version, s.step_size), (Version::Invariant, StepSize::Fitted));
        let published = s.clone().published();
        assert_eq!((published.version, published.step_size), (Version::Published, StepSize::Published));
        assert_eq!((published.steps(), published.alpha0), (s.steps(), s.alpha0));
    }

    #[test]
    fn small_data_make_small_batches() {
        let size = |forget, retain| Schedule::new(&Settings::default(), forget, retain).batch_size;
        assert_eq!((size(135, 765), size(75, 225), size(1, 20)), (4, 4, 4));
        assert_eq!((size(1_000, 9_000), size(3, 49_997), size(3_000, 17_000)), (64, 256, 128));
    }

    #[test]
    fn holds_at_the_extremes() {
        let few = Schedule::new(&Settings::default(), 10, 1_000_000);
        assert_eq!(few.epochs, MAX_EPOCHS);
        let most = Schedule::new(&Settings::default(), 90_000, 10_000);
        assert_eq!((most.epochs, most.alpha0, most.retain_restart), (MIN_EPOCHS, 0.5, 1));
        assert_eq!((most.published().epochs, few.published().epochs), (1, MAX_EPOCHS));
        let asked = Settings { epochs: Some(3), alpha: Some(0.9), batch_size: Some(7), ..Settings::default() };
        let asked = Schedule::new(&asked, 70, 700);
        assert_eq!((asked.epochs, asked.alpha0, asked.steps()), (3, 0.9, 30));
        assert_eq!(asked.published().epochs, 3);
    }
}
