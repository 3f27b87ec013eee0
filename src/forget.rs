//! The main job in a few calls. [`Forget`] says what is wanted, [`Prepared`] has read model and rows, [`Forgotten`] has
//! unlearned them and passed its gates, and [`Forgotten::publish`] writes the new model and its report.

use crate::{
    error::Result,
    report::Report,
    run::{
        Destination, Job, Observer, Options, Stop,
        forget::{Outcome, unlearned},
    },
};
use std::path::{Path, PathBuf};

/// A request: which model, which rows, and what is to be forgotten.
///
/// What is not said is inferred from the model and the rows, as on the command line; [`options`](Forget::options) sets
/// anything that the configuration file can set.
///
/// ```
/// use onnx_forget::Forget;
///
/// let job = Forget::new("fixtures/digits-cnn/model.onnx")
///     .train("fixtures/digits-cnn/train.parquet")
///     .validation("fixtures/digits-cnn/validation.parquet")
///     .test("fixtures/digits-cnn/test.parquet")
///     .ids("fixtures/digits-cnn/forget.parquet")
///     .prepare(&mut ())?;
/// assert_eq!(job.counts().forget_rows, 135);
/// # Ok::<(), onnx_forget::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Forget {
    options: Options,
    stop: Stop,
}

impl Forget {
    /// For the trained model in the ONNX file at `model`.
    pub fn new(model: impl AsRef<Path>) -> Self {
        Self { options: Options::new(model.as_ref()), stop: Stop::default() }
    }

    /// The rows that the model was trained on: a file, folder or glob.
    pub fn train(mut self, rows: impl Into<PathBuf>) -> Self {
        self.options.data.files.train = Some(rows.into().into());
        self
    }

    /// Rows that the model was not trained on, whose loss the forgotten rows are to reach.
    pub fn validation(mut self, rows: impl Into<PathBuf>) -> Self {
        self.options.data.files.validation = Some(rows.into().into());
        self
    }

    /// Other rows that the model was not trained on, for the audit.
    pub fn test(mut self, rows: impl Into<PathBuf>) -> Self {
        self.options.data.files.test = Some(rows.into().into());
        self
    }

    /// A list of the ids of the rows to forget; may be called several times.
    pub fn ids(mut self, list: impl Into<PathBuf>) -> Self {
        self.options.forget.push(list.into());
        self
    }

    /// The seed of every random choice: 0 unless given.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = seed;
        self
    }

    /// Changes any option.
    pub fn options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// What ends the run from another thread.
    pub fn stop(mut self, stop: &Stop) -> Self {
        self.stop = stop.clone();
        self
    }

    /// Reads the model and the rows, and checks that they belong together. Nothing is computed yet.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::Error::Usage) if nothing is to be forgotten or an option is out of range; those of reading
    /// the model and the rows.
    pub fn prepare(self, observer: &mut dyn Observer) -> Result<Prepared> {
        self.options.require_forget()?;
        self.options.check()?;
        Job::prepare(self.options, &self.stop, observer, |_, _| Ok(Vec::new())).map(Prepared)
    }
}

/// A request whose model and rows are read.
pub struct Prepared(Job);

impl Prepared {
    /// How many rows there are of each set.
    pub fn counts(&self) -> &crate::data::Counts {
        &self.0.data.counts
    }

    /// What would be done, once the model has shown that it knows the rows: what `--dry-run` prints.
    ///
    /// # Errors
    /// [`Error::UnknownRows`](crate::Error::UnknownRows) if the model does not know the rows as they were read; those of
    /// building the model.
    pub fn describe(&self, observer: &mut dyn Observer) -> Result<serde_json::Value> {
        self.0.dry_run(observer)
    }

    /// Compares the model with the runtimes, audits it, unlearns, audits again, and judges.
    ///
    /// # Errors
    /// [`Error::UnknownRows`](crate::Error::UnknownRows), [`Error::NothingToForget`](crate::Error::NothingToForget),
    /// [`Error::ParityBefore`](crate::Error::ParityBefore), [`Error::Unlearning`](crate::Error::Unlearning) if a check or
    /// a gate failed; [`Error::Interrupted`](crate::Error::Interrupted) if it was stopped.
    pub fn run(self, observer: &mut dyn Observer) -> Result<Forgotten> {
        unlearned(self.0, observer)?.map(Forgotten).map_err(|stopped| stopped.error)
    }
}

/// A model that has forgotten its rows, and whose gates held. It is in memory until it is published.
pub struct Forgotten(Outcome);

impl Forgotten {
    /// Writes the new model to `out` and its report beside it, after the written file has been compared with the model in
    /// memory. Files that are there are not replaced.
    ///
    /// # Errors
    /// [`Error::Write`](crate::Error::Write) if `out` may not or cannot be written,
    /// [`Error::ParityAfter`](crate::Error::ParityAfter) if the written file computes something else. Nothing is left then.
    pub fn publish(self, out: impl AsRef<Path>, observer: &mut dyn Observer) -> Result<Report> {
        let to = Destination::new(&self.0.job.options, Some(out.as_ref()), false);
        to.check(&self.0.job.model.file, false)?;
        to.require_apart(&self.0.job)?;
        self.0.publish(&to, observer).map_err(|stopped| stopped.error)
    }
}
