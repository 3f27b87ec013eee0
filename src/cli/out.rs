//! What is printed: results on stdout, all else on stderr. A stream that is closed or full never makes the program panic.
//!
//! Nothing that is printed here holds the secrets of an address, or characters by which a name in a file could steer the terminal.

use crate::error::{Error, Result};
use std::{
    borrow::Cow,
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
    // Nowhere is left to say that this failed.
    let _ = writeln!(io::stderr().lock(), "{}", clean(text));
}

/// What the program was asked for, on stdout, with its own line ends.
pub fn result(text: &str) {
    to_stdout(&clean(text));
}

/// What the program was asked for, as one JSON value on a line of stdout.
pub fn json_line(value: &impl serde::Serialize) {
    SHOWN.store(true, Ordering::Relaxed);
    event(value);
}

/// One of several JSON values, on a line of stdout.
pub fn event(value: &impl serde::Serialize) {
    if let Ok(line) = serde_json::to_string(value) {
        // Outside strings, JSON has none of these characters.
        let line: String =
            without_secrets(&line).chars().map(|c| if steers(c) { escaped(c) } else { c.into() }).collect();
        to_stdout(&(line + "\n"));
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

/// Text as it may be printed or reported: without secrets, and with characters escaped that would steer a terminal.
pub fn clean(text: &str) -> Cow<'_, str> {
    let text = without_secrets(text);
    if !text.chars().any(|c| steers(c) && c != '\n' && c != '\t') {
        return text;
    }
    text.chars()
        .map(|c| if steers(c) && c != '\n' && c != '\t' { escaped(c) } else { c.into() })
        .collect::<String>()
        .into()
}

fn escaped(c: char) -> String {
    format!("\\u{:04x}", c as u32)
}

/// Control characters, and those that change the direction of text.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text in which addresses (`https://…`) have neither user and password nor a query, which may hold a signature.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(":/") {
        let (scheme, after) = rest.split_at(at + 1);
        let named =
            scheme.trim_end_matches(':').chars().rev().take_while(|c| c.is_ascii_alphanumeric() || "+.-".contains(*c));
        let slashes = after.len() - after.trim_start_matches('/').len();
        let (slashes, body) = after.split_at(slashes);
        let end = body.find(|c: char| c.is_whitespace() || "\"'`<>\\".contains(c)).unwrap_or(body.len());
        let (address, tail) = body.split_at(end);
        parts.extend([scheme, slashes]);
        // One letter is a drive.
        if named.count() > 1 {
            let public = match address.rsplit_once('@') {
                Some((_, public)) => {
                    parts.push("…@");
                    public
                }
                None => address,
            };
            match public.split_once('?') {
                Some((public, _)) => parts.extend([public, "?…"]),
                None => parts.push(public),
            }
        } else {
            parts.push(address);
        }
        rest = tail;
    }
    if parts.is_empty() {
        return text.into();
    }
    parts.push(rest);
    parts.concat().into()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_secrets() {
        for (given, shown) in [
            ("https://user:secret@host/a.parquet: no", "https://…@host/a.parquet: no"),
            ("https:/user:se/cr?et@host/a", "https:/…@host/a"),
            ("read `s3://b/k?X-Amz-Signature=abc&x=1` and \"gs://t:s@h\"", "read `s3://b/k?…` and \"gs://…@h\""),
            ("C:/users/a@b.txt", "C:/users/a@b.txt"),
            ("file:///tmp/a.onnx", "file:///tmp/a.onnx"),
            ("nothing: /here", "nothing: /here"),
        ] {
            assert_eq!(without_secrets(given), shown);
        }
    }

    #[test]
    fn names_do_not_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\u{202e}c\nd"), "a\\u001b[2Jb\\u202ec\nd");
        assert!(matches!(clean("τ: 0.5"), Cow::Borrowed(_)));
    }
}
