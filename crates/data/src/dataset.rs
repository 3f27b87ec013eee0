//! Rows that can be batched: kept decoded where they fit in memory, read by row groups where they do not.

use super::{
    Batch, ImageInput, Rows, Targets,
    decode::{Decoded, Feed, Plan},
    rows::Within,
    source::Source,
    stream::{self, Batches},
};
use crate::{Error, Result};
use arrow_array::RecordBatch;
use std::sync::Arc;

/// Rows of a table, with the way to feed them to a model. Row numbers count the dataset's own rows from 0.
#[derive(Debug)]
pub struct Dataset {
    pub(super) source: Arc<Source>,
    pub(super) plan: Arc<Plan>,
    /// The dataset's rows in the table.
    pub(super) rows: Rows,
    pub(super) storage: Storage,
}

/// Where the decoded rows are.
#[derive(Debug)]
pub(super) enum Storage {
    /// All of them are kept.
    Memory(Decoded),
    /// Read when they are needed.
    Streamed {
        /// Decoded rows that are kept nevertheless: the rows to forget, which every epoch needs.
        kept: Option<(Rows, Decoded)>,
        /// Bytes of decoded rows among which a shuffled pass mixes.
        window: usize,
    },
}

impl Dataset {
    /// The model inputs that images feed.
    pub fn image_inputs(&self) -> Vec<ImageInput> {
        let of = |(name, feed): &(String, Feed)| match feed {
            Feed::Image(f) => Some(ImageInput {
                name: name.clone(),
                layout: f.layout,
                black: if f.dtype.is_float() { f.affine.iter().map(|a| a.1).collect() } else { vec![0.0] },
            }),
            _ => None,
        };
        self.plan.feeds.iter().filter_map(of).collect()
    }

    /// Makes a dataset of the chosen rows of a table; they are kept decoded if they take at most `memory` bytes.
    pub(super) fn open(source: Arc<Source>, plan: Arc<Plan>, rows: Rows, memory: u64) -> Result<Self> {
        let share = rows.len() as f64 / source.rows().max(1) as f64;
        let all = source.rows().max(1) as f64;
        let estimate = plan.row_bytes(|column| source.stored_values(column) as f64 / all) * all * share;
        let window = usize::try_from(memory / 8).unwrap_or(usize::MAX).max(1 << 16);
        let storage = Storage::Streamed { kept: None, window };
        let mut dataset = Self { source, plan, rows, storage };
        if estimate <= memory as f64 {
            dataset.storage = Storage::Memory(dataset.load(&Rows::all(dataset.len()))?);
        }
        Ok(dataset)
    }

    /// Keeps the given rows decoded, if the others are not and these take at most `memory` bytes.
    pub(super) fn keep(&mut self, rows: &Rows, memory: u64) -> Result<()> {
        let per_row = self.plan.row_bytes(|c| self.source.stored_values(c) as f64 / self.source.rows().max(1) as f64);
        let small = per_row * rows.len() as f64 <= memory as f64;
        if small && let Storage::Streamed { window, .. } = self.storage {
            let kept = Some((rows.clone(), self.load(rows)?));
            self.storage = Storage::Streamed { kept, window };
        }
        Ok(())
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all rows are kept decoded.
    pub fn in_memory(&self) -> bool {
        matches!(self.storage, Storage::Memory(_))
    }

    /// How its rows are decoded.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Rows of a batch of at most `most` whose scores fit in 64 MiB, where rows have several positions.
    pub fn evaluation_batch(&self, most: usize) -> usize {
        const SCORES: usize = 1 << 24;
        let scores =
            self.plan.target.positions().map(|positions| positions.saturating_mul(self.plan.target.width.max(1)));
        scores.map_or(most, |scores| (SCORES / scores.max(1)).clamp(1, most.max(1)))
    }

    /// The table's columns, in the order of the file.
    pub fn columns(&self) -> Vec<String> {
        self.source.fields().map(|field| field.name().clone()).collect()
    }

    /// The table's path, as it was given.
    pub fn path(&self) -> &std::path::Path {
        self.source.path()
    }

    /// The given rows, in the order given; a row may be given more than once.
    ///
    /// # Errors
    /// A row that the dataset does not have; anything that is wrong with the file where rows are read now.
    pub fn batch(&self, rows: &[usize]) -> Result<Batch> {
        if let Some(row) = rows.iter().find(|&&r| r >= self.len()) {
            return Err(Error::Internal(format!("row {row} of a dataset of {} rows", self.len())));
        }
        match &self.storage {
            Storage::Memory(all) => self.plan.batch(all, rows),
            Storage::Streamed { kept: Some((which, decoded)), .. } if rows.iter().all(|&r| which.contains(r)) => {
                let which = which.to_vec();
                self.plan.batch(decoded, &positions(&which, rows)?)
            }
            Storage::Streamed { .. } => {
                let which = Rows::listed(self.len(), rows.to_vec());
                let decoded = self.load(&which)?;
                self.plan.batch(&decoded, &positions(&which.to_vec(), rows)?)
            }
        }
    }

    /// Batches of the given rows in ascending order, the last one possibly smaller, decoded in the background.
    pub fn in_order(self: &Arc<Self>, rows: &Rows, batch_size: usize) -> Batches {
        stream::pass(self.clone(), rows.clone(), batch_size, None)
    }

    /// Batches of the given rows in an order that `seed` decides, the last one possibly smaller, decoded in the
    /// background.
    ///
    /// Rows that are kept decoded are in a uniformly random order. Rows that are read from the file are mixed like
    /// this: the row groups are put in a random order; in that order they fill a window of an eighth of the memory
    /// limit; the rows in the window are put in a random order and leave it as batches; what is left for less than a
    /// batch starts the next window.
    pub fn shuffled(self: &Arc<Self>, rows: &Rows, batch_size: usize, seed: u64) -> Batches {
        stream::pass(self.clone(), rows.clone(), batch_size, Some(seed))
    }

    /// The chosen rows' targets, in ascending order of the rows. Reads the labels only.
    ///
    /// # Errors
    /// [`Error::ReadData`] if a file was changed or is damaged, or if a row has no label or one that the model does not
    /// have.
    pub fn targets(&self, rows: &Rows) -> Result<Targets> {
        if let Storage::Memory(all) = &self.storage {
            let rows = rows.to_vec();
            return Ok(all.take(&rows)?.targets);
        }
        let target = self.plan.target.clone();
        let plan = Plan { feeds: Vec::new(), target };
        let mut out = plan.empty();
        self.visit(&plan, rows, |decoded| out.append(decoded))?;
        Ok(out.targets)
    }

    /// Decodes the chosen rows, in ascending order.
    pub(super) fn load(&self, rows: &Rows) -> Result<Decoded> {
        let mut out = self.plan.empty();
        self.visit(&self.plan, rows, |decoded| {
            out.append(decoded)?;
            out.reserve(rows.len());
            Ok(())
        })?;
        Ok(out)
    }

    fn visit(&self, plan: &Plan, rows: &Rows, mut each: impl FnMut(Decoded) -> Result<()>) -> Result<()> {
        for index in 0..self.source.pieces().len() {
            self.read_piece(plan, index, rows, &mut each)?;
        }
        Ok(())
    }

    /// Decodes those of the dataset's `rows` that lie in a row group, in ascending order.
    pub(super) fn read_piece(
        &self,
        plan: &Plan,
        index: usize,
        rows: &Rows,
        each: &mut impl FnMut(Decoded) -> Result<()>,
    ) -> Result<()> {
        let Some(&piece) = self.source.pieces().get(index) else { return Ok(()) };
        let whole = rows.len() == self.len() && matches!(self.rows.within(piece.first, piece.rows), Within::All);
        let local = if whole { Vec::new() } else { self.local_rows(piece.first, piece.rows, rows) };
        if local.is_empty() && !whole {
            return Ok(());
        }
        let columns = plan.columns();
        let chosen = (!whole && local.len() < piece.rows).then_some(local.as_slice());
        let mut read = 0;
        for batch in self.source.read(piece, &columns, chosen, plan.chunk())? {
            let batch: RecordBatch = batch?;
            self.source.check_nulls(piece, &batch)?;
            each(plan.decode(&batch).map_err(|fault| self.source.fault(piece, chosen, read, fault))?)?;
            read += batch.num_rows();
        }
        Ok(())
    }

    /// Those of the dataset's `rows` that lie in a row group, counted within the group.
    fn local_rows(&self, first: usize, count: usize, rows: &Rows) -> Vec<usize> {
        let before = self.rows.rank(first);
        let inside = self.rows.range(first, count).map(|r| r - first);
        if rows.len() == self.len() {
            return inside.collect();
        }
        inside.enumerate().filter(|(i, _)| rows.contains(before + i)).map(|(_, r)| r).collect()
    }
}

/// Where each of `rows` stands in the ascending list `which`.
pub(super) fn positions(which: &[usize], rows: &[usize]) -> Result<Vec<usize>> {
    let of = |row: &usize| which.binary_search(row).map_err(|_| Error::Internal("a row that was not read".into()));
    rows.iter().map(of).collect()
}
