//! Half precision: which values a runtime rounds to f16 or bf16.
//!
//! The model here computes every float in one type, and only a `Cast` rounds. A runtime holds each value in the type that
//! the graph gives it, and so rounds after every node whose result is a half.

use super::{Attr, Graph, Node, ValueId};
use crate::tensor::DType;
use std::collections::{BTreeMap, BTreeSet};

/// The floats that nodes compute and a runtime holds as halves, with their type. What is computed from stored tensors
/// alone is not among them: a weight that is stored as a half and cast is no half.
pub fn computed(graph: &Graph) -> BTreeMap<ValueId, DType> {
    let types = element_types(graph);
    let mut fed: BTreeSet<ValueId> = graph.inputs.iter().copied().collect();
    let mut halves = BTreeMap::new();
    for node in &graph.nodes {
        if !node.inputs.iter().flatten().any(|id| fed.contains(id)) {
            continue;
        }
        for &id in node.outputs.iter().flatten() {
            fed.insert(id);
            if let Some(&dtype) = types.get(&id).filter(|dtype| is_half(**dtype)) {
                halves.insert(id, dtype);
            }
        }
    }
    halves
}

/// The coarser of the half types among `computed`.
pub fn coarsest(computed: &BTreeMap<ValueId, DType>) -> Option<DType> {
    let has = |dtype| computed.values().any(|d| *d == dtype).then_some(dtype);
    has(DType::BF16).or_else(|| has(DType::F16))
}

/// The same graph without rounding: each `Cast` to a half is one to f32.
pub fn unrounded(graph: &Graph) -> Graph {
    let types = element_types(graph);
    let mut graph = graph.clone();
    for node in &mut graph.nodes {
        let like = node.is("CastLike");
        if !like && !node.is("Cast") {
            continue;
        }
        if node.output(0).and_then(|id| types.get(&id)).is_some_and(|dtype| is_half(*dtype)) {
            node.attrs.insert("to".into(), Attr::Int(DType::F32 as i64));
            if like {
                node.op_type = "Cast".into();
                node.inputs.truncate(1);
            }
        }
    }
    graph
}

fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// Element types, from the stored tensors and the declared inputs on through the nodes.
fn element_types(graph: &Graph) -> BTreeMap<ValueId, DType> {
    let declared = |id: ValueId| graph.values.get(id.0).and_then(|v| v.ty.as_ref()).and_then(|t| t.dtype);
    let mut types: BTreeMap<ValueId, DType> =
        graph.initializers.iter().map(|(&id, held)| (id, held.tensor.dtype())).collect();
    types.extend(graph.inputs.iter().filter_map(|&id| Some((id, declared(id)?))));
    for node in &graph.nodes {
        let found = result(node, &types);
        for &id in node.outputs.iter().flatten() {
            if let Some(dtype) = found.or_else(|| declared(id)) {
                types.insert(id, dtype);
            }
        }
    }
    types
}

/// The element type of what a node computes; of its further outputs only where they are floats.
fn result(node: &Node, types: &BTreeMap<ValueId, DType>) -> Option<DType> {
    let of = |at: usize| node.input(at).and_then(|id| types.get(&id).copied());
    match node.op_type.as_str() {
        "Cast" => DType::from_onnx(i32::try_from(node.int("to", None).ok()?).ok()?),
        "CastLike" | "Where" | "DequantizeLinear" => of(1),
        "OneHot" => of(2),
        "Shape" | "Size" | "NonZero" | "ArgMax" | "ArgMin" => Some(DType::I64),
        "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "And" | "Or" | "Xor" | "Not" | "IsNaN"
        | "IsInf" => Some(DType::Bool),
        "ConstantOfShape" => {
            node.attrs.get("value").and_then(Attr::tensor).map_or(Some(DType::F32), |x| Some(x.dtype()))
        }
        // The first is integers or what chooses; the floats come later.
        "EmbedLayerNormalization" => (0..node.inputs.len()).filter_map(of).find(|dtype| dtype.is_float()),
        "EyeLike" | "RandomNormal" | "RandomUniform" | "RandomNormalLike" | "RandomUniformLike" => None,
        _ => (0..node.inputs.len()).find_map(of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::{Initializer, TypeInfo, ValueInfo},
        tensor::HostTensor,
    };
    use half::f16;

    /// x (f32) → Cast to f16 → MatMul(w, f16) → Cast to f32 → y; v (f16) → Cast to f32.
    fn graph() -> Graph {
        let mut graph = Graph::default();
        let names = ["x", "x16", "w", "h", "y", "v", "v32"];
        for name in names {
            graph.values.push(ValueInfo { name: name.into(), ..Default::default() });
        }
        graph.values[0].ty = Some(TypeInfo { dtype: Some(DType::F32), dims: None });
        graph.inputs = vec![ValueId(0)];
        let stored = || Initializer { tensor: HostTensor::vector(vec![f16::from_f32(0.5)]).into(), stored_as: None };
        graph.initializers = BTreeMap::from([(ValueId(2), stored()), (ValueId(5), stored())]);
        let node = |op: &str, inputs: &[usize], output: usize, to: Option<DType>| Node {
            name: op.into(),
            domain: String::new(),
            op_type: op.into(),
            opset: 17,
            inputs: inputs.iter().map(|&i| Some(ValueId(i))).collect(),
            outputs: vec![Some(ValueId(output))],
            attrs: to.map(|to| ("to".to_string(), Attr::Int(to as i64))).into_iter().collect(),
        };
        graph.nodes = vec![
            node("Cast", &[5], 6, Some(DType::F32)),
            node("CastLike", &[0, 2], 1, None),
            node("MatMul", &[1, 2], 3, None),
            node("Cast", &[3], 4, Some(DType::F32)),
        ];
        graph
    }

    #[test]
    fn what_a_runtime_rounds_is_found() {
        let found = computed(&graph());
        assert_eq!(found, BTreeMap::from([(ValueId(1), DType::F16), (ValueId(3), DType::F16)]));
        assert_eq!(coarsest(&found), Some(DType::F16));
        assert_eq!(coarsest(&BTreeMap::new()), None);
    }

    #[test]
    fn without_rounding_no_cast_to_a_half_is_left() {
        let graph = unrounded(&graph());
        let casts: Vec<_> = graph.nodes.iter().filter(|n| n.op_type.starts_with("Cast")).collect();
        assert!(casts.iter().all(|n| n.op_type == "Cast" && n.inputs.len() == 1));
        assert!(casts.iter().all(|n| matches!(n.attrs["to"], Attr::Int(1))), "{casts:?}");
    }
}
