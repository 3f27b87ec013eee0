//! The protobuf wire format: fields with the byte ranges they occupy.
//!
//! `prost` tells what a file says; this module tells where it says it. It accepts what `prost` accepts: fields in any
//! order, unknown fields and groups, varints that are longer than needed.

use std::ops::Range;

/// A field of a message, with positions counted from the start of the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Field number.
    pub number: u32,
    /// Where the tag starts.
    pub start: usize,
    /// Its value.
    pub value: Value,
}

/// A field's value or where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A varint, and its bytes.
    Varint(u64, Range<usize>),
    /// Eight bytes.
    Fixed64(Range<usize>),
    /// Four bytes.
    Fixed32(Range<usize>),
    /// A message, string or packed list, after the varint that tells its length.
    Len {
        /// The bytes of the length.
        prefix: Range<usize>,
        /// The bytes of the content.
        body: Range<usize>,
    },
    /// A group, which no ONNX message has: skipped whole.
    Group,
}

/// What breaks the wire format, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {problem}")]
pub struct WireError {
    /// Position from the start of the buffer.
    pub at: usize,
    /// What is wrong.
    pub problem: &'static str,
}

/// Groups may nest in groups; nothing that is read here needs it.
const GROUP_DEPTH: usize = 16;

/// Reads the fields of one message.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// The fields of the message that lies in `body`, which is cut to the buffer's end.
    pub fn new(bytes: &'a [u8], body: Range<usize>) -> Self {
        let end = body.end.min(bytes.len());
        Self { bytes: bytes.get(..end).unwrap_or_default(), at: body.start.min(end) }
    }

    /// The next field, or `None` at the message's end.
    ///
    /// # Errors
    /// [`WireError`] if the field is cut off or reaches past the message's end, has number 0, an unknown wire type, or
    /// a number that is out of range, or if groups do not match or nest too deep.
    pub fn next_field(&mut self) -> Result<Option<Field>, WireError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        let (field, end) = read_field(self.bytes, self.at)?;
        self.at = end;
        if field.value != Value::Group {
            return Ok(Some(field));
        }
        self.skip_group(&field)?;
        Ok(Some(field))
    }

    fn skip_group(&mut self, open: &Field) -> Result<(), WireError> {
        let mut stack = vec![open.number];
        while let Some(&number) = stack.last() {
            if self.at == self.bytes.len() {
                return Err(WireError { at: open.start, problem: "a group does not end" });
            }
            let (tag, after) = read_tag(self.bytes, self.at)?;
            if tag & 7 == END_GROUP {
                if tag >> 3 != number {
                    return Err(WireError { at: self.at, problem: "a group ends that did not begin" });
                }
                stack.pop();
                self.at = after;
                continue;
            }
            let (field, end) = read_field(self.bytes, self.at)?;
            if field.value == Value::Group {
                if stack.len() == GROUP_DEPTH {
                    return Err(WireError { at: self.at, problem: "groups nest too deep" });
                }
                stack.push(field.number);
            }
            self.at = end;
        }
        Ok(())
    }
}

const END_GROUP: u32 = 4;

fn read_tag(bytes: &[u8], at: usize) -> Result<(u32, usize), WireError> {
    let (tag, end) = read_varint(bytes, at)?;
    let tag = u32::try_from(tag).map_err(|_| WireError { at, problem: "a field number is out of range" })?;
    if tag >> 3 == 0 { Err(WireError { at, problem: "a field has number 0" }) } else { Ok((tag, end)) }
}

fn read_field(bytes: &[u8], start: usize) -> Result<(Field, usize), WireError> {
    let (tag, at) = read_tag(bytes, start)?;
    let fixed = |n: usize| match at.checked_add(n) {
        Some(end) if end <= bytes.len() => Ok(at..end),
        _ => Err(WireError { at: start, problem: "a number is cut off" }),
    };
    let (value, end) = match tag & 7 {
        0 => {
            let (value, end) = read_varint(bytes, at)?;
            (Value::Varint(value, at..end), end)
        }
        1 => fixed(8).map(|r| (Value::Fixed64(r.clone()), r.end))?,
        2 => {
            let (len, from) = read_varint(bytes, at)?;
            let end = usize::try_from(len).ok().and_then(|len| from.checked_add(len)).filter(|&e| e <= bytes.len());
            let end = end.ok_or(WireError { at: start, problem: "a length reaches past the end of what holds it" })?;
            (Value::Len { prefix: at..from, body: from..end }, end)
        }
        3 => (Value::Group, at),
        5 => fixed(4).map(|r| (Value::Fixed32(r.clone()), r.end))?,
        END_GROUP => return Err(WireError { at: start, problem: "a group ends that did not begin" }),
        _ => return Err(WireError { at: start, problem: "a field has an unknown wire type" }),
    };
    Ok((Field { number: tag >> 3, start, value }, end))
}

/// The varint at `at`, and the position after it.
///
/// # Errors
/// [`WireError`] if the bytes end within the varint, or if it has more than 64 bits.
pub fn read_varint(bytes: &[u8], at: usize) -> Result<(u64, usize), WireError> {
    let mut value = 0u64;
    for i in 0..10 {
        let byte = *bytes.get(at + i).ok_or(WireError { at, problem: "a varint is cut off" })?;
        if i == 9 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Ok((value, at + i + 1));
        }
    }
    Err(WireError { at, problem: "a varint has more than 64 bits" })
}

/// Bytes that the shortest varint of `value` takes.
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends `value` as a varint of `width` bytes, or of as many as it needs if that is more. Readers must accept the
/// longer form (up to ten bytes), which lets a number change without moving what follows.
pub fn write_varint(out: &mut Vec<u8>, value: u64, width: usize) {
    let width = width.clamp(varint_len(value), 10);
    out.extend((0..width).map(|i| {
        let low = (value.checked_shr(7 * i as u32).unwrap_or(0) & 0x7f) as u8;
        if i + 1 == width { low } else { low | 0x80 }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Field>, WireError> {
        let mut fields = Fields::new(bytes, 0..bytes.len());
        std::iter::from_fn(|| fields.next_field().transpose()).collect()
    }

    #[test]
    fn varints_keep_their_value_at_every_width() {
        for value in [0, 1, 127, 128, 16383, 16384, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX] {
            for width in 0..=12 {
                let mut out = vec![];
                write_varint(&mut out, value, width);
                assert_eq!(out.len(), width.clamp(varint_len(value), 10));
                assert_eq!(read_varint(&out, 0), Ok((value, out.len())));
                assert_eq!(prost::encoding::decode_varint(&mut out.as_slice()).ok(), Some(value));
            }
            let mut ours = vec![];
            write_varint(&mut ours, value, 0);
            let mut theirs = vec![];
            prost::encoding::encode_varint(value, &mut theirs);
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn fields_of_every_wire_type() {
        // 1: varint 300; 2: bytes "ab" with a padded length; 3: group with a nested group; 4: fixed32; 5: fixed64
        let bytes = [
            &[0x08, 0xac, 0x02][..],
            &[0x12, 0x82, 0x00, b'a', b'b'],
            &[0x1b, 0x08, 0x01, 0x2b, 0x2c, 0x1c],
            &[0x25, 1, 2, 3, 4],
            &[0x29, 1, 2, 3, 4, 5, 6, 7, 8],
        ]
        .concat();
        let fields = all(&bytes).unwrap();
        assert_eq!(fields.iter().map(|f| f.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(fields[0].value, Value::Varint(300, 1..3));
        assert_eq!(fields[1].value, Value::Len { prefix: 4..6, body: 6..8 });
        assert_eq!(fields[2].value, Value::Group);
        assert_eq!(fields[3].value, Value::Fixed32(15..19));
        assert_eq!(fields[4].value, Value::Fixed64(20..28));
    }

    #[test]
    fn broken_fields_are_named() {
        let broken: [(&[u8], &str); 11] = [
            (&[0x80], "cut off"),
            (&[0x08], "cut off"),
            (&[0xff; 11], "64 bits"),
            (&[0x00, 0x00], "number 0"),
            (&[0xf8, 0xff, 0xff, 0xff, 0xff, 0x01], "out of range"),
            (&[0x0a, 0x02, 0x00], "past the end"),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "past the end"),
            (&[0x0d, 0x00], "cut off"),
            (&[0x0e], "unknown wire type"),
            (&[0x0b, 0x08, 0x00], "does not end"),
            (&[0x0b, 0x14], "did not begin"),
        ];
        for (bytes, word) in broken {
            let error = all(bytes).unwrap_err();
            assert!(error.problem.contains(word), "{bytes:x?}: {error}");
        }
        assert!(all(&[0x0b; 40]).unwrap_err().problem.contains("nest too deep"));
    }
}
