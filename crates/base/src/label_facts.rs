//! What label columns hold: enough to tell which of a model's outputs they belong to. The data are looked at for it, and the graph's outputs
//! are held against it.

/// What label columns hold.
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
    /// Values of the longest row.
    pub longest: usize,
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
