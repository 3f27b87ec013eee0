//! A method, or a loss, of one's own: what it needs of a model, on the host and whatever the device.

use super::{
    Observer, Trajectory,
    method::{Method, MethodName, MethodSettings, Sets},
    recorder::Recorder,
};
use crate::{
    batch::{Batch, Targets},
    engine::Float,
    error::{Error, Result},
    kernels::Backend,
    model::{Model, Scores},
};
use serde_json::{Map, Value, json};
use std::{fmt, sync::Arc};

/// An unlearning method of one's own.
///
/// It is audited and judged as the others are, and the report tells its name and settings.
///
/// ```
/// use onnx_forget_unlearn::{
///     Result, Set, Sets,
///     own::{Learner, OwnMethod, Steps},
/// };
///
/// /// Gradient ascent on the rows to forget.
/// struct Ascent(f32);
///
/// impl OwnMethod for Ascent {
///     fn name(&self) -> &str {
///         "ascent"
///     }
///
///     fn run(&self, model: &mut dyn Learner, rows: &mut dyn Sets, steps: &mut Steps<'_>) -> Result<()> {
///         for batch in rows.pass(Set::Forget, 0, 64)? {
///             let (loss, gradient) = model.gradient(&batch?)?;
///             for (i, slope) in gradient.iter().enumerate() {
///                 let values: Vec<f32> = model.values(i)?.iter().zip(slope).map(|(w, g)| w + self.0 * g).collect();
///                 model.set_values(i, &values)?;
///             }
///             steps.step(self.0.into(), Some(loss), None)?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait OwnMethod: Send + Sync {
    /// What it is called.
    fn name(&self) -> &str;

    /// Its settings, for the report.
    fn settings(&self) -> Map<String, Value> {
        Map::new()
    }

    /// Changes the values of the trainable tensors. Every step is told to `steps`, which also ends a run that is to end.
    ///
    /// # Errors
    /// Those of the model and of the rows, which are handed on; [`Error::Unlearning`] if the method fails.
    fn run(&self, model: &mut dyn Learner, rows: &mut dyn Sets, steps: &mut Steps<'_>) -> Result<()>;
}

/// Takes each step that was done, with its size and the mean losses before it, and tells whoever watches the run.
pub type Steps<'o> = Recorder<'o>;

/// A trainable tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trainable {
    /// Its name in the file.
    pub name: String,
    /// Its extents.
    pub dims: Vec<usize>,
}

/// A model as a method sees it. Tensors are row-major, and in the order of [`parameters`](Learner::parameters).
pub trait Learner {
    /// The trainable tensors, in the file's order.
    fn parameters(&self) -> Vec<Trainable>;

    /// The values of trainable tensor `i`.
    ///
    /// # Errors
    /// [`Error::Unlearning`] if there are not so many.
    fn values(&self, i: usize) -> Result<Vec<f32>>;

    /// Sets the values of trainable tensor `i`.
    ///
    /// # Errors
    /// [`Error::Unlearning`] if there are not so many, or it has another number of values.
    fn set_values(&mut self, i: usize, values: &[f32]) -> Result<()>;

    /// Losses and scores of the rows, at inference.
    ///
    /// # Errors
    /// [`Error::Data`] if the rows do not fit the model.
    fn scores(&self, batch: &Batch) -> Result<Scores>;

    /// The mean of the model's own loss over the rows, and its gradient.
    ///
    /// # Errors
    /// [`Error::Data`] if the rows do not fit the model.
    fn gradient(&self, batch: &Batch) -> Result<(f64, Vec<Vec<f32>>)>;

    /// The mean of another loss over the rows, and its gradient.
    ///
    /// # Errors
    /// [`Error::Data`] if the rows do not fit the model, [`Error::Unlearning`] if the loss has not a number for every row and
    /// a slope for every score; those of the loss.
    fn gradient_of(&self, batch: &Batch, loss: &dyn OwnLoss) -> Result<(f64, Vec<Vec<f32>>)>;
}

/// A loss of one's own, for [`Learner::gradient_of`]: a number for each row from its scores. It is what a method descends;
/// what is audited and judged remains the model's own loss. Closures are losses.
pub trait OwnLoss {
    /// The losses of the rows, whose scores lie one row after the other, and their slopes.
    ///
    /// # Errors
    /// Whatever keeps it from being computed.
    fn losses(&self, scores: &[f32], targets: &Targets) -> Result<RowLosses>;
}

/// What an [`OwnLoss`] makes of some rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowLosses {
    /// The loss of each row.
    pub losses: Vec<f32>,
    /// For each score, in their order, the derivative of its row's loss.
    pub slopes: Vec<f32>,
}

impl<F: Fn(&[f32], &Targets) -> Result<RowLosses>> OwnLoss for F {
    fn losses(&self, scores: &[f32], targets: &Targets) -> Result<RowLosses> {
        self(scores, targets)
    }
}

impl<E: Float, D: Backend<E>> Learner for Model<E, D> {
    fn parameters(&self) -> Vec<Trainable> {
        let all = Model::parameters(self).iter();
        all.map(|p| Trainable { name: p.name.clone(), dims: p.tensor.dims().to_vec() }).collect()
    }

    fn values(&self, i: usize) -> Result<Vec<f32>> {
        let parameter = Model::parameters(self).get(i).ok_or_else(|| none(i))?;
        Ok(narrow(parameter.tensor.to_vec()))
    }

    fn set_values(&mut self, i: usize, values: &[f32]) -> Result<()> {
        let parameter = Model::parameters(self).get(i).ok_or_else(|| none(i))?;
        let (name, n) = (&parameter.name, parameter.tensor.len());
        if values.len() != n {
            return Err(Error::Unlearning(format!("tensor {name} has {n} values, not {}", values.len())));
        }
        let values: Vec<E> = values.iter().map(|&x| E::of(x.into())).collect();
        self.set_parameter(i, &values)
    }

    fn scores(&self, batch: &Batch) -> Result<Scores> {
        Model::scores(self, batch)
    }

    fn gradient(&self, batch: &Batch) -> Result<(f64, Vec<Vec<f32>>)> {
        let (mean, vectors) = self.gradient_wrt_parameters(batch)?;
        Ok((mean, vectors.into_iter().map(narrow).collect()))
    }

    fn gradient_of(&self, batch: &Batch, loss: &dyn OwnLoss) -> Result<(f64, Vec<Vec<f32>>)> {
        let rows = batch.rows();
        let forward = self.forward_with_logits(batch)?;
        let scores = narrow(forward.logits.clone());
        let RowLosses { losses, slopes } = loss.losses(&scores, &batch.targets)?;
        if (losses.len(), slopes.len()) != (rows, scores.len()) {
            let (of, given) = (losses.len(), slopes.len());
            return Err(Error::Unlearning(format!(
                "a loss gives {of} losses and {given} slopes for {rows} rows of {} scores in all",
                scores.len()
            )));
        }
        let share = 1.0 / rows.max(1) as f64;
        let slopes: Vec<E> = slopes.iter().map(|&slope| E::of(f64::from(slope) * share)).collect();
        let mut grads = forward.backward_with(0.0, &slopes)?;
        let vectors = Model::parameters(self).iter().map(|p| grads.to_vec(&p.tensor).map(narrow));
        let vectors = vectors.collect::<Result<_>>()?;
        Ok((losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() * share, vectors))
    }
}

fn narrow<E: Float>(values: Vec<E>) -> Vec<f32> {
    values.into_iter().map(|x| x.f64() as f32).collect()
}

fn none(i: usize) -> Error {
    Error::Unlearning(format!("there is no trainable tensor {i}, counted from 0"))
}

/// The user's own method, if there is one.
#[derive(Clone, Default)]
pub struct Own(pub Option<Arc<dyn OwnMethod>>);

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref().map_or("none", |own| own.name()))
    }
}

impl<E: Float, D: Backend<E>> Method<E, D> for Own {
    fn name(&self) -> MethodName {
        MethodName::Own
    }

    fn described(&self) -> MethodSettings {
        let Some(own) = &self.0 else { return MethodSettings::default() };
        let mut further = own.settings();
        further.insert("name".into(), json!(own.name()));
        MethodSettings { further, ..MethodSettings::default() }
    }

    fn run(&self, model: &mut Model<E, D>, sets: &mut dyn Sets, observer: &mut dyn Observer) -> Result<Trajectory> {
        let own = self.0.as_ref().ok_or_else(|| Error::Usage("no method of one's own was given".into()))?;
        let mut steps = Recorder::new(observer, 0, 0);
        own.run(model, sets, &mut steps)?;
        for parameter in model.parameters() {
            if parameter.tensor.to_vec().iter().any(|x| !x.f64().is_finite()) {
                let problem = format!("method {}: tensor {} is no longer finite", own.name(), parameter.name);
                return Err(Error::Unlearning(problem));
            }
        }
        Ok(steps.finish())
    }
}

/// What is to be done: a method by its name, or one's own.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// One of this program's.
    Named(MethodName),
    /// One's own.
    Own(Own),
}

impl From<MethodName> for Chosen {
    fn from(name: MethodName) -> Self {
        Self::Named(name)
    }
}

impl<M: OwnMethod + 'static> From<M> for Chosen {
    fn from(method: M) -> Self {
        Self::Own(Own(Some(Arc::new(method))))
    }
}
