//! The source of a run's batches.

use crate::{batch::Batch, error::Result};

/// An iterator over decoded batches.
pub type BatchIter = Box<dyn Iterator<Item = Result<Batch>>>;

/// The source of a run's batches.
pub trait Batches {
    /// One pass over the forget set, in an order that depends on `epoch`.
    fn forget(&mut self, epoch: usize) -> Result<BatchIter>;
    /// One pass over the retain set, in an order that depends on `pass`, which counts the passes begun.
    fn retain(&mut self, pass: usize) -> Result<BatchIter>;
    /// One pass over the validation set, always in the same order.
    fn validation(&mut self) -> Result<BatchIter>;
}
