//! Models whose rows lie along another axis than the first, as in recurrent networks that take (steps, rows, features).

use super::{Attr, Dim, Graph, Node, TypeInfo, ValueId, ValueInfo};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Version of the operator that is put in.
const OPSET: i64 = 13;

/// Puts the rows first: each input that `axes` names has them along that axis in the file, and outputs along the axis that has the same
/// name. [`Graph::turned`] then says which were turned.
///
/// # Errors
/// [`Error::Usage`] for an input that there is not, or that has no such axis.
pub(super) fn apply(graph: &mut Graph, axes: &BTreeMap<String, usize>) -> Result<()> {
    let mut rows = Vec::new();
    for (name, &axis) in axes.iter().filter(|(_, axis)| **axis > 0) {
        let wrong = |problem: String| Error::Usage(format!("`[inputs.{name}]`: `batch_axis = {axis}`: {problem}"));
        let Some(input) = graph.inputs.iter().copied().find(|&v| graph.name(v) == name) else {
            let names: Vec<String> = graph.inputs.iter().map(|&v| format!("`{}`", graph.name(v))).collect();
            return Err(wrong(format!("the model has no such input; its inputs are {}", names.join(", "))));
        };
        let dims = graph.declared_dims(input).map(<[Dim]>::to_vec).unwrap_or_default();
        let Some(dim) = dims.get(axis) else {
            return Err(wrong(format!("the input has {} declared axes, counted from 0", dims.len())));
        };
        if let Dim::Symbol(symbol) = dim {
            rows.push(symbol.clone());
        }
        let first = renamed(graph, input, &dims, axis);
        graph.inputs.iter_mut().filter(|value| **value == input).for_each(|value| *value = first);
        // Axis `axis` of the file's input is the first one, those before it follow.
        let order = (0..dims.len()).map(|at| match at {
            at if at == axis => 0,
            at if at < axis => at + 1,
            at => at,
        });
        graph.nodes.insert(0, transpose(name, (first, input), order.collect()));
    }
    for output in graph.outputs.clone() {
        let dims = graph.declared_dims(output).map(<[Dim]>::to_vec).unwrap_or_default();
        let named = |dim: &Dim| matches!(dim, Dim::Symbol(symbol) if rows.contains(symbol));
        let Some(axis) = dims.iter().position(named).filter(|axis| *axis > 0) else { continue };
        let name = graph.name(output).to_string();
        let first = renamed(graph, output, &dims, axis);
        graph.outputs.iter_mut().filter(|value| **value == output).for_each(|value| *value = first);
        graph.nodes.push(transpose(&name, (output, first), moved(dims.len(), axis)));
    }
    Ok(())
}

/// The axes of a tensor in the order that puts `axis` first.
fn moved(rank: usize, axis: usize) -> Vec<usize> {
    std::iter::once(axis).chain((0..rank).filter(|at| *at != axis)).collect()
}

/// A value like `value`, with `axis` first and the name that it had.
fn renamed(graph: &mut Graph, value: ValueId, dims: &[Dim], axis: usize) -> ValueId {
    let first = ValueId(graph.values.len());
    let Some(info) = graph.values.get_mut(value.0) else { return value };
    let name = info.name.clone();
    info.name = format!("{name}/as in the file");
    let dtype = info.ty.as_ref().and_then(|ty| ty.dtype);
    let dims = moved(dims.len(), axis).into_iter().filter_map(|at| dims.get(at).cloned()).collect();
    let ty = Some(TypeInfo { dtype, dims: Some(dims) });
    graph.by_name.insert(name.clone(), first);
    graph.turned.insert(name.clone(), axis);
    graph.values.push(ValueInfo { name, ty, ..ValueInfo::default() });
    first
}

fn transpose(name: &str, (from, to): (ValueId, ValueId), order: Vec<usize>) -> Node {
    Node {
        name: format!("{name}/rows first"),
        domain: String::new(),
        op_type: "Transpose".into(),
        opset: OPSET,
        inputs: vec![Some(from)],
        outputs: vec![Some(to)],
        attrs: BTreeMap::from([("perm".into(), Attr::Ints(order.into_iter().map(|at| at as i64).collect()))]),
    }
}
