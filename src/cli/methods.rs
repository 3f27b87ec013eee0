//! Methods for a job: settings from its sizes, and whether its rows allow them.

use super::job::Job;
use crate::{
    data::{Augment, Rows, Targets},
    error::{Error, Result},
    graph::training::LossKind,
    kernels::Backend,
    model::{BatchNorm, ModelOptions},
    unlearn::{Method, MethodName, Recipe, Wanted, baselines},
};

impl Job {
    /// A method as the user set it.
    ///
    /// # Errors
    /// [`Error::Usage`] if images are to be changed and there are none.
    pub fn method<D: Backend<f32>>(&self, name: MethodName) -> Result<Box<dyn Method<f32, D>>> {
        let s = &self.config.unlearn;
        let asked =
            Wanted { epochs: s.epochs, learning_rate: s.learning_rate, weight_decay: s.weight_decay, ..self.wanted() };
        Ok(baselines::method(name, &self.schedule, &asked, &self.recipe()?))
    }

    /// A method as it is published; ∇τ as the configuration has it.
    ///
    /// # Errors
    /// As [`Job::method`].
    pub fn published_method<D: Backend<f32>>(&self, name: MethodName) -> Result<Box<dyn Method<f32, D>>> {
        Ok(baselines::method(name, &self.schedule, &self.wanted(), &self.recipe()?))
    }

    fn wanted(&self) -> Wanted {
        let (forget, retain) = (self.data.forget.len(), self.data.retain.len());
        Wanted { batch_size: self.schedule.batch_size, forget, retain, ..Wanted::default() }
    }

    fn recipe(&self) -> Result<Recipe> {
        let augment = Augment { images: self.data.train.image_inputs(), ..Augment::default() };
        let recipe = Recipe::new(&self.config.train, self.schedule.batch_size, augment);
        require_images(&recipe)?;
        Ok(recipe)
    }

    /// Why a method cannot be used here, if it cannot.
    ///
    /// # Errors
    /// What reading a row reports.
    pub fn obstacle(&self, name: MethodName) -> Result<Option<String>> {
        let train = &self.data.train;
        let first = train.targets(&Rows::listed(train.len(), vec![0]))?;
        let one_class = matches!(first, Targets::Classes(_)) && self.plan.kind != LossKind::Mse;
        Ok(name.obstacle(self.data.target, one_class))
    }

    /// # Errors
    /// [`Error::Usage`] if the method cannot be used here.
    pub fn require_applicable(&self, name: MethodName) -> Result<()> {
        match self.obstacle(name)? {
            None => Ok(()),
            Some(problem) => Err(Error::Usage(format!("--method {problem}; use another method"))),
        }
    }

    /// How the model is to run for a method: a training from the beginning needs BatchNormalization on batch statistics.
    pub fn options_for(&self, name: MethodName, seed: u64) -> ModelOptions {
        let options = ModelOptions { seed, ..self.model_options() };
        match name {
            MethodName::Retrain => ModelOptions { bn: BatchNorm::Batch, micro_batch: None, ..options },
            _ => options,
        }
    }
}

/// # Errors
/// [`Error::Usage`] if images are to be changed and there are none.
pub fn require_images(recipe: &Recipe) -> Result<()> {
    if recipe.augment.images.is_empty() && !recipe.augment.is_none() {
        return Err(Error::Usage(
            "--flip and --crop change images, and no input of the model is fed with images".into(),
        ));
    }
    Ok(())
}
