//! Whether a Parquet file has encrypted columns, though its footer can be read.
//!
//! The footer is a struct in Thrift's compact form; field 8 of it names the way of encryption (`parquet.thrift`).

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

/// Structs and lists within each other, at most.
const DEPTH: usize = 32;

/// Whether the file says that some of its columns are encrypted.
pub fn columns(file: &mut File) -> bool {
    footer(file).and_then(|bytes| named(&bytes, 8)).unwrap_or(false)
}

fn footer(file: &mut File) -> Option<Vec<u8>> {
    let end = file.seek(SeekFrom::End(-8)).ok()?;
    let mut tail = [0; 4];
    file.read_exact(&mut tail).ok()?;
    let length = u64::from(u32::from_le_bytes(tail));
    file.seek(SeekFrom::Start(end.checked_sub(length)?)).ok()?;
    let mut bytes = Vec::new();
    Read::by_ref(file).take(length).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Whether the outermost struct has a field of that number; `None` if the bytes are no such struct.
fn named(mut bytes: &[u8], number: i64) -> Option<bool> {
    let mut last = 0;
    while let Some((id, kind)) = field(&mut bytes, last)? {
        if id == number {
            return Some(true);
        }
        last = id;
        skip(&mut bytes, kind, DEPTH)?;
    }
    Some(false)
}

/// Number and kind of the next field; nothing at a struct's end.
fn field(bytes: &mut &[u8], last: i64) -> Option<Option<(i64, u8)>> {
    let byte = take(bytes)?;
    if byte == 0 {
        return Some(None);
    }
    let id = match i64::from(byte >> 4) {
        0 => {
            let zigzag = varint(bytes)?;
            (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
        }
        delta => last.checked_add(delta)?,
    };
    Some(Some((id, byte & 15)))
}

fn skip(bytes: &mut &[u8], kind: u8, depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    match kind {
        // Booleans of a struct are in the field's header.
        1 | 2 => {}
        3 => advance(bytes, 1)?,
        4..=6 => {
            varint(bytes)?;
        }
        7 => advance(bytes, 8)?,
        8 => {
            let length = varint(bytes)?;
            advance(bytes, length)?;
        }
        9 | 10 => {
            let head = take(bytes)?;
            let length = if head >> 4 == 15 { varint(bytes)? } else { u64::from(head >> 4) };
            for _ in 0..length {
                match head & 15 {
                    1 | 2 => advance(bytes, 1)?,
                    kind => skip(bytes, kind, depth)?,
                }
            }
        }
        12 => {
            let mut last = 0;
            while let Some((id, kind)) = field(bytes, last)? {
                last = id;
                skip(bytes, kind, depth)?;
            }
        }
        // The footer has no map.
        _ => return None,
    }
    Some(())
}

fn take(bytes: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(first)
}

fn advance(bytes: &mut &[u8], n: u64) -> Option<()> {
    *bytes = bytes.get(usize::try_from(n).ok()?..)?;
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes)?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_others() {
        // Field 1: an integer; 2: a list of two structs with text; 8: a struct.
        let bytes = [0x15, 0x02, 0x19, 0x2C, 0x18, 0x01, b'a', 0x00, 0x18, 0x00, 0x00, 0x6C, 0x00, 0x00];
        assert_eq!((named(&bytes, 8), named(&bytes, 2), named(&bytes, 5)), (Some(true), Some(true), Some(false)));
        for cut in 0..bytes.len() - 2 {
            named(&bytes[..cut], 9);
        }
        assert_eq!(named(&[0x1B; 40], 8), None);
    }
}
