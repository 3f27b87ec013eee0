//! Row ids: integers, text, bytes such as UUIDs, points in time, or the rows' own numbers.
//!
//! An id is compared by its exact value. Integers of every width compare as numbers, and so do floats and decimals, which
//! have to be whole. Text and bytes compare byte by byte, except that a UUID written out in 36 characters is the same id as
//! its 16 bytes. Ids of another kind than the training data's are converted where nothing is lost by it.

use crate::{Error, Result};
use arrow_array::{
    Array, ArrayRef,
    cast::AsArray,
    types::{Decimal128Type, TimestampNanosecondType, UInt64Type},
};
use arrow_cast::parse::string_to_timestamp_nanos;
use arrow_schema::{DataType, TimeUnit};
use sha2::{Digest, Sha256};

pub use super::id_set::IdSet;
use super::{Rows, column, fault::Fault, source::Source};

/// In place of a column's name: the row's number in the training data, from 0, over all files in their order.
pub const ROW: &str = "#row";

/// The kinds of ids. Ids of two kinds never equal each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// Integers of any width.
    Integer,
    /// Text or bytes.
    Bytes,
    /// Points in time.
    Time,
}

impl std::fmt::Display for IdKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Integer => "integers",
            Self::Bytes => "text or bytes",
            Self::Time => "points in time",
        })
    }
}

impl IdKind {
    /// Whether ids of kind `from` can be ids of this kind: text may hold anything, and integers can be written as text.
    pub(super) fn takes(self, from: IdKind) -> bool {
        self == from || from == Self::Bytes || (self, from) == (Self::Bytes, Self::Integer)
    }

    /// An id of kind `from` as an id of this kind, if nothing is lost by it: `12`, `12.0` and the number 12 are one
    /// integer, `012` is none. `text` holds the id's text where one has to be made.
    pub(super) fn of<'a>(self, from: IdKind, key: Key<'a>, text: &'a mut String) -> Option<Key<'a>> {
        match (self, key) {
            _ if self == from => Some(key),
            (Self::Integer, Key::Bytes(bytes)) => integer(std::str::from_utf8(bytes).ok()?.trim()).map(Key::Integer),
            (Self::Bytes, Key::Integer(i)) if from == Self::Integer => {
                *text = i.to_string();
                Some(Key::Bytes(text.as_bytes()))
            }
            (Self::Time, Key::Bytes(bytes)) => {
                let text = std::str::from_utf8(bytes).ok()?.trim();
                string_to_timestamp_nanos(text).ok().map(|ns| Key::Integer(ns.into()))
            }
            _ => None,
        }
    }
}

/// The integer that a text is the usual form of, with or without zeros behind a point.
fn integer(text: &str) -> Option<i128> {
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        Some(_) => return None,
        None => text,
    };
    let value: i128 = whole.parse().ok()?;
    (value.to_string() == whole).then_some(value)
}

/// The kind of ids that a column of this type holds.
pub fn kind_of(ty: &DataType) -> Option<IdKind> {
    use DataType::*;
    match ty {
        Dictionary(_, value) => kind_of(value),
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => Some(IdKind::Integer),
        // Which of their values are whole is seen when they are read.
        Float16 | Float32 | Float64 | Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..) => {
            Some(IdKind::Integer)
        }
        Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => Some(IdKind::Bytes),
        Timestamp(..) | Date32 | Date64 => Some(IdKind::Time),
        _ => None,
    }
}

/// One id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// An integer, or a point in time in nanoseconds since 1970.
    Integer(i128),
    /// Text or bytes.
    Bytes(&'a [u8]),
}

impl Key<'_> {
    /// A fixed, public hash of the id: which half of the held-out rows it belongs to must be the same in every run.
    pub fn hash(&self) -> u128 {
        let mut sha = Sha256::new();
        sha.update(b"onnx-forget/split/v1");
        self.feed(&mut sha);
        let digest: [u8; 32] = sha.finalize().into();
        digest.iter().take(16).fold(0, |n, &b| n << 8 | u128::from(b))
    }

    pub(super) fn feed(&self, sha: &mut Sha256) {
        match self {
            Key::Integer(i) => {
                sha.update([0]);
                sha.update(i.to_le_bytes());
            }
            Key::Bytes(b) => {
                sha.update([1]);
                sha.update((b.len() as u64).to_le_bytes());
                sha.update(b);
            }
        }
    }
}

/// Calls `each` with the number and id of every row.
///
/// # Errors
/// `Fault` if the column holds values of a type that ids cannot have, a float or decimal that is not whole or beyond
/// what its type holds exactly, or a time beyond the range of nanoseconds. The row is named where one is wrong.
pub fn each_key(array: &ArrayRef, mut each: impl FnMut(usize, Key<'_>)) -> Result<(), Fault> {
    let array = &column::plain(array)?;
    match array.data_type() {
        DataType::UInt64 => {
            for (i, &v) in array.as_primitive::<UInt64Type>().values().iter().enumerate() {
                each(i, Key::Integer(v.into()));
            }
        }
        DataType::Utf8 => array.as_string::<i32>().iter().enumerate().for_each(|(i, s)| text(i, s, &mut each)),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().enumerate().for_each(|(i, s)| text(i, s, &mut each)),
        DataType::Utf8View => array.as_string_view().iter().enumerate().for_each(|(i, s)| text(i, s, &mut each)),
        DataType::Binary => array.as_binary::<i32>().iter().enumerate().for_each(|(i, b)| bytes(i, b, &mut each)),
        DataType::LargeBinary => array.as_binary::<i64>().iter().enumerate().for_each(|(i, b)| bytes(i, b, &mut each)),
        DataType::BinaryView => array.as_binary_view().iter().enumerate().for_each(|(i, b)| bytes(i, b, &mut each)),
        DataType::FixedSizeBinary(_) => {
            array.as_fixed_size_binary().iter().enumerate().for_each(|(i, b)| bytes(i, b, &mut each));
        }
        DataType::Float16 => floats(array, 1 << 11, &mut each)?,
        DataType::Float32 => floats(array, 1 << 24, &mut each)?,
        DataType::Float64 => floats(array, 1 << 53, &mut each)?,
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => decimals(array, *scale, &mut each)?,
        ty if kind_of(ty) == Some(IdKind::Time) => {
            let zone = if let DataType::Timestamp(_, zone) = ty { zone.clone() } else { None };
            let times = column::cast(array, &DataType::Timestamp(TimeUnit::Nanosecond, zone))?;
            for (i, &ns) in times.as_primitive::<TimestampNanosecondType>().values().iter().enumerate() {
                each(i, Key::Integer(ns.into()));
            }
        }
        ty if kind_of(ty) == Some(IdKind::Integer) => {
            for (i, &v) in column::integers(array)?.values().iter().enumerate() {
                each(i, Key::Integer(v.into()));
            }
        }
        ty => return Err(format!("holds {}, and ids are {KINDS}", column::described(ty)).into()),
    }
    Ok(())
}

/// What ids can be, for messages.
const KINDS: &str = "integers, text, bytes or points in time";

/// Whole floats up to `exact`, behind which a float may be another integer than was meant.
fn floats(array: &ArrayRef, exact: i64, each: &mut impl FnMut(usize, Key<'_>)) -> Result<(), Fault> {
    for (i, &x) in column::doubles(array)?.values().iter().enumerate() {
        let problem = match x {
            x if x.is_nan() => "is NaN, as where an id is missing: remove that row, and store the ids as integers",
            x if x.fract() != 0.0 || x.is_infinite() => {
                "is a float that is not whole, and ids are compared by their exact value: store the ids as integers or text"
            }
            x if x.abs() > exact as f64 => {
                "is a float so large that floats skip integers there: store the ids as integers or text from the beginning"
            }
            x => {
                each(i, Key::Integer(x as i128));
                continue;
            }
        };
        return Err(Fault::at(i, problem));
    }
    Ok(())
}

/// Whole decimals.
fn decimals(array: &ArrayRef, scale: i8, each: &mut impl FnMut(usize, Key<'_>)) -> Result<(), Fault> {
    let held = column::cast(array, &DataType::Decimal128(38, scale))?;
    let unit = 10i128.checked_pow(scale.unsigned_abs().into()).ok_or("has decimals of too many digits")?;
    for (i, &v) in held.as_primitive::<Decimal128Type>().values().iter().enumerate() {
        let whole = if scale < 0 { v.checked_mul(unit) } else { (v % unit == 0).then_some(v / unit) };
        let problem = "is a decimal that is not whole: store the ids as integers or text";
        each(i, Key::Integer(whole.ok_or_else(|| Fault::at(i, problem))?));
    }
    Ok(())
}

fn text(row: usize, text: Option<&str>, each: &mut impl FnMut(usize, Key<'_>)) {
    let Some(text) = text else { return };
    match (text.len() == 36).then(|| uuid::Uuid::try_parse(text).ok()).flatten() {
        Some(uuid) => each(row, Key::Bytes(uuid.as_bytes())),
        None => each(row, Key::Bytes(text.as_bytes())),
    }
}

fn bytes(row: usize, bytes: Option<&[u8]>, each: &mut impl FnMut(usize, Key<'_>)) {
    // Some writers store text without saying that it is text.
    match bytes {
        Some(b) if b.len() == 36 => match uuid::Uuid::try_parse_ascii(b) {
            Ok(uuid) => each(row, Key::Bytes(uuid.as_bytes())),
            Err(_) => each(row, Key::Bytes(b)),
        },
        Some(b) => each(row, Key::Bytes(b)),
        None => {}
    }
}

/// Whether ids are the rows' own numbers.
pub fn are_rows(source: &Source, name: &str) -> bool {
    name == ROW && source.field(ROW).is_none()
}

/// The kind of ids in a column.
///
/// # Errors
/// A type that holds no ids.
pub fn require_kind(source: &Source, name: &str) -> Result<IdKind> {
    if are_rows(source, name) {
        return Ok(IdKind::Integer);
    }
    let ty = source.require(name, "ids")?.data_type();
    kind_of(ty).ok_or_else(|| {
        let (path, held) = (source.path().display(), column::described(ty));
        let advice = match ty {
            DataType::Struct(_) => "name one of its fields by its path, as in `column.field`",
            _ => "write them as one of these, or name another column by `id` under `[data]`",
        };
        Error::Data(format!("{path}: column `{name}` holds {held}, and ids are {KINDS}; {advice}"))
    })
}

/// Calls `each` with every chosen row's number in the table and its id, as one of `kind`, in one pass of that column.
///
/// # Errors
/// An id that is none of that kind, by its row.
pub fn scan(
    source: &Source,
    name: &str,
    rows: &Rows,
    kind: IdKind,
    mut each: impl FnMut(usize, Key<'_>),
) -> Result<()> {
    if are_rows(source, name) {
        rows.iter().for_each(|row| each(row, Key::Integer(row as i128)));
        return Ok(());
    }
    let from = require_kind(source, name)?;
    let mut positions = rows.iter();
    let mut text = String::new();
    source.scan(&[name], rows, |_, batch| {
        let array = batch.columns().first().ok_or("no id column")?;
        let mut other = None;
        let found = each_key(array, |at, key| {
            let Some(row) = positions.next() else { return };
            match kind.of(from, key, &mut text) {
                Some(key) => each(row, key),
                None => other = other.or(Some(at)),
            }
        });
        found.map_err(|f| Fault { problem: format!("column `{name}` {}", f.problem), ..f })?;
        let problem = || {
            format!(
                "ids of two kinds: column `{name}` holds {from}, and this one cannot be one of the {kind} that the \
                     training data has. Write both as one kind"
            )
        };
        other.map_or(Ok(()), |at| Err(Fault::at(at, problem())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::*;
    use std::sync::Arc;

    fn keys(array: impl Array + 'static) -> Vec<String> {
        let mut out = Vec::new();
        let array: ArrayRef = Arc::new(array);
        each_key(&array, |_, key| out.push(format!("{key:?}"))).unwrap();
        out
    }

    #[test]
    fn integers_of_every_width_are_the_same_ids() {
        let expected = keys(Int64Array::from(vec![0, 7, 100]));
        assert_eq!(keys(Int8Array::from(vec![0, 7, 100])), expected);
        assert_eq!(keys(UInt64Array::from(vec![0, 7, 100])), expected);
        assert_ne!(keys(UInt64Array::from(vec![u64::MAX])), keys(Int64Array::from(vec![-1])));
        let dictionary =
            DictionaryArray::new(UInt8Array::from(vec![1, 0, 2]), Arc::new(Int32Array::from(vec![7, 0, 100])));
        assert_eq!(keys(dictionary), expected);
    }

    #[test]
    fn a_written_uuid_is_its_bytes() {
        let uuid = uuid::Uuid::from_bytes([0xAB; 16]);
        let binary = keys(FixedSizeBinaryArray::try_from_iter([uuid.as_bytes()].into_iter()).unwrap());
        assert_eq!(keys(StringArray::from(vec![uuid.to_string()])), binary);
        assert_eq!(keys(LargeStringArray::from(vec![uuid.to_string().to_uppercase()])), binary);
        assert_eq!(keys(StringViewArray::from(vec![uuid.to_string().as_str()])), binary);
        assert_eq!(keys(BinaryArray::from_vec(vec![uuid.as_bytes()])), binary);
        assert_ne!(keys(StringArray::from(vec!["x"])), binary);
        assert_eq!(keys(StringArray::from(vec!["row 1"])), keys(BinaryArray::from_vec(vec![b"row 1"])));
        let array: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
        assert!(each_key(&array, |_, _| ()).is_err());
    }

    #[test]
    fn whole_floats_and_decimals_are_integers() {
        let expected = keys(Int64Array::from(vec![0, -7, 100]));
        assert_eq!(keys(Float64Array::from(vec![0.0, -7.0, 100.0])), expected);
        assert_eq!(keys(Float32Array::from(vec![-0.0, -7.0, 100.0])), expected);
        let decimal = |values, scale| Decimal128Array::from(values).with_precision_and_scale(20, scale).unwrap();
        assert_eq!(keys(decimal(vec![0, -7, 100], 0)), expected);
        assert_eq!(keys(decimal(vec![0, -700, 10_000], 2)), expected);
        let wrong: [ArrayRef; 5] = [
            Arc::new(Float64Array::from(vec![1.0, f64::NAN])),
            Arc::new(Float64Array::from(vec![1.0, 1.5])),
            Arc::new(Float64Array::from(vec![1.0, 1e16])),
            Arc::new(Float32Array::from(vec![1.0, 16_777_218.0])),
            Arc::new(decimal(vec![100, 101], 2)),
        ];
        for array in wrong {
            assert_eq!(each_key(&array, |_, _| ()).unwrap_err().row, Some(1), "{}", array.data_type());
        }
    }

    #[test]
    fn kinds_are_converted_where_nothing_is_lost() {
        let of = |kind: IdKind, from, key: Key<'_>| kind.of(from, key, &mut String::new()).map(|k| format!("{k:?}"));
        let text = |t: &str, kind: IdKind| of(kind, IdKind::Bytes, Key::Bytes(t.as_bytes()));
        let number = |i| Some(format!("{:?}", Key::Integer(i)));
        for (t, i) in [("12", 12), ("-3", -3), (" 12 ", 12), ("12.0", 12), ("0", 0)] {
            assert_eq!(text(t, IdKind::Integer), number(i), "{t}");
        }
        for t in ["012", "+1", "1.5", "1.", "-0", "x", ""] {
            assert_eq!(text(t, IdKind::Integer), None, "{t}");
        }
        assert_eq!(of(IdKind::Bytes, IdKind::Integer, Key::Integer(-5)), Some(format!("{:?}", Key::Bytes(b"-5"))));
        assert_eq!(text("1970-01-01T00:00:01Z", IdKind::Time), number(1_000_000_000));
        assert_eq!(of(IdKind::Integer, IdKind::Time, Key::Integer(5)), None);
        assert_eq!(of(IdKind::Bytes, IdKind::Time, Key::Integer(5)), None);
    }

    #[test]
    fn dates_and_timestamps_of_every_unit_are_the_same_ids() {
        let expected = keys(TimestampNanosecondArray::from(vec![86_400_000_000_000]));
        assert_eq!(keys(TimestampSecondArray::from(vec![86_400])), expected);
        assert_eq!(keys(TimestampMicrosecondArray::from(vec![86_400_000_000]).with_timezone("UTC")), expected);
        assert_eq!(keys(Date32Array::from(vec![1])), expected);
    }
}
