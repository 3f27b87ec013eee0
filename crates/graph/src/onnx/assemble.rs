//! Puts a tensor's parts, as the walk found them, together to a span.

use super::{
    OnnxFile,
    external_data::Reference,
    proto::StringStringEntryProto,
    span::{Chunk, ExternalUse, Origin, Span, Spans, Storage, Text},
    tensor::{element_count, typed_field},
};
use crate::tensor::DType;
use std::collections::BTreeMap;

/// A `TensorProto` as found, before its parts are held against each other.
#[derive(Default)]
pub struct TensorFields {
    pub name: String,
    pub dims: Vec<i64>,
    pub data_type: i32,
    pub segment: bool,
    pub external: bool,
    pub raw: Option<Chunk>,
    /// Typed fields that hold something, by field number.
    pub typed: BTreeMap<u32, Vec<Chunk>>,
    pub entries: Vec<Entry>,
}

/// An entry of `external_data`.
pub struct Entry {
    pub key: String,
    pub value: Option<Text>,
}

/// The span of an attribute's floats (`list`), or its single float.
pub fn float_span(origin: Origin, list: bool, chunks: Vec<Chunk>) -> Span {
    let chunks = fixed(&chunks, 4);
    let dims = if list { vec![chunks.iter().map(Chunk::count).sum()] } else { vec![] };
    let storage = if chunks.is_empty() { Storage::Empty } else { Storage::Fixed(chunks) };
    Span { origin, data_type: DType::F32 as i32, dtype: Some(DType::F32), dims, storage }
}

/// The same runs, counted in elements of `width` bytes.
fn fixed(chunks: &[Chunk], width: usize) -> Vec<Chunk> {
    chunks.iter().map(|c| Chunk::new(c.bytes(), c.bytes().len() / width, c.frame())).collect()
}

/// Holds the parts of a tensor against each other.
///
/// # Errors
/// What does not fit, in words.
pub fn finish(
    file: &OnnxFile,
    spans: &mut Spans,
    found: TensorFields,
    name: &str,
    origin: Origin,
) -> Result<Span, String> {
    let (count, dims) = element_count(&found.dims)?;
    let dtype = DType::from_onnx(found.data_type);
    let forms = usize::from(found.raw.is_some()) + found.typed.len() + usize::from(found.external);
    if found.segment {
        return Err("it is split into segments, which is not supported".to_string());
    }
    if forms > 1 {
        return Err("the elements are stored in two places".to_string());
    }
    let storage = if found.external {
        let needed = needed_bytes(found.data_type, dtype, count);
        Storage::External(external_use(file, spans, found.entries, name, needed)?)
    } else if forms == 0 {
        if count > 0 {
            return Err(format!("it has no data for its {count} elements"));
        }
        Storage::Empty
    } else {
        let wrong = || format!("what is stored is not the {count} elements of the shape {dims:?}");
        match dtype {
            None => Storage::Opaque(found.raw.into_iter().chain(found.typed.into_values().flatten()).collect()),
            Some(dtype) => {
                let (width, varint) = (dtype.size(), !matches!(dtype, DType::F32 | DType::F64));
                match (found.raw, found.typed.into_iter().next()) {
                    (Some(raw), _) if raw.count() != count * width => return Err(wrong()),
                    (Some(_), _) if count == 0 => Storage::Empty,
                    (Some(raw), _) => Storage::Fixed(vec![Chunk::new(raw.bytes(), count, raw.frame())]),
                    (None, Some((number, chunks))) if number == field_number(dtype) => {
                        let chunks = if varint { chunks } else { fixed(&chunks, width) };
                        if chunks.iter().map(Chunk::count).sum::<usize>() != count {
                            return Err(wrong());
                        }
                        if varint { Storage::Varint(chunks) } else { Storage::Fixed(chunks) }
                    }
                    _ => return Err(format!("{dtype} elements belong in {}", typed_field(dtype))),
                }
            }
        }
    };
    Ok(Span { origin, data_type: found.data_type, dtype, dims, storage })
}

fn external_use(
    file: &OnnxFile,
    spans: &mut Spans,
    entries: Vec<Entry>,
    name: &str,
    needed: Option<usize>,
) -> Result<usize, String> {
    let text = |t: &Text| String::from_utf8_lossy(file.bytes().get(t.bytes.clone()).unwrap_or_default()).into_owned();
    let value = |e: &Entry| e.value.as_ref().map(text);
    let read: Vec<_> =
        entries.iter().map(|e| StringStringEntryProto { key: Some(e.key.clone()), value: value(e) }).collect();
    let reference = Reference::parse(&read)?;
    let needed = match (needed, reference.length) {
        (Some(needed), _) => needed,
        (None, Some(length)) => usize::try_from(length).map_err(|e| e.to_string())?,
        (None, None) => {
            let size = file.external(&reference.location)?.bytes().len();
            size.saturating_sub(usize::try_from(reference.offset).unwrap_or(usize::MAX))
        }
    };
    let (_, range) = reference.resolve(file, needed)?;
    let (mut location, mut checksum) = (None, None);
    for entry in entries {
        match entry.key.as_str() {
            "location" => location = entry.value,
            "checksum" => checksum = entry.value,
            _ => {}
        }
    }
    let location = location.ok_or("the external data have no `location`")?;
    spans.external.push(ExternalUse { place: format!("tensor `{name}`"), reference, range, location, checksum });
    Ok(spans.external.len() - 1)
}

fn field_number(dtype: DType) -> u32 {
    match typed_field(dtype) {
        "float_data" => 4,
        "int32_data" => 5,
        "int64_data" => 7,
        "double_data" => 10,
        _ => 11,
    }
}

/// Bytes that the elements take in raw form, where the type tells.
fn needed_bytes(code: i32, dtype: Option<DType>, count: usize) -> Option<usize> {
    let bits = match (dtype, code) {
        (Some(dtype), _) => dtype.size() * 8,
        (None, 17..=20 | 24) => 8,
        (None, 21..=23) => 4,
        (None, 25 | 26) => 2,
        (None, 14) => 64,
        (None, 15) => 128,
        _ => return None,
    };
    count.checked_mul(bits).map(|bits| bits.div_ceil(8))
}
