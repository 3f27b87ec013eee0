//! A set's batches, pass after pass.

use super::nabla_tau::BatchIter;
use crate::{
    data::Batch,
    error::{Error, Result},
};

/// Begins the next pass where one is used up.
pub struct Cycle {
    /// What error messages call the set.
    name: &'static str,
    current: Option<BatchIter>,
    passes: usize,
}

impl Cycle {
    /// Before the first pass over the set of this name.
    pub fn new(name: &'static str) -> Self {
        Self { name, current: None, passes: 0 }
    }

    /// Begins the next pass, which `pass` gives by its number, wherever the present one is.
    pub fn restart(&mut self, pass: &mut dyn FnMut(usize) -> Result<BatchIter>) -> Result<()> {
        // First the old pass goes: what it holds of the file is not held twice.
        self.current = None;
        self.current = Some(pass(self.passes)?);
        self.passes += 1;
        Ok(())
    }

    /// The next batch, of the next pass if need be.
    ///
    /// # Errors
    /// [`Error::Data`] if a pass has no batch; what `pass` and reading report.
    pub fn next(&mut self, pass: &mut dyn FnMut(usize) -> Result<BatchIter>) -> Result<Batch> {
        // The second turn is for a pass that is used up.
        for _ in 0..2 {
            if let Some(batch) = self.current.as_mut().and_then(Iterator::next) {
                return batch;
            }
            self.restart(pass)?;
        }
        Err(Error::Data(format!("the {} set is empty", self.name)))
    }
}
