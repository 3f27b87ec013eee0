//! Rows that are groups of items, each of which the model takes as a row of its own: anchors, positives and negatives of embeddings, pairs
//! of a recommender.

use super::listed;
use crate::{
    graph::{Attr, Dim, Graph, Initializer, Node, ValueId, ValueInfo},
    tensor::{DType, HostTensor},
};
use std::collections::BTreeMap;

/// Version of the operators that are put in.
const OPSET: i64 = 17;

/// How many items a row has, if the inputs of a loss graph have one axis more than the values of the model that they are.
///
/// # Errors
/// A sentence, if they do not agree on that, or if the extent of that axis is open.
pub(super) fn of(graph: &Graph, own: &Graph, taken: &[ValueId]) -> Result<Option<usize>, String> {
    let mut found: Option<Option<usize>> = None;
    for &value in taken {
        let input = own.by_name.get(graph.name(value)).copied();
        let (given, wanted) = (graph.declared_dims(value), input.and_then(|input| own.declared_dims(input)));
        let (Some(given), Some(wanted), Some(input)) = (given, wanted, input) else { continue };
        let group = match wanted.get(1) {
            _ if wanted.len() != given.len() + 1 => None,
            Some(Dim::Fixed(items)) if *items > 0 => Some(*items),
            _ => {
                return Err(format!(
                    "its input {} has one axis more than the model's {}: so a row is a group of items, and the second axis has to say of how many",
                    listed(own, &[input]),
                    listed(graph, &[value])
                ));
            }
        };
        if found.is_some_and(|before| before != group) {
            return Err(format!("its inputs do not agree on how many items a row has ({})", listed(own, &own.inputs)));
        }
        found = Some(group);
    }
    Ok(found.flatten())
}

/// Gives every input of the model an axis of `items` behind that of the rows; the model takes each item as a row.
pub(super) fn split_inputs(graph: &mut Graph, items: usize, labels: &[ValueId]) {
    let inputs: Vec<ValueId> = graph.inputs.iter().copied().filter(|input| !labels.contains(input)).collect();
    let mut first = Vec::new();
    for input in inputs {
        let name = graph.name(input).to_string();
        let Some(info) = graph.values.get_mut(input.0) else { continue };
        let mut ty = info.ty.clone();
        info.name = format!("{name}/items");
        if let Some(dims) = ty.as_mut().and_then(|ty| ty.dims.as_mut()) {
            let rows = if let Some(Dim::Fixed(n)) = dims.first() { Dim::Fixed(n / items.max(1)) } else { Dim::Unknown };
            let behind: Vec<Dim> = dims.drain(..).skip(1).collect();
            dims.extend([rows, Dim::Fixed(items)].into_iter().chain(behind));
        }
        let grouped = ValueId(graph.values.len());
        graph.values.push(ValueInfo { name: name.clone(), ty, ..ValueInfo::default() });
        graph.by_name.insert(name.clone(), grouped);
        graph.inputs.iter_mut().filter(|value| **value == input).for_each(|value| *value = grouped);
        first.extend(reshaped(graph, grouped, input, (&[-1], 2)));
    }
    graph.nodes.splice(0..0, first);
}

/// `value`, whose rows are items, as rows of `items`.
pub(super) fn joined(graph: &mut Graph, value: ValueId, items: usize) -> ValueId {
    let name = format!("{}/rows", graph.name(value));
    let dtype = graph.declared_dtype(value);
    let grouped = add(graph, name, dtype);
    let nodes = reshaped(graph, value, grouped, (&[-1, items as i64], 1));
    graph.nodes.extend(nodes);
    grouped
}

/// Nodes that make `to` of `from`: `extents`, then those of `from` from axis `start` on.
fn reshaped(graph: &mut Graph, from: ValueId, to: ValueId, (extents, start): (&[i64], i64)) -> Vec<Node> {
    let name = graph.name(to).to_string();
    let mut value = |of: &str| add(graph, format!("{name}/{of}"), Some(DType::I64));
    let (leading, rest, shape) = (value("leading"), value("rest"), value("shape"));
    if let Some(tensor) = HostTensor::new(&[extents.len()], extents.to_vec()) {
        graph.initializers.insert(leading, Initializer { tensor: tensor.into(), stored_as: None });
        graph.fixed.insert(leading);
    }
    let node = |op: &str, inputs: &[ValueId], output: ValueId, attribute: Option<(&str, i64)>| Node {
        name: format!("{name}/{op}"),
        domain: String::new(),
        op_type: op.into(),
        opset: OPSET,
        inputs: inputs.iter().map(|&input| Some(input)).collect(),
        outputs: vec![Some(output)],
        attrs: attribute.map(|(name, i)| (name.to_string(), Attr::Int(i))).into_iter().collect::<BTreeMap<_, _>>(),
    };
    vec![
        node("Shape", &[from], rest, Some(("start", start))),
        node("Concat", &[leading, rest], shape, Some(("axis", 0))),
        node("Reshape", &[from, shape], to, None),
    ]
}

fn add(graph: &mut Graph, name: String, dtype: Option<DType>) -> ValueId {
    let value = ValueId(graph.values.len());
    graph.by_name.insert(name.clone(), value);
    let ty = dtype.map(|dtype| crate::graph::TypeInfo { dtype: Some(dtype), dims: None });
    graph.values.push(ValueInfo { name, ty, ..ValueInfo::default() });
    value
}
