//! What a model is fed: rows, stacked, and what they should come out as.

mod augment;

pub use augment::{Augment, ImageInput, Layout};

use crate::{
    each,
    tensor::{Element, HostTensor},
};
use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// What the rows should come out as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// One class a row, counted from 0; or, where the model has scores for several positions of a row, one for each position.
    Class,
    /// 0 or 1, for one logit.
    Binary,
    /// Any number of labels a row: a list of 0 and 1, or of label numbers.
    MultiLabel,
    /// Numbers (regression).
    Value,
    /// At each position the token that follows (causal language models): the labels are the model's own tokens.
    Next,
    /// The tokens behind those that were masked; the others are ignored (masked language models).
    Masked,
    /// The numbers of an input of the model (autoencoders).
    Same,
    /// Whatever a loss graph takes: the labels are among the inputs of the batch.
    #[serde(skip_deserializing)]
    LossGraph,
}

/// How the losses of a row's positions become that of the row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum: long rows weigh more.
    Sum,
}

impl TargetKind {
    /// Whether a row may have a class for each of several positions.
    pub fn has_positions(self) -> bool {
        matches!(self, Self::Class | Self::Next | Self::Masked)
    }
}

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
    /// A class for each position of each row, counted from 0; [`IGNORED`] where the position does not count. Positions of the model
    /// behind those of a row are padding, and do not count.
    Positions {
        /// Row `i` has the classes `ends[i]..ends[i + 1]`; it begins with 0.
        ends: Vec<usize>,
        /// The classes of all rows, one after the other.
        classes: Vec<i64>,
    },
    /// Those of so many rows are among the inputs of the batch, where a loss graph takes them.
    Inputs(usize),
}

/// The class of a position that does not count.
pub const IGNORED: i64 = -1;

impl Targets {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Classes(c) => c.len(),
            Self::Values { width, values } => values.len().checked_div(*width).unwrap_or(0),
            Self::Positions { ends, .. } => ends.len().saturating_sub(1),
            Self::Inputs(rows) => *rows,
        }
    }

    /// Each row's classes by position; nothing unless rows have several.
    pub fn positions(&self) -> impl Iterator<Item = &[i64]> {
        let (ends, classes): (&[usize], &[i64]) = match self {
            Self::Positions { ends, classes } => (ends, classes),
            _ => (&[], &[]),
        };
        ends.windows(2).map(|pair| match pair {
            [start, end] => classes.get(*start..*end).unwrap_or(&[]),
            _ => &[],
        })
    }

    /// Puts `other`'s rows behind these; `None` if they are of another kind.
    #[must_use]
    pub fn append(&mut self, other: Self) -> Option<()> {
        match (self, other) {
            (Self::Classes(a), Self::Classes(b)) => a.extend(b),
            (Self::Values { width: w, values: a }, Self::Values { width, values: b }) if *w == width => a.extend(b),
            (Self::Positions { ends, classes }, Self::Positions { ends: more, classes: b }) => {
                let before = classes.len();
                ends.extend(more.iter().skip(1).map(|end| before + end));
                classes.extend(b);
            }
            (Self::Inputs(rows), Self::Inputs(more)) => *rows += more,
            _ => return None,
        }
        Some(())
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len() * 8,
            Self::Values { values, .. } => values.len() * 4,
            Self::Positions { ends, classes } => (ends.len() + classes.len()) * 8,
            Self::Inputs(_) => 0,
        }
    }

    /// The classes that occur; none where rows have no class.
    pub fn classes(&self) -> BTreeSet<i64> {
        match self {
            Self::Classes(all) => all.iter().copied().collect(),
            Self::Values { .. } | Self::Positions { .. } | Self::Inputs(_) => BTreeSet::new(),
        }
    }

    /// The targets of these rows, in this order; `None` if there is no such row.
    pub fn select(&self, rows: &[usize]) -> Option<Self> {
        Some(match self {
            Self::Inputs(all) => Self::Inputs(rows.iter().all(|row| row < all).then_some(rows.len())?),
            Self::Classes(all) => Self::Classes(rows.iter().map(|&row| all.get(row).copied()).collect::<Option<_>>()?),
            Self::Values { width, values } => {
                let each = rows.iter().map(|row| values.get(row * width..(row + 1) * width));
                Self::Values { width: *width, values: each.collect::<Option<Vec<_>>>()?.concat() }
            }
            Self::Positions { ends, classes } => {
                let each = rows.iter().map(|&row| classes.get(*ends.get(row)?..*ends.get(row.checked_add(1)?)?));
                let each = each.collect::<Option<Vec<_>>>()?;
                let lengths = each.iter().scan(0, |end, row| {
                    *end += row.len();
                    Some(*end)
                });
                Self::Positions { ends: std::iter::once(0).chain(lengths).collect(), classes: each.concat() }
            }
        })
    }
}

/// The seed of one pass over a subset: the same for the same run, subset and epoch, and unlike any other's.
pub fn epoch_seed(seed: u64, subset: &str, epoch: usize) -> u64 {
    let mut sha = Sha256::new();
    sha.update(b"onnx-forget/epoch/v1");
    sha.update(seed.to_le_bytes());
    sha.update((epoch as u64).to_le_bytes());
    sha.update(subset.as_bytes());
    let digest: [u8; 32] = sha.finalize().into();
    digest.iter().take(8).fold(0, |n, &b| n << 8 | u64::from(b))
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

    /// These rows, in this order; a row may come several times. `None` if one does not exist, or if an input's first axis
    /// is not the row.
    pub fn select(&self, rows: &[usize]) -> Option<Self> {
        fn selected<T: Element>(array: &ArrayD<T>, rows: &[usize]) -> HostTensor {
            T::wrap(array.select(Axis(0), rows))
        }
        if rows.iter().any(|&row| row >= self.rows()) {
            return None;
        }
        let select = |tensor: &HostTensor| {
            (tensor.dims().first() == Some(&self.rows())).then(|| each!(tensor, a => selected(a, rows)))
        };
        let inputs = self.inputs.iter().map(|(name, t)| Some((name.clone(), select(t)?))).collect::<Option<_>>()?;
        Some(Self { inputs, targets: self.targets.select(rows)? })
    }

    /// All rows in batches of `size`, the last one filled up by repeating its last row, and how many rows of each count.
    /// `None` as for [`Batch::select`].
    pub fn pieces(&self, size: usize) -> Option<Vec<(Self, usize)>> {
        let last = self.rows().saturating_sub(1);
        self.cut(size, |start| (start..start + size).map(|row| row.min(last)).collect())
    }

    /// All rows in batches of `size`, the last one possibly smaller, and how many rows each has. `None` as for
    /// [`Batch::select`].
    pub fn parts(&self, size: usize) -> Option<Vec<(Self, usize)>> {
        self.cut(size, |start| (start..self.rows().min(start + size)).collect())
    }

    fn cut(&self, size: usize, chosen: impl Fn(usize) -> Vec<usize>) -> Option<Vec<(Self, usize)>> {
        let part = |start: usize| Some((self.select(&chosen(start))?, size.min(self.rows() - start)));
        (0..self.rows()).step_by(size.max(1)).map(part).collect()
    }
}
