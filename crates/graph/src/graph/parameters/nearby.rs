//! What lies before and behind values, told of all values at once.

use super::elementwise::is_added_to_scores;
use crate::graph::{Graph, Links, Node, ValueId, facts, gradient};
use std::collections::BTreeSet;

/// Operators without weights that keep what an input stands for, beside those that hand it on.
const PREPARE: [&str; 15] = [
    "Add", "Clip", "Concat", "Div", "Exp", "Gather", "Log", "Mul", "Neg", "Pad", "Pow", "Resize", "Sqrt", "Sub",
    "Upsample",
];

fn prepares(node: &Node) -> bool {
    facts::passes(node).shows() || PREPARE.iter().any(|op| node.is(op))
}

/// Facts about the values of one graph.
pub(super) struct Nearby {
    inputs: BTreeSet<ValueId>,
    roots: BTreeSet<ValueId>,
    before_softmax: BTreeSet<ValueId>,
}

impl Nearby {
    /// `moving` are the values that vary with the model's inputs.
    pub(super) fn of(graph: &Graph, links: &Links, moving: &BTreeSet<ValueId>) -> Self {
        let mut inputs: BTreeSet<ValueId> = graph.inputs.iter().copied().collect();
        let mut roots = BTreeSet::new();
        for node in &graph.nodes {
            let data = node.inputs.iter().enumerate().filter(|(slot, _)| gradient::carries(node, *slot));
            let mut data = data.filter_map(|(_, value)| *value).filter(|value| moving.contains(value)).peekable();
            if prepares(node) && data.peek().is_some() && data.all(|value| inputs.contains(&value)) {
                inputs.extend(node.outputs.iter().flatten());
            }
            if node.is("Sqrt") || node.inputs.iter().flatten().any(|value| roots.contains(value)) {
                roots.extend(node.outputs.iter().flatten());
            }
        }
        Self { inputs, roots, before_softmax: before_softmax(graph, links) }
    }

    /// Whether a value is a graph input, or made from one by operators without weights that keep what it stands for.
    pub(super) fn is_input(&self, value: ValueId) -> bool {
        self.inputs.contains(&value)
    }

    /// Whether a square root was drawn before a value.
    pub(super) fn has_root(&self, value: ValueId) -> bool {
        self.roots.contains(&value)
    }

    /// Whether a node's result goes into a Softmax, at most reshaped or offset on the way.
    pub(super) fn feeds_softmax(&self, node: &Node) -> bool {
        node.outputs.iter().flatten().any(|output| self.before_softmax.contains(output))
    }
}

/// The values that go into a Softmax, at most reshaped or offset on the way, and are no outputs.
fn before_softmax(graph: &Graph, links: &Links) -> BTreeSet<ValueId> {
    let outputs: BTreeSet<ValueId> = graph.outputs.iter().copied().collect();
    let mut found: BTreeSet<ValueId> = BTreeSet::new();
    for node in graph.nodes.iter().rev() {
        for &output in node.outputs.iter().flatten().filter(|output| !outputs.contains(output)) {
            let mut users = links.users(output).iter().filter_map(|(n, slot)| Some((graph.nodes.get(*n)?, *slot)));
            let passes = |user: &Node| {
                (facts::passes(user).keeps_order() || user.is("Add") || user.is("Where"))
                    && user.outputs.iter().flatten().any(|value| found.contains(value))
            };
            if users.any(|(user, slot)| user.is("Softmax") || is_added_to_scores(user, slot) || passes(user)) {
                found.insert(output);
            }
        }
    }
    found
}
