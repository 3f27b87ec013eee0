//! What is shown while the program runs: a bar on a terminal, plain lines in a pipe, JSON lines if asked for.

use super::{args::Format, check_interrupt};
use crate::{
    error::Result,
    unlearn::{EpochRecord, Observer, StepRecord},
};
use indexmap::IndexMap;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{IsTerminal, Write},
    time::Instant,
};

/// The stages of a run: says their names on stderr and keeps their times.
pub struct Stages {
    format: Format,
    timings: IndexMap<String, f64>,
}

impl Stages {
    /// None yet.
    pub fn new(format: Format) -> Self {
        Self { format, timings: IndexMap::new() }
    }

    /// Runs a stage, unless the run was interrupted before.
    pub fn run<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        check_interrupt()?;
        self.say(&format!("{name} ..."));
        let start = Instant::now();
        let result = work();
        let seconds = start.elapsed().as_secs_f64();
        *self.timings.entry(name.replace(' ', "_")).or_default() += seconds;
        tracing::info!(stage = name, seconds, "done");
        result
    }

    /// Runs a stage if it is asked for.
    pub fn run_if<T>(&mut self, asked: bool, name: &str, work: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
        asked.then(|| self.run(name, work)).transpose()
    }

    /// A line for people.
    pub fn say(&self, line: &str) {
        if self.format == Format::Pretty {
            eprintln!("{line}");
        }
    }

    /// Seconds of each stage so far.
    pub fn timings(&self) -> &IndexMap<String, f64> {
        &self.timings
    }
}

/// Says on a terminal how far the gradient check is; ends it after Ctrl-C.
pub fn gradient_check(done: usize, of: usize) -> Result<()> {
    check_interrupt()?;
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        // The line is written over by the next one.
        let _ = write!(terminal, "\rgradient check {}/{of}\x1b[K\r", done + 1);
    }
    Ok(())
}

/// One JSON value on a line of stdout. A reader that has gone away is not an error.
pub fn json_line(value: &impl serde::Serialize) {
    if let Ok(line) = serde_json::to_string(value) {
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }
}

/// Follows the steps of a run.
pub struct Progress {
    format: Format,
    bar: ProgressBar,
    /// What the loss of the rows is called that are not to be forgotten.
    kept: &'static str,
}

impl Progress {
    /// For a run of `steps`.
    pub fn new(format: Format, steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64);
        if format == Format::Json {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} steps  {msg}  {eta} left") {
            bar.set_style(style);
        }
        Self { format, bar, kept: "retain" }
    }

    /// For a training, where nothing is forgotten.
    pub fn training(format: Format, steps: usize) -> Self {
        Self { kept: "train", ..Self::new(format, steps) }
    }

    /// Takes the bar off the terminal.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The figures that there are, by name.
fn known(figures: &[(&str, f64)], between: &str) -> String {
    let words = figures.iter().filter(|(_, value)| value.is_finite()).map(|(name, value)| format!("{name} {value:.4}"));
    words.collect::<Vec<_>>().join(between)
}

impl Observer for Progress {
    fn step(&mut self, record: &StepRecord, _steps: usize) -> Result<()> {
        let losses = [("forget", record.forget_loss), (self.kept, record.retain_loss), ("τ", record.tau)];
        self.bar.set_message(known(&losses, " "));
        self.bar.inc(1);
        check_interrupt()
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<()> {
        if self.format == Format::Json {
            json_line(&serde_json::json!({ "event": "epoch", "record": record }));
        } else {
            let kept = format!("{} loss", self.kept);
            let figures = [
                ("forget loss", record.forget_loss),
                (kept.as_str(), record.retain_loss),
                ("τ", record.tau),
                ("α", record.alpha),
            ];
            let figures = known(&figures, "  ");
            let line = format!("epoch {}/{}  {figures}  lr {:.1e}", record.epoch, record.epochs, record.lr);
            if self.bar.is_hidden() { eprintln!("{line}") } else { self.bar.println(line) }
        }
        Ok(())
    }
}
