//! The nodes that make inputs from others.

use super::{Port, Supply, words};
use crate::{
    onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto::AttributeType},
    tensor::DType,
};
use std::collections::BTreeSet;

/// What the names of all values and nodes begin with that are put in.
pub(super) const OURS: &str = "onnx-forget/";
pub(super) const SHAPE: &str = "onnx-forget/shape";
/// How many rows there are, a list of one.
const ROWS: &str = "onnx-forget/rows";
/// How many words there are, a list of one.
const STEPS: &str = "onnx-forget/words";
/// The same, a scalar.
const COUNT: &str = "onnx-forget/count";

/// Nodes that make the inputs of `proto` with these names, each what it is for.
pub fn nodes(proto: &GraphProto, names: &BTreeSet<&str>) -> Vec<NodeProto> {
    let ports: Vec<Port<'_>> = proto.input.iter().filter_map(Port::of).collect();
    let made: Vec<_> = ports
        .iter()
        .filter(|port| names.contains(port.name) && port.supply().is_some_and(|supply| !supply.is_fixed()))
        .collect();
    let Some(words) = words(&ports).filter(|_| !made.is_empty()) else { return Vec::new() };
    let mut maker = Maker { nodes: Vec::new() };
    maker.node("Shape", &[words.name], SHAPE, vec![]);
    for (name, dims, index) in [(ROWS, &[1][..], 0), (STEPS, &[1], 1), (COUNT, &[], 1)] {
        let axis = maker.longs(&format!("{name}_axis"), dims, index);
        maker.node("Gather", &[SHAPE, &axis], name, vec![]);
    }
    for port in made {
        maker.input(port);
    }
    maker.nodes
}

struct Maker {
    nodes: Vec<NodeProto>,
}

impl Maker {
    fn node(&mut self, op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) {
        self.nodes.push(NodeProto {
            name: Some(format!("{OURS}{output}")),
            op_type: Some(op.into()),
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.into()],
            attribute,
            ..Default::default()
        });
    }

    /// A constant of this name, one number of these extents.
    fn longs(&mut self, name: &str, dims: &[i64], value: i64) -> String {
        let tensor = TensorProto {
            dims: dims.to_vec(),
            data_type: Some(DType::I64 as i32),
            int64_data: vec![value],
            ..Default::default()
        };
        self.node("Constant", &[], name, vec![tensor_attribute(tensor)]);
        name.to_string()
    }

    /// The list of extents.
    fn extents(&mut self, name: &str, parts: &[&str]) -> String {
        let list = format!("onnx-forget/{name}/extents");
        self.node("Concat", parts, &list, vec![int_attribute("axis", 0)]);
        list
    }

    fn input(&mut self, port: &Port<'_>) {
        let at = |part: &str| format!("onnx-forget/{}/{part}", port.name);
        let to = || vec![int_attribute("to", port.kind.into())];
        match port.supply() {
            Some(Supply::Empty) => {
                let Some((rows, words)) = port.cache() else { return };
                let mut parts = Vec::new();
                for (axis, dim) in port.dims.iter().enumerate() {
                    let extent = if axis == words { 0 } else { dim.unwrap_or_default() };
                    parts.push(match rows == Some(axis) {
                        true => ROWS.to_string(),
                        false => self.longs(&at(&axis.to_string()), &[1], extent),
                    });
                }
                let extents = self.extents(port.name, &parts.iter().map(String::as_str).collect::<Vec<_>>());
                self.node("ConstantOfShape", &[&extents], port.name, vec![zero(port.kind)]);
            }
            Some(Supply::Steps) => {
                let (first, step) = (self.longs(&at("first"), &[], 0), self.longs(&at("step"), &[], 1));
                self.node("Range", &[&first, COUNT, &step], &at("range"), vec![]);
                let one = self.longs(&at("one"), &[1], 1);
                let all = [one.as_str(), STEPS];
                let extents = self.extents(port.name, all.get(all.len() - port.dims.len().min(2)..).unwrap_or(&all));
                self.node("Reshape", &[&at("range"), &extents], &at("list"), vec![]);
                self.node("Cast", &[&at("list")], port.name, to());
            }
            Some(Supply::Last) => {
                let one = self.longs(&at("one"), &[1], 1);
                self.node("Sub", &[STEPS, &one], &at("last"), vec![]);
                let all = [ROWS, &one];
                let extents = self.extents(port.name, all.get(..port.dims.len()).unwrap_or(&all));
                self.node("Expand", &[&at("last"), &extents], &at("all"), vec![]);
                self.node("Cast", &[&at("all")], port.name, to());
            }
            Some(Supply::Total) => {
                let from = if port.dims.is_empty() { COUNT } else { STEPS };
                self.node("Cast", &[from], port.name, to());
            }
            Some(Supply::Off | Supply::All) | None => {}
        }
    }
}

pub(super) fn int_attribute(name: &str, i: i64) -> AttributeProto {
    let kind = Some(AttributeType::Int as i32);
    AttributeProto { name: Some(name.into()), i: Some(i), r#type: kind, ..Default::default() }
}

fn tensor_attribute(tensor: TensorProto) -> AttributeProto {
    let kind = Some(AttributeType::Tensor as i32);
    AttributeProto { name: Some("value".into()), t: Some(Box::new(tensor)), r#type: kind, ..Default::default() }
}

/// What ConstantOfShape fills its result with, of which there is nothing.
fn zero(kind: i32) -> AttributeProto {
    let mut tensor = TensorProto { dims: vec![1], data_type: Some(kind), ..Default::default() };
    match kind {
        k if k == DType::F32 as i32 => tensor.float_data.push(0.0),
        k if k == DType::F64 as i32 => tensor.double_data.push(0.0),
        _ => tensor.int32_data.push(0),
    }
    tensor_attribute(tensor)
}
