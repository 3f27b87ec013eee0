//! New elements in the form of the old ones.

use crate::{
    onnx::wire::{read_varint, varint_len, write_varint},
    tensor::DType,
};
use half::{bf16, f16};

/// Why elements cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The element at this index is not finite once it has the tensor's type.
    NotFinite(usize),
    /// What is stored is not what the scan found; a defect, or the file changed.
    Corrupt,
}

/// `value` as a tensor of `dtype` holds it: rounded to nearest, ties to even.
pub fn rounded(dtype: DType, value: f32) -> f32 {
    dtype.nearest(value.into()) as f32
}

/// Little-endian elements of `new`; where an element's `f32` value is that of `old`, its old bytes.
///
/// # Errors
/// [`Refusal::NotFinite`] if an element is not finite in `dtype`; [`Refusal::Corrupt`] if `old` does not hold as many
/// elements as `new`, or `dtype` is no float type.
pub fn fixed(dtype: DType, old: &[u8], new: &[f32]) -> Result<Vec<u8>, Refusal> {
    fn each<const W: usize>(
        old: &[u8],
        new: &[f32],
        read: impl Fn([u8; W]) -> f32,
        write: impl Fn(f32) -> [u8; W],
    ) -> Result<Vec<u8>, Refusal> {
        let (old, rest) = old.as_chunks::<W>();
        if old.len() != new.len() || !rest.is_empty() {
            return Err(Refusal::Corrupt);
        }
        let mut out = Vec::with_capacity(old.len() * W);
        for (i, (&old, &new)) in old.iter().zip(new).enumerate() {
            out.extend(if same(read(old), new) { old } else { checked(write(new), &read, i)? });
        }
        Ok(out)
    }
    fn checked<B: Copy>(bytes: B, read: impl Fn(B) -> f32, index: usize) -> Result<B, Refusal> {
        if read(bytes).is_finite() { Ok(bytes) } else { Err(Refusal::NotFinite(index)) }
    }
    match dtype {
        DType::F32 => each(old, new, f32::from_le_bytes, f32::to_le_bytes),
        DType::F64 => each(old, new, |b| f64::from_le_bytes(b) as f32, |x| f64::from(x).to_le_bytes()),
        DType::F16 => each(old, new, |b| f16::from_le_bytes(b).to_f32(), |x| f16::from_f32(x).to_le_bytes()),
        DType::BF16 => each(old, new, |b| bf16::from_le_bytes(b).to_f32(), |x| bf16::from_f32(x).to_le_bytes()),
        _ => Err(Refusal::Corrupt),
    }
}

/// Whether an element keeps its bytes.
fn same(old: f32, new: f32) -> bool {
    old.to_bits() == new.to_bits() || (old.is_nan() && new.is_nan())
}

/// The bits of half floats as varints.
///
/// The result has the length of `old` whenever the new values can be spelled in it: values that got shorter are padded
/// up to their old width, as far as others do not need the room. Otherwise every value takes its shortest form.
///
/// # Errors
/// [`Refusal::NotFinite`] if an element is not finite in `dtype`; [`Refusal::Corrupt`] if `old` does not hold as many
/// varints of 16 bits as `new` has elements, or `dtype` is no half float type.
pub fn varints(dtype: DType, old: &[u8], new: &[f32]) -> Result<Vec<u8>, Refusal> {
    match dtype {
        DType::F16 => spelled(old, new, |b| f16::from_bits(b).to_f32(), |x| f16::from_f32(x).to_bits()),
        DType::BF16 => spelled(old, new, |b| bf16::from_bits(b).to_f32(), |x| bf16::from_f32(x).to_bits()),
        _ => Err(Refusal::Corrupt),
    }
}

fn spelled(old: &[u8], new: &[f32], read: impl Fn(u16) -> f32, write: impl Fn(f32) -> u16) -> Result<Vec<u8>, Refusal> {
    let mut at = 0;
    let mut elements = Vec::with_capacity(new.len());
    for (i, &value) in new.iter().enumerate() {
        let (stored, end) = read_varint(old, at).map_err(|_| Refusal::Corrupt)?;
        let mut bits = u16::try_from(stored).map_err(|_| Refusal::Corrupt)?;
        if !same(read(bits), value) {
            bits = write(value);
            if !read(bits).is_finite() {
                return Err(Refusal::NotFinite(i));
            }
        }
        elements.push((u64::from(bits), end - at));
        at = end;
    }
    if at != old.len() {
        return Err(Refusal::Corrupt);
    }
    let shortest: usize = elements.iter().map(|&(bits, _)| varint_len(bits)).sum();
    let mut slack = old.len().saturating_sub(shortest);
    let mut out = Vec::with_capacity(old.len().max(shortest));
    for (bits, old_width) in elements {
        let width = varint_len(bits);
        let padding = old_width.saturating_sub(width).min(slack);
        slack -= padding;
        write_varint(&mut out, bits, width + padding);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_to_nearest_even() {
        // Between 1 and the next f16 (1 + 2^-10): the middle goes to the even one, just above it to the upper.
        let step = 2f32.powi(-10);
        for (value, expected) in [
            (1.0 + step / 2.0, 1.0),
            (1.0 + step * 1.5, 1.0 + step * 2.0),
            (1.0 + step * 0.5001, 1.0 + step),
            (-1.0 - step / 2.0, -1.0),
            (65519.0, 65504.0),
            (2f32.powi(-25), 0.0),
            (2f32.powi(-25) * 1.5, 2f32.powi(-24)),
        ] {
            assert_eq!(rounded(DType::F16, value), expected, "{value}");
            let bytes = fixed(DType::F16, &[0x34, 0x12], &[value]).unwrap();
            assert_eq!(f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(), expected);
        }
        let step = 2f32.powi(-7);
        for (value, expected) in [(1.0 + step / 2.0, 1.0), (1.0 + step * 1.5, 1.0 + step * 2.0)] {
            assert_eq!(rounded(DType::BF16, value), expected);
            let bytes = fixed(DType::BF16, &[0, 0], &[value]).unwrap();
            assert_eq!(bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32(), expected);
        }
    }

    #[test]
    fn untouched_doubles_keep_their_bytes() {
        let old: Vec<u8> = [0.1f64, 0.2].iter().flat_map(|x| x.to_le_bytes()).collect();
        let bytes = fixed(DType::F64, &old, &[0.1, 0.25]).unwrap();
        assert_eq!(bytes[..8], 0.1f64.to_le_bytes());
        assert_eq!(bytes[8..], 0.25f64.to_le_bytes());
    }

    #[test]
    fn what_does_not_fit_the_type_is_refused() {
        assert_eq!(fixed(DType::F16, &[0, 0, 0, 0], &[1.0, 70000.0]), Err(Refusal::NotFinite(1)));
        assert_eq!(fixed(DType::F32, &[0; 4], &[f32::NAN]), Err(Refusal::NotFinite(0)));
        assert_eq!(varints(DType::F16, &[0], &[f32::INFINITY]), Err(Refusal::NotFinite(0)));
        assert_eq!(fixed(DType::F32, &[0; 4], &[1.0, 2.0]), Err(Refusal::Corrupt));
        assert_eq!(varints(DType::F16, &[0, 0], &[1.0]), Err(Refusal::Corrupt));
        // An infinity that was there stays.
        let old = f16::INFINITY.to_le_bytes();
        assert_eq!(fixed(DType::F16, &old, &[f32::INFINITY]).unwrap(), old);
    }

    #[test]
    fn varint_lists_keep_their_length_where_they_can() {
        let decode = |bytes: &[u8], n| {
            let (mut at, mut out) = (0, vec![]);
            for _ in 0..n {
                let (v, end) = read_varint(bytes, at).unwrap();
                out.push(f16::from_bits(v as u16).to_f32());
                at = end;
            }
            assert_eq!(at, bytes.len());
            out
        };
        let list = |values: &[f32]| {
            let mut out = vec![];
            values.iter().for_each(|&v| write_varint(&mut out, f16::from_f32(v).to_bits().into(), 0));
            out
        };
        // -1 takes three bytes, 1 takes two, 0 takes one.
        for (old, new, grows) in [
            (vec![-1.0, -2.0, 1.0], vec![1.0, 0.0, -1.0], false),
            (vec![-1.0, 0.0], vec![0.0, -1.0], false),
            (vec![1.0, 1.0], vec![-1.0, 0.0], false),
            (vec![0.0, 0.0], vec![-1.0, 1.0], true),
            (vec![1.0], vec![-1.0], true),
        ] {
            let before = list(&old);
            let after = varints(DType::F16, &before, &new).unwrap();
            assert_eq!(after.len() != before.len(), grows, "{old:?} {new:?}");
            assert_eq!(decode(&after, new.len()), new);
        }
        let old = list(&[0.5, -0.25]);
        assert_eq!(varints(DType::F16, &old, &[0.5, -0.25]).unwrap(), old);
    }
}
