//! Methods for a job: settings from its sizes, and whether its rows allow them.

use super::job::Job;
use crate::{
    data::{Augment, Dataset, Rows, Targets},
    error::{Error, Result},
    graph::{
        Graph,
        loss::{LossKind, LossPlan},
        parameters::{self, Decision},
    },
    kernels::Backend,
    model::{BatchNorm, ModelOptions},
    unlearn::{Method, MethodName, Recipe, Wanted, baselines},
};

impl Job {
    /// A method as the user set it.
    ///
    /// # Errors
    /// [`Error::Usage`] if images are to be changed and there are none, or the labels belong to places in them.
    pub(super) fn method<D: Backend<f32>>(&self, name: MethodName) -> Result<Box<dyn Method<f32, D>>> {
        let s = &self.options.unlearn;
        let asked =
            Wanted { epochs: s.epochs, learning_rate: s.learning_rate, weight_decay: s.weight_decay, ..self.wanted() };
        Ok(baselines::method(name, &self.schedule, &asked, &self.recipe()?))
    }

    /// A method as it is published; ∇τ, in both of its forms, as `[unlearn]` in the configuration has it.
    ///
    /// # Errors
    /// As [`Job::method`].
    pub(super) fn published_method<D: Backend<f32>>(&self, name: MethodName) -> Result<Box<dyn Method<f32, D>>> {
        Ok(baselines::method(name, &self.schedule, &self.wanted(), &self.recipe()?))
    }

    fn wanted(&self) -> Wanted {
        let (forget, retain) = (self.data.forget.len(), self.data.retain.len());
        let own = self.options.own.clone();
        Wanted { batch_size: self.schedule.batch_size, forget, retain, own, ..Wanted::default() }
    }

    fn recipe(&self) -> Result<Recipe> {
        let augment = Augment { images: self.data.train.image_inputs(), ..Augment::default() };
        let recipe = Recipe::new(&self.options.train, self.schedule.batch_size, augment);
        require_images(&recipe, &self.data.train)?;
        Ok(recipe)
    }

    /// Why a method cannot be used here, if it cannot.
    ///
    /// # Errors
    /// What reading a row reports.
    pub(super) fn obstacle(&self, name: MethodName) -> Result<Option<String>> {
        if name == MethodName::Retrain {
            let kept = kept_by_choice(&self.model.graph, &self.model.plan, &self.model.decisions)?;
            return Ok(kept
                .map(|kept| format!("{name} draws {kept}; leave the choice out, or compare with --reference MODEL")));
        }
        let train = &self.data.train;
        let first = train.targets(&Rows::listed(train.len(), vec![0]))?;
        let one_class = matches!(first, Targets::Classes(_)) && self.model.plan.kind != LossKind::Mse;
        Ok(name.obstacle(self.data.target, one_class))
    }

    /// # Errors
    /// [`Error::Usage`] if the method cannot be used here.
    pub(super) fn require_applicable(&self, name: MethodName) -> Result<()> {
        match self.obstacle(name)? {
            None => Ok(()),
            Some(problem) if name == MethodName::Retrain => Err(Error::Usage(format!("--method {problem}"))),
            Some(problem) => Err(Error::Usage(format!("--method {problem}; use another method"))),
        }
    }

    /// How the model is to run for a method: a training from the beginning needs BatchNormalization on batch statistics.
    pub(super) fn options_for(&self, name: MethodName, seed: u64) -> ModelOptions {
        let options = ModelOptions { seed, ..self.model_options() };
        match name {
            MethodName::Retrain => ModelOptions { bn: BatchNorm::Batch, micro_batch: None, ..options },
            _ => options,
        }
    }
}

/// Why a training from the beginning would not be one, if weights stay as they are by choice alone: a clause that follows "draws". What
/// is not trained for another reason, as statistics and constants are, is no obstacle.
///
/// # Errors
/// Those of [`parameters::decisions`].
pub(super) fn kept_by_choice(graph: &Graph, plan: &LossPlan, decisions: &[Decision]) -> Result<Option<String>> {
    let free = parameters::decisions(graph, plan, &[], &[])?;
    // Both are in the order of the file.
    let mut kept = free.iter().zip(decisions).filter(|(free, own)| free.trainable && !own.trainable);
    let Some((first, _)) = kept.next() else { return Ok(None) };
    let tensors = match kept.count() {
        0 => format!("`{}` as it is", first.name),
        others => format!("`{}` and {others} more as they are", first.name),
    };
    Ok(Some(format!(
        "every weight anew, but --freeze or --trainable, or their keys under [model] in the configuration, keep {tensors}, with what was \
         learned of rows that are to be left out"
    )))
}

/// Convolutions that nothing normalizes, from which on a training from the beginning is warned of.
const FOLDED: usize = 4;

/// What to say of a graph in which BatchNormalization was folded into convolutions, or seems to have been.
pub(super) fn folded_warning(graph: &Graph) -> Option<String> {
    let convolutions =
        graph.nodes.iter().filter(|node| ["Conv", "FusedConv", "ConvTranspose"].iter().any(|op| node.is(op))).count();
    let normalized = graph.nodes.iter().any(|node| node.op_type.ends_with("Normalization"));
    (convolutions >= FOLDED && !normalized).then(|| {
        format!(
            "{convolutions} convolutions, and nothing that normalizes: if BatchNormalization was folded into them at export, a training \
             from the beginning goes badly; export the model with it (torch.onnx.export in training mode, without constant folding)"
        )
    })
}

/// # Errors
/// [`Error::Usage`] if images are to be changed and there are none, or the labels belong to places in them.
pub(super) fn require_images(recipe: &Recipe, rows: &Dataset) -> Result<()> {
    if recipe.augment.images.is_empty() && !recipe.augment.is_none() {
        return Err(Error::Usage(
            "--flip and --crop change images, and no input of the model is fed with images".into(),
        ));
    }
    if !recipe.augment.is_none() && rows.plan().target.has_places() {
        return Err(Error::Usage(
            "--flip and --crop move the pixels of images, and the labels are a class or a value for each place of them, which would stay \
             where it is: leave both out"
                .into(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{
        loss::{self, LabelKind},
        testing::{Model as Draft, int},
    };

    #[test]
    fn weights_that_are_kept_by_choice_alone_are_named() {
        let draft = Draft::new(17, &["x:f32[n,2]"], &["y:f32[n,2]"])
            .floats("half", &[], vec![0.5])
            .floats("w", &[2, 2], vec![-1.0, 0.2, 1.0, -0.1])
            .floats("b", &[2], vec![0.1, -0.1])
            .node("Mul", "x half", "h", &[])
            .node("Gemm", "h w b", "y", &[int("transB", 1)]);
        let graph = draft.build().unwrap();
        let plan = loss::plan(&graph, None, LabelKind::Class).unwrap();
        let kept = |trainable: &[&str], freeze: &[&str]| {
            let owned = |globs: &[&str]| globs.iter().map(|glob| glob.to_string()).collect::<Vec<_>>();
            let decisions = parameters::decide(&graph, &plan, &owned(trainable), &owned(freeze)).unwrap();
            kept_by_choice(&graph, &plan, &decisions).unwrap()
        };
        assert!(kept(&[], &["b"]).unwrap().contains("keep `b` as it is"));
        assert!(kept(&["b"], &[]).unwrap().contains("keep `w` as it is"));
        // A choice that keeps no weight is none.
        assert_eq!(kept(&[], &[]), None);
        assert_eq!(kept(&["w", "b"], &[]), None);
        assert_eq!(kept(&[], &["half"]), None);
    }
}
