//! Text as it may be shown: names in a file never steer a terminal or pass for lines of the program, and the secrets of
//! addresses stay secret.

use std::{
    borrow::Cow,
    fmt::{Arguments, Write},
};

/// Text as it may be printed or reported: without secrets, and with characters escaped that would steer a terminal.
pub fn clean(text: &str) -> Cow<'_, str> {
    escaped(without_secrets(text), |c| steers(c) && c != '\n' && c != '\t')
}

/// The same of what is one line, whatever the names in it hold.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(without_secrets(text), |c| steers(c) && c != '\t')
}

/// The same of JSON, which stays the same value but for the secrets.
pub fn json(text: &str) -> String {
    // Outside strings, JSON has no other of these characters than line ends, and inside none.
    escaped(without_secrets(text), |c| steers(c) && c != '\n').into_owned()
}

fn escaped(text: Cow<'_, str>, which: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&which) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Cannot fail.
        let _ = if which(c) { write!(out, "\\u{:04x}", c as u32) } else { out.write_char(c) };
    }
    out.into()
}

/// Text that is written line by line: what one `writeln!` writes stays one line.
#[derive(Debug, Default)]
pub struct Lines(pub String);

impl Write for Lines {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write_str(text)
    }

    fn write_fmt(&mut self, arguments: Arguments<'_>) -> std::fmt::Result {
        let text = arguments.to_string();
        match text.strip_suffix('\n') {
            Some(text) => writeln!(self.0, "{}", line(text)),
            None => self.0.write_str(&line(&text)),
        }
    }
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
        let mut lines = Lines::default();
        let name = "x\nPUBLISHED";
        writeln!(lines, "input {name}").unwrap();
        writeln!(lines, "output y").unwrap();
        assert_eq!(lines.0, "input x\\u000aPUBLISHED\noutput y\n");
        assert_eq!(json("{\n \"a\": \"\u{202e}\"\n}"), "{\n \"a\": \"\\u202e\"\n}");
    }
}
