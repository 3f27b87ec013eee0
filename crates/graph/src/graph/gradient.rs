//! Through which inputs a gradient flows.

use super::{Graph, Node, ValueId, facts};
use crate::tensor::DType;
use std::collections::BTreeSet;

/// Whether a small change of input `slot` changes the outputs of `node` in proportion. Inputs past the last one are
/// what bodies capture.
pub fn carries(node: &Node, slot: usize) -> bool {
    let is_float = |code: i64| i32::try_from(code).ok().and_then(DType::from_onnx).is_some_and(DType::is_float);
    let to_steps = || node.int("to", None).is_ok_and(|code| !is_float(code));
    slot < node.inputs.len()
        && !facts::is_stepped(node)
        && !(node.is("Cast") && to_steps())
        && facts::slot(node, slot).carries()
}

/// The values from which a gradient flows to `targets`, these included.
pub fn path_to(graph: &Graph, targets: &[ValueId]) -> BTreeSet<ValueId> {
    let mut path: BTreeSet<ValueId> = targets.iter().copied().collect();
    for node in graph.nodes.iter().rev() {
        if node.outputs.iter().flatten().any(|v| path.contains(v)) {
            let inputs = node.inputs.iter().enumerate().filter(|(slot, _)| carries(node, *slot));
            path.extend(inputs.filter_map(|(_, value)| *value));
        }
    }
    path
}
