//! What a file holds, by its first bytes: its name says little.

use std::{fs::File, io::Read, path::Path};

/// A format that rows are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Parquet.
    Parquet,
    /// Arrow IPC: a file (Feather) or a stream.
    Arrow,
    /// JSON: one object a line, or one document.
    Json,
    /// Text with this separator, a line a row.
    Delimited(u8),
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Parquet => "Parquet",
            Self::Arrow => "Arrow IPC",
            Self::Json => "JSON",
            Self::Delimited(b'\t') => "TSV",
            Self::Delimited(_) => "CSV",
        })
    }
}

/// Bytes that are looked at.
const HEAD: usize = 1 << 16;

/// What files begin with that rows are not read from, what they are, and what to do with them.
const OTHERS: [(&[u8], &str, &str); 19] = [
    (b"PARE", "an encrypted Parquet file (modular encryption)", "decrypt it first"),
    (b"FEA1", "a Feather file of version 1", "write it as Feather version 2 or as Parquet"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull`"),
    (b"\x1f\x8b", "a gzip file", "unpack it"),
    (b"PK\x03\x04", "a zip file (as .xlsx and .npz are, too)", "unpack it, or export the table as Parquet or CSV"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file", "unpack it"),
    (b"BZh", "a bzip2 file", "unpack it"),
    (b"\xfd7zXZ", "an xz file", "unpack it"),
    (b"7z\xbc\xaf", "a 7-Zip file", "unpack it"),
    (b"ORC", "an ORC file", "write it as Parquet"),
    (b"Obj\x01", "an Avro file", "write it as Parquet"),
    (b"\x89HDF", "an HDF5 file", "write its table as Parquet"),
    (b"SQLite format 3", "an SQLite database", "export the table as Parquet or CSV"),
    (b"\x93NUMPY", "a NumPy array", "write a table with an id column as Parquet"),
    (b"\x89PNG", "a PNG image", "give a table whose column holds the images or their paths"),
    (b"\xff\xd8\xff", "a JPEG image", "give a table whose column holds the images or their paths"),
    (b"%PDF", "a PDF document", "give a table"),
    (b"\xff\xfe", "text in UTF-16", "save it as UTF-8"),
    (b"\xfe\xff", "text in UTF-16", "save it as UTF-8"),
];

/// The format of a file.
///
/// # Errors
/// What the file is instead, and what to do.
pub fn of(path: &Path) -> Result<Format, String> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(|e| format!("cannot be read ({e})"))?;
    file.take(HEAD as u64).read_to_end(&mut head).map_err(|e| format!("cannot be read ({e})"))?;
    of_bytes(&head)
}

fn of_bytes(head: &[u8]) -> Result<Format, String> {
    if head.is_empty() {
        return Err("an empty file".into());
    }
    if head.starts_with(b"PAR1") {
        return Ok(Format::Parquet);
    }
    if head.starts_with(b"ARROW1") || head.starts_with(b"\xff\xff\xff\xff") {
        return Ok(Format::Arrow);
    }
    if let Some((_, what, todo)) = OTHERS.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return Err(format!("this is {what}: {todo}"));
    }
    if head.starts_with(b"\x80") && head.get(1).is_some_and(|v| (2..=5).contains(v)) {
        return Err("this is a Python pickle: write its table as Parquet".into());
    }
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The last character may be cut.
        Err(e) if head.len() == HEAD && head.len() - e.valid_up_to() < 4 => {
            std::str::from_utf8(head.get(..e.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(_) => {
            return Err(match head.contains(&0) {
                true => "not a readable Parquet file, nor CSV, JSON or Arrow IPC".into(),
                false => "text that is not UTF-8: save it as UTF-8".into(),
            });
        }
    };
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let begins = |word: &str| text.get(..word.len()).is_some_and(|t| t.eq_ignore_ascii_case(word));
    if begins("<!doctype html") || begins("<html") || begins("<?xml") || begins("<head") {
        return Err("this is an HTML or XML page, not a table: was a download refused or redirected?".into());
    }
    if text.contains('\0') {
        return Err("not a readable Parquet file, nor CSV, JSON or Arrow IPC".into());
    }
    match text.chars().next() {
        None => Err("a file of nothing but spaces".into()),
        Some('{' | '[') => Ok(Format::Json),
        Some(_) => Ok(Format::Delimited(separator(text))),
    }
}

/// The separator that occurs in most of the first lines, outside of quotes, and as often in each; a comma if none does.
fn separator(text: &str) -> u8 {
    let score = |separator: u8| {
        let mut quoted = false;
        let mut counts = vec![0usize];
        for byte in text.bytes() {
            match byte {
                b'"' => quoted = !quoted,
                b'\n' if !quoted => counts.push(0),
                b if b == separator && !quoted => *counts.last_mut()? += 1,
                _ => {}
            }
            if counts.len() > 20 {
                break;
            }
        }
        // The last line may be cut, or is what follows the last line's end.
        if counts.len() > 1 {
            counts.pop();
        }
        let first = *counts.first()?;
        let lines = counts.iter().filter(|n| **n == first).count();
        (first > 0 && counts.iter().all(|n| *n == first || *n == 0)).then_some((lines, first))
    };
    let found = [b',', b'\t', b';', b'|'].into_iter().filter_map(|s| score(s).map(|n| (n, s)));
    // Of equally good ones the first is taken.
    found.rev().max_by_key(|(n, _)| *n).map_or(b',', |(_, s)| s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_tells_and_not_the_name() {
        let of = |bytes: &[u8]| of_bytes(bytes);
        assert_eq!(of(b"PAR1..."), Ok(Format::Parquet));
        assert_eq!(of(b"ARROW1\0\0"), Ok(Format::Arrow));
        assert_eq!(of(b"\xff\xff\xff\xff\x10\0\0\0"), Ok(Format::Arrow));
        assert_eq!(of(b" \n[1, 2]"), Ok(Format::Json));
        assert_eq!(of("\u{feff}{\"id\": 1}".as_bytes()), Ok(Format::Json));
        assert_eq!(of(b"id,x\n1,2\n"), Ok(Format::Delimited(b',')));
        assert_eq!(of(b"id\tx,y\n1\t2\n"), Ok(Format::Delimited(b'\t')));
        assert_eq!(of(b"id;x\n1;\"2,5\"\n"), Ok(Format::Delimited(b';')));
        assert_eq!(of(b"id\n1\n2"), Ok(Format::Delimited(b',')));
        for (bytes, word) in [
            (&b"\x1f\x8b\x08"[..], "gzip"),
            (b"PK\x03\x04xl", "zip"),
            (b"<!DOCTYPE html><html>", "HTML"),
            (b"PARE", "decrypt"),
            (b"id\xe9,x", "UTF-8"),
            (b"\0\x01\x02\xff", "not a readable Parquet file"),
            (b"", "empty"),
        ] {
            assert!(of(bytes).unwrap_err().contains(word), "{word}");
        }
    }
}
