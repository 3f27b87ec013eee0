//! A set's batches, pass after pass.

use super::BatchIter;
use crate::{
    batch::Batch,
    error::{Error, Result},
};

/// Repeats the passes over a set: when one is used up, the next one begins.
pub struct Cycle {
    /// Name of the set in error messages.
    name: &'static str,
    current: Option<BatchIter>,
    passes: usize,
}

impl Cycle {
    /// Before the first pass over the set of this name.
    pub fn new(name: &'static str) -> Self {
        Self { name, current: None, passes: 0 }
    }

    /// Ends the current pass and begins the next one, which `pass` gives by its number.
    pub fn restart(&mut self, pass: &mut dyn FnMut(usize) -> Result<BatchIter>) -> Result<()> {
        // Drop the old pass first, so that its part of the file is not held twice.
        self.current = None;
        self.current = Some(pass(self.passes)?);
        self.passes += 1;
        Ok(())
    }

    /// The next batch, from the next pass if the current one is used up.
    ///
    /// # Errors
    /// [`Error::Data`] if a pass has no batch; errors of `pass` and of reading.
    pub fn next(&mut self, pass: &mut dyn FnMut(usize) -> Result<BatchIter>) -> Result<Batch> {
        // The second iteration is for a pass that is used up.
        for _ in 0..2 {
            if let Some(batch) = self.current.as_mut().and_then(Iterator::next) {
                return batch;
            }
            self.restart(pass)?;
        }
        Err(Error::Data(format!("the {} set is empty", self.name)))
    }
}
