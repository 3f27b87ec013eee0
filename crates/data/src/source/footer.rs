//! What is looked at in a Parquet file's footer before it is read: whether its numbers can be, and whether columns are
//! encrypted.
//!
//! The footer is a struct in Thrift's compact form (`parquet.thrift`): field 2 is the schema, a list of structs whose field 5
//! is the number of fields within; field 8 names the way of encryption.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

/// Structs and lists within each other, at most.
const DEPTH: usize = 32;

/// Fields of a schema within each other, at most.
const NESTED: usize = 64;

/// Whether the file says that some of its columns are encrypted. Holds the numbers of its footer against what it holds, since
/// the footer's reader makes room for as many elements as it says, and goes as deep. What is no footer at all is left to
/// that reader.
///
/// # Errors
/// More elements than there are, or fields too deep in each other.
pub fn check(file: &File) -> Result<bool, String> {
    let Some(bytes) = footer(file) else { return Ok(false) };
    let damaged = "damaged: its footer is not whole, says more than it holds, or is nested too deeply";
    followed(&bytes).ok_or_else(|| damaged.into())
}

fn footer(mut file: &File) -> Option<Vec<u8>> {
    let end = file.seek(SeekFrom::End(-8)).ok()?;
    let mut tail = [0; 4];
    file.read_exact(&mut tail).ok()?;
    let length = u64::from(u32::from_le_bytes(tail));
    file.seek(SeekFrom::Start(end.checked_sub(length)?)).ok()?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Goes through the outermost struct, and tells whether it names a way of encryption; `None` if it ends early, or its
/// schema is none.
fn followed(mut bytes: &[u8]) -> Option<bool> {
    let (mut last, mut encrypted) = (0, false);
    while let Some((id, kind)) = field(&mut bytes, last)? {
        last = id;
        encrypted |= id == 8;
        match (id, kind) {
            (2, 9) => schema(&mut bytes)?,
            _ => skip(&mut bytes, kind, DEPTH)?,
        }
    }
    Some(encrypted)
}

/// Goes through a list of a schema's fields, each in front of those within it.
fn schema(bytes: &mut &[u8]) -> Option<()> {
    let (12, length) = list(bytes)? else { return None };
    // Fields that are still to come, of each one that is not over.
    let mut open: Vec<i64> = Vec::new();
    for _ in 0..length {
        let (mut last, mut within) = (0, 0);
        while let Some((id, kind)) = field(bytes, last)? {
            last = id;
            match (id, kind) {
                (5, 4..=6) => within = signed(varint(bytes)?),
                _ => skip(bytes, kind, DEPTH)?,
            }
        }
        open.last_mut().into_iter().for_each(|left| *left -= 1);
        let most = i64::try_from(length).ok()?;
        open.extend(Some(within).filter(|&n| n > 0));
        while open.last().is_some_and(|&left| left <= 0) {
            open.pop();
        }
        if within > most || open.len() > NESTED {
            return None;
        }
    }
    Some(())
}

/// Kind and number of a list's elements.
fn list(bytes: &mut &[u8]) -> Option<(u8, u64)> {
    let head = take(bytes)?;
    Some((head & 15, if head >> 4 == 15 { varint(bytes)? } else { u64::from(head >> 4) }))
}

fn signed(zigzag: u64) -> i64 {
    (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
}

/// Number and kind of the next field; nothing at a struct's end.
fn field(bytes: &mut &[u8], last: i64) -> Option<Option<(i64, u8)>> {
    let byte = take(bytes)?;
    if byte == 0 {
        return Some(None);
    }
    let id = match i64::from(byte >> 4) {
        0 => signed(varint(bytes)?),
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
            let (kind, length) = list(bytes)?;
            for _ in 0..length {
                match kind {
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

    /// A schema of these numbers of fields within, as field 2.
    fn schema_of(within: &[u8]) -> Vec<u8> {
        let elements = within.iter().flat_map(|n| [0x48, 1, b'a', 0x15, n << 1, 0]);
        [0x19, 0xFC, within.len() as u8].into_iter().chain(elements).chain([0]).collect()
    }

    #[test]
    fn a_footer_that_says_more_than_it_holds_is_refused() {
        let second = |bytes: Vec<u8>| [&[0x15, 0x02][..], &bytes].concat();
        assert_eq!(followed(&second(schema_of(&[2, 0, 1, 0]))), Some(false));
        assert_eq!(followed(&second(schema_of(&[5, 0, 1, 0]))), None);
        assert_eq!(followed(&second(schema_of(&[1; 60]))), Some(false));
        assert_eq!(followed(&second(schema_of(&[1; 70]))), None);
        let whole = second(schema_of(&[2, 0, 0]));
        assert!((0..whole.len()).all(|end| followed(&whole[..end]).is_none()));
        // A list of 2^28 row groups, of which there is none.
        assert_eq!(followed(&[0x49, 0xFC, 0x80, 0x80, 0x80, 0x80, 0x01, 0]), None);
    }

    #[test]
    fn encryption_is_found_behind_other_fields() {
        // Field 1: an integer; 2: a schema; 8: a struct.
        let start = [&[0x15, 0x02][..], &schema_of(&[0])].concat();
        let schema = &start[..start.len() - 1];
        assert_eq!(followed(&[schema, &[0x6C, 0x00, 0x00]].concat()), Some(true));
        assert_eq!(followed(&[schema, &[0x00]].concat()), Some(false));
        assert_eq!(followed(&[0x1B; 40]), None);
    }
}
