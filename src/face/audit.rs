//! What attacks find out about a model as it is.

use super::{common, references, rows};
use crate::{
    data::Counts,
    error::Result,
    run::{
        Job, Observer, Options, Stop,
        audit::{Audited, measured, prepare},
    },
};
use std::path::Path;

/// An audit of a model, which changes nothing.
///
/// ```
/// use onnx_forget::{Audit, data::{InputConfig, PerChannel}};
///
/// let folder = std::path::Path::new("fixtures/digits-cnn");
/// let pixels = InputConfig {
///     scale: Some(1.0 / 255.0),
///     mean: Some(PerChannel::One(0.2877)),
///     std: Some(PerChannel::One(0.3549)),
///     ..InputConfig::default()
/// };
/// let job = Audit::new(folder.join("model.onnx"))
///     .train(folder.join("train.parquet"))
///     .validation(folder.join("validation.parquet"))
///     .test(folder.join("test.parquet"))
///     .ids(folder.join("forget.parquet"))
///     .input("image", pixels)
///     .prepare(&mut ())?;
/// assert_eq!(job.counts().forget_rows, 135);
/// assert!(job.run(&mut ())?.remembered.is_some());
/// # Ok::<(), onnx_forget::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Audit {
    options: Options,
    stop: Stop,
}

impl Audit {
    /// Of the ONNX file at `model`.
    pub fn new(model: impl AsRef<Path>) -> Self {
        Self { options: Options::new(model.as_ref()), stop: Stop::default() }
    }

    common!();
    rows!();
    references!();

    /// Also trains a copy of the model on, to see what comes back.
    pub fn deep(mut self) -> Self {
        self.options.deep = true;
        self
    }

    /// Reads the model and the rows, and checks that they belong together.
    ///
    /// # Errors
    /// Those of reading model and rows; [`Error::Usage`](crate::Error::Usage) for another device than the CPU.
    pub fn prepare(self, observer: &mut dyn Observer) -> Result<PreparedAudit> {
        prepare(self.options, &self.stop, observer).map(PreparedAudit)
    }
}

/// An audit whose model and rows are read.
pub struct PreparedAudit(Job);

impl PreparedAudit {
    /// How many rows there are of each set.
    pub fn counts(&self) -> &Counts {
        &self.0.data.counts
    }

    /// Measures.
    ///
    /// # Errors
    /// [`Error::UnknownRows`](crate::Error::UnknownRows) if the model does not know the rows as they were read;
    /// [`Error::Interrupted`](crate::Error::Interrupted) if it was stopped; those of running the model.
    pub fn run(self, observer: &mut dyn Observer) -> Result<Audited> {
        measured(&self.0, observer)
    }
}
