//! Thrift's compact form, as far as Parquet has it. Everything is `None` where the bytes end early.

/// Structs and lists within each other, at most.
pub const DEPTH: usize = 32;

/// Kind and number of a list's elements.
pub fn list(bytes: &mut &[u8]) -> Option<(u8, u64)> {
    let head = take(bytes)?;
    Some((head & 15, if head >> 4 == 15 { varint(bytes)? } else { u64::from(head >> 4) }))
}

/// A number from its zigzag form.
pub fn signed(zigzag: u64) -> i64 {
    (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
}

/// Number and kind of the next field; nothing at a struct's end.
pub fn field(bytes: &mut &[u8], last: i64) -> Option<Option<(i64, u8)>> {
    let byte = take(bytes)?;
    if byte == 0 {
        return Some(None);
    }
    let id = match i64::from(byte >> 4) {
        // The reader would cut it to 16 bits.
        0 => i16::try_from(signed(varint(bytes)?)).ok()?.into(),
        delta => last.checked_add(delta)?,
    };
    Some(Some((id, byte & 15)))
}

/// Goes past a value of that kind, at most `depth` structs and lists deep.
pub fn skip(bytes: &mut &[u8], kind: u8, depth: usize) -> Option<()> {
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
        // Neither footers nor pages have maps.
        _ => return None,
    }
    Some(())
}

/// The next byte.
pub fn take(bytes: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(first)
}

fn advance(bytes: &mut &[u8], n: u64) -> Option<()> {
    *bytes = bytes.get(usize::try_from(n).ok()?..)?;
    Some(())
}

/// A number of seven bits a byte.
pub fn varint(bytes: &mut &[u8]) -> Option<u64> {
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
