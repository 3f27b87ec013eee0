//! What is known of the labels before the loss is chosen.

use super::LossKind;
use crate::{batch::Reduction, label_facts::LabelFacts};

/// What labels are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelKind {
    /// One class index a row.
    Class,
    /// 0 or 1 a row.
    Binary,
    /// Several 0 or 1 a row.
    MultiLabel,
    /// A class for each of several positions a row.
    Positions,
    /// Real values.
    Value,
    /// Nothing is known.
    #[default]
    Unknown,
}

/// What is known of the labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labels {
    /// What they are.
    pub kind: LabelKind,
    /// What they hold, where it was looked at.
    pub facts: Option<LabelFacts>,
}

impl From<LabelKind> for Labels {
    fn from(kind: LabelKind) -> Self {
        Self { kind, facts: None }
    }
}

/// What decides the loss.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The loss, if one is asked for.
    pub loss: Option<LossKind>,
    /// The output, if one is asked for.
    pub output: Option<String>,
    /// The labels.
    pub labels: Labels,
    /// The axis of the classes, where a row has several positions and it is asked for; negative ones count from the end.
    pub class_axis: Option<i64>,
    /// How the losses of a row's positions become that of the row.
    pub reduction: Reduction,
}
