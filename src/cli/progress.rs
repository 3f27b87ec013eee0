//! What is shown while the program runs: a bar on a terminal, plain lines in a pipe, JSON lines if asked for.

use super::{args::Format, error_event, out};
use crate::{
    error::{Error, Result},
    report::{self, Report},
    run::{EpochRecord, Event, Job, Observer, StepRecord},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::{
    io::{IsTerminal, Write},
    path::Path,
    time::{Duration, Instant},
};

/// The time between two JSON events that tell how many steps are done.
const BETWEEN: Duration = Duration::from_secs(1);

/// Says what a run tells.
pub struct Printer {
    format: Format,
    /// Whether JSON tells more than the result.
    events: bool,
    steps: Option<Steps>,
}

impl Printer {
    /// Of a command that prints JSON events, if it prints JSON.
    pub fn new(format: Format) -> Self {
        Self { format, events: format == Format::Json && !out::quiet(), steps: None }
    }

    /// Of a command whose only JSON value is its result.
    pub fn of_one_result(format: Format) -> Self {
        Self { events: false, ..Self::new(format) }
    }

    /// A line for people, on stderr.
    pub fn say(&self, line: &str) {
        if self.format == Format::Pretty {
            out::note(line);
        }
    }

    /// What came out, for people, on stdout.
    pub fn result(&self, text: &str) {
        if self.format == Format::Pretty && !out::quiet() {
            out::result(&format!("{text}\n"));
        }
    }

    /// A JSON value for programs that follow the run.
    fn json(&self, value: Value) {
        if self.events {
            out::event(&value);
        }
    }

    /// How the run ended and where its report is, or all of the report as JSON.
    pub fn report(&self, report: &Report, lines: &str, folder: &Path) {
        self.result(&format!("{lines}\nreport     {}", folder.join("report.html").display()));
        if self.format == Format::Json {
            out::json_line(&json!({ "event": "report", "folder": folder, "record": report }));
        }
    }

    fn prepared(&self, job: &Job) {
        let (data, model) = (&job.data, &job.model);
        if let Some(note) = job.checkpoint_note() {
            self.say(&format!("checkpoint {note}"));
        }
        self.say(&format!("loss       {}", model.plan.why));
        self.say(&format!("trainable  {} of {} parameters", model.parameters(true), model.parameters(false)));
        self.say(&format!(
            "rows       forget {}  retain {}  validation {}  test {}",
            data.forget.len(),
            data.retain.len(),
            data.validation.len(),
            data.test.len()
        ));
        self.json(json!({ "event": "plan", "loss": model.plan.why, "rows": data.counts }));
    }

    fn rejected(&self, error: &Error, report: &Report, folder: &Path) {
        if self.format == Format::Json {
            error_event(error);
        }
        self.report(report, &report::status(report), folder);
    }
}

impl Observer for Printer {
    /// # Errors
    /// [`Error::Write`] before a stage, and before a report gets its name, if something could not be printed: its results
    /// would reach nobody.
    fn event(&mut self, event: Event<'_>) -> Result<()> {
        match event {
            Event::Stage(name) => {
                self.say(&format!("{name} ..."));
                self.json(json!({ "event": "stage", "name": name, "state": "start" }));
                return out::check();
            }
            Event::StageEnded { name, seconds, ok } => {
                self.json(json!({ "event": "stage", "name": name, "state": "end", "seconds": seconds, "ok": ok }));
            }
            Event::Prepared(job) => self.prepared(job),
            Event::TrainingPrepared { loss, rows, of } => {
                self.say(&format!("loss       {loss}\nrows       {rows} of {of}"));
            }
            Event::Warning(text) => {
                self.say(&format!("warning    {text}"));
                self.json(json!({ "event": "warning", "message": text }));
            }
            Event::RowsKnown(found) => self.say(&format!("rows known {}", found.line())),
            Event::Steps { steps, kept } => self.steps = Some(Steps::new(self.format, steps, kept)),
            Event::Step { record, steps } => self.steps.iter_mut().for_each(|bar| bar.step(record, steps)),
            Event::Epoch(record) => self.steps.iter().for_each(|bar| bar.epoch(record)),
            Event::StepsEnded => self.steps.take().iter().for_each(|bar| bar.bar.finish_and_clear()),
            Event::GradientCheck { done, of } => gradient_check(done, of),
            Event::Report(report) => {
                self.result(&report::summary(report));
                return out::check();
            }
            Event::Rejected { error, report, folder } => self.rejected(error, report, folder),
            Event::ReportLost(e) => out::error(&format!("the report of the rejected run: {e}")),
            Event::NotApplicable(method) => self.say(&format!("{method}: not applicable")),
            Event::MethodFailed { method, seed, error } => self.say(&format!("{method}, seed {seed}: {error}")),
        }
        Ok(())
    }
}

/// Says on a terminal how far the gradient check is.
fn gradient_check(done: usize, of: usize) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() && !out::quiet() {
        let line = if done < of { format!("gradient check {}/{of}", done + 1) } else { String::new() };
        let _ = write!(terminal, "\r{line}\x1b[K\r");
    }
}

/// The steps of a run.
struct Steps {
    format: Format,
    bar: ProgressBar,
    /// What the loss of the rows is called that are not to be forgotten.
    kept: &'static str,
    done: usize,
    told: Instant,
}

/// The figures that there are, by name.
fn known(figures: &[(&str, f64)], between: &str) -> String {
    let words = figures.iter().filter(|(_, value)| value.is_finite()).map(|(name, value)| format!("{name} {value:.4}"));
    words.collect::<Vec<_>>().join(between)
}

impl Steps {
    fn new(format: Format, steps: usize, kept: &'static str) -> Self {
        let bar = ProgressBar::new(steps as u64);
        if format == Format::Json || out::quiet() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} steps  {msg}  {eta} left") {
            bar.set_style(style);
        }
        Self { format, bar, kept, done: 0, told: Instant::now() }
    }

    fn step(&mut self, record: &StepRecord, steps: usize) {
        let losses = [("forget", record.forget_loss), (self.kept, record.retain_loss), ("τ", record.tau)];
        self.bar.set_message(known(&losses, " "));
        self.bar.inc(1);
        self.done += 1;
        if self.format == Format::Json && !out::quiet() && self.told.elapsed() >= BETWEEN {
            self.told = Instant::now();
            out::event(&json!({ "event": "progress", "step": self.done, "steps": steps }));
        }
    }

    fn epoch(&self, record: &EpochRecord) {
        if out::quiet() {
            return;
        }
        if self.format == Format::Json {
            return out::event(&json!({ "event": "epoch", "record": record }));
        }
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
}
