//! `key=value` folders as columns.

use super::{folder::Seen, list::ListedFile};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, LargeStringArray};
use arrow_schema::{DataType, Field};
use std::{collections::BTreeMap, sync::Arc};

/// A column that has one value in all rows of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Its value, if it has one.
    pub value: Option<String>,
    /// Its type, where that is known and not to be inferred from the values.
    pub kind: Option<DataType>,
}

/// A `key=value` name, percent-decoded; without a value where Hive says so.
pub fn of_name(name: &str) -> Option<Key> {
    let (key, value) = name.split_once('=').filter(|(key, _)| !key.is_empty())?;
    let value = (value != "__HIVE_DEFAULT_PARTITION__").then(|| decoded(value));
    Some(Key { name: decoded(key), value, kind: None })
}

/// A percent sign and two hexadecimal digits as the byte that they stand for.
pub fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        let escaped = digits.filter(|_| byte == b'%').and_then(|d| u8::from_str_radix(d, 16).ok());
        out.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The keys of all files as columns of one value: integers or numbers if all of a key's values are, otherwise text.
pub fn constants(seen: Vec<Seen>) -> Vec<ListedFile> {
    let mut kinds: BTreeMap<String, DataType> = BTreeMap::new();
    for Key { name, value, kind } in seen.iter().flat_map(|s| &s.keys) {
        if let Some(kind) = kind {
            kinds.insert(name.clone(), kind.clone());
            continue;
        }
        let Some(value) = value else { continue };
        let leading = value.len() > 1 && value.starts_with('0') && !value.starts_with("0.");
        let kind = kinds.entry(name.clone()).or_insert(DataType::Int64);
        if *kind == DataType::Int64 && (leading || value.parse::<i64>().is_err()) {
            *kind = DataType::Float64;
        }
        if *kind == DataType::Float64 && (leading || value.parse::<f64>().is_err()) {
            *kind = DataType::LargeUtf8;
        }
    }
    let column = |key: Key| {
        let kind = kinds.get(&key.name).cloned().unwrap_or(DataType::LargeUtf8);
        let array = typed(key.value.as_deref(), &kind);
        (Field::new(key.name, kind, true), array)
    };
    seen.into_iter().map(|s| ListedFile { path: s.path, constants: s.keys.into_iter().map(column).collect() }).collect()
}

/// One value of that type.
fn typed(value: Option<&str>, kind: &DataType) -> ArrayRef {
    match kind {
        DataType::Boolean => Arc::new(BooleanArray::from(vec![value.and_then(|v| v.parse().ok())])),
        DataType::Int64 => Arc::new(Int64Array::from(vec![value.and_then(|v| v.parse().ok())])),
        DataType::Float64 => Arc::new(Float64Array::from(vec![value.and_then(|v| v.parse().ok())])),
        _ => Arc::new(LargeStringArray::from(vec![value])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_typed_values() {
        let key = |name: &str, value: Option<&str>| Key { name: name.into(), value: value.map(Into::into), kind: None };
        assert_eq!(of_name("city=S%C3%A3o%20Paulo"), Some(key("city", Some("São Paulo"))));
        assert_eq!(of_name("d=__HIVE_DEFAULT_PARTITION__"), Some(key("d", None)));
        assert_eq!((of_name("plain"), decoded("50%"), decoded("%zz")), (None, "50%".into(), "%zz".into()));
        let types = |values: &[&str]| {
            let seen = values.iter().map(|v| Seen { path: "x".into(), keys: vec![key("k", Some(v))] });
            constants(seen.collect()).first().map(|f| f.constants[0].0.data_type().clone())
        };
        assert_eq!(types(&["7", "-1"]), Some(DataType::Int64));
        assert_eq!(types(&["7", "0.5"]), Some(DataType::Float64));
        assert_eq!(types(&["7", "08"]), Some(DataType::LargeUtf8));
        assert_eq!(types(&["7", "x"]), Some(DataType::LargeUtf8));
    }
}
