//! Ids that no training row has, but nearly: written in another way.

use super::ids::Key;
use std::{borrow::Cow, collections::HashMap};
use unicode_normalization::UnicodeNormalization;

/// Differences in writing that are looked past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Spaces at the ends.
    Trimmed,
    /// Upper and lower case.
    Case,
    /// Leading zeros, and zeros behind a decimal point.
    Number,
    /// Composed and decomposed letters.
    Unicode,
    /// UUIDs with and without hyphens, in braces, as URN.
    Uuid,
    /// All of these.
    All,
}

const FORMS: [Form; 6] = [Form::Trimmed, Form::Case, Form::Number, Form::Unicode, Form::Uuid, Form::All];

impl Form {
    /// How ids would have to be compared to match.
    fn words(self) -> &'static str {
        match self {
            Self::Trimmed => "without the spaces around them",
            Self::Case => "if upper and lower case were the same",
            Self::Number => "as numbers, without leading zeros or a decimal point",
            Self::Unicode => "in one Unicode form (NFC)",
            Self::Uuid => "as UUIDs, without hyphens, braces and case",
            Self::All => "without spaces, case, leading zeros and other differences in writing",
        }
    }

    fn of(self, id: &[u8]) -> Cow<'_, [u8]> {
        let Ok(text) = std::str::from_utf8(id) else { return id.into() };
        let made = match self {
            Self::Trimmed => return trimmed(text).as_bytes().into(),
            Self::Case => text.to_lowercase(),
            Self::Number => return number(text).as_bytes().into(),
            Self::Unicode => text.nfc().collect(),
            Self::Uuid => return uuid(text).map_or(id.into(), |bytes| bytes.to_vec().into()),
            Self::All => {
                let plain: String = trimmed(text).nfc().collect::<String>().to_lowercase();
                match uuid(&plain) {
                    Some(bytes) => return bytes.to_vec().into(),
                    None => number(&plain).to_owned(),
                }
            }
        };
        made.into_bytes().into()
    }
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c.is_control() || ['\u{feff}', '\u{200b}'].contains(&c))
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    uuid::Uuid::try_parse(trimmed(text)).ok().map(uuid::Uuid::into_bytes)
}

/// A number's digits, or the text itself.
fn number(text: &str) -> &str {
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|b| b == b'0') => whole,
        _ => text,
    };
    if whole.is_empty() || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return text;
    }
    match whole.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    }
}

/// An id's bytes: an integer's digits.
fn written<'a>(key: &'a Key<'_>) -> Cow<'a, [u8]> {
    match key {
        Key::Integer(i) => i.to_string().into_bytes().into(),
        Key::Bytes(b) => (*b).into(),
    }
}

/// Ids that match no row, in all forms.
#[derive(Debug, Default)]
pub struct Near {
    /// How many ids each form of an id stands for, until a row has it.
    open: [HashMap<Box<[u8]>, usize>; FORMS.len()],
    matched: [usize; FORMS.len()],
}

impl Near {
    /// Adds an id that matches no row.
    pub fn miss(&mut self, key: &Key<'_>) {
        let id = written(key);
        for (form, open) in FORMS.iter().zip(&mut self.open) {
            *open.entry(form.of(&id).into()).or_default() += 1;
        }
    }

    /// Looks at the id of a row.
    pub fn row(&mut self, key: &Key<'_>) {
        let id = written(key);
        for ((form, open), matched) in FORMS.iter().zip(&mut self.open).zip(&mut self.matched) {
            *matched += open.remove(form.of(&id).as_ref()).unwrap_or(0);
        }
    }

    /// How many of the ids would match, and how they would have to be compared; the simplest way among the best.
    pub fn found(&self) -> Option<(usize, &'static str)> {
        let best = self.matched.iter().copied().max().filter(|&n| n > 0)?;
        let (form, _) = FORMS.iter().zip(self.matched).find(|(_, n)| *n == best)?;
        Some((best, form.words()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(missing: &[&str], rows: &[&str]) -> Option<(usize, &'static str)> {
        let mut near = Near::default();
        missing.iter().for_each(|id| near.miss(&Key::Bytes(id.as_bytes())));
        rows.iter().for_each(|id| near.row(&Key::Bytes(id.as_bytes())));
        near.found()
    }

    #[test]
    fn each_difference_in_writing_is_told() {
        let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let braced = format!("{{{}}}", uuid.to_uppercase());
        let plain = uuid.replace('-', "");
        let cases: [(&[&str], &[&str], Form); 6] = [
            (&[" a", "b\u{a0}", "c"], &["a", "b"], Form::Trimmed),
            (&["Ab", "CD", "x"], &["aB", "cd"], Form::Case),
            (&["007", "12.0", "x"], &["7", "012"], Form::Number),
            (&["e\u{301}", "n\u{303}"], &["\u{e9}", "\u{f1}"], Form::Unicode),
            (&[&braced, "x"], &[uuid], Form::Uuid),
            (&[" Ab ", "007 ", &plain], &["aB", "7", &braced], Form::All),
        ];
        for (missing, rows, form) in cases {
            let n = if form == Form::All { 3 } else { missing.len().min(rows.len()) };
            assert_eq!(found(missing, rows), Some((n, form.words())));
        }
        assert_eq!(found(&["a"], &["b"]), None);
    }

    #[test]
    fn an_id_counts_once_however_many_rows_have_it() {
        assert_eq!(found(&["A", "a "], &["a", "a", "a"]), Some((2, Form::All.words())));
        let mut near = Near::default();
        near.miss(&Key::Integer(7));
        near.row(&Key::Bytes(b"007"));
        assert_eq!(near.found(), Some((1, Form::Number.words())));
    }
}
