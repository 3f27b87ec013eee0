//! What a model is fed.

use crate::tensor::HostTensor;
use std::collections::BTreeMap;

/// What the rows of a batch should come out as.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// One class index a row. Cross-entropy, or a binary loss on one logit (then 0 or 1).
    Classes(Vec<i64>),
    /// `rows × width` values, row-major: 0 and 1 for multi-label, any value for regression.
    Values {
        /// Values a row.
        width: usize,
        /// `rows · width` values.
        values: Vec<f32>,
    },
}

impl Targets {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Classes(c) => c.len(),
            Self::Values { width, values } => values.len().checked_div(*width).unwrap_or(0),
        }
    }
}

/// Rows, decoded and stacked: each input's first axis is the row.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Tensor of each model input, by name.
    pub inputs: BTreeMap<String, HostTensor>,
    /// What the rows should come out as.
    pub targets: Targets,
}

impl Batch {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.targets.rows()
    }
}
