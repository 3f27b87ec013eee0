//! What is printed: results on stdout, all else on stderr. A stream that is closed or full never makes the program panic.
//!
//! Nothing that is printed here holds the secrets of an address, or characters by which a name in a file could steer the terminal.

use crate::{
    error::{Error, Result},
    shown::{self, clean, without_secrets},
};
use std::{
    io::{self, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

static QUIET: AtomicBool = AtomicBool::new(false);
static SHOWN: AtomicBool = AtomicBool::new(false);
static FAILED: Mutex<Option<String>> = Mutex::new(None);

/// Leaves out all but errors and what was asked for as JSON.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether all but errors is left out.
pub fn quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// A line for people on stderr, while the program runs.
pub fn note(text: &str) {
    if !quiet() {
        to_stderr(text);
    }
}

/// An error, on stderr.
pub fn error(text: &str) {
    to_stderr(&format!("error: {text}"));
}

fn to_stderr(text: &str) {
    // What follows a line end stands further right: a name that holds one cannot pass for a line of the program.
    let text = clean(text).replace('\n', "\n  ");
    // Nowhere is left to say that this failed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// What the program was asked for, on stdout, with its own line ends.
pub fn result(text: &str) {
    to_stdout(&clean(text));
}

/// One line of it.
pub fn line(text: &str) {
    to_stdout(&(shown::line(text).into_owned() + "\n"));
}

/// What the program was asked for, as one JSON value on a line of stdout.
pub fn json_line(value: &impl serde::Serialize) {
    SHOWN.store(true, Ordering::Relaxed);
    event(value);
}

/// One of several JSON values, on a line of stdout.
pub fn event(value: &impl serde::Serialize) {
    if let Ok(line) = serde_json::to_string(value) {
        to_stdout(&(shown::json(&line) + "\n"));
    }
}

/// Whether the one JSON value that was asked for is printed.
pub fn shown() -> bool {
    SHOWN.load(Ordering::Relaxed)
}

fn to_stdout(text: &str) {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => {}
        // Whoever reads has seen enough (`| head`).
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {}
        Err(e) => *FAILED.lock().unwrap_or_else(PoisonError::into_inner) = Some(e.to_string()),
    }
}

/// # Errors
/// [`Error::Write`] if something that was asked for could not be printed.
pub fn check() -> Result<()> {
    match FAILED.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        Some(problem) => Err(Error::Write { path: "standard output".into(), problem: problem.clone() }),
        None => Ok(()),
    }
}

/// Where the log goes.
pub struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().lock().write_all(without_secrets(&String::from_utf8_lossy(line)).as_bytes());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
