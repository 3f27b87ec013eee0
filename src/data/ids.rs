//! Row ids: integers, text, or bytes such as UUIDs.
//!
//! An id is compared by its exact value. Integers of every width compare as numbers. Text and bytes compare byte by
//! byte, except that a UUID written out in 36 characters is the same id as its 16 bytes.

use crate::{Error, Result};
use arrow_array::{Array, ArrayRef, cast::AsArray, types::UInt64Type};
use arrow_schema::DataType;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

use super::{Rows, column, source::Source};

/// The two kinds of ids, which never equal each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// Integers of any width.
    Integer,
    /// Text or bytes.
    Bytes,
}

impl std::fmt::Display for IdKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Integer => "integers",
            Self::Bytes => "text or bytes",
        })
    }
}

/// The kind of ids that a column of this type holds.
pub fn kind_of(ty: &DataType) -> Option<IdKind> {
    use DataType::*;
    match ty {
        Dictionary(_, value) => kind_of(value),
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => Some(IdKind::Integer),
        Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => Some(IdKind::Bytes),
        _ => None,
    }
}

/// One id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// An integer.
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

    fn feed(&self, sha: &mut Sha256) {
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
pub fn each_key(array: &ArrayRef, mut each: impl FnMut(usize, Key<'_>)) -> Result<(), String> {
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
        ty if kind_of(ty) == Some(IdKind::Integer) => {
            for (i, &v) in column::integers(array)?.values().iter().enumerate() {
                each(i, Key::Integer(v.into()));
            }
        }
        ty => return Err(format!("has type {ty}; ids are integers, text or bytes")),
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

/// Exact set of ids, each with a few marks. Its memory is in proportion to the ids.
#[derive(Debug, Default)]
pub struct IdSet {
    integers: HashMap<i128, u8>,
    bytes: HashMap<Box<[u8]>, u8>,
}

impl IdSet {
    /// Adds `mark` to the id's marks and gives those that it had, 0 for a new id.
    pub fn insert(&mut self, key: Key<'_>, mark: u8) -> u8 {
        let marks = match key {
            Key::Integer(i) => self.integers.entry(i).or_default(),
            Key::Bytes(b) => match self.bytes.get_mut(b) {
                Some(marks) => marks,
                None => self.bytes.entry(b.into()).or_default(),
            },
        };
        let had = *marks;
        *marks |= mark;
        had
    }

    /// The id's marks, if it is in the set.
    pub fn get_mut(&mut self, key: Key<'_>) -> Option<&mut u8> {
        match key {
            Key::Integer(i) => self.integers.get_mut(&i),
            Key::Bytes(b) => self.bytes.get_mut(b),
        }
    }

    /// Ids that have all of the marks `with` and none of `without`.
    pub fn count(&self, with: u8, without: u8) -> usize {
        self.integers.values().chain(self.bytes.values()).filter(|&&m| m & with == with && m & without == 0).count()
    }

    /// SHA-256 of `salt` and the ids that have `mark`, in a fixed order that does not depend on the file's.
    pub fn digest(&self, mark: u8, salt: &[u8]) -> String {
        let mut sha = Sha256::new();
        sha.update((salt.len() as u64).to_le_bytes());
        sha.update(salt);
        let mut integers: Vec<_> = self.integers.iter().filter(|(_, m)| **m & mark != 0).map(|(i, _)| *i).collect();
        integers.sort_unstable();
        let mut bytes: Vec<_> = self.bytes.iter().filter(|(_, m)| **m & mark != 0).map(|(b, _)| b).collect();
        bytes.sort_unstable();
        integers.iter().for_each(|i| Key::Integer(*i).feed(&mut sha));
        bytes.iter().for_each(|b| Key::Bytes(b).feed(&mut sha));
        super::digest::hex(&sha.finalize())
    }
}

/// The kind of ids in a column.
///
/// # Errors
/// A type that holds no ids.
pub fn require_kind(source: &Source, name: &str) -> Result<IdKind> {
    let ty = source.require(name, "ids")?.data_type();
    kind_of(ty).ok_or_else(|| {
        let path = source.path().display();
        Error::Data(format!("{path}: column `{name}` has type {ty}; ids are integers, text or bytes. Name another by `id` under `[data]`"))
    })
}

/// Calls `each` with every chosen row's number in the table and its id, in one pass of that column.
pub fn scan(source: &Source, name: &str, rows: &Rows, mut each: impl FnMut(usize, Key<'_>)) -> Result<()> {
    let mut positions = rows.iter();
    source.scan(&[name], rows, |_, batch| {
        let array = batch.columns().first().ok_or("no id column")?;
        each_key(array, |_, key| {
            if let Some(row) = positions.next() {
                each(row, key);
            }
        })
        .map_err(|p| format!("column `{name}` {p}").into())
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
        let array: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        assert!(each_key(&array, |_, _| ()).is_err());
    }

    #[test]
    fn a_digest_follows_the_ids_and_the_salt_alone() {
        let set = |ids: &[i128]| {
            let mut set = IdSet::default();
            ids.iter().for_each(|i| {
                set.insert(Key::Integer(*i), 1);
            });
            set.insert(Key::Integer(99), 2);
            set
        };
        assert_eq!(set(&[1, 2, 2]).digest(1, b"s"), set(&[2, 1]).digest(1, b"s"));
        assert_ne!(set(&[1, 2]).digest(1, b"s"), set(&[1, 2]).digest(1, b"t"));
        assert_ne!(set(&[1, 2]).digest(1, b"s"), set(&[1, 3]).digest(1, b"s"));
        assert_eq!((set(&[1, 2]).count(1, 2), set(&[99]).count(1 | 2, 0)), (2, 1));
    }
}
