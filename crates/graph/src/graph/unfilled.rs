//! Outputs that a node names, but onnxruntime does not fill on the CPU, and nobody takes.

use super::{Graph, ValueId};
use std::collections::BTreeSet;

/// Leaves out the mean and inverse deviation of skip normalizations where nobody takes them.
pub(super) fn leave_out(graph: &mut Graph) {
    let skips = |op: &str| matches!(op, "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization");
    if !graph.nodes.iter().any(|node| skips(&node.op_type) && node.outputs.len() > 1) {
        return;
    }
    let dependencies = graph.nodes.iter().flat_map(|node| node.dependencies().flatten());
    let taken: BTreeSet<ValueId> = dependencies.chain(graph.outputs.iter().copied()).collect();
    for node in graph.nodes.iter_mut().filter(|node| node.domain == "com.microsoft" && skips(&node.op_type)) {
        let statistics = node.outputs.iter_mut().skip(1).take(2);
        statistics
            .filter(|output| output.is_some_and(|value| !taken.contains(&value)))
            .for_each(|output| *output = None);
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::testing::{Model, opset};

    #[test]
    fn only_statistics_that_nobody_takes_are_left_out() {
        let mut model = Model::new(17, &["x:f32[n,4]"], &["y:f32[n,4]"])
            .weight("g", &[4])
            .node("SkipSimplifiedLayerNormalization", "x x g", "a mean deviation sum", &[])
            .node("Add", "a deviation", "y", &[]);
        model.graph().node[0].domain = Some("com.microsoft".into());
        model.proto.opset_import.push(opset("com.microsoft", 1));
        let graph = model.build().unwrap();
        let outputs = [Some("a"), None, Some("deviation"), Some("sum")];
        assert_eq!(graph.nodes[0].outputs, outputs.map(|name| name.map(|name| graph.id(name))));
    }
}
