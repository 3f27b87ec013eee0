//! From columns to what a model is fed: a [`Plan`] says how, a [`Decoded`] holds rows that are ready to be batched.

mod group;
mod image;
mod numbers;
mod positions;
mod store;
mod target;
mod tokens;

pub use group::Group;
#[cfg(feature = "fuzzing")]
pub use image::open_image;
pub use image::{Encoded, Geometry, Picture, Pictures, look, open_mask};
pub use numbers::Numbers;
pub use positions::Positions;
pub use store::Store;
pub use target::{Labels, TargetFeed, Words, number};
pub use tokens::{Derived, Rule, Tokens};

use super::{Batch, Targets, fault::Fault};
use crate::{Error, Result, tensor::HostTensor};
use arrow_array::{ArrayRef, RecordBatch};
use std::collections::BTreeMap;

/// Decoded bytes that are read at once: a pass over a table holds some of these beside the rows that it keeps.
const CHUNK: usize = 4 << 20;

/// How one model input is made.
#[derive(Clone, Debug)]
pub enum Feed {
    /// From encoded images.
    Image(Pictures),
    /// From numbers, or lists of as many numbers in every row.
    Numbers(Numbers),
    /// From lists of token ids.
    Tokens(Tokens),
    /// From the lists that feed another input.
    Derived(Derived),
    /// From labels, where the loss is made of several targets.
    Label(Box<TargetFeed>),
    /// From several columns, one for each item of a row.
    Group(Group),
}

impl Feed {
    /// The columns that are read.
    fn columns(&self) -> Vec<&str> {
        match self {
            Feed::Image(f) => vec![&f.column],
            Feed::Numbers(f) => f.columns.iter().map(String::as_str).collect(),
            Feed::Tokens(f) => vec![&f.column],
            Feed::Derived(_) => Vec::new(),
            Feed::Label(f) => f.columns().collect(),
            Feed::Group(f) => f.items.iter().flat_map(Feed::columns).collect(),
        }
    }

    /// Bytes of a decoded row, where lists of tokens have `tokens` elements.
    fn row_bytes(&self, tokens: &impl Fn(&str) -> f64) -> f64 {
        match self {
            Feed::Image(f) => f.row_bytes() as f64,
            Feed::Numbers(f) => (f.row_len() * f.stored_size()) as f64,
            Feed::Tokens(f) => 8.0 * (1.0 + tokens(&f.column)),
            Feed::Derived(_) => 0.0,
            Feed::Label(f) => f.row_bytes(tokens),
            Feed::Group(f) => f.items.iter().map(|item| item.row_bytes(tokens)).sum(),
        }
    }

    fn decode(&self, batch: &RecordBatch) -> Result<Store, Fault> {
        Ok(match self {
            Feed::Image(f) => f.decode(column(batch, &f.column)?, &super::source::folder_of(batch))?,
            Feed::Numbers(f) => f.decode(batch)?,
            Feed::Tokens(f) => f.decode(column(batch, &f.column)?)?,
            Feed::Derived(_) => Store::None,
            Feed::Label(f) => f.stored(batch)?,
            Feed::Group(f) => f.decode(batch)?,
        })
    }

    /// The tensor of these rows; one that is derived needs the plan.
    fn stack(&self, store: &Store, rows: &[usize]) -> Result<HostTensor> {
        match self {
            Feed::Image(f) => f.stack(store, rows),
            Feed::Numbers(f) => f.stack(store, rows),
            Feed::Tokens(f) => f.stack(store, rows),
            Feed::Label(f) => f.stack(store, rows),
            Feed::Group(f) => f.stack(store, rows),
            Feed::Derived(_) => Err(Error::Internal("an input that follows nothing".into())),
        }
    }
}

/// How rows are made ready for a model.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How each model input is made, by name.
    pub feeds: Vec<(String, Feed)>,
    /// How the targets are made.
    pub target: TargetFeed,
}

impl Plan {
    /// The columns that are read.
    pub fn columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = self.feeds.iter().flat_map(|(_, feed)| feed.columns()).collect();
        columns.extend(self.target.columns());
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Bytes of a decoded row, where lists of tokens have `tokens` elements.
    pub fn row_bytes(&self, tokens: impl Fn(&str) -> f64) -> f64 {
        self.feeds.iter().map(|(_, feed)| feed.row_bytes(&tokens)).sum::<f64>() + self.target.row_bytes(&tokens)
    }

    /// Rows that are read at once: fewer where they are large.
    pub fn chunk(&self) -> usize {
        let bytes = self.row_bytes(|_| 64.0).max(1.0);
        (CHUNK as f64 / bytes).clamp(64.0, 65536.0) as usize
    }

    /// Decodes rows.
    ///
    /// # Errors
    /// `Fault` names the column, and the row where one is wrong: a value that is missing, is out of range, or does
    /// not fit the input; an image that cannot be decoded; a label that the model does not have; lists that differ in
    /// length from the tokens that they follow.
    pub fn decode(&self, batch: &RecordBatch) -> Result<Decoded, Fault> {
        let stores = self.feeds.iter().map(|(_, feed)| feed.decode(batch)).collect::<Result<Vec<_>, Fault>>()?;
        self.same_lengths(&stores)?;
        Ok(Decoded { rows: batch.num_rows(), stores, targets: self.target.decode(batch)? })
    }

    /// Checks the lists that follow tokens.
    ///
    /// # Errors
    /// A mask, or another input that follows tokens, with a list of another length than the tokens of its row.
    fn same_lengths(&self, stores: &[Store]) -> Result<(), Fault> {
        let lists = |index: usize| match (self.feeds.get(index), stores.get(index)) {
            (Some((_, Feed::Tokens(feed))), Some(Store::Lists { ends, .. })) => Some((feed, ends)),
            _ => None,
        };
        for (follower, ends) in (0..stores.len()).filter_map(lists) {
            let Some((tokens, theirs)) = follower.follows.and_then(lists) else { continue };
            // Both start at 0, so that the first end that differs is that of the first row that does.
            if let Some(end) = ends.iter().zip(theirs).position(|(a, b)| a != b) {
                let problem = format!(
                    "column `{}` has a list of another length than column `{}`; it needs a value for each token",
                    follower.column, tokens.column
                );
                return Err(Fault::at(end.saturating_sub(1), problem));
            }
        }
        Ok(())
    }

    /// No rows.
    pub fn empty(&self) -> Decoded {
        let stores = self.feeds.iter().map(|_| Store::None).collect();
        Decoded { rows: 0, stores, targets: self.target.empty() }
    }

    /// Stacks decoded rows, in the order given.
    ///
    /// # Errors
    /// [`Error::Internal`] if `decoded` is of another plan, or `rows` names a row beyond it.
    pub fn batch(&self, decoded: &Decoded, rows: &[usize]) -> Result<Batch> {
        let mut inputs = BTreeMap::new();
        for (index, (name, feed)) in self.feeds.iter().enumerate() {
            let store =
                |i: usize| decoded.stores.get(i).ok_or_else(|| Error::Internal("decoded rows of another plan".into()));
            let tensor = match feed {
                Feed::Derived(f) => match self.feeds.get(f.of) {
                    Some((_, Feed::Tokens(tokens))) => f.stack(tokens, store(f.of)?, rows)?,
                    Some((_, Feed::Group(group))) => group.derived(f, store(f.of)?, rows)?,
                    _ => return Err(Error::Internal(format!("input `{name}` follows an input without tokens"))),
                },
                feed => feed.stack(store(index)?, rows)?,
            };
            inputs.insert(name.clone(), tensor);
        }
        let targets = match &self.target.labels {
            Labels::Same(of) => {
                let input = self.feeds.get(*of).and_then(|(name, _)| inputs.get(name));
                let values = input.map(|tensor| tensor.to_f32()).unwrap_or_default();
                Targets::Values { width: values.len().checked_div(rows.len()).unwrap_or(0), values }
            }
            Labels::Inputs => Targets::Inputs(rows.len()),
            _ => take_targets(&decoded.targets, rows)?,
        };
        Ok(Batch { inputs, targets })
    }
}

/// The column of a batch.
fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, String> {
    batch.column_by_name(name).ok_or_else(|| format!("column `{name}` was not read"))
}

/// Rows made ready.
#[derive(Clone, Debug)]
pub struct Decoded {
    rows: usize,
    stores: Vec<Store>,
    /// The targets of the rows.
    pub targets: Targets,
}

impl Decoded {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Bytes that the rows take.
    pub fn bytes(&self) -> usize {
        self.stores.iter().map(Store::bytes).sum::<usize>() + self.targets.bytes()
    }

    /// Makes room for `rows` rows in all.
    pub fn reserve(&mut self, rows: usize) {
        self.stores.iter_mut().for_each(|store| store.reserve(rows));
    }

    /// Puts `other`'s rows behind these.
    ///
    /// # Errors
    /// [`Error::Internal`] if `other` is of another plan.
    pub fn append(&mut self, other: Decoded) -> Result<()> {
        let mixed = || Error::Internal("decoded rows of two plans".into());
        self.rows += other.rows;
        for (mine, theirs) in self.stores.iter_mut().zip(other.stores) {
            mine.append(theirs).ok_or_else(mixed)?;
        }
        self.targets.append(other.targets).ok_or_else(mixed)
    }

    /// The given rows only, in the order given.
    ///
    /// # Errors
    /// [`Error::Internal`] if `rows` names a row beyond the decoded ones.
    pub fn take(&self, rows: &[usize]) -> Result<Decoded> {
        let stores = self.stores.iter().map(|s| s.take(rows)).collect::<Option<_>>();
        let stores = stores.ok_or_else(|| Error::Internal("a row beyond the decoded ones".into()))?;
        Ok(Decoded { rows: rows.len(), stores, targets: take_targets(&self.targets, rows)? })
    }
}

/// The targets of the given rows, in the order given.
fn take_targets(targets: &Targets, rows: &[usize]) -> Result<Targets> {
    targets.select(rows).ok_or_else(|| Error::Internal("a row beyond the dataset's".into()))
}
