//! Decoding a stored tensor, in every form the format has.

use super::{
    OnnxFile,
    external_data::Reference,
    proto::{TensorProto, tensor_proto::DataLocation},
};
use crate::{
    error::Result,
    limits::MOST_AXES,
    tensor::{DType, Element, Held, HostTensor, Rows},
};
use half::{bf16, f16};
use prost::bytes::Bytes;

/// Number of elements of a tensor of `dims`, and the dims as extents.
///
/// # Errors
/// A negative extent, or a product that no memory holds.
pub fn element_count(dims: &[i64]) -> Result<(usize, Vec<usize>), String> {
    if dims.len() > MOST_AXES {
        return Err(format!("the shape has {} axes; at most {MOST_AXES} are supported", dims.len()));
    }
    let extents: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let extents = extents.ok_or_else(|| format!("the shape {dims:?} has a negative extent"))?;
    // Zero extents do not excuse the others: what is computed from the shape later must not overflow either.
    let product = extents.iter().filter(|&&d| d > 0).try_fold(1usize, |n, &d| n.checked_mul(d));
    match product {
        Some(n) if n <= isize::MAX as usize / 8 => Ok((if extents.contains(&0) { 0 } else { n }, extents)),
        _ => Err(format!("the shape {dims:?} has more elements than memory can hold")),
    }
}

/// Names a tensor for a message.
pub fn place(tensor: &TensorProto) -> String {
    match tensor.name() {
        "" => "a tensor without name".to_string(),
        name => format!("tensor `{name}`"),
    }
}

/// The name of an element type that this program does not decode.
pub fn type_name(code: i32) -> String {
    match super::proto::tensor_proto::DataType::try_from(code) {
        Ok(kind) => format!("type {}", kind.as_str_name()),
        Err(_) => format!("unknown type number {code}"),
    }
}

/// Bytes of a tensor from which on it stays in the file until it is asked for.
const LARGE: usize = 1 << 20;

/// Decodes `tensor`, a large one when it is asked for; see [`OnnxFile::held`].
///
/// # Errors
/// Those of [`OnnxFile::tensor`].
pub fn hold(file: &OnnxFile, tensor: &TensorProto) -> Result<Held> {
    let found = find(file, tensor).map_err(|problem| file.malformed(place(tensor), problem))?;
    let ElementStorage::Raw { dtype, dims, bytes } = found else { return decoded(found, file, tensor).map(Held::from) };
    if bytes.len() < LARGE {
        return decoded(ElementStorage::Raw { dtype, dims, bytes }, file, tensor).map(Held::from);
    }
    let extents = dims.clone();
    Ok(Held::in_file(dtype, dims, move |rows| read(dtype, &extents, &bytes, rows)))
}

/// Decodes `tensor`; see [`OnnxFile::tensor`].
///
/// # Errors
/// Those of [`OnnxFile::tensor`].
pub fn decode(file: &OnnxFile, tensor: &TensorProto) -> Result<HostTensor> {
    let found = find(file, tensor).map_err(|problem| file.malformed(place(tensor), problem))?;
    decoded(found, file, tensor)
}

/// Where a tensor's elements lie, in a form that the format allows.
enum ElementStorage {
    /// Little-endian bytes, as many as the shape takes.
    Raw { dtype: DType, dims: Vec<usize>, bytes: Bytes },
    /// One of the message's typed fields, with as many elements as the shape has.
    Typed { dtype: DType, dims: Vec<usize> },
}

fn decoded(found: ElementStorage, file: &OnnxFile, tensor: &TensorProto) -> Result<HostTensor> {
    let tensor_of = match found {
        ElementStorage::Raw { dtype, dims, bytes } => build(dtype, &dims, &bytes),
        ElementStorage::Typed { dtype, dims } => typed(dtype, &dims, tensor),
    };
    tensor_of.map_err(|problem| file.malformed(place(tensor), problem))
}

/// A tensor of `dims`, or entries along its first axis, from its bytes. Their number was checked when they were found; if it
/// were wrong, the tensor would be empty, which no node takes in its place.
fn read(dtype: DType, dims: &[usize], bytes: &[u8], rows: Rows) -> HostTensor {
    let read = match (rows, dims.split_first()) {
        (Rows::Of(rows), Some((_, rest))) => {
            let one = rest.iter().product::<usize>() * dtype.size();
            let part = |&row: &usize| bytes.get(row * one..).and_then(|bytes| bytes.get(..one)).unwrap_or_default();
            build(dtype, &[&[rows.len()], rest].concat(), &rows.iter().flat_map(part).copied().collect::<Vec<u8>>())
        }
        _ => build(dtype, dims, bytes),
    };
    read.unwrap_or_else(|_| HostTensor::vector::<f32>(Vec::new()))
}

fn find(file: &OnnxFile, t: &TensorProto) -> Result<ElementStorage, String> {
    let dtype = DType::from_onnx(t.data_type())
        .ok_or_else(|| format!("{} is not supported; only numbers of 8 to 64 bits are", type_name(t.data_type())))?;
    if t.segment.is_some() {
        return Err("it is split into segments, which is not supported".to_string());
    }
    let (count, dims) = element_count(&t.dims)?;
    let external = t.data_location() == DataLocation::External;
    let forms = [
        ("raw_data", t.raw_data.is_some()),
        ("float_data", !t.float_data.is_empty()),
        ("int32_data", !t.int32_data.is_empty()),
        ("string_data", !t.string_data.is_empty()),
        ("int64_data", !t.int64_data.is_empty()),
        ("double_data", !t.double_data.is_empty()),
        ("uint64_data", !t.uint64_data.is_empty()),
        ("external_data", external),
    ];
    let mut used = forms.iter().filter(|(_, used)| *used).map(|(name, _)| *name);
    let form = used.next();
    if let (Some(a), Some(b)) = (form, used.next()) {
        return Err(format!("the elements are stored twice, as {a} and as {b}"));
    }
    let Some(form) = form else {
        return if count == 0 {
            Ok(ElementStorage::Raw { dtype, dims, bytes: Bytes::new() })
        } else {
            Err(format!("it has no data for its {count} elements"))
        };
    };
    let bytes = count * dtype.size();
    if external {
        let reference = Reference::parse(&t.external_data)?;
        let (data, range) = reference.resolve(file, bytes)?;
        return Ok(ElementStorage::Raw {
            dtype,
            dims,
            bytes: data.slice(range).ok_or("the external data ends early")?,
        });
    }
    if form == "raw_data" {
        let raw = t.raw_data.clone().unwrap_or_default();
        if raw.len() != bytes {
            return Err(format!("raw_data has {} bytes, but {dims:?} of {dtype} takes {bytes}", raw.len()));
        }
        return Ok(ElementStorage::Raw { dtype, dims, bytes: raw });
    }
    let expected = typed_field(dtype);
    if form != expected {
        return Err(format!("{dtype} elements lie in {form}, but belong in {expected}"));
    }
    let stored = match form {
        "float_data" => t.float_data.len(),
        "int32_data" => t.int32_data.len(),
        "int64_data" => t.int64_data.len(),
        "double_data" => t.double_data.len(),
        _ => t.uint64_data.len(),
    };
    if stored != count {
        return Err(format!("{form} has {stored} elements, but the shape {dims:?} has {count}"));
    }
    Ok(ElementStorage::Typed { dtype, dims })
}

/// The field that elements of `dtype` lie in, where they are not raw.
pub fn typed_field(dtype: DType) -> &'static str {
    use DType::*;
    match dtype {
        F32 => "float_data",
        F64 => "double_data",
        I64 => "int64_data",
        U32 | U64 => "uint64_data",
        F16 | BF16 | I8 | I16 | I32 | U8 | U16 | Bool => "int32_data",
    }
}

fn made<T: Element>(dims: &[usize], values: Vec<T>) -> Result<HostTensor, String> {
    HostTensor::new(dims, values).ok_or_else(|| format!("the number of elements is not that of the shape {dims:?}"))
}

/// A tensor from little-endian bytes, whose number the caller has checked.
fn build(dtype: DType, dims: &[usize], raw: &[u8]) -> Result<HostTensor, String> {
    macro_rules! little_endian {
        ($type:ty) => {
            made(dims, raw.as_chunks().0.iter().map(|&b| <$type>::from_le_bytes(b)).collect())
        };
    }
    match dtype {
        DType::F16 => little_endian!(f16),
        DType::BF16 => little_endian!(bf16),
        DType::F32 => little_endian!(f32),
        DType::F64 => little_endian!(f64),
        DType::I8 => little_endian!(i8),
        DType::I16 => little_endian!(i16),
        DType::I32 => little_endian!(i32),
        DType::I64 => little_endian!(i64),
        DType::U8 => little_endian!(u8),
        DType::U16 => little_endian!(u16),
        DType::U32 => little_endian!(u32),
        DType::U64 => little_endian!(u64),
        DType::Bool => made(dims, raw.iter().map(|&b| b != 0).collect()),
    }
}

fn typed(dtype: DType, dims: &[usize], t: &TensorProto) -> Result<HostTensor, String> {
    fn narrow<S: Copy + std::fmt::Display, T: TryFrom<S>>(stored: &[S], dtype: DType) -> Result<Vec<T>, String> {
        let each = stored.iter().map(|&x| T::try_from(x).map_err(|_| format!("{x} is out of range for {dtype}")));
        each.collect()
    }
    let ints = &t.int32_data;
    match dtype {
        DType::F32 => made(dims, t.float_data.clone()),
        DType::F64 => made(dims, t.double_data.clone()),
        DType::I64 => made(dims, t.int64_data.clone()),
        DType::U64 => made(dims, t.uint64_data.clone()),
        DType::U32 => made(dims, narrow::<_, u32>(&t.uint64_data, dtype)?),
        DType::I32 => made(dims, ints.clone()),
        DType::I16 => made(dims, narrow::<_, i16>(ints, dtype)?),
        DType::I8 => made(dims, narrow::<_, i8>(ints, dtype)?),
        DType::U16 => made(dims, narrow::<_, u16>(ints, dtype)?),
        DType::U8 => made(dims, narrow::<_, u8>(ints, dtype)?),
        DType::Bool => made(dims, ints.iter().map(|&x| x != 0).collect()),
        DType::F16 => made(dims, narrow(ints, dtype)?.into_iter().map(f16::from_bits).collect()),
        DType::BF16 => made(dims, narrow(ints, dtype)?.into_iter().map(bf16::from_bits).collect()),
    }
}
