//! Parity of a model with other runtimes.

use super::common;
use crate::{
    data::Places,
    error::Result,
    run::{
        Observer, Options, Stop,
        verify::{Checks, Verification, verify},
    },
};
use std::path::Path;

/// A comparison of a model's outputs and gradients with onnxruntime's and tract's.
///
/// ```no_run
/// use onnx_forget::Verify;
///
/// let found = Verify::new("model.onnx").rows("test.parquet").samples(64).run(&mut ())?;
/// assert!(found.passed);
/// # Ok::<(), onnx_forget::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Verify {
    options: Options,
    checks: Checks,
    stop: Stop,
}

impl Verify {
    /// Of the ONNX file at `model`, on random rows unless rows are given.
    pub fn new(model: impl AsRef<Path>) -> Self {
        let checks = Checks { rows: None, samples: 256, locate: false };
        Self { options: Options::new(model.as_ref()), checks, stop: Stop::default() }
    }

    common!();

    /// Rows to compare on.
    pub fn rows(mut self, rows: impl Into<Places>) -> Self {
        self.checks.rows = Some(rows.into());
        self
    }

    /// As many of them, chosen by the seed: 256 unless given.
    pub fn samples(mut self, samples: usize) -> Self {
        self.checks.samples = samples;
        self
    }

    /// Names the first node that differs also where the outputs agree.
    pub fn locate(mut self) -> Self {
        self.checks.locate = true;
        self
    }

    /// Compares. A check that ran and failed is in the result.
    ///
    /// # Errors
    /// Those of reading model and rows; [`Error::RuntimeMissing`](crate::Error::RuntimeMissing) if there is no onnxruntime.
    pub fn run(self, observer: &mut dyn Observer) -> Result<Verification> {
        verify(&self.options, &self.checks, &self.stop, observer)
    }
}
