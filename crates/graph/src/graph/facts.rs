//! What a node's inputs are for: [`operators`](crate::onnx::operators), asked by a node.

use super::Node;
use crate::onnx::operators::LEARNERS;

pub use crate::onnx::operators::{Facts, Gradient, Layout, Passes, Slot, all, named};

/// The operator of `node`, if it is known.
pub fn facts(node: &Node) -> Option<&'static Facts> {
    named(&node.domain, &node.op_type)
}

/// What input `slot` of `node` is: data, where the operator is not known, except that the other operators of ai.onnx.ml
/// take labels and texts.
pub fn slot(node: &Node, slot: usize) -> Slot {
    match facts(node) {
        Some(facts) => facts.slot(slot),
        None if node.domain == LEARNERS => Slot::Control,
        None => Slot::Data,
    }
}

/// What of a node's first input its first output has.
pub fn passes(node: &Node) -> Passes {
    facts(node).map_or(Passes::Nothing, |facts| facts.passes)
}

/// Whether the outputs of `node` are integers or booleans, or change in steps only.
pub fn is_stepped(node: &Node) -> bool {
    facts(node).is_some_and(|facts| facts.steps)
}
