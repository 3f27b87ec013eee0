//! Nodes, values and stored tensors that stand for a node of control flow.

use super::{PASS, Unroller};
use crate::{
    error::{Error, Result},
    graph::{Attr, Dim, Graph, Initializer, Node, ValueId, ValueInfo},
    tensor::HostTensor,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Bytes of an input or output of a node, beside its name.
const LINK: usize = 2 * size_of::<Option<ValueId>>();

/// Bytes that a copy of `node` takes.
fn size(node: &Node) -> usize {
    let attr = |attr: &Attr| match attr {
        Attr::Ints(list) => size_of_val(list.as_slice()),
        Attr::Floats(list) => size_of_val(list.as_slice()),
        Attr::String(text) => text.len(),
        Attr::Strings(list) => list.iter().map(|text| size_of::<String>() + text.len()).sum(),
        Attr::Graph(body) => {
            let values = body.values.iter().map(value_size);
            size_of::<Graph>() + body.nodes.iter().map(size).chain(values).sum::<usize>()
        }
        _ => 0,
    };
    let attrs = node.attrs.iter().map(|(name, value)| size_of::<Attr>() + name.len() + attr(value));
    let names = node.name.len() + node.op_type.len() + node.domain.len();
    size_of::<Node>() + names + LINK * (node.inputs.len() + node.outputs.len()) + attrs.sum::<usize>()
}

/// Bytes that a copy of a value takes; its name is held twice.
fn value_size(info: &ValueInfo) -> usize {
    let extents = info.ty.iter().filter_map(|ty| ty.dims.as_ref()).flatten().map(|dim| match dim {
        Dim::Symbol(name) => size_of::<Dim>() + name.len(),
        _ => size_of::<Dim>(),
    });
    let texts = info.metadata.iter().map(|(key, text)| 2 * size_of::<String>() + key.len() + text.len());
    size_of::<ValueInfo>() + LINK + 2 * info.name.len() + extents.chain(texts).sum::<usize>()
}

/// The nodes of a body, those of bodies in it included.
fn nodes(body: &Graph) -> usize {
    let inner = |node: &Node| {
        node.attrs.values().map(|attr| if let Attr::Graph(body) = attr { nodes(body) } else { 0 }).sum::<usize>()
    };
    body.nodes.iter().map(|node| 1 + inner(node)).sum()
}

impl Unroller<'_> {
    /// Charges nodes and bytes that stand for `node`.
    pub(super) fn spend(&mut self, node: &Node, made: usize, bytes: usize) -> Result<()> {
        let budget = &self.graph.budget;
        budget.make(made, PASS, &node.name)?;
        budget.look(bytes / 1024, PASS, &node.name)?;
        budget.hold(bytes, PASS, &node.name)
    }

    /// A value of this name, or one like it.
    pub(super) fn value(&mut self, mut name: String, like: Option<&ValueInfo>) -> ValueId {
        let id = ValueId(self.graph.values.len());
        while self.graph.by_name.contains_key(&name) {
            name += &format!("'{}", id.0);
        }
        self.graph.by_name.insert(name.clone(), id);
        let ty = like.and_then(|info| info.ty.clone());
        self.graph.values.push(ValueInfo { name, ty, metadata: BTreeMap::new() });
        id
    }

    /// A stored tensor that no file holds.
    pub(super) fn constant(&mut self, name: String, tensor: HostTensor) -> ValueId {
        let value = self.value(name, None);
        self.hold(value, Initializer { tensor: tensor.into(), stored_as: None });
        value
    }

    /// Makes `value` a stored tensor.
    fn hold(&mut self, value: ValueId, stored: Initializer) {
        self.known.insert(value, stored.tensor.clone());
        self.shapes.store(value, &stored.tensor);
        self.graph.initializers.insert(value, stored);
    }

    /// Adds a node of the default domain with one attribute at most.
    pub(super) fn node(
        &mut self,
        of: &Node,
        op: &str,
        inputs: Vec<ValueId>,
        outputs: Vec<ValueId>,
        attr: Option<(&str, Attr)>,
    ) -> Result<()> {
        let links = LINK * (inputs.len() + outputs.len());
        self.spend(of, 1, size_of::<Node>() + of.name.len() + links + attr.as_ref().map_or(0, |_| size_of::<Attr>()))?;
        self.made.push(Node {
            name: format!("{}/{op} {}", of.name, self.made.len()),
            domain: String::new(),
            op_type: op.into(),
            opset: of.opset,
            inputs: inputs.into_iter().map(Some).collect(),
            outputs: outputs.into_iter().map(Some).collect(),
            attrs: attr.into_iter().map(|(name, attr)| (name.to_string(), attr)).collect(),
        });
        Ok(())
    }

    /// Makes `results` the outputs of `node`.
    pub(super) fn bind(&mut self, node: &Node, results: &[ValueId]) -> Result<()> {
        for (&output, &result) in node.outputs.iter().zip(results) {
            if let Some(output) = output {
                self.node(node, "Identity", vec![result], vec![output], None)?;
            }
        }
        Ok(())
    }

    /// `x` with `axis` put in or taken out by `op`.
    pub(super) fn with_axis(&mut self, node: &Node, op: &str, x: ValueId, axis: i64) -> Result<ValueId> {
        let y = self.value(format!("{}/{op}", node.name), None);
        if node.opset < 13 {
            self.node(node, op, vec![x], vec![y], Some(("axes", Attr::Ints(vec![axis]))))?;
        } else {
            let axes = self.constant(format!("{}/axes", node.name), HostTensor::vector(vec![axis]));
            self.node(node, op, vec![x, axes], vec![y], None)?;
        }
        Ok(y)
    }

    /// The tensors in a row along a new axis.
    pub(super) fn stack(&mut self, node: &Node, parts: &[ValueId], axis: i64) -> Result<ValueId> {
        let rows =
            parts.iter().map(|&part| self.with_axis(node, "Unsqueeze", part, axis)).collect::<Result<Vec<_>>>()?;
        let all = self.value(format!("{}/Concat", node.name), None);
        self.node(node, "Concat", rows, vec![all], Some(("axis", Attr::Int(axis))))?;
        Ok(all)
    }

    /// Moves the tensors that `body` stores into the graph: one of each, however often the body runs, and however often a
    /// body around it does.
    pub(super) fn stored(&mut self, node: &Node, body: &Graph) -> Result<HashMap<ValueId, ValueId>> {
        let mut moved = HashMap::new();
        for &inner in body.initializers.keys().chain(body.opaque.keys()) {
            let place = body.initializers.get(&inner).and_then(|stored| stored.stored_as.clone());
            if let Some(&value) = place.as_ref().and_then(|place| self.placed.get(place)) {
                moved.insert(inner, value);
                continue;
            }
            let like = body.values.get(inner.0);
            self.spend(node, 1, 2 * node.name.len() + like.map_or(0, value_size))?;
            let value = self.value(format!("{}/{}", node.name, body.name(inner)), like);
            moved.insert(inner, value);
            self.placed.extend(place.map(|place| (place, value)));
            if let Some(stored) = body.initializers.get(&inner) {
                self.hold(value, stored.clone());
            }
            if let Some(kind) = body.opaque.get(&inner) {
                self.graph.opaque.insert(value, kind.clone());
            }
            if body.constant_nodes.contains(&inner) {
                self.graph.constant_nodes.insert(value);
            }
        }
        Ok(moved)
    }

    /// Adds the nodes of `body`, whose inputs are `given`, and hands back its outputs. `prefix` stands before all names.
    pub(super) fn copy(
        &mut self,
        node: &Node,
        body: &Graph,
        stored: &HashMap<ValueId, ValueId>,
        prefix: &str,
        given: &[ValueId],
    ) -> Result<Vec<ValueId>> {
        let outside = given.iter().chain(&body.captured).copied();
        let mut moved: HashMap<ValueId, ValueId> = body.inputs.iter().copied().zip(outside).collect();
        for inner in &body.nodes {
            let nested = inner.attrs.values().map(|attr| if let Attr::Graph(body) = attr { nodes(body) } else { 0 });
            self.spend(node, 1 + nested.sum::<usize>(), prefix.len() + size(inner))?;
            for &output in inner.outputs.iter().flatten() {
                let like = body.values.get(output.0);
                let name = body.name(output);
                self.spend(node, 0, 2 * prefix.len() + like.map_or(0, value_size))?;
                let value = self.value(format!("{prefix}/{name}"), like);
                moved.insert(output, value);
            }
            let outer = |value: ValueId| {
                let found = moved.get(&value).or_else(|| stored.get(&value)).copied();
                found.ok_or_else(|| Error::Internal(format!("{}: `{}` has no origin", inner.name, body.name(value))))
            };
            let list =
                |values: &[Option<ValueId>]| values.iter().map(|v| v.map(outer).transpose()).collect::<Result<_>>();
            let mut copy = inner.clone();
            copy.name = format!("{prefix}/{}", inner.name);
            copy.inputs = list(&inner.inputs)?;
            copy.outputs = list(&inner.outputs)?;
            for attr in copy.attrs.values_mut() {
                if let Attr::Graph(nested) = attr {
                    let mut own = Graph::clone(nested);
                    own.captured = nested.captured.iter().map(|&v| outer(v)).collect::<Result<_>>()?;
                    *nested = Arc::new(own);
                }
            }
            self.made.push(copy);
        }
        let output = |value: &ValueId| moved.get(value).or_else(|| stored.get(value)).copied();
        let outputs: Option<Vec<ValueId>> = body.outputs.iter().map(output).collect();
        outputs.ok_or_else(|| node.error("an output of its body is not defined"))
    }
}
