//! The source of a run's batches.

use crate::{batch::Batch, error::Result};

/// An iterator over decoded batches.
pub type BatchIter = Box<dyn Iterator<Item = Result<Batch>>>;

/// The source of a run's batches.
pub trait Batches {
    /// One pass over the forget set, in an order that depends on `epoch`.
    ///
    /// # Errors
    /// Those of reading the rows.
    fn forget(&mut self, epoch: usize) -> Result<BatchIter>;
    /// One pass over the retain set, in an order that depends on `pass`, which counts the passes begun.
    ///
    /// # Errors
    /// Those of reading the rows.
    fn retain(&mut self, pass: usize) -> Result<BatchIter>;
    /// One pass over the validation set, always in the same order.
    ///
    /// # Errors
    /// Those of reading the rows.
    fn validation(&mut self) -> Result<BatchIter>;
}
