//! The methods that ∇τ is compared with, each as its paper and the authors' code set it, on the same rows and the same batches.
//!
//! Where rows are few, batches are smaller than published, and the steps of SGD in proportion ([`Wanted::sgd_rate`]).

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
    method::{Method, MethodName, NablaTau, Set, Sets, Wanted},
    nabla_tau::BatchIter,
    schedule::Schedule,
    training::Recipe,
};
use crate::{
    data::Batch,
    engine::Float,
    error::{Error, Result},
    kernels::Backend,
};

/// The method of a name, with its settings.
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
    }
}

/// A set's batches, pass after pass.
struct Cycle {
    set: Set,
    size: usize,
    passes: usize,
    current: Option<BatchIter>,
}

impl Cycle {
    fn new(set: Set, size: usize) -> Self {
        Self { set, size, passes: 0, current: None }
    }

    fn next(&mut self, sets: &mut dyn Sets) -> Result<Batch> {
        // The second turn is for a pass that is used up.
        for _ in 0..2 {
            if let Some(batch) = self.current.as_mut().and_then(Iterator::next) {
                return batch;
            }
            self.current = Some(sets.pass(self.set, self.passes, self.size)?);
            self.passes += 1;
        }
        Err(Error::Data("a set of rows is empty".into()))
    }
}

/// Settings that the report names beside those that all methods have.
macro_rules! further {
    ($($name:literal: $value:expr),* $(,)?) => {
        [$(($name.to_string(), serde_json::json!($value))),*].into_iter().collect()
    };
}
use further;
