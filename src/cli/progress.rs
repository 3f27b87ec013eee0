//! What is shown while the program runs: a bar on a terminal, plain lines in a pipe, JSON lines if asked for.

use super::{args::Format, check_interrupt, out};
use crate::{
    error::Result,
    unlearn::{EpochRecord, Observer, StepRecord},
};
use indexmap::IndexMap;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

pub use super::out::json_line;

/// The time between two JSON events that tell how many steps are done.
const BETWEEN: Duration = Duration::from_secs(1);

/// The stages of a run: says their names and keeps their times.
pub struct Stages {
    format: Format,
    /// Whether JSON tells more than the result.
    events: bool,
    timings: IndexMap<String, f64>,
}

impl Stages {
    /// Of a command that prints JSON events, if it prints JSON.
    pub fn new(format: Format) -> Self {
        Self { format, events: format == Format::Json && !out::quiet(), timings: IndexMap::new() }
    }

    /// Of a command whose only JSON value is its result.
    pub fn of_one_result(format: Format) -> Self {
        Self { events: false, ..Self::new(format) }
    }

    /// Runs a stage, unless the run was interrupted before or its results reach nobody.
    pub fn run<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        check_interrupt()?;
        self.say(&format!("{name} ..."));
        self.event(json!({ "event": "stage", "name": name, "state": "start" }));
        out::check()?;
        let start = Instant::now();
        let result = work();
        let seconds = start.elapsed().as_secs_f64();
        *self.timings.entry(name.replace(' ', "_")).or_default() += seconds;
        tracing::info!(stage = name, seconds, "done");
        self.event(json!({ "event": "stage", "name": name, "state": "end", "seconds": seconds, "ok": result.is_ok() }));
        result
    }

    /// Runs a stage if it is asked for.
    pub fn run_if<T>(&mut self, asked: bool, name: &str, work: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
        asked.then(|| self.run(name, work)).transpose()
    }

    /// A line for people, on stderr.
    pub fn say(&self, line: &str) {
        if self.format == Format::Pretty {
            out::note(line);
        }
    }

    /// What the user should know, though it stops nothing.
    pub fn warn(&self, text: &str) {
        self.say(&format!("warning    {text}"));
        self.event(json!({ "event": "warning", "message": text }));
    }

    /// What came out, for people, on stdout.
    pub fn result(&self, text: &str) {
        if self.format == Format::Pretty && !out::quiet() {
            out::result(&format!("{text}\n"));
        }
    }

    /// A JSON value for programs that follow the run.
    pub fn event(&self, value: Value) {
        if self.events {
            out::event(&value);
        }
    }

    /// The result as a JSON value, also for those who want nothing else.
    pub fn json_result(&self, value: &Value) {
        if self.format == Format::Json {
            out::json_line(value);
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
    if terminal.is_terminal() && !out::quiet() {
        let line = if done < of { format!("gradient check {}/{of}", done + 1) } else { String::new() };
        let _ = write!(terminal, "\r{line}\x1b[K\r");
    }
    Ok(())
}

/// Follows the steps of a run.
pub struct Progress {
    format: Format,
    bar: ProgressBar,
    /// What the loss of the rows is called that are not to be forgotten.
    kept: &'static str,
    done: usize,
    told: Instant,
}

impl Progress {
    /// For a run of `steps`.
    pub fn new(format: Format, steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64);
        if format == Format::Json || out::quiet() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} steps  {msg}  {eta} left") {
            bar.set_style(style);
        }
        Self { format, bar, kept: "retain", done: 0, told: Instant::now() }
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
    fn step(&mut self, record: &StepRecord, steps: usize) -> Result<()> {
        let losses = [("forget", record.forget_loss), (self.kept, record.retain_loss), ("τ", record.tau)];
        self.bar.set_message(known(&losses, " "));
        self.bar.inc(1);
        self.done += 1;
        if self.format == Format::Json && !out::quiet() && self.told.elapsed() >= BETWEEN {
            self.told = Instant::now();
            out::event(&json!({ "event": "progress", "step": self.done, "steps": steps }));
        }
        check_interrupt()
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<()> {
        if out::quiet() {
            return Ok(());
        }
        if self.format == Format::Json {
            out::event(&json!({ "event": "epoch", "record": record }));
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
            if self.bar.is_hidden() { out::note(&line) } else { self.bar.println(line) }
        }
        Ok(())
    }
}
