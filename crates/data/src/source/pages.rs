//! What is looked at in the pages of a Parquet column before they are read: the size that each claims to have when decompressed,
//! for which the reader makes room at once.
//!
//! In front of each page is a struct in Thrift's compact form (`PageHeader` of `parquet.thrift`): field 2 is the size of the
//! decompressed page, field 3 that of the page as it is stored.

use super::{
    inflated,
    thrift::{DEPTH, field, signed, skip, varint},
};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
};

/// Bytes of a header, at most: one may hold the smallest and the largest value of a column.
const HEADER: u64 = 16 << 20;
/// Bytes that are read at first.
const USUAL: u64 = 1 << 10;

/// Checks the pages that lie in these bytes of `file`.
///
/// # Errors
/// A header that is none, a page that reaches beyond the bytes, or one that claims to be larger than what it is stored as can come to.
pub fn check(file: &File, bytes: Range<u64>) -> Result<(), String> {
    let Range { start: mut at, end } = bytes;
    while at < end {
        let left = end - at;
        let (length, decoded, stored) = header(file, at, left.min(USUAL))
            .or_else(|| header(file, at, left.min(HEADER)))
            .ok_or("a page without a header")?;
        let page = stored.checked_add(length).filter(|page| *page <= left).ok_or("a page reaches beyond its column")?;
        if decoded > inflated(stored) {
            return Err(format!("a page of {stored} bytes claims to have {decoded} bytes when decompressed"));
        }
        at += page;
    }
    Ok(())
}

/// How long the header at `at` is, and what it says of the page's size: decompressed, and as it is stored.
fn header(mut file: &File, at: u64, most: u64) -> Option<(u64, u64, u64)> {
    file.seek(SeekFrom::Start(at)).ok()?;
    let mut read = Vec::new();
    file.take(most).read_to_end(&mut read).ok()?;
    let mut bytes = read.as_slice();
    let (mut last, mut decoded, mut stored) = (0, None, None);
    while let Some((id, kind)) = field(&mut bytes, last)? {
        // The reader keeps 32 bits.
        let size = |bytes: &mut &[u8]| u32::try_from(signed(varint(bytes)?)).ok().map(u64::from);
        match (id, kind) {
            (2, 5) => decoded = Some(size(&mut bytes)?),
            (3, 5) => stored = Some(size(&mut bytes)?),
            (2 | 3, _) => return None,
            _ => skip(&mut bytes, kind, DEPTH)?,
        }
        last = id;
    }
    Some(((read.len() - bytes.len()) as u64, decoded?, stored?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A page of `stored` bytes that claims `decoded`, both below 64, or the largest number there is.
    fn page(decoded: Option<u8>, stored: u8) -> Vec<u8> {
        let decoded = decoded.map_or(vec![0xFE, 0xFF, 0xFF, 0xFF, 0x0F], |n| vec![n << 1]);
        let header = [&[0x15, 0, 0x15][..], &decoded, &[0x15, stored << 1, 0]].concat();
        [header, vec![7; stored.into()]].concat()
    }

    fn checked(bytes: &[u8]) -> Result<(), String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        check(&file, 0..bytes.len() as u64)
    }

    #[test]
    fn pages_are_followed_to_the_last() {
        let two = [page(Some(20), 10), page(Some(5), 5)].concat();
        assert_eq!(checked(&two), Ok(()));
        assert!((1..two.len()).filter(|end| checked(&two[..*end]).is_ok()).eq([page(Some(20), 10).len()]));
    }

    #[test]
    fn a_page_that_claims_more_than_it_can_hold_is_refused() {
        let error = checked(&[page(Some(20), 10), page(None, 5)].concat()).unwrap_err();
        assert!(error.contains("5 bytes claims to have 2147483647"), "{error}");
        // A size below zero, one of another kind, and a header without sizes.
        assert!(checked(&[0x15, 0, 0x15, 1, 0x15, 0, 0]).is_err());
        assert!(checked(&[0x15, 0, 0x13, 1, 0x15, 0, 0]).is_err());
        assert!(checked(&[0x15, 0, 0]).is_err());
    }
}
