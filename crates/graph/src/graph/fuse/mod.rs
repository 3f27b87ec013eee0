//! Nodes that are computed as one, though the file has them apart: one pass over memory takes the place of several, and
//! what lies between is never stored. Only the graph that runs is changed; the file's is what is written back.

mod conv;
mod gelu;
mod linear;
#[cfg(test)]
mod tests;

use super::{Attr, Graph, Initializer, Links, Node, ValueId, ValueInfo, fold::Known};
use crate::tensor::HostTensor;
use std::collections::{BTreeMap, BTreeSet};

/// Attribute of a node that is not in the file: the operators that it stands for.
pub const MADE_OF: &str = "made of";

/// The graph with nodes fused. `known` are the values that nothing changes; those in `wanted` stay values;
/// `statistics`: whether BatchNormalization takes its running statistics.
pub fn fuse(graph: &Graph, known: &Known, wanted: &[ValueId], statistics: bool) -> Graph {
    let mut fusion = Fusion {
        links: graph.links(),
        known,
        wanted: wanted.iter().copied().collect(),
        graph: graph.clone(),
        placed: BTreeMap::new(),
    };
    let mut gone = vec![false; graph.nodes.len()];
    for index in 0..graph.nodes.len() {
        fusion.convolution(index, statistics, &mut gone);
        fusion.linear(index, &mut gone);
        fusion.gelu(index, &mut gone);
    }
    let Fusion { graph: mut fused, mut placed, .. } = fusion;
    let nodes = std::mem::take(&mut fused.nodes);
    for (index, (node, gone)) in nodes.into_iter().zip(gone).enumerate() {
        match placed.remove(&index) {
            Some(nodes) => fused.nodes.extend(nodes),
            None if gone => {}
            None => fused.nodes.push(node),
        }
    }
    fused
}

struct Fusion<'a> {
    graph: Graph,
    links: Links,
    known: &'a Known,
    wanted: BTreeSet<ValueId>,
    /// What takes the place of a node.
    placed: BTreeMap<usize, Vec<Node>>,
}

impl Fusion<'_> {
    /// The node at `index`, unless it is `gone`.
    fn node(&self, index: usize, gone: &[bool]) -> Option<&Node> {
        self.graph.nodes.get(index).filter(|_| gone.get(index) == Some(&false))
    }

    /// The only node that takes the result, if no one else wants it.
    fn follower(&self, node: &Node, gone: &[bool]) -> Option<usize> {
        let output = node.output(0).filter(|output| !self.wanted.contains(output))?;
        match self.links.users(output) {
            &[(user, _)] => (gone.get(user) == Some(&false)).then_some(user),
            _ => None,
        }
    }

    fn outputs(&self, node: usize) -> Vec<Option<ValueId>> {
        self.graph.nodes.get(node).map(|node| node.outputs.clone()).unwrap_or_default()
    }

    /// What a node with two inputs, one of them `value`, takes beside it.
    fn beside(node: &Node, value: ValueId) -> Option<ValueId> {
        let (a, b) = (node.input(0)?, node.input(1)?);
        match (a == value, b == value) {
            (true, false) => Some(b),
            (false, true) => Some(a),
            _ => None,
        }
    }

    /// Puts `nodes` in the place of those at the indices `taken`.
    fn place(&mut self, taken: &[usize], mut nodes: Vec<Node>, gone: &mut [bool]) {
        let of = taken.iter().filter_map(|&n| self.graph.nodes.get(n)).map(Node::op).collect::<Vec<_>>().join(", ");
        for node in nodes.iter_mut().filter(|node| !node.domain.is_empty()) {
            node.attrs.insert(MADE_OF.into(), Attr::String(of.clone()));
        }
        for &index in taken {
            if let Some(gone) = gone.get_mut(index) {
                *gone = true;
            }
        }
        // Where the last of them stood, all that they take is there.
        if let Some(&last) = taken.iter().max() {
            self.placed.insert(last, nodes);
        }
    }

    /// Name and parameter of an activation that follows from its only input.
    fn activation(node: &Node) -> Option<(&'static str, Option<f32>)> {
        match node.op_type.as_str() {
            _ if !node.domain.is_empty() => None,
            "Relu" => Some(("Relu", None)),
            "Sigmoid" => Some(("Sigmoid", None)),
            "Tanh" => Some(("Tanh", None)),
            "LeakyRelu" => Some(("LeakyRelu", Some(node.float("alpha", 0.01).ok()?))),
            _ => None,
        }
    }

    fn value(&mut self) -> ValueId {
        self.graph.values.push(ValueInfo::default());
        ValueId(self.graph.values.len() - 1)
    }

    fn constant(&mut self, tensor: HostTensor) -> ValueId {
        let id = self.value();
        self.graph.initializers.insert(id, Initializer { tensor: tensor.into(), stored_as: None });
        id
    }
}
