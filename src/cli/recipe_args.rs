//! How a model is trained, as it is typed.

use crate::run::{OptimizerName, RateSchedule, RecipeSettings};
use clap::Args;
use std::num::NonZeroUsize;

/// A recipe. What is not given is taken from `[train]` in the configuration, else from the defaults.
#[derive(Debug, Default, Args)]
pub struct RecipeArgs {
    /// Optimizer
    #[arg(long, value_parser = super::values::optimizers(), value_name = "NAME", help_heading = "Training from the beginning")]
    pub optimizer: Option<OptimizerName>,
    /// Largest learning rate; if not given 0.001 for adamw, 0.1 for sgd (less with batches below 128)
    #[arg(long, value_name = "LR", help_heading = "Training from the beginning")]
    pub learning_rate: Option<f64>,
    /// Momentum of sgd; 0.9 if not given
    #[arg(long, value_name = "M", help_heading = "Training from the beginning")]
    pub momentum: Option<f64>,
    /// Weight decay; if not given 0.01 for adamw (decoupled), 0.0005 for sgd
    #[arg(long, value_name = "WD", help_heading = "Training from the beginning")]
    pub weight_decay: Option<f64>,
    /// Passes over the rows; 50 if not given
    #[arg(long, value_name = "N", help_heading = "Training from the beginning")]
    pub epochs: Option<NonZeroUsize>,
    /// Schedule of the learning rate; cosine if not given
    #[arg(long, value_parser = super::values::schedules(), value_name = "NAME", help_heading = "Training from the beginning")]
    pub schedule: Option<RateSchedule>,
    /// Mirror half of the images
    #[arg(long, help_heading = "Training from the beginning")]
    pub flip: bool,
    /// Pad each image by this many black pixels, then crop it at random to its size
    #[arg(long, value_name = "PIXELS", help_heading = "Training from the beginning")]
    pub crop: Option<usize>,
}

impl RecipeArgs {
    /// Lays the flags over what the configuration says.
    pub fn over(&self, s: &mut RecipeSettings) {
        s.optimizer = self.optimizer.or(s.optimizer);
        s.learning_rate = self.learning_rate.or(s.learning_rate);
        s.momentum = self.momentum.or(s.momentum);
        s.weight_decay = self.weight_decay.or(s.weight_decay);
        s.epochs = self.epochs.map(Into::into).or(s.epochs);
        s.schedule = self.schedule.or(s.schedule);
        s.flip = Some(true).filter(|_| self.flip).or(s.flip);
        s.crop = self.crop.or(s.crop);
    }
}
