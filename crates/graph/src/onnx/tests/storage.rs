use super::*;
use crate::tensor::HostTensor;
use half::{bf16, f16};

fn decode(t: TensorProto) -> Result<HostTensor> {
    let (_folder, file) = open(&model(vec![t], vec![]));
    let graph = file.proto().graph.clone().unwrap();
    file.tensor(&graph.initializer[0])
}

#[test]
fn every_type_decodes_from_raw_and_from_its_field() {
    type Fill = fn(&mut TensorProto);
    let half = |x: f32| f16::from_f32(x);
    let brain = |x: f32| bf16::from_f32(x);
    let cases: Vec<(HostTensor, Vec<u8>, Fill)> = vec![
        (HostTensor::vector(vec![1.5f32, -2.0]), [1.5f32, -2.0].map(f32::to_le_bytes).concat(), |t| {
            t.float_data = vec![1.5, -2.0]
        }),
        (HostTensor::vector(vec![1.5f64, -2.0]), [1.5f64, -2.0].map(f64::to_le_bytes).concat(), |t| {
            t.double_data = vec![1.5, -2.0]
        }),
        (HostTensor::vector(vec![half(1.5), half(-2.0)]), vec![0x00, 0x3e, 0x00, 0xc0], |t| {
            t.int32_data = vec![0x3e00, 0xc000]
        }),
        (HostTensor::vector(vec![brain(1.5), brain(-2.0)]), vec![0xc0, 0x3f, 0x00, 0xc0], |t| {
            t.int32_data = vec![0x3fc0, 0xc000]
        }),
        (HostTensor::vector(vec![-1i8, 2]), vec![0xff, 2], |t| t.int32_data = vec![-1, 2]),
        (HostTensor::vector(vec![-1i16, 2]), [-1i16, 2].map(i16::to_le_bytes).concat(), |t| t.int32_data = vec![-1, 2]),
        (HostTensor::vector(vec![-1i32, 2]), [-1i32, 2].map(i32::to_le_bytes).concat(), |t| t.int32_data = vec![-1, 2]),
        (HostTensor::vector(vec![i64::MIN, 2]), [i64::MIN, 2].map(i64::to_le_bytes).concat(), |t| {
            t.int64_data = vec![i64::MIN, 2]
        }),
        (HostTensor::vector(vec![255u8, 2]), vec![255, 2], |t| t.int32_data = vec![255, 2]),
        (HostTensor::vector(vec![65535u16, 2]), [65535u16, 2].map(u16::to_le_bytes).concat(), |t| {
            t.int32_data = vec![65535, 2]
        }),
        (HostTensor::vector(vec![u32::MAX, 2]), [u32::MAX, 2].map(u32::to_le_bytes).concat(), |t| {
            t.uint64_data = vec![u32::MAX.into(), 2]
        }),
        (HostTensor::vector(vec![u64::MAX, 2]), [u64::MAX, 2].map(u64::to_le_bytes).concat(), |t| {
            t.uint64_data = vec![u64::MAX, 2]
        }),
        (HostTensor::vector(vec![true, false]), vec![1, 0], |t| t.int32_data = vec![1, 0]),
    ];
    assert_eq!(cases.len(), 13, "one case for each type");
    for (expected, bytes, fill) in cases {
        let dtype = expected.dtype();
        assert_eq!(decode(raw("w", dtype, &[2], &bytes)).unwrap(), expected, "{dtype} raw");
        let mut typed = tensor("w", dtype as i32, &[2]);
        fill(&mut typed);
        assert_eq!(decode(typed.clone()).unwrap(), expected, "{dtype} typed");
        // One element too few, whatever the form.
        refused(decode(raw("w", dtype, &[2], &bytes[1..])), &["tensor `w`", "raw_data"]);
        typed.dims = vec![3];
        refused(decode(typed), &["tensor `w`", "2 elements", "3"]);
    }
}

#[test]
fn unpacked_fields_decode() {
    let mut t = [field(8, b"w"), number(1, 2), number(2, 1)].concat();
    for x in [1.0f32, 2.0] {
        t.push(4 << 3 | 5);
        t.extend(x.to_le_bytes());
    }
    let bytes = field(7, &field(5, &t));
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &bytes).unwrap();
    let stored = &file.proto().graph.as_ref().unwrap().initializer[0];
    assert_eq!(file.tensor(stored).unwrap(), HostTensor::vector(vec![1f32, 2.0]));
}

#[test]
fn scalars_and_empty_tensors() {
    assert_eq!(decode(floats("w", &[], &[3.0])).unwrap(), HostTensor::scalar(3f32));
    assert_eq!(decode(floats("w", &[0, 4], &[])).unwrap().dims(), [0, 4]);
    assert_eq!(decode(raw("w", DType::F32, &[0], &[])).unwrap().len(), 0);
    refused(decode(floats("w", &[0], &[1.0])), &["1 elements", "0"]);
    refused(decode(raw("w", DType::F32, &[0], &[0; 4])), &["raw_data has 4 bytes"]);
    refused(decode(floats("w", &[2], &[])), &["no data"]);
}

#[test]
fn shapes_that_make_no_sense() {
    refused(decode(floats("w", &[-1], &[1.0])), &["tensor `w`", "negative"]);
    refused(decode(floats("w", &[1 << 40, 1 << 40], &[1.0])), &["more elements than memory"]);
    refused(decode(floats("w", &[0, 1 << 40, 1 << 40], &[])), &["more elements than memory"]);
    refused(decode(floats("w", &[1 << 50], &[1.0])), &["1 elements"]);
}

#[test]
fn exactly_one_storage() {
    let mut twice = floats("w", &[1], &[1.0]);
    twice.raw_data = Some(vec![0; 4].into());
    refused(decode(twice.clone()), &["stored twice", "raw_data", "float_data"]);
    twice.raw_data = Some(vec![].into());
    refused(decode(twice), &["stored twice"]);
    let mut twice = floats("w", &[1], &[1.0]);
    twice.data_location = Some(DataLocation::External as i32);
    refused(decode(twice), &["stored twice", "external_data"]);
    let mut twice = floats("w", &[1], &[1.0]);
    twice.int64_data = vec![1];
    refused(decode(twice), &["stored twice"]);
    let mut wrong = tensor("w", DType::F32 as i32, &[1]);
    wrong.int32_data = vec![1];
    refused(decode(wrong), &["int32_data", "float_data"]);
}

#[test]
fn values_out_of_range() {
    for (dtype, value) in
        [(DType::I8, 128), (DType::U8, -1), (DType::U16, 1 << 16), (DType::F16, -1), (DType::BF16, 1 << 16)]
    {
        let mut t = tensor("w", dtype as i32, &[1]);
        t.int32_data = vec![value];
        refused(decode(t), &["out of range", &dtype.to_string()]);
    }
    let mut t = tensor("w", DType::U32 as i32, &[1]);
    t.uint64_data = vec![1 << 32];
    refused(decode(t), &["out of range for u32"]);
}

#[test]
fn types_that_are_not_handled_are_named() {
    for (code, name) in
        [(8, "STRING"), (14, "COMPLEX64"), (17, "FLOAT8E4M3FN"), (22, "INT4"), (99, "99"), (0, "UNDEFINED")]
    {
        refused(decode(tensor("w", code, &[1])), &["tensor `w`", name]);
    }
    let mut t = floats("w", &[1], &[1.0]);
    t.segment = Some(Default::default());
    refused(decode(t), &["segments"]);
}
