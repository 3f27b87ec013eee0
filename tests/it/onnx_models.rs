//! Small ONNX files in every storage form, made for tests.

use half::{bf16, f16};
use onnx_forget::{
    onnx::{
        OnnxFile, ReadOptions,
        proto::{
            AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
            TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataLocation,
            tensor_shape_proto::Dimension, tensor_shape_proto::dimension, type_proto,
        },
    },
    tensor::DType,
};
use prost::Message;
use std::{fs, path::Path};

/// How a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    Raw,
    Typed,
    External,
}

/// Raw bytes of `values` as `dtype`.
pub fn raw_bytes(dtype: DType, values: &[f32]) -> Vec<u8> {
    let bytes = |x: f32| match dtype {
        DType::F16 => f16::from_f32(x).to_le_bytes().to_vec(),
        DType::BF16 => bf16::from_f32(x).to_le_bytes().to_vec(),
        DType::F64 => f64::from(x).to_le_bytes().to_vec(),
        DType::I64 => (x as i64).to_le_bytes().to_vec(),
        _ => x.to_le_bytes().to_vec(),
    };
    values.iter().flat_map(|&x| bytes(x)).collect()
}

/// A tensor; external ones are appended to `data` and refer to `location`.
pub fn tensor(
    name: &str,
    dtype: DType,
    dims: &[i64],
    values: &[f32],
    form: Form,
    location: &str,
    data: &mut Vec<u8>,
) -> TensorProto {
    let mut t = TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(dtype as i32),
        doc_string: Some(format!("about {name}")),
        ..Default::default()
    };
    match form {
        Form::Raw => t.raw_data = Some(raw_bytes(dtype, values).into()),
        Form::External => {
            let bytes = raw_bytes(dtype, values);
            let entry = |k: &str, v: String| StringStringEntryProto { key: Some(k.into()), value: Some(v) };
            t.external_data = vec![
                entry("location", location.into()),
                entry("offset", data.len().to_string()),
                entry("length", bytes.len().to_string()),
            ];
            t.data_location = Some(DataLocation::External as i32);
            data.extend(bytes);
        }
        Form::Typed => match dtype {
            DType::F32 => t.float_data = values.to_vec(),
            DType::F64 => t.double_data = values.iter().map(|&x| x.into()).collect(),
            DType::I64 => t.int64_data = values.iter().map(|&x| x as i64).collect(),
            DType::F16 => t.int32_data = values.iter().map(|&x| f16::from_f32(x).to_bits().into()).collect(),
            DType::BF16 => t.int32_data = values.iter().map(|&x| bf16::from_f32(x).to_bits().into()).collect(),
            other => unreachable!("{other}"),
        },
    }
    t
}

/// A node.
pub fn node(op: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        name: Some(format!("{op}_{}", outputs[0])),
        input: inputs.iter().map(|s| s.to_string()).collect(),
        output: outputs.iter().map(|s| s.to_string()).collect(),
        attribute,
        ..Default::default()
    }
}

/// A tensor attribute.
pub fn tensor_attribute(name: &str, t: TensorProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Tensor as i32),
        t: Some(Box::new(t)),
        ..Default::default()
    }
}

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |&d: &i64| Dimension { value: Some(dimension::Value::DimValue(d)), ..Default::default() };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: Some(1), shape: Some(shape) };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(ty), ..Default::default() }
}

/// `y = relu(x·w + b)·v + c`, where `w` is an initializer, `c` a `Constant` node, in the given type and form. Returns the
/// model and the external data.
pub fn mlp(dtype: DType, form: Form, location: &str) -> (ModelProto, Vec<u8>) {
    let mut data = vec![];
    let ramp = |n: usize, scale: f32| (0..n).map(|i| (i as f32 - n as f32 / 3.0) * scale).collect::<Vec<f32>>();
    let w = tensor("w", dtype, &[4, 8], &ramp(32, 0.0625), form, location, &mut data);
    let b = tensor("b", dtype, &[8], &ramp(8, 0.25), form, location, &mut data);
    let v = tensor("v", dtype, &[8, 3], &ramp(24, -0.125), form, location, &mut data);
    let shape = tensor(
        "shape",
        DType::I64,
        &[2],
        &[-1.0, 4.0],
        if form == Form::External { Form::Raw } else { form },
        location,
        &mut data,
    );
    let c = tensor("", dtype, &[3], &[0.5, -1.0, 2.0], form, location, &mut data);
    let nodes = vec![
        node("Constant", &[], &["c"], vec![tensor_attribute("value", c)]),
        node("Reshape", &["x", "shape"], &["x2"], vec![]),
        node("MatMul", &["x2", "w"], &["xw"], vec![]),
        node("Add", &["xw", "b"], &["h"], vec![]),
        node("Relu", &["h"], &["r"], vec![]),
        node("MatMul", &["r", "v"], &["rv"], vec![]),
        node("Add", &["rv", "c"], &["y"], vec![]),
    ];
    let graph = GraphProto {
        name: Some("mlp".into()),
        node: nodes,
        initializer: vec![w, b, v, shape],
        input: vec![value("x", &[2, 4])],
        output: vec![value("y", &[2, 3])],
        ..Default::default()
    };
    let model = ModelProto {
        ir_version: Some(8),
        producer_name: Some("test".into()),
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        graph: Some(graph),
        metadata_props: vec![StringStringEntryProto { key: Some("k".into()), value: Some("v".into()) }],
        ..Default::default()
    };
    (model, data)
}

/// Writes a model and its external data, and opens it.
pub fn write(folder: &Path, name: &str, model: &ModelProto, location: &str, data: &[u8]) -> OnnxFile {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), model.encode_to_vec()).unwrap();
    if !data.is_empty() {
        fs::create_dir_all(folder.join(location).parent().unwrap()).unwrap();
        fs::write(folder.join(location), data).unwrap();
    }
    open(&folder.join(name))
}

/// Opens a model.
pub fn open(path: &Path) -> OnnxFile {
    OnnxFile::open(path, &ReadOptions::default()).unwrap()
}
