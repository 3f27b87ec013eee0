//! What a model takes and gives, what is trainable and why, what is unsupported.

use super::common;
use crate::{
    error::Result,
    run::{
        Options, Stop,
        inspect::{Inspection, inspect},
    },
};
use std::path::Path;

/// A look at a model, without any rows.
///
/// ```
/// use onnx_forget::Inspect;
///
/// let (found, usable) = Inspect::new("fixtures/digits-cnn/model.onnx").run()?;
/// assert_eq!(found.inputs[0].name, "image");
/// assert!(usable.is_ok());
/// # Ok::<(), onnx_forget::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Inspect {
    options: Options,
    stop: Stop,
}

impl Inspect {
    /// Of the ONNX file at `model`.
    pub fn new(model: impl AsRef<Path>) -> Self {
        Self { options: Options::new(model.as_ref()), stop: Stop::default() }
    }

    common!();

    /// Reads the model: all that there is to be shown, and whether it can be unlearned as it is.
    ///
    /// # Errors
    /// Those of reading the model, and [`Error::Interrupted`](crate::Error::Interrupted). In the second part what is not
    /// supported, or that there is no loss or nothing to train.
    pub fn run(self) -> Result<(Inspection, Result<()>)> {
        self.stop.check()?;
        inspect(&self.options)
    }
}
