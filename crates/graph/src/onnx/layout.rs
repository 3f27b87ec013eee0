//! Proves, before anything is decoded, that a file's messages are well formed, nest within bounds, and decode into
//! memory in proportion to the file.
//!
//! Protobuf lets two bytes (an empty sub-message) stand for a struct of hundreds, so the length of a file alone does not
//! bound what its decoding takes. The walk keeps its own stack; nothing here recurses on what the file says.

use super::{
    proto,
    wire::{Fields, Value, WireError},
};
use crate::limits::most_nodes;
use std::{mem::size_of, ops::Range};

/// Deepest nesting of messages, which is also the limit of `prost` and of the C++ implementation.
pub const MAX_DEPTH: usize = 100;
/// Decoded bytes that any file may take.
const FREE: u64 = 32 << 20;
/// Decoded bytes that every byte of the file may take beyond [`FREE`]. A model of nothing but short attributes or declared
/// shapes takes about 25; with names and tensors it is a few.
const PER_BYTE: u64 = 32;

/// A message of the format, as far as the walk tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ModelProto`
    Model,
    /// `GraphProto`
    Graph,
    /// `NodeProto`
    Node,
    /// `AttributeProto`
    Attribute,
    /// `TensorProto`
    Tensor,
    /// `SparseTensorProto`
    Sparse,
    /// `FunctionProto`
    Function,
    /// `TrainingInfoProto`
    Training,
    /// `ValueInfoProto`
    ValueInfo,
    /// `TypeProto`
    Type,
    /// `TypeProto.Tensor`, `.SparseTensor`
    TensorType,
    /// `TypeProto.Sequence`, `.Optional`
    Nested,
    /// `TypeProto.Map`
    Map,
    /// `TensorShapeProto`
    Shape,
    /// `TensorAnnotation`
    Annotation,
    /// `StringStringEntryProto`
    Entry,
    /// `OperatorSetIdProto`, `TensorShapeProto.Dimension`, `TensorProto.Segment`, `TypeProto.Opaque`
    Leaf,
    /// A repeated string
    Text,
    /// A repeated number
    Numbers,
}

/// The name of field `number` of `kind` and what it holds, if that matters to the walk.
pub fn child(kind: Kind, number: u32) -> Option<(&'static str, Kind)> {
    use Kind::*;
    Some(match (kind, number) {
        (Model, 7) => ("graph", Graph),
        (Model, 8) => ("opset_import", Leaf),
        (Model, 14) => ("metadata_props", Entry),
        (Model, 20) => ("training_info", Training),
        (Model, 25) => ("functions", Function),
        (Graph, 1) => ("node", Node),
        (Graph, 5) => ("initializer", Tensor),
        (Graph, 11) => ("input", ValueInfo),
        (Graph, 12) => ("output", ValueInfo),
        (Graph, 13) => ("value_info", ValueInfo),
        (Graph, 14) => ("quantization_annotation", Annotation),
        (Graph, 15) => ("sparse_initializer", Sparse),
        (Graph, 16) => ("metadata_props", Entry),
        (Node, 1) => ("input", Text),
        (Node, 2) => ("output", Text),
        (Node, 5) => ("attribute", Attribute),
        (Node, 9) => ("metadata_props", Entry),
        (Attribute, 5) => ("t", Tensor),
        (Attribute, 6) => ("g", Graph),
        (Attribute, 7) => ("floats", Numbers),
        (Attribute, 8) => ("ints", Numbers),
        (Attribute, 9) => ("strings", Text),
        (Attribute, 10) => ("tensors", Tensor),
        (Attribute, 11) => ("graphs", Graph),
        (Attribute, 14) => ("tp", Type),
        (Attribute, 15) => ("type_protos", Type),
        (Attribute, 22) => ("sparse_tensor", Sparse),
        (Attribute, 23) => ("sparse_tensors", Sparse),
        (Tensor, 1) => ("dims", Numbers),
        (Tensor, 3) => ("segment", Leaf),
        (Tensor, 4) => ("float_data", Numbers),
        (Tensor, 5) => ("int32_data", Numbers),
        (Tensor, 6) => ("string_data", Text),
        (Tensor, 7) => ("int64_data", Numbers),
        (Tensor, 10) => ("double_data", Numbers),
        (Tensor, 11) => ("uint64_data", Numbers),
        (Tensor, 13) => ("external_data", Entry),
        (Tensor, 16) => ("metadata_props", Entry),
        (Sparse, 1) => ("values", Tensor),
        (Sparse, 2) => ("indices", Tensor),
        (Sparse, 3) => ("dims", Numbers),
        (Function, 4) => ("input", Text),
        (Function, 5) => ("output", Text),
        (Function, 6) => ("attribute", Text),
        (Function, 7) => ("node", Node),
        (Function, 9) => ("opset_import", Leaf),
        (Function, 11) => ("attribute_proto", Attribute),
        (Function, 12) => ("value_info", ValueInfo),
        (Function, 14) => ("metadata_props", Entry),
        (Training, 1) => ("initialization", Graph),
        (Training, 2) => ("algorithm", Graph),
        (Training, 3) => ("initialization_binding", Entry),
        (Training, 4) => ("update_binding", Entry),
        (ValueInfo, 2) => ("type", Type),
        (ValueInfo, 4) => ("metadata_props", Entry),
        (Type, 1) => ("tensor_type", TensorType),
        (Type, 4) => ("sequence_type", Nested),
        (Type, 5) => ("map_type", Map),
        (Type, 7) => ("opaque_type", Leaf),
        (Type, 8) => ("sparse_tensor_type", TensorType),
        (Type, 9) => ("optional_type", Nested),
        (TensorType, 2) => ("shape", Shape),
        (Nested, 1) => ("elem_type", Type),
        (Map, 2) => ("value_type", Type),
        (Shape, 1) => ("dim", Leaf),
        (Annotation, 2) => ("quant_parameter_tensor_names", Entry),
        _ => return None,
    })
}

/// Bytes that decoding one field takes, beside its own content.
fn decoded_size(kind: Kind, body: u64) -> u64 {
    let size = match kind {
        Kind::Model => size_of::<proto::ModelProto>(),
        Kind::Graph => size_of::<proto::GraphProto>(),
        Kind::Node => size_of::<proto::NodeProto>(),
        Kind::Attribute => size_of::<proto::AttributeProto>(),
        Kind::Tensor => size_of::<proto::TensorProto>(),
        Kind::Sparse => size_of::<proto::SparseTensorProto>(),
        Kind::Function => size_of::<proto::FunctionProto>(),
        Kind::Training => size_of::<proto::TrainingInfoProto>(),
        Kind::ValueInfo => size_of::<proto::ValueInfoProto>(),
        Kind::Annotation => size_of::<proto::TensorAnnotation>(),
        Kind::Type | Kind::TensorType | Kind::Nested | Kind::Map => size_of::<proto::TypeProto>(),
        Kind::Shape => size_of::<proto::TensorShapeProto>(),
        Kind::Entry => size_of::<proto::StringStringEntryProto>(),
        Kind::Leaf => size_of::<proto::tensor_shape_proto::Dimension>(),
        Kind::Text => size_of::<String>(),
        // A packed list decodes to at most eight bytes for each of its own, an unpacked number to eight.
        Kind::Numbers => return body.max(1) * 8,
    };
    size as u64
}

/// Why a file is refused before decoding: the field, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Dotted names of the fields that lead there, and the byte.
    pub place: String,
    /// What is wrong.
    pub problem: String,
}

/// Walks all known messages of the model in `bytes`.
///
/// # Errors
/// [`Refusal`] at the first field that breaks the wire format or is stored in another form than its own; or where
/// decoding would take too many bytes for the size of the file, there are too many nodes, or messages nest too deep.
pub fn check(bytes: &[u8]) -> Result<(), Refusal> {
    let mut stack = vec![("model", Kind::Model, Fields::new(bytes, 0..bytes.len()))];
    let allowed = (bytes.len() as u64).saturating_mul(PER_BYTE).saturating_add(FREE);
    let (mut decoded, mut nodes) = (0u64, 0u64);
    while let Some((_, kind, fields)) = stack.last_mut() {
        let kind = *kind;
        let field = match fields.next_field() {
            Ok(Some(field)) => field,
            Ok(None) => {
                stack.pop();
                continue;
            }
            Err(WireError { at, problem }) => return Err(refuse(&stack, at, problem.into())),
        };
        let Some((name, inner)) = child(kind, field.number) else { continue };
        let body: Range<usize> = match (field.value, inner) {
            (Value::Len { body, .. }, _) => body,
            (Value::Varint(..) | Value::Fixed32(_) | Value::Fixed64(_), Kind::Numbers) => 0..0,
            _ => return Err(refuse(&stack, field.start, format!("`{name}` is not stored as what it is"))),
        };
        decoded = decoded.saturating_add(decoded_size(inner, body.len() as u64));
        if decoded > allowed {
            let problem = format!("decoding would take more than {PER_BYTE} bytes for each byte of the file");
            return Err(refuse(&stack, field.start, problem));
        }
        nodes += u64::from(inner == Kind::Node);
        if nodes > most_nodes() {
            let problem = format!("the file has more than {} nodes; --max-nodes raises the limit", most_nodes());
            return Err(refuse(&stack, field.start, problem));
        }
        if matches!(inner, Kind::Numbers | Kind::Text) {
            continue;
        }
        if stack.len() == MAX_DEPTH {
            return Err(refuse(&stack, field.start, format!("messages nest deeper than {MAX_DEPTH}")));
        }
        stack.push((name, inner, Fields::new(bytes, body)));
    }
    Ok(())
}

fn refuse(stack: &[(&'static str, Kind, Fields<'_>)], at: usize, problem: String) -> Refusal {
    let mut path: Vec<&str> = stack.iter().skip(1).map(|s| s.0).collect();
    // The innermost names of a deep path tell nothing.
    if path.len() > 8 {
        path.truncate(8);
        path.push("…");
    }
    let path = if path.is_empty() { "model".to_string() } else { path.join(".") };
    Refusal { place: format!("{path}, byte {at}"), problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto};
    use prost::Message;

    fn nested(levels: usize) -> ModelProto {
        let graph = (0..levels).fold(GraphProto::default(), |inner, _| GraphProto {
            node: vec![NodeProto {
                attribute: vec![AttributeProto { g: Some(Box::new(inner)), ..Default::default() }],
                ..Default::default()
            }],
            ..Default::default()
        });
        ModelProto { graph: Some(graph), ..Default::default() }
    }

    #[test]
    fn nesting_is_bounded_where_prost_bounds_it() {
        for levels in [0, 1, 20, 31, 32, 33, 34, 40, 60] {
            let bytes = nested(levels).encode_to_vec();
            let ours = check(&bytes);
            let theirs = ModelProto::decode(bytes.as_slice());
            assert!(ours.is_err() || theirs.is_ok(), "{levels}: prost refuses what the check lets through");
            assert_eq!(ours.is_ok(), levels <= 32, "{levels}: {ours:?}");
        }
        let deep = check(&nested(50).encode_to_vec()).unwrap_err();
        assert!(deep.problem.contains("nest deeper") && deep.place.starts_with("graph.node.attribute.g"), "{deep:?}");
    }

    #[test]
    fn empty_messages_do_not_multiply_memory() {
        // Two bytes a node.
        let mut graph = vec![];
        for _ in 0..1_000_000 {
            graph.extend([0x0a, 0x00]);
        }
        let mut bytes = vec![0x3a];
        prost::encoding::encode_varint(graph.len() as u64, &mut bytes);
        bytes.extend(graph);
        let refusal = check(&bytes).unwrap_err();
        assert!(refusal.problem.contains("32 bytes for each byte"), "{refusal:?}");
    }

    #[test]
    fn a_known_field_of_another_wire_type_is_refused() {
        let refusal = check(&[0x38, 0x01]).unwrap_err();
        assert!(refusal.problem.contains("`graph`"), "{refusal:?}");
    }
}
