//! The methods that ∇τ is compared with, with the settings of their papers or their authors' code, on the same rows and
//! batches.
//!
//! With few rows, batches are smaller than published, and SGD's steps are proportionally smaller
//! ([`Wanted::sgd_rate`]).

mod descent;
mod distil;
mod relabel;
mod retrain;
mod scrub;
mod ssd;
#[cfg(test)]
mod tests;

pub use descent::{FineTune, NegGrad, NegGradPlus};
pub use distil::{distance, error};
pub use relabel::{Amnesiac, RandomLabels, salient};
pub use retrain::Retrain;
pub use scrub::Scrub;
pub use ssd::{Ssd, dampened};

use super::{
    fit::Recipe,
    method::{Method, MethodName, MethodSettings, NablaTau, Wanted},
    schedule::Schedule,
};
use crate::{engine::Float, kernels::Backend};
use serde_json::{Map, Value};

/// The method with this name, with its settings.
pub fn method<E: Float, D: Backend<E>>(
    name: MethodName,
    schedule: &Schedule,
    wanted: &Wanted,
    recipe: &Recipe,
) -> Box<dyn Method<E, D>> {
    match name {
        MethodName::NablaTau => Box::new(NablaTau(schedule.clone())),
        MethodName::NablaTauPaper => Box::new(NablaTau(schedule.clone().published())),
        MethodName::FineTune => Box::new(FineTune::new(wanted)),
        MethodName::NegGrad => Box::new(NegGrad::new(wanted)),
        MethodName::NegGradPlus => Box::new(NegGradPlus::new(wanted)),
        MethodName::Scrub => Box::new(Scrub::new(wanted, false)),
        MethodName::ScrubR => Box::new(Scrub::new(wanted, true)),
        MethodName::Ssd => Box::new(Ssd::new(wanted)),
        MethodName::Amnesiac => Box::new(Amnesiac::new(wanted)),
        MethodName::SalUn => Box::new(RandomLabels::new(wanted, true)),
        MethodName::RandomLabels => Box::new(RandomLabels::new(wanted, false)),
        MethodName::Retrain => Box::new(Retrain::new(wanted, recipe)),
        MethodName::Own => Box::new(wanted.own.clone()),
    }
}

/// The settings of a method that makes steps.
#[derive(Clone, Copy, Debug)]
struct Plan {
    batch_size: usize,
    epochs: usize,
    steps: usize,
    learning_rate: f64,
    weight_decay: f64,
}

impl Plan {
    /// As the report shows them, with the method's further settings.
    fn described(&self, further: Map<String, Value>) -> MethodSettings {
        MethodSettings {
            batch_size: self.batch_size,
            epochs: self.epochs,
            steps: self.steps,
            learning_rate: Some(self.learning_rate),
            weight_decay: self.weight_decay,
            further,
            ..MethodSettings::default()
        }
    }
}

/// Settings in the report beyond those that all methods have.
macro_rules! further {
    ($($name:literal: $value:expr),* $(,)?) => {
        [$(($name.to_string(), serde_json::json!($value))),*].into_iter().collect()
    };
}
use further;
