//! What all unlearning methods have in common: name, settings, how to run them.

use super::{
    BatchIter, Batches, Version, nabla_tau,
    own::Own,
    schedule::{BATCH_SIZE, Schedule, StepSize},
    trace::{Observer, Trajectory},
};
use crate::{
    batch::{Batch, TargetKind},
    engine::Float,
    error::Result,
    kernels::Backend,
    model::Model,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The methods, by their names on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodName {
    /// Raises the loss of the rows to forget to that of unseen rows, and keeps the loss of the others low
    #[default]
    NablaTau,
    /// The published form of ∇τ: depends on the unit of the loss and on how the exporter scaled the weights
    NablaTauPaper,
    /// Trains further on the retained rows only
    FineTune,
    /// Raises the loss of the rows to forget
    #[serde(rename = "neggrad")]
    NegGrad,
    /// As neggrad, but keeps the loss of the retained rows low
    #[serde(rename = "neggrad+")]
    NegGradPlus,
    /// Moves away from the trained model's answers on the rows to forget, and stays close to them on the others
    Scrub,
    /// As scrub, then returns to the epoch in which the rows to forget are answered as well as unseen rows
    #[serde(rename = "scrub+r")]
    ScrubR,
    /// Shrinks the weights that matter more for the rows to forget than for all rows
    Ssd,
    /// Trains on all rows, with one wrong class for each row to forget
    Amnesiac,
    /// As random-labels, but changes only the half of the weights that matters most for the rows to forget
    #[serde(rename = "salun")]
    SalUn,
    /// Trains in turn on the rows to forget with random classes and on the retained rows
    RandomLabels,
    /// Trains from the beginning on the retained rows only
    Retrain,
    /// The user's own: see [`crate::own`]
    #[serde(skip_deserializing)]
    Own,
}

impl MethodName {
    /// All methods that have a name on the command line.
    pub fn all() -> &'static [Self] {
        &[
            Self::NablaTau,
            Self::NablaTauPaper,
            Self::FineTune,
            Self::NegGrad,
            Self::NegGradPlus,
            Self::Scrub,
            Self::ScrubR,
            Self::Ssd,
            Self::Amnesiac,
            Self::SalUn,
            Self::RandomLabels,
            Self::Retrain,
        ]
    }

    /// The name on the command line and in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NablaTau => "nabla-tau",
            Self::NablaTauPaper => "nabla-tau-paper",
            Self::FineTune => "fine-tune",
            Self::NegGrad => "neggrad",
            Self::NegGradPlus => "neggrad+",
            Self::Scrub => "scrub",
            Self::ScrubR => "scrub+r",
            Self::Ssd => "ssd",
            Self::Amnesiac => "amnesiac",
            Self::SalUn => "salun",
            Self::RandomLabels => "random-labels",
            Self::Retrain => "retrain",
            Self::Own => "own",
        }
    }

    /// The name in papers.
    pub fn title(self) -> &'static str {
        match self {
            Self::NablaTau => "∇τ",
            Self::NablaTauPaper => "∇τ, as published",
            Self::FineTune => "fine-tune",
            Self::NegGrad => "NegGrad",
            Self::NegGradPlus => "NegGrad+",
            Self::Scrub => "SCRUB",
            Self::ScrubR => "SCRUB+R",
            Self::Ssd => "SSD",
            Self::Amnesiac => "Amnesiac",
            Self::SalUn => "SalUn",
            Self::RandomLabels => "random labels",
            Self::Retrain => "retrain",
            Self::Own => "own method",
        }
    }

    /// The reason why the method cannot be used for rows with these labels, if there is one. `one_class`: every row has
    /// one class.
    pub fn obstacle(self, target: TargetKind, one_class: bool) -> Option<String> {
        let problem = match self {
            Self::Amnesiac | Self::SalUn | Self::RandomLabels if !one_class => {
                "gives rows a wrong class, which takes labels of one class a row"
            }
            Self::Scrub | Self::ScrubR if target == TargetKind::LossGraph => {
                "compares answers, and a loss graph, or several targets, give the loss of a row alone"
            }
            Self::Scrub | Self::ScrubR if target.has_positions() && !one_class => {
                "compares one answer a row, and here each row has several positions"
            }
            _ => return None,
        };
        Some(format!("{} {problem}", self.as_str()))
    }
}

impl std::fmt::Display for MethodName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Rows to forget.
    Forget,
    /// The other training rows.
    Retain,
    /// All training rows.
    Train,
}

/// Some training rows, and for each its number among the rows to forget, if it is one of them.
pub type Mixed = (Batch, Vec<Option<usize>>);

/// The source of a method's rows.
pub trait Sets: Batches {
    /// Number of rows.
    fn count(&self, set: Set) -> usize;
    /// One pass over a set in batches of `size`, in an order that depends on `pass`.
    ///
    /// # Errors
    /// Those of reading the rows.
    fn pass(&mut self, set: Set, pass: usize, size: usize) -> Result<BatchIter>;
    /// One pass over all training rows in batches of `size`, in an order that depends on `pass`.
    ///
    /// # Errors
    /// Those of reading the rows.
    fn mixed(&mut self, pass: usize, size: usize) -> Result<Box<dyn Iterator<Item = Result<Mixed>> + '_>>;
    /// The seed of a method's other random choices.
    fn seed(&self) -> u64;
}

/// The settings of a run, as the report shows them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MethodSettings {
    /// Rows in a batch.
    pub batch_size: usize,
    /// Passes over the rows that the method counts passes over; 0 if it makes no steps.
    pub epochs: usize,
    /// Steps.
    pub steps: usize,
    /// Learning rate at the start; none if the method makes no steps.
    pub learning_rate: Option<f64>,
    /// Weight decay.
    pub weight_decay: f64,
    /// ∇τ's weight of the forget term at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha0: Option<f64>,
    /// Scale of ∇τ's steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_size: Option<StepSize>,
    /// Further settings of the method.
    #[serde(flatten)]
    pub further: Map<String, Value>,
}

/// An unlearning method with its settings.
pub trait Method<E: Float, D: Backend<E>> {
    /// Its name.
    fn name(&self) -> MethodName;

    /// Its resolved settings.
    fn described(&self) -> MethodSettings;

    /// Changes the parameters of `model` in place.
    ///
    /// # Errors
    /// [`crate::Error::Unlearning`] if a loss, a gradient, or a weight is not finite; errors of the rows and of
    /// `observer`. The parameters are then unusable.
    fn run(&self, model: &mut Model<E, D>, sets: &mut dyn Sets, observer: &mut dyn Observer) -> Result<Trajectory>;
}

/// ∇τ, see [`nabla_tau`].
#[derive(Clone, Debug)]
pub struct NablaTau(pub Schedule);

impl<E: Float, D: Backend<E>> Method<E, D> for NablaTau {
    fn name(&self) -> MethodName {
        match self.0.version {
            Version::Invariant => MethodName::NablaTau,
            Version::Published => MethodName::NablaTauPaper,
        }
    }

    fn described(&self) -> MethodSettings {
        let s = &self.0;
        MethodSettings {
            batch_size: s.batch_size,
            epochs: s.epochs,
            steps: s.steps(),
            learning_rate: Some(s.learning_rate),
            weight_decay: s.weight_decay,
            alpha0: Some(s.alpha0),
            step_size: Some(s.step_size),
            further: Map::new(),
        }
    }

    fn run(&self, model: &mut Model<E, D>, sets: &mut dyn Sets, observer: &mut dyn Observer) -> Result<Trajectory> {
        nabla_tau::run(model, sets, &self.0, observer)
    }
}

/// The user's settings of a method, and the sizes that its rules depend on.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Rows in a batch.
    pub batch_size: usize,
    /// Rows to forget.
    pub forget: usize,
    /// The other training rows.
    pub retain: usize,
    /// Passes, if set.
    pub epochs: Option<usize>,
    /// Learning rate at the start, if set.
    pub learning_rate: Option<f64>,
    /// Weight decay, if set.
    pub weight_decay: Option<f64>,
    /// A method of the user's own.
    pub own: Own,
}

impl Wanted {
    /// The learning rate that the user set, or the one that SGD was published with. The published one is for batches of
    /// [`BATCH_SIZE`]. With smaller batches it is proportionally smaller (arXiv 1706.02677), so that a pass moves the
    /// weights as far.
    pub fn sgd_rate(&self, published: f64) -> f64 {
        let share = self.batch_size as f64 / BATCH_SIZE as f64;
        self.learning_rate.unwrap_or(published * share.min(1.0))
    }

    /// Number of batches in a pass over `rows` rows.
    pub fn batches(&self, rows: usize) -> usize {
        rows.div_ceil(self.batch_size.max(1)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_configurations_and_reports() {
        for name in MethodName::all() {
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
        }
    }

    #[test]
    fn steps_shrink_with_small_batches_unless_asked_for() {
        let wanted = |batch_size, learning_rate| Wanted { batch_size, learning_rate, ..Wanted::default() };
        let rates =
            [wanted(256, None), wanted(64, None), wanted(512, None), wanted(64, Some(0.3))].map(|w| w.sgd_rate(0.1));
        assert_eq!(rates, [0.1, 0.025, 0.1, 0.3]);
    }

    #[test]
    fn methods_that_need_classes_say_so() {
        for name in [MethodName::Amnesiac, MethodName::SalUn, MethodName::RandomLabels] {
            assert!(name.obstacle(TargetKind::Value, false).unwrap().contains("one class a row"));
            assert_eq!(name.obstacle(TargetKind::Binary, true), None);
        }
        for several in [TargetKind::Class, TargetKind::Next, TargetKind::Masked] {
            assert!(MethodName::Scrub.obstacle(several, false).is_some());
        }
        assert_eq!(MethodName::Scrub.obstacle(TargetKind::MultiLabel, false), None);
        assert_eq!(MethodName::NablaTau.obstacle(TargetKind::Value, false), None);
    }
}
