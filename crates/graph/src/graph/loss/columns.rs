//! Two columns of one probability with the positive class in front.
//!
//! The loss is computed on the logit of class 1. Where column 1 is `1 − σ(z)`, that logit is `−z`, which the graph does not
//! hold: the column is written as `σ(−z)`, which is the same and keeps small probabilities exact.

use super::{
    heads::Ending,
    tracer::{Step, Tracer},
};
use crate::graph::{Graph, Node, ValueId, ValueInfo};
use std::collections::BTreeMap;

/// Writes the `1 − p` of every `Concat(p, 1 − p)` of a Sigmoid's `p` as the Sigmoid of the negated logit.
pub(in crate::graph) fn complements_last(graph: &mut Graph) {
    let pairs = graph.nodes.iter().any(|node| node.is("Concat") && node.inputs.len() == 2);
    let ends = graph.nodes.iter().any(|node| node.is("Sigmoid") || node.is("Exp") || node.is("Tanh"));
    let differences = graph.nodes.iter().any(|node| node.is("Sub") || node.is("Add"));
    if !(pairs && ends && differences) {
        return;
    }
    let links = graph.links();
    let mut found: BTreeMap<usize, ValueId> = BTreeMap::new();
    let tracer = Tracer::new(graph, &links);
    for node in graph.nodes.iter().filter(|node| node.is("Concat")) {
        found.extend(tracer.complement_behind(node));
    }
    let nodes = std::mem::take(&mut graph.nodes).into_iter().enumerate();
    let written = nodes.flat_map(|(n, node)| match found.get(&n) {
        Some(&logits) => rewritten(graph, node, logits),
        None => vec![node],
    });
    let written: Vec<Node> = written.collect();
    graph.nodes = written;
}

impl Tracer<'_> {
    /// The node of the `1 − p` in second place, and the logits of the `p`.
    fn complement_behind(&self, node: &Node) -> Option<(usize, ValueId)> {
        let (first, second) = self.parts(node)?;
        let p = self.complement(second)?;
        if self.behind_forms(first) != self.behind_forms(p) {
            return None;
        }
        let (step, _) = self.step(p, self.node(p)?)?;
        let Step::Ending(Ending::Sigmoid, logits, _) = step else { return None };
        Some((self.links.producer(self.behind_forms(second))?.0, logits))
    }
}

/// In the place of `node` the Sigmoid of the negated `logits`.
fn rewritten(graph: &mut Graph, node: Node, logits: ValueId) -> Vec<Node> {
    let negated = ValueId(graph.values.len());
    // No two values have one number.
    let name = format!("{}/negated'{}", node.name, negated.0);
    let make = |op: &str, input, output| Node {
        op_type: op.into(),
        inputs: vec![Some(input)],
        outputs: output,
        attrs: BTreeMap::new(),
        ..node.clone()
    };
    let negation = Node { name: name.clone(), ..make("Neg", logits, vec![Some(negated)]) };
    let sigmoid = make("Sigmoid", negated, node.outputs.clone());
    let ty = graph.values.get(logits.0).and_then(|info| info.ty.clone());
    graph.values.push(ValueInfo { name: name.clone(), ty, metadata: BTreeMap::new() });
    graph.by_name.insert(name, negated);
    vec![negation, sigmoid]
}
