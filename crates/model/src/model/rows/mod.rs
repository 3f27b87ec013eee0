//! Whether the rows of a batch are computed each by itself, as training by batches and every figure about a row take for
//! granted.

use super::{Halves, Model, Scores};
use crate::{
    batch::Batch,
    engine::Float,
    error::{Error, Result},
    graph::{Node, ValueId, row_axis::EXPORT},
    kernels::Backend,
    tensor::{DType, HostTensor},
};
use std::collections::BTreeMap;

/// How far scores and losses of rows that run with others may be from those of rows that do not, relative to 1 + |score|:
/// rounding in another order.
const SAME_ROWS: f32 = 1e-4;
/// The same, from which on rows are said to change each other's answers: that a model is badly conditioned is no reason to
/// refuse it.
const OTHER_ROWS: f64 = 2e-3;
/// Rows that are compared.
const ROWS: usize = 3;

impl<E: Float, D: Backend<E>> Model<E, D> {
    /// Finds out, on the rows of `sample`, whether a graph whose inputs have a fixed number of rows also computes other
    /// numbers, as one does that was exported with a batch of 1 and treats each row by itself: then whole batches run
    /// at once, which is faster. Until then, and if it does not, they are cut into as many rows as the graph takes.
    ///
    /// # Errors
    /// [`Error::Data`] if the sample does not fit the model.
    pub fn fit_rows(&mut self, sample: &Batch) -> Result<()> {
        let Some(size) = self.fixed_rows else { return Ok(()) };
        let rows: Vec<usize> = (0..2 * size).map(|row| row % sample.rows().max(1)).collect();
        let Some(sample) = sample.select(&rows) else { return Ok(()) };
        self.rows_at_once = Some(size);
        let cut = self.scores(&sample)?;
        self.rows_at_once = None;
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= SAME_ROWS * (1.0 + b.abs());
        let same = self.scores(&sample).is_ok_and(|whole| {
            whole.logits.len() == cut.logits.len()
                && whole.logits.iter().zip(&cut.logits).all(close)
                && whole.losses.iter().zip(&cut.losses).all(close)
        });
        self.rows_at_once = Some(size).filter(|_| !same);
        Ok(())
    }

    /// Fails if rows change each other's answers: a few rows of `sample` in another order, and each alone, must score as
    /// they do together, to rounding. A graph that takes a single row at a time is not asked.
    ///
    /// # Errors
    /// [`Error::Untrainable`] naming the first node at which the rows meet; [`Error::Data`] if the sample does not fit the
    /// model.
    pub fn require_independent_rows(&self, sample: &Batch) -> Result<()> {
        let count = self.rows_at_once.unwrap_or(ROWS);
        let rows: Vec<usize> = (0..count).map(|row| row % sample.rows().max(1)).collect();
        let reversed: Vec<usize> = rows.iter().rev().copied().collect();
        let (Some(together), Some(backwards)) = (sample.select(&rows), sample.select(&reversed)) else { return Ok(()) };
        if count < 2 {
            return Ok(());
        }
        let found = self.scores(&together).map_err(|e| match e {
            Error::Node { .. } => Error::Untrainable(format!(
                "the model does not run on {count} rows at once: {e}. If the first axis of its inputs is no batch axis, {EXPORT}"
            )),
            other => other,
        })?;
        let turned = self.scores(&backwards)?;
        let mut differ = (0..count).any(|row| self.differ(&found, row, &turned, count - 1 - row));
        if self.rows_at_once.is_none() {
            for row in 0..count {
                let alone = together.select(&[row]).map(|one| self.scores(&one)).transpose();
                // A model that takes no single row still treats rows alike.
                differ |= matches!(alone, Ok(Some(alone)) if self.differ(&found, row, &alone, 0));
            }
        }
        if !differ {
            return Ok(());
        }
        let at = self.first_meeting(&together, &backwards);
        let at = at.map_or(String::new(), |node| format!(", from node {} ({}) on", node.name, node.op_type));
        Err(Error::Untrainable(format!(
            "the model does not answer each row by itself: the answer to a row changes with the other rows of its batch{at}. Either the \
             first axis of its inputs is no batch axis, so that it treats the rows of a batch as one sequence, or it computes something \
             over the batch; {EXPORT}"
        )))
    }

    /// Whether row `a` of some scores is not row `b` of others.
    fn differ(&self, left: &Scores, a: usize, right: &Scores, b: usize) -> bool {
        let row = |scores: &Scores, at: usize| -> Vec<f64> {
            scores.logits.iter().skip(at * scores.width).take(scores.width).map(|&x| f64::from(x)).collect()
        };
        let (a, b) = (row(left, a), row(right, b));
        let size = a.iter().chain(&b).filter(|x| x.is_finite()).fold(0f64, |most, x| most.max(x.abs()));
        let allowed = self.allowed() * (1.0 + size);
        // Both NaN, or both infinite, are the same.
        let apart = |(a, b): (&f64, &f64)| a.to_bits() != b.to_bits() && (a - b).abs() > allowed;
        a.len() != b.len() || a.iter().zip(&b).any(apart)
    }

    /// Where values are rounded to halves, a rounding in another order may fall on the other side.
    fn allowed(&self) -> f64 {
        let half = self.half.filter(|_| self.options.halves != Halves::Nowhere).map_or(0.0, DType::rounding);
        OTHER_ROWS.max(32.0 * half)
    }

    /// The first node whose result is not the same when the rows come the other way round.
    fn first_meeting(&self, together: &Batch, backwards: &Batch) -> Option<&Node> {
        let count = together.rows();
        let given = |batch: &Batch| -> BTreeMap<ValueId, HostTensor> {
            self.inputs.iter().filter_map(|i| Some((i.id, batch.inputs.get(&i.name)?.clone()))).collect()
        };
        let (forth, back) = (given(together), given(backwards));
        self.nodes().into_iter().find(|node| {
            node.outputs.iter().flatten().any(|&id| {
                let values = |given| self.compute(&[id], given).ok().and_then(|mut found| found.pop());
                let (Some(a), Some(b)) = (values(&forth), values(&back)) else { return false };
                a.dims().first() == Some(&count) && a.dims() == b.dims() && {
                    let (a, b) = (a.to_f64(), b.to_f64());
                    let width = a.len() / count;
                    let size = a.iter().filter(|x| x.is_finite()).fold(0f64, |most, x| most.max(x.abs()));
                    let turned = (0..count).rev().flat_map(|row| b.iter().skip(row * width).take(width));
                    a.iter().zip(turned).any(|(a, b)| (a - b).abs() > self.allowed() * (1.0 + size))
                }
            })
        })
    }
}

#[cfg(test)]
mod tests;
