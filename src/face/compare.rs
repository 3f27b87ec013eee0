//! Methods beside each other.

use super::{common, references, rows};
use crate::{
    data::Counts,
    error::Result,
    report::compare::CompareReport,
    run::{
        MethodName, Observer, Options, Stop,
        compare::{Comparison, Ready, prepare},
    },
};
use std::path::{Path, PathBuf};

/// A comparison of methods on the same rows, from the same weights, with the same seeds.
///
/// ```no_run
/// use onnx_forget::{Compare, run::MethodName};
///
/// let job = Compare::new("model.onnx")
///     .train("train.parquet")
///     .validation("validation.parquet")
///     .test("test.parquet")
///     .ids("ids.parquet")
///     .methods([MethodName::NablaTau, MethodName::Ssd])
///     .seeds(3)
///     .prepare(&mut ())?;
/// let (report, folder) = job.run(&mut ())?;
/// println!("{} methods, in {}", report.methods.len(), folder.display());
/// # Ok::<(), onnx_forget::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Compare {
    options: Options,
    comparison: Comparison,
    stop: Stop,
}

impl Compare {
    /// Of methods that begin with the ONNX file at `model`: of all, with one seed each.
    pub fn new(model: impl AsRef<Path>) -> Self {
        let comparison = Comparison { methods: Vec::new(), seeds: 1, folder: None };
        Self { options: Options::new(model.as_ref()), comparison, stop: Stop::default() }
    }

    common!();
    rows!();
    references!();

    /// The methods.
    pub fn methods(mut self, methods: impl IntoIterator<Item = MethodName>) -> Self {
        self.comparison.methods = methods.into_iter().collect();
        self
    }

    /// How many seeds each runs with: the run's own and those that follow it.
    pub fn seeds(mut self, seeds: usize) -> Self {
        self.comparison.seeds = seeds;
        self
    }

    /// The folder for the report's files: beside the model unless given.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.comparison.folder = Some(folder.into());
        self
    }

    /// Reads the model and the rows, and checks that they belong together.
    ///
    /// # Errors
    /// Those of reading model and rows; [`Error::Usage`](crate::Error::Usage) for a method that is asked for and cannot be
    /// used; [`Error::Write`](crate::Error::Write) for a folder that cannot be written.
    pub fn prepare(self, observer: &mut dyn Observer) -> Result<PreparedCompare> {
        prepare(self.options, self.comparison, &self.stop, observer).map(PreparedCompare)
    }
}

/// A comparison whose model and rows are read.
pub struct PreparedCompare(Ready);

impl PreparedCompare {
    /// How many rows there are of each set.
    pub fn counts(&self) -> &Counts {
        self.0.counts()
    }

    /// Runs every method with every seed, and writes the report's files anew after each. Returns the report and its folder.
    ///
    /// # Errors
    /// [`Error::UnknownRows`](crate::Error::UnknownRows) if the model does not know the rows as they were read;
    /// [`Error::Interrupted`](crate::Error::Interrupted) if it was stopped; those of the device and of writing. A method
    /// that fails is a result.
    pub fn run(self, observer: &mut dyn Observer) -> Result<(CompareReport, PathBuf)> {
        self.0.run(observer)
    }
}
