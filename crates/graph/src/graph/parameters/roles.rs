//! What a tensor is for, by the nodes that it ends up in.

use super::{
    elementwise,
    nearby::Nearby,
    values::{self, Facts},
};
use crate::{
    error::{Error, Result},
    graph::{
        Graph, Links, Node, ValueId,
        facts::{self, Slot},
        fold, gradient,
    },
    tensor::Held,
};
use std::{cell::Cell, collections::BTreeSet, rc::Rc};

/// What one use says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is a parameter.
    Weight(String),
    /// It must not be trained, whatever other uses say.
    Never(String),
    /// This use does not make it a parameter.
    Neutral(String),
}

/// Where a tensor, or what is computed from stored tensors alone, meets data.
pub(super) struct Use<'a> {
    /// The stored tensor.
    pub(super) value: ValueId,
    pub(super) tensor: &'a Held,
    pub(super) facts: &'a Facts<'a>,
    pub(super) node: &'a Node,
    pub(super) slot: usize,
    /// Operators on the way from the tensor to the node, the first [`MOST_VIA`] of them.
    pub(super) via: &'a [&'a str],
}

/// Operators on a way that are told.
const MOST_VIA: usize = 16;

/// Values and inputs of nodes that are looked at for all tensors together.
const MOST_LOOKS: usize = 1 << 21;

/// Finds roles in one graph.
pub(super) struct Roles<'a> {
    pub(super) graph: &'a Graph,
    pub(super) links: &'a Links,
    path: &'a BTreeSet<ValueId>,
    /// Values that vary with the model's inputs, other than by their shapes.
    pub(super) moving: BTreeSet<ValueId>,
    pub(super) constants: fold::Known,
    pytorch: bool,
    pub(super) nearby: Nearby,
    looks: Cell<usize>,
}

impl<'a> Roles<'a> {
    pub(super) fn new(graph: &'a Graph, links: &'a Links, path: &'a BTreeSet<ValueId>) -> Self {
        let mut moving: BTreeSet<ValueId> = graph.inputs.iter().copied().collect();
        for node in &graph.nodes {
            if !(node.is("Shape") || node.is("Size")) && node.dependencies().flatten().any(|v| moving.contains(&v)) {
                moving.extend(node.outputs.iter().flatten());
            }
        }
        let pytorch = graph.producer.starts_with("pytorch");
        let nearby = Nearby::of(graph, links, &moving);
        Self { graph, links, path, moving, constants: fold::constants(graph), pytorch, nearby, looks: Cell::new(0) }
    }

    /// # Errors
    /// [`Error::TooLarge`] if roles were not followed to the end.
    pub(super) fn require_followed(&self) -> Result<()> {
        if self.looks.get() <= MOST_LOOKS {
            return Ok(());
        }
        let largest = self.graph.nodes.iter().max_by_key(|node| node.inputs.len());
        Err(Error::TooLarge {
            pass: "finding what stored tensors are for",
            node: largest.map_or(String::new(), |node| node.name.clone()),
            problem: format!(
                "the ways from all stored tensors to where they are used take more than {MOST_LOOKS} steps; let the exporter \
                 or onnxsim compute what depends on no input"
            ),
        })
    }

    /// The node that makes a value.
    pub(super) fn node(&self, value: ValueId) -> Option<&'a Node> {
        self.graph.nodes.get(self.links.producer(value)?.0)
    }

    /// Whether a tensor has the name of an attribute of a PyTorch module, so is a parameter or a buffer.
    pub(super) fn is_named(&self, value: ValueId) -> bool {
        self.pytorch && !self.graph.constant_nodes.contains(&value) && !values::is_generated(self.graph.name(value))
    }

    /// Whether a tensor was written as a `Constant` node by an exporter that writes parameters as initializers.
    pub(super) fn is_exporter_constant(&self, value: ValueId) -> bool {
        self.pytorch && self.graph.constant_nodes.contains(&value)
    }

    /// What each use of a stored tensor says, in order of the nodes.
    pub(super) fn of(&self, value: ValueId) -> Vec<Role> {
        let Some(stored) = self.graph.initializers.get(&value) else { return Vec::new() };
        let mut roles = Vec::new();
        let mut seen = BTreeSet::from([value]);
        let facts = Facts::of(&stored.tensor);
        let mut waiting = vec![(value, Rc::<[&str]>::from([]))];
        while let Some((at, via)) = waiting.pop() {
            for &(n, slot) in self.links.users(at) {
                let Some(node) = self.graph.nodes.get(n) else { continue };
                self.looks.set(self.looks.get() + 1 + node.inputs.len() / 8);
                if self.looks.get() > MOST_LOOKS {
                    return roles;
                }
                let outputs = || node.outputs.iter().flatten();
                if slot >= node.inputs.len() {
                    roles.push(Role::Neutral(format!("a body of {} ({}) takes it", node.op_type, node.name)));
                } else if outputs().any(|output| self.moving.contains(output)) {
                    if outputs().any(|output| self.path.contains(output)) {
                        let tensor = &stored.tensor;
                        roles.push(self.role(&Use { value, tensor, facts: &facts, node, slot, via: &via }));
                    }
                } else if !gradient::carries(node, slot) {
                    roles.push(not_data(node, slot));
                } else {
                    let longer = || via.iter().copied().chain([node.op_type.as_str()]).collect();
                    let via: Rc<[&str]> = if via.len() < MOST_VIA { longer() } else { Rc::clone(&via) };
                    let new = outputs().filter(|output| seen.insert(**output));
                    waiting.extend(new.map(|output| (*output, Rc::clone(&via))));
                }
            }
        }
        roles
    }

    /// The role at the node where the tensor meets data.
    fn role(&self, at: &Use<'_>) -> Role {
        let (node, slot) = (at.node, at.slot);
        let op = node.op_type.as_str();
        if self.is_exporter_constant(at.value) {
            return Role::Neutral(format!("a constant that the exporter put into {op} ({})", node.name));
        }
        let kind = facts::slot(node, slot);
        if kind == Slot::Table && at.facts.is_sinusoid() {
            return Role::Never(format!("a table of sines and cosines that {op} ({}) looks up", node.name));
        }
        if let Some(part) = kind.part() {
            return match self.unit_of_group_norm(at) {
                true => Role::Neutral(format!(
                    "the unit {part} of a group normalization that is written out ({})",
                    node.name
                )),
                false => Role::Weight(format!("{part} of {op} ({}){}", node.name, through(at.via))),
            };
        }
        if let Slot::Mean | Slot::Variance = kind {
            let part = if kind == Slot::Mean { "mean" } else { "variance" };
            return Role::Never(format!("running {part} of BatchNormalization ({}), a statistic", node.name));
        }
        if !gradient::carries(node, slot) {
            return not_data(node, slot);
        }
        if let Some(role) = elementwise::role(self, at) {
            return role;
        }
        match self.is_named(at.value) && at.tensor.len() > 1 {
            true => Role::Weight(format!("a named tensor of the module that {op} ({}) takes", node.name)),
            false => Role::Neutral(format!("input {slot} of {op} ({}) is not where parameters are", node.name)),
        }
    }

    /// Exporters write GroupNormalization as InstanceNormalization of groups with scale 1 and bias 0, and then scale
    /// and shift the channels.
    fn unit_of_group_norm(&self, at: &Use<'_>) -> bool {
        let reshaped = at.node.input(0).and_then(|value| self.node(value)).is_some_and(|node| node.is("Reshape"));
        let unit = if at.slot == 1 { 1.0 } else { 0.0 };
        at.node.is("InstanceNormalization") && reshaped && at.facts.is_all(unit)
    }
}

fn not_data(node: &Node, slot: usize) -> Role {
    Role::Neutral(format!(
        "input {slot} of {} ({}) is no data but a shape, bound, index or condition",
        node.op_type, node.name
    ))
}

/// The operators between tensor and node, in words.
fn through(via: &[&str]) -> String {
    if via.is_empty() { String::new() } else { format!(" through {}", via.join(", ")) }
}
