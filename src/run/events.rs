//! Who is told how far a run is, and what ends it from outside.

use super::Job;
use crate::{
    error::{Error, Result},
    plausibility::Examined,
    report::Report,
    unlearn::{self, EpochRecord, MethodName, StepRecord},
};
use indexmap::IndexMap;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// Ends a run at its next step or stage; clones are one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the run to end.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked for.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`Error::Interrupted`] once it was asked for.
    pub fn check(&self) -> Result<()> {
        if self.asked() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

impl From<Arc<AtomicBool>> for Stop {
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }
}

/// What a run tells.
pub enum Event<'a> {
    /// A stage begins.
    Stage(&'a str),
    /// A stage has ended, after so many seconds, well or not.
    StageEnded {
        /// The stage.
        name: &'a str,
        /// Wall time.
        seconds: f64,
        /// Whether it ended well.
        ok: bool,
    },
    /// Model and rows are read.
    Prepared(&'a Job),
    /// A training has read its rows, so many of so many, and has this loss.
    TrainingPrepared {
        /// Why which loss.
        loss: &'a str,
        /// Rows that are trained on.
        rows: usize,
        /// Rows that there are.
        of: usize,
    },
    /// What the user should know, though it stops nothing.
    Warning(&'a str),
    /// Whether the model knows the rows.
    RowsKnown(&'a Examined),
    /// Steps begin, so many of them.
    Steps {
        /// How many.
        steps: usize,
        /// What the loss of the rows is called that are not to be forgotten.
        kept: &'static str,
    },
    /// A step was done.
    Step {
        /// The step.
        record: &'a StepRecord,
        /// Steps of the run.
        steps: usize,
    },
    /// An epoch was done.
    Epoch(&'a EpochRecord),
    /// There are no more steps, or one failed.
    StepsEnded,
    /// The gradient check is so far.
    GradientCheck {
        /// What was done.
        done: usize,
        /// Of so many.
        of: usize,
    },
    /// The report is put together, and is not yet in its place: an error keeps the new model from being published.
    Report(&'a Report),
    /// The run was rejected, and its report is in the folder.
    Rejected {
        /// Why.
        error: &'a Error,
        /// How far it came.
        report: &'a Report,
        /// Where the report was to be written.
        folder: &'a Path,
    },
    /// The report of a rejected run could not be written.
    ReportLost(&'a Error),
    /// A method to be compared cannot be used here.
    NotApplicable(MethodName),
    /// A method that is compared failed with a seed.
    MethodFailed {
        /// The method.
        method: MethodName,
        /// The seed.
        seed: u64,
        /// Why.
        error: &'a Error,
    },
}

/// Is told how far a run is, and may end it.
pub trait Observer {
    /// Takes an event. An error ends the run.
    ///
    /// # Errors
    /// Whatever is to end the run.
    fn event(&mut self, event: Event<'_>) -> Result<()>;
}

/// Watches nothing.
impl Observer for () {
    fn event(&mut self, _: Event<'_>) -> Result<()> {
        Ok(())
    }
}

/// A run's stages: tells them, keeps their times, and ends between them if asked to.
pub(super) struct Watch<'o> {
    observer: &'o mut dyn Observer,
    stop: Stop,
    timings: IndexMap<String, f64>,
}

impl<'o> Watch<'o> {
    pub(super) fn new(observer: &'o mut dyn Observer, stop: &Stop) -> Self {
        Self::resumed(observer, stop, IndexMap::new())
    }

    /// Of a run whose first stages took `timings`.
    pub(super) fn resumed(observer: &'o mut dyn Observer, stop: &Stop, timings: IndexMap<String, f64>) -> Self {
        Self { observer, stop: stop.clone(), timings }
    }

    /// Runs a stage, unless the run is to end before.
    pub(super) fn stage<T>(&mut self, name: &str, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.stop.check()?;
        self.tell(Event::Stage(name))?;
        let start = Instant::now();
        let result = work(self);
        let seconds = start.elapsed().as_secs_f64();
        *self.timings.entry(name.replace(' ', "_")).or_default() += seconds;
        tracing::info!(stage = name, seconds, "done");
        self.tell(Event::StageEnded { name, seconds, ok: result.is_ok() })?;
        result
    }

    /// Runs a stage if it is asked for.
    pub(super) fn stage_if<T>(
        &mut self,
        asked: bool,
        name: &str,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        asked.then(|| self.stage(name, work)).transpose()
    }

    pub(super) fn tell(&mut self, event: Event<'_>) -> Result<()> {
        self.observer.event(event)
    }

    pub(super) fn warn(&mut self, text: &str) -> Result<()> {
        self.tell(Event::Warning(text))
    }

    /// Runs a method, whose steps are told.
    pub(super) fn steps<T>(
        &mut self,
        steps: usize,
        kept: &'static str,
        run: impl FnOnce(&mut dyn unlearn::Observer) -> Result<T>,
    ) -> Result<T> {
        self.tell(Event::Steps { steps, kept })?;
        let result = run(self);
        self.tell(Event::StepsEnded)?;
        result
    }

    /// Tells how far the gradient check is.
    pub(super) fn gradient(&mut self, done: usize, of: usize) -> Result<()> {
        self.stop.check()?;
        self.tell(Event::GradientCheck { done, of })
    }

    /// Seconds of each stage so far.
    pub(super) fn timings(&self) -> &IndexMap<String, f64> {
        &self.timings
    }
}

impl unlearn::Observer for Watch<'_> {
    fn step(&mut self, record: &StepRecord, steps: usize) -> Result<()> {
        self.tell(Event::Step { record, steps })?;
        self.stop.check()
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<()> {
        self.tell(Event::Epoch(record))
    }
}

/// Tells nothing of the steps, and ends them if asked to.
impl unlearn::Observer for &Stop {
    fn step(&mut self, _: &StepRecord, _: usize) -> Result<()> {
        self.check()
    }
}
