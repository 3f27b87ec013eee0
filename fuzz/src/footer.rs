//! Changes to Parquet files: the footer as a tree, its length kept right, and headers of pages.

use crate::{Random, thrift};

const MAGIC: &[u8] = b"PAR1";

/// The pages, and the footer, of a Parquet file.
fn parts(file: &[u8]) -> Option<(&[u8], thrift::Value)> {
    let rest = file.strip_suffix(MAGIC)?;
    let (rest, length) = rest.split_last_chunk::<4>()?;
    let (pages, footer) = rest.split_at_checked(rest.len().checked_sub(u32::from_le_bytes(*length) as usize)?)?;
    Some((pages, thrift::parse(footer)?.0))
}

/// Changes the footer, or the header of a page. What does not look like Parquet is left to others.
pub fn change(file: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let (pages, mut footer) = parts(file)?;
    let mut out = pages.to_vec();
    match random.below(6) {
        0 => page(&mut out, random)?,
        1 if out.len() > 8 => {
            let at = 4 + random.below(out.len() - 4);
            out[at] = random.bits() as u8;
        }
        _ => footer.change(random),
    }
    let start = out.len();
    footer.encode(&mut out);
    let length = (out.len() - start) as u32;
    out.extend(length.to_le_bytes());
    out.extend(MAGIC);
    Some(out)
}

/// Changes a page's header in place, if it keeps its length, so that what the footer says of places stays true.
fn page(pages: &mut [u8], random: &mut Random) -> Option<()> {
    // A header begins with its type, 0 to 3, as the first field of 32 bits, and its sizes.
    let starts = |at: &usize| matches!(pages[*at..], [0x15, 0 | 2 | 4 | 6, 0x15, ..]);
    let found: Vec<usize> = (0..pages.len()).filter(starts).collect();
    let at = *random.of(&found)?;
    let (mut header, length) = thrift::parse(&pages[at..])?;
    for _ in 0..8 {
        header.change(random);
        let mut new = Vec::new();
        header.encode(&mut new);
        if new.len() <= length {
            // What is left over becomes the first bytes of the page.
            pages[at..at + new.len()].copy_from_slice(&new);
            return Some(());
        }
        header = thrift::parse(&pages[at..])?.0;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_comes_back_as_it_was_and_changes_keep_its_length_right() {
        let file = include_bytes!("../../fixtures/files/checksums.parquet");
        let (pages, footer) = parts(file).unwrap();
        let mut again = pages.to_vec();
        footer.encode(&mut again);
        assert_eq!(again, file[..file.len() - 8]);
        let mut other = 0;
        for seed in 0..200 {
            let Some(new) = change(file, &mut Random::new(seed)) else { continue };
            assert!(parts(&new).is_some(), "{seed}");
            other += usize::from(new != file);
        }
        assert!(other > 120, "{other}");
    }
}
