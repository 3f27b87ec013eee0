//! An ordinary training.

use super::common;
use crate::{
    data::Places,
    error::Result,
    run::{
        Observer, Options, Stop,
        train::{Trained, Training, train},
    },
};
use std::path::{Path, PathBuf};

/// A training of a model, with or without some rows, so that there is a model to compare with.
///
/// ```no_run
/// use onnx_forget::{Train, data::MemoryTable};
///
/// let left_out = MemoryTable::of_ids("rows to leave out", [3, 14, 15])?;
/// let trained = Train::new("model.onnx")
///     .rows("train.parquet")
///     .exclude(left_out)
///     .out("model.retrained.onnx")
///     .run(&mut ())?;
/// println!("{} rows, {} left out", trained.rows, trained.excluded);
/// # Ok::<(), onnx_forget::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Train {
    options: Options,
    training: Training,
    stop: Stop,
}

impl Train {
    /// Of the model in the ONNX file at `model`, from new weights.
    pub fn new(model: impl AsRef<Path>) -> Self {
        Self { options: Options::new(model.as_ref()), training: Training::default(), stop: Stop::default() }
    }

    common!();

    /// The rows to train on.
    pub fn rows(mut self, rows: impl Into<Places>) -> Self {
        self.options.data.files.train = Some(rows.into());
        self
    }

    /// Rows that are held out, and scored in the end.
    pub fn validation(mut self, rows: impl Into<Places>) -> Self {
        self.options.data.files.validation = Some(rows.into());
        self
    }

    /// Other rows that are held out, and scored in the end.
    pub fn test(mut self, rows: impl Into<Places>) -> Self {
        self.options.data.files.test = Some(rows.into());
        self
    }

    /// A list of the ids of rows to leave out.
    pub fn exclude(mut self, list: impl Into<Places>) -> Self {
        self.training.exclude = Some(list.into());
        self
    }

    /// Begins with the model's weights.
    pub fn keep_weights(mut self) -> Self {
        self.training.keep_weights = true;
        self
    }

    /// Where the trained model goes: beside the model unless given.
    pub fn out(mut self, path: impl Into<PathBuf>) -> Self {
        self.training.out = Some(path.into());
        self
    }

    /// Trains, and writes the new model. A file that is there is not replaced.
    ///
    /// # Errors
    /// Those of reading model and rows; [`Error::Usage`](crate::Error::Usage) if weights are to be drawn that the options
    /// keep; [`Error::Unlearning`](crate::Error::Unlearning) if the training diverges;
    /// [`Error::Write`](crate::Error::Write) if the model cannot be written.
    pub fn run(self, observer: &mut dyn Observer) -> Result<Trained> {
        train(self.options, self.training, &self.stop, observer)
    }
}
