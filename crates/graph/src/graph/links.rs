//! Who makes a value, who takes it, and what it needs.

use super::{Attr, Graph, Node, ValueId};
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// Rows that inputs may be declared to have.
const MOST_ROWS: usize = 1 << 16;
/// Elements that an input may be declared to have.
pub const MOST_ELEMENTS: usize = 1 << 28;

/// Producer and users of every value of one graph.
#[derive(Clone, Debug)]
pub struct Links {
    producer: Vec<Option<(usize, usize)>>,
    users: Vec<Vec<(usize, usize)>>,
}

impl Links {
    /// Index of the node that makes `value`, and at which output; `None` for inputs and stored tensors.
    pub fn producer(&self, value: ValueId) -> Option<(usize, usize)> {
        self.producer.get(value.0).copied().flatten()
    }

    /// Indices of the nodes that take `value`, and at which input. A node whose body captures the value is listed with
    /// an input past its last.
    pub fn users(&self, value: ValueId) -> &[(usize, usize)] {
        self.users.get(value.0).map_or(&[], Vec::as_slice)
    }
}

impl Graph {
    /// The name of a value.
    pub fn name(&self, value: ValueId) -> &str {
        self.values.get(value.0).map_or("", |info| info.name.as_str())
    }

    /// Declared shape of a value, if the file tells it.
    pub fn declared_dims(&self, value: ValueId) -> Option<&[super::Dim]> {
        self.values.get(value.0)?.ty.as_ref()?.dims.as_deref()
    }

    /// The number of rows that every input is declared to have, if the file fixes it: the extent of their first axes.
    pub fn fixed_rows(&self) -> Option<usize> {
        let declared = self.inputs.iter().filter(|input| self.declared_dims(**input).is_some());
        let rows = |input: &ValueId| match self.declared_dims(*input)?.first()? {
            super::Dim::Fixed(rows) => Some(*rows),
            _ => None,
        };
        let fixed: Option<BTreeSet<usize>> = declared.map(rows).collect();
        fixed.filter(|all| all.len() == 1)?.pop_first().filter(|&rows| rows > 0)
    }

    /// Fails if an input is declared larger than could be fed: nothing else in the file stands for such an extent.
    ///
    /// # Errors
    /// [`Error::Untrainable`] naming the input.
    pub fn require_input_sizes(&self) -> Result<()> {
        for &input in &self.inputs {
            let extent = |dim: &super::Dim| if let super::Dim::Fixed(n) = dim { *n } else { 1 };
            let extents: Vec<usize> = self.declared_dims(input).unwrap_or_default().iter().map(extent).collect();
            let elements =
                extents.iter().try_fold(1usize, |all, &n| all.checked_mul(n)).filter(|&n| n <= MOST_ELEMENTS);
            if elements.is_none() || extents.first().is_some_and(|&rows| rows > MOST_ROWS) {
                return Err(Error::Untrainable(format!(
                    "input {} is declared as {extents:?}, more than {MOST_ROWS} rows or {MOST_ELEMENTS} elements at once; \
                     export the model with a smaller batch or a free one",
                    self.name(input)
                )));
            }
        }
        Ok(())
    }

    /// Declared element type of a value, if the file tells it; that of the tensor for stored ones.
    pub fn declared_dtype(&self, value: ValueId) -> Option<crate::tensor::DType> {
        match self.initializers.get(&value) {
            Some(stored) => Some(stored.tensor.dtype()),
            None => self.values.get(value.0)?.ty.as_ref()?.dtype,
        }
    }

    /// Producer and users of every value.
    pub fn links(&self) -> Links {
        let mut links = Links { producer: vec![None; self.values.len()], users: vec![Vec::new(); self.values.len()] };
        for (n, node) in self.nodes.iter().enumerate() {
            for (slot, output) in node.outputs.iter().enumerate() {
                if let Some(entry) = output.and_then(|v| links.producer.get_mut(v.0)) {
                    *entry = Some((n, slot));
                }
            }
            for (slot, value) in node.dependencies().enumerate() {
                if let Some(entry) = value.and_then(|v| links.users.get_mut(v.0)) {
                    entry.push((n, slot));
                }
            }
        }
        links
    }

    /// Indices of the nodes that `values` depend on, in order of execution.
    pub fn ancestors(&self, values: &[ValueId]) -> BTreeSet<usize> {
        let mut wanted: BTreeSet<ValueId> = values.iter().copied().collect();
        let mut nodes = BTreeSet::new();
        for (n, node) in self.nodes.iter().enumerate().rev() {
            if node.outputs.iter().flatten().any(|v| wanted.contains(v)) {
                wanted.extend(node.dependencies().flatten());
                nodes.insert(n);
            }
        }
        nodes
    }

    /// `values`, and all that is computed from them.
    pub fn derived_from(&self, values: impl IntoIterator<Item = ValueId>) -> BTreeSet<ValueId> {
        let mut derived: BTreeSet<ValueId> = values.into_iter().collect();
        for node in &self.nodes {
            if node.dependencies().flatten().any(|value| derived.contains(&value)) {
                derived.extend(node.outputs.iter().flatten());
            }
        }
        derived
    }

    /// The part of the graph that `values` depend on, with these as its outputs. Value ids stay what they are.
    pub fn prune(&self, values: &[ValueId]) -> Graph {
        let keep = self.ancestors(values);
        let mut graph = self.clone();
        let mut n = 0;
        graph.nodes.retain(|_| {
            n += 1;
            keep.contains(&(n - 1))
        });
        let mut used: BTreeSet<ValueId> = values.iter().copied().collect();
        used.extend(graph.nodes.iter().flat_map(|node| node.dependencies().flatten()));
        graph.inputs.retain(|v| used.contains(v));
        graph.initializers.retain(|v, _| used.contains(v));
        graph.opaque.retain(|v, _| used.contains(v));
        graph.outputs = values.to_vec();
        graph
    }
}

impl Node {
    /// Inputs, then the values that bodies among the attributes capture.
    pub fn dependencies(&self) -> impl Iterator<Item = Option<ValueId>> + '_ {
        let captured = self.attrs.values().filter_map(|attr| match attr {
            Attr::Graph(body) => Some(body.captured.iter().map(|&v| Some(v))),
            _ => None,
        });
        self.inputs.iter().copied().chain(captured.flatten())
    }

    /// The value at input `index`; `None` where it is left out.
    pub fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// The value at output `index`; `None` where it is not wanted.
    pub fn output(&self, index: usize) -> Option<ValueId> {
        self.outputs.get(index).copied().flatten()
    }

    /// Whether this is `op_type` of the default domain.
    pub fn is(&self, op_type: &str) -> bool {
        self.domain.is_empty() && self.op_type == op_type
    }
}
