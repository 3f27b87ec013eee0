//! Models written in code, for tests, also those of other crates.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::{Graph, ValueId, build::build_model};
use crate::{
    error::{Error, Result},
    onnx::proto::{
        AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
        TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType, tensor_shape_proto,
        type_proto,
    },
    tensor::{DType, Held, HostTensor},
};
use std::path::Path;

/// A model under construction. Names in one string are parted by spaces; `_` is one that is left out.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub proto: ModelProto,
}

fn names(list: &str) -> Vec<String> {
    list.split_whitespace().map(|name| if name == "_" { String::new() } else { name.to_string() }).collect()
}

/// A node.
pub fn node(op: &str, inputs: &str, outputs: &str, attrs: &[AttributeProto]) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        input: names(inputs),
        output: names(outputs),
        name: Some(format!("n_{}", outputs.split(' ').next().unwrap_or_default())),
        attribute: attrs.to_vec(),
        ..Default::default()
    }
}

pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        i: Some(i),
        r#type: Some(AttributeType::Int.into()),
        ..Default::default()
    }
}

pub fn ints(name: &str, i: &[i64]) -> AttributeProto {
    let kind = Some(AttributeType::Ints.into());
    AttributeProto { name: Some(name.into()), ints: i.to_vec(), r#type: kind, ..Default::default() }
}

pub fn string(name: &str, s: &str) -> AttributeProto {
    let kind = Some(AttributeType::String.into());
    AttributeProto { name: Some(name.into()), s: Some(s.as_bytes().to_vec()), r#type: kind, ..Default::default() }
}

pub fn reference(name: &str, to: &str, kind: AttributeType) -> AttributeProto {
    let to = Some(to.to_string());
    AttributeProto { name: Some(name.into()), ref_attr_name: to, r#type: Some(kind.into()), ..Default::default() }
}

pub fn body(name: &str, graph: GraphProto) -> AttributeProto {
    let kind = Some(AttributeType::Graph.into());
    AttributeProto { name: Some(name.into()), g: Some(Box::new(graph)), r#type: kind, ..Default::default() }
}

pub fn tensor_attr(name: &str, tensor: TensorProto) -> AttributeProto {
    let kind = Some(AttributeType::Tensor.into());
    AttributeProto { name: Some(name.into()), t: Some(Box::new(tensor)), r#type: kind, ..Default::default() }
}

pub fn floats(name: &str, dims: &[i64], values: Vec<f32>) -> TensorProto {
    let name = Some(name.to_string());
    TensorProto { name, dims: dims.to_vec(), data_type: Some(1), float_data: values, ..Default::default() }
}

pub fn longs(name: &str, dims: &[i64], values: &[i64]) -> TensorProto {
    let name = Some(name.to_string());
    TensorProto { name, dims: dims.to_vec(), data_type: Some(7), int64_data: values.to_vec(), ..Default::default() }
}

/// `x:f32[batch,4]`; a dimension is a number, a name or `?`; without brackets the rank is open.
pub fn value(text: &str) -> ValueInfoProto {
    let (name, ty) = text.split_once(':').unwrap_or((text, "f32"));
    let (kind, dims) = ty.split_once('[').map_or((ty, None), |(kind, dims)| (kind, Some(dims.trim_end_matches(']'))));
    let kind = match kind {
        "i64" => DType::I64,
        "bool" => DType::Bool,
        _ => DType::F32,
    };
    let dim = |dim: &str| tensor_shape_proto::Dimension {
        value: match (dim, dim.parse()) {
            ("?", _) => None,
            (_, Ok(n)) => Some(tensor_shape_proto::dimension::Value::DimValue(n)),
            (name, _) => Some(tensor_shape_proto::dimension::Value::DimParam(name.into())),
        },
        ..Default::default()
    };
    let shape = dims.map(|dims| TensorShapeProto { dim: dims.split(',').filter(|d| !d.is_empty()).map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: Some(kind as i32), shape };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(ty), ..Default::default() }
}

pub fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) }
}

pub fn property(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) }
}

impl Model {
    /// A model of `version` of the default operator set, whose inputs and outputs are as in [`value`].
    pub fn new(version: i64, inputs: &[&str], outputs: &[&str]) -> Self {
        let graph = GraphProto {
            input: inputs.iter().map(|text| value(text)).collect(),
            output: outputs.iter().map(|text| value(text)).collect(),
            ..Default::default()
        };
        let opset_import = vec![opset("", version)];
        Self { proto: ModelProto { ir_version: Some(8), graph: Some(graph), opset_import, ..Default::default() } }
    }

    pub fn producer(mut self, name: &str) -> Self {
        self.proto.producer_name = Some(name.into());
        self
    }

    pub fn graph(&mut self) -> &mut GraphProto {
        self.proto.graph.as_mut().unwrap()
    }

    pub fn node(mut self, op: &str, inputs: &str, outputs: &str, attrs: &[AttributeProto]) -> Self {
        self.graph().node.push(node(op, inputs, outputs, attrs));
        self
    }

    /// A float tensor of different, small values.
    pub fn weight(self, name: &str, dims: &[i64]) -> Self {
        let count: i64 = dims.iter().product();
        self.floats(name, dims, (0..count).map(|i| 0.01 * i as f32 - 0.3).collect())
    }

    pub fn floats(mut self, name: &str, dims: &[i64], values: Vec<f32>) -> Self {
        self.graph().initializer.push(floats(name, dims, values));
        self
    }

    pub fn longs(mut self, name: &str, values: &[i64]) -> Self {
        self.graph().initializer.push(longs(name, &[values.len() as i64], values));
        self
    }

    /// A `Constant` node.
    pub fn constant(self, name: &str, dims: &[i64], values: Vec<f32>) -> Self {
        let attr = tensor_attr("value", floats("", dims, values));
        self.node("Constant", "", name, &[attr])
    }

    /// A declared type of a value in between, with metadata.
    pub fn value(mut self, text: &str, metadata: &[(&str, &str)]) -> Self {
        let mut info = value(text);
        info.metadata_props = metadata.iter().map(|(key, value)| property(key, value)).collect();
        self.graph().value_info.push(info);
        self
    }

    pub fn function(mut self, function: FunctionProto) -> Self {
        self.proto.functions.push(function);
        self
    }

    /// The graph of the model.
    ///
    /// # Errors
    /// Those of [`build_model`].
    pub fn build(&self) -> Result<Graph> {
        build_model(Path::new("model.onnx"), &self.proto, &decode)
    }
}

/// The elements of a stored tensor, which lie in the typed field of its type.
///
/// # Errors
/// [`Error::Internal`] if the number of elements is not that of the shape.
pub fn decode(t: &TensorProto) -> Result<Held> {
    let dims: Vec<usize> = t.dims.iter().map(|&dim| dim as usize).collect();
    let tensor = match t.data_type() {
        1 => HostTensor::new(&dims, t.float_data.clone()),
        7 => HostTensor::new(&dims, t.int64_data.clone()),
        9 => HostTensor::new(&dims, t.int32_data.iter().map(|&flag| flag != 0).collect()),
        10 => HostTensor::new(&dims, t.int32_data.iter().map(|&bits| half::f16::from_bits(bits as u16)).collect()),
        11 => HostTensor::new(&dims, t.double_data.clone()),
        kind => panic!("tests have no tensors of type {kind}"),
    };
    tensor.map(Held::from).ok_or_else(|| Error::Internal(format!("{}: wrong number of elements", t.name())))
}

impl Graph {
    /// The value of a name.
    pub fn id(&self, name: &str) -> ValueId {
        self.by_name[name]
    }
}
