//! Training from the beginning on the retained rows: the result that the other methods approximate in less time.

use super::further;
use crate::{
    engine::Float,
    error::Result,
    fit::{Recipe, initialize, train},
    kernels::Backend,
    method::{Method, MethodName, MethodSettings, Set, Sets, Wanted},
    model::Model,
    trace::{Observer, Trajectory},
};

/// Draws parameters anew by their roles, and trains by a recipe. The result is a model without the rows only if the
/// user froze no weight: a frozen weight keeps what it learned from them.
#[derive(Clone, Debug)]
pub struct Retrain {
    recipe: Recipe,
    rows: usize,
}

impl Retrain {
    /// By `recipe`; the settings of the method override it.
    pub fn new(wanted: &Wanted, recipe: &Recipe) -> Self {
        let mut recipe = recipe.clone();
        recipe.epochs = wanted.epochs.unwrap_or(recipe.epochs);
        recipe.learning_rate = wanted.learning_rate.unwrap_or(recipe.learning_rate);
        recipe.weight_decay = wanted.weight_decay.unwrap_or(recipe.weight_decay);
        Self { recipe, rows: wanted.retain }
    }
}

impl<E: Float, D: Backend<E>> Method<E, D> for Retrain {
    fn name(&self) -> MethodName {
        MethodName::Retrain
    }

    fn described(&self) -> MethodSettings {
        let r = &self.recipe;
        MethodSettings {
            batch_size: r.batch_size,
            epochs: r.epochs,
            steps: r.steps(self.rows),
            learning_rate: Some(r.learning_rate),
            weight_decay: r.weight_decay,
            further: further! {
                "optimizer": r.optimizer, "momentum": r.momentum, "schedule": r.schedule,
                "flip": r.augment.flip, "crop": r.augment.crop,
            },
            ..MethodSettings::default()
        }
    }

    fn run(&self, model: &mut Model<E, D>, sets: &mut dyn Sets, observer: &mut dyn Observer) -> Result<Trajectory> {
        let seed = sets.seed();
        initialize(model, seed)?;
        train(model, &mut |pass, size| sets.pass(Set::Retain, pass, size), self.rows, &self.recipe, seed, observer)
    }
}
