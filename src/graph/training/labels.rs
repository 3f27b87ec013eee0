//! What is known of the labels before the loss is chosen.

use super::LossKind;

/// What labels are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelKind {
    /// One class index a row.
    Class,
    /// 0 or 1 a row.
    Binary,
    /// Several 0 or 1 a row.
    MultiLabel,
    /// Real values.
    Value,
    /// Nothing is known.
    #[default]
    Unknown,
}

/// What the label columns hold: enough to tell which output they belong to.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelFacts {
    /// The columns.
    pub columns: Vec<String>,
    /// Whether all are whole numbers.
    pub whole: bool,
    /// The lowest.
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
    /// Whether they are lists.
    pub lists: bool,
    /// Values a row, if every row has as many.
    pub width: Option<usize>,
}

impl std::fmt::Display for LabelFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.whole { "whole numbers" } else { "real numbers" };
        match (self.width, self.lists) {
            (Some(1), false) => write!(f, "one a row, {kind}"),
            (Some(n), _) => write!(f, "{n} a row, {kind}"),
            (None, _) => write!(f, "lists of different lengths, {kind}"),
        }
    }
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
}
