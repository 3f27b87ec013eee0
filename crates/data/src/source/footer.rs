//! What is looked at in a Parquet file's footer before it is read: whether its numbers can be, and whether columns are
//! encrypted.
//!
//! The footer is a struct in Thrift's compact form (`parquet.thrift`): field 2 is the schema, a list of structs whose field 5
//! is the number of fields within; field 8 names the way of encryption. The footer's reader takes each field that it knows for
//! the kind that it expects, whatever kind the footer names. So the schema is followed only if both are the same: otherwise
//! its numbers would not be those that the reader finds.

use super::thrift::{DEPTH, field, list, signed, skip, take, varint};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

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
        encrypted |= id == 8;
        match (id, kind) {
            // In front of the schema is the version.
            (1, 5) => skip(&mut bytes, kind, DEPTH)?,
            (2, 9) if last <= 1 => schema(&mut bytes)?,
            (..=2, _) => return None,
            _ => skip(&mut bytes, kind, DEPTH)?,
        }
        last = id;
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
                (5, 5) => within = signed(varint(bytes)?),
                (1..=3 | 6..=9, 5) | (4, 8) => skip(bytes, kind, DEPTH)?,
                (10, 12) => logical_type(bytes)?,
                (1..=10, _) => return None,
                _ => skip(bytes, kind, DEPTH)?,
            }
        }
        open.last_mut().into_iter().for_each(|left| *left -= 1);
        let most = i64::try_from(length).ok()?;
        open.extend(Some(within).filter(|&n| n > 0));
        while open.last().is_some_and(|&left| left <= 0) {
            open.pop();
        }
        // The reader would keep the lower half of the bits, which may be a large number.
        if within < 0 || within > most || open.len() > NESTED {
            return None;
        }
    }
    Some(())
}

/// Goes through a logical type: a struct of one struct.
fn logical_type(bytes: &mut &[u8]) -> Option<()> {
    let mut last = 0;
    while let Some((of, kind)) = field(bytes, last)? {
        if kind != 12 {
            return None;
        }
        (last, _) = (of, parameters(bytes, of)?);
    }
    Some(())
}

/// Goes through what the logical type of a number says of itself.
fn parameters(bytes: &mut &[u8], of: i64) -> Option<()> {
    let mut last = 0;
    while let Some((id, kind)) = field(bytes, last)? {
        last = id;
        match (of, id, kind) {
            // Scale and precision; whether it is in UTC; bits and whether signed; a version, a name, a way to interpolate.
            (5, 1 | 2, 5)
            | (7 | 8, 1, 1 | 2)
            | (10, 1, 3)
            | (10, 2, 1 | 2)
            | (16, 1, 3)
            | (17 | 18, 1, 8)
            | (18, 2, 5) => {
                skip(bytes, kind, DEPTH)?;
            }
            // The unit: a struct of an empty struct.
            (7 | 8, 2, 12) => {
                let mut last = 0;
                while let Some((unit, kind)) = field(bytes, last)? {
                    (last, _) = (unit, (kind == 12 && take(bytes)? == 0).then_some(())?);
                }
            }
            (5 | 7 | 8 | 10 | 18, 1 | 2, _) | (16 | 17, 1, _) => return None,
            _ => skip(bytes, kind, DEPTH)?,
        }
    }
    Some(())
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
    fn a_schema_that_its_reader_would_take_for_another_is_refused() {
        let schema = |element: &[u8]| [&[0x15, 0x02, 0x19, 0x1C, 0x48, 1, b'a'][..], element, &[0, 0]].concat();
        assert_eq!(followed(&schema(&[0x15, 0])), Some(false));
        // Less than zero, which cut to 32 bits is 862,804,273.
        assert_eq!(followed(&schema(&[0x15, 0x9D, 0x9B, 0x95, 0xC9, 0xB9, 0x01])), None);
        // Field 5 as a byte, and with a number that is 5 only when it is cut to 16 bits.
        assert_eq!(followed(&schema(&[0x13, 0])), None);
        assert_eq!(followed(&schema(&[0x05, 0x8A, 0x80, 0x08, 0])), None);
        // A name of another kind; a decimal, and one whose scale is a text; the schema behind something else.
        assert_eq!(followed(&[0x15, 0x02, 0x19, 0x1C, 0x45, 1, 0, 0]), None);
        assert_eq!(followed(&schema(&[0x6C, 0x5C, 0x15, 4, 0x15, 18, 0, 0])), Some(false));
        assert_eq!(followed(&schema(&[0x6C, 0x5C, 0x18, 1, b'a', 0x15, 18, 0, 0])), None);
        assert_eq!(followed(&[&[0x36, 0x02, 0x09, 0x04][..], &schema(&[])[3..]].concat()), None);
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
