//! Patches of a byte string, and the lengths around them.

use crate::{
    error::{Error, Result},
    onnx::{
        span::Frame,
        wire::{varint_len, write_varint},
    },
};
use std::{io::Write, ops::Range};

/// What a patch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Elements of a changed tensor.
    Elements,
    /// The name of an external file.
    Location,
    /// The checksum of an external file.
    Checksum,
    /// A momentum of the optimizer.
    Momentum,
    /// The length of a field around another patch.
    Length,
}

/// Other bytes in place of a range.
#[derive(Clone, Debug)]
pub struct Patch {
    /// The bytes that go.
    pub range: Range<usize>,
    /// The bytes that come.
    pub bytes: Vec<u8>,
    /// The innermost length-delimited field around them.
    pub frame: Option<usize>,
    /// What it is for.
    pub why: Why,
}

/// Adds patches for the lengths of all fields whose content gets longer or shorter, and sorts.
///
/// A length keeps its number of bytes if it fits.
///
/// # Errors
/// [`Error::Internal`] if two patches overlap, or a length would become negative.
pub fn complete(frames: &[Frame], mut patches: Vec<Patch>) -> Result<Vec<Patch>> {
    let mut grown = vec![0i64; frames.len()];
    let grow = |grown: &mut Vec<i64>, frame: Option<usize>, by: i64| {
        if let Some(sum) = frame.and_then(|f| grown.get_mut(f)) {
            *sum += by;
        }
    };
    for patch in &patches {
        grow(&mut grown, patch.frame, patch.bytes.len() as i64 - patch.range.len() as i64);
    }
    // Children stand after their parents.
    for (i, frame) in frames.iter().enumerate().rev() {
        let by = grown.get(i).copied().unwrap_or_default();
        if by == 0 {
            continue;
        }
        let len = u64::try_from(frame.body.len() as i64 + by).map_err(|_| broken("a length became negative"))?;
        let mut bytes = Vec::with_capacity(varint_len(len));
        write_varint(&mut bytes, len, frame.prefix.len());
        grow(&mut grown, frame.parent, by + bytes.len() as i64 - frame.prefix.len() as i64);
        patches.push(Patch { range: frame.prefix.clone(), bytes, frame: frame.parent, why: Why::Length });
    }
    patches.sort_by_key(|p| (p.range.start, p.range.end));
    let apart = patches.iter().zip(patches.iter().skip(1)).all(|(a, b)| a.range.end <= b.range.start);
    if apart { Ok(patches) } else { Err(broken("two changes overlap")) }
}

fn broken(what: &str) -> Error {
    Error::Internal(format!("write-back: {what}"))
}

/// Writes `input` with `patches`, which are sorted and apart.
///
/// # Errors
/// `out` cannot be written.
pub fn write(input: &[u8], patches: &[Patch], out: &mut impl Write) -> std::io::Result<()> {
    let mut at = 0;
    for patch in patches {
        out.write_all(input.get(at..patch.range.start).unwrap_or_default())?;
        out.write_all(&patch.bytes)?;
        at = patch.range.end;
    }
    out.write_all(input.get(at..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_follow_through_all_levels() {
        // field 1 { field 1 { 126 bytes } }: the inner grows by 2, so both lengths need two bytes.
        let mut bytes = vec![0x0a, 128, 0x01];
        assert_eq!(varint_len(128), 2);
        bytes.splice(1..3, [0x80, 0x01]);
        bytes.extend([0x0a, 126]);
        bytes.extend([7; 126]);
        let frames =
            [Frame { parent: None, prefix: 1..3, body: 3..131 }, Frame { parent: Some(0), prefix: 4..5, body: 5..131 }];
        let patch = Patch { range: 5..6, bytes: vec![8, 8, 8], frame: Some(1), why: Why::Elements };
        let patches = complete(&frames, vec![patch]).unwrap();
        let mut out = vec![];
        write(&bytes, &patches, &mut out).unwrap();
        // Inner body 128 bytes with a two-byte length; outer body 1 + 2 + 128.
        assert_eq!(out[..7], [0x0a, 131, 0x01, 0x0a, 128, 0x01, 8]);
        assert_eq!(out.len(), 3 + 131);
        // A shrinking field keeps the width of its length.
        let patch = Patch { range: 5..15, bytes: vec![], frame: Some(1), why: Why::Elements };
        let mut out = vec![];
        write(&bytes, &complete(&frames, vec![patch]).unwrap(), &mut out).unwrap();
        assert_eq!(out[..5], [0x0a, 0x80 | 118, 0x00, 0x0a, 116]);
    }

    #[test]
    fn overlapping_patches_are_a_defect() {
        let patch = |range| Patch { range, bytes: vec![], frame: None, why: Why::Elements };
        assert!(complete(&[], vec![patch(0..4), patch(3..5)]).is_err());
    }
}
