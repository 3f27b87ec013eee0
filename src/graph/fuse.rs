//! Convolutions as one node with what follows them, as they are computed and not as the file has them: a BatchNormalization
//! with running statistics becomes part of the weights, an addition and an activation part of `FusedConv`. One pass over
//! memory takes the place of several, and what lies between is never stored.
//!
//! BatchNormalization of a convolution is a convolution: with σ = √(var + ε) and s = scale/σ,
//!
//! ```text
//! scale·(w ∗ x + b − mean)/σ + bias = (s·w) ∗ x + s·(b − mean) + bias
//! ```
//!
//! s·w and the new bias are computed by nodes, so that w, b, scale and bias get their gradients.

use super::{Attr, Graph, Initializer, Links, Node, ValueId, ValueInfo, fold::Known};
use crate::tensor::HostTensor;
use std::{collections::BTreeMap, sync::Arc};

/// The graph with convolutions fused. `known` are the values that nothing changes; those in `wanted` stay values;
/// `statistics`: whether BatchNormalization takes its running statistics.
pub fn fuse(graph: &Graph, known: &Known, wanted: &[ValueId], statistics: bool) -> Graph {
    let mut fusion = Fusion { links: graph.links(), known, wanted, graph: graph.clone(), placed: BTreeMap::new() };
    let mut gone = vec![false; graph.nodes.len()];
    for index in 0..graph.nodes.len() {
        fusion.convolution(index, statistics, &mut gone);
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
    wanted: &'a [ValueId],
    /// What takes the place of a node.
    placed: BTreeMap<usize, Vec<Node>>,
}

impl Fusion<'_> {
    /// Fuses the convolution that node `index` is, if it is one, with the nodes behind it, which are then `gone`.
    fn convolution(&mut self, index: usize, statistics: bool, gone: &mut [bool]) {
        let Some(mut conv) = self.graph.nodes.get(index).filter(|n| n.is("Conv") && n.outputs.len() == 1).cloned()
        else {
            return;
        };
        let (mut nodes, mut taken) = (Vec::new(), vec![index]);
        if let Some(next) = self.follower(&conv, gone).filter(|_| statistics)
            && let Some(normalised) = self.normalised(&conv, next)
        {
            (conv, nodes) = normalised;
            taken.push(next);
        }
        if let Some(next) = self.follower(&conv, gone)
            && let Some(residual) = self.residual(&conv, next)
        {
            conv.inputs.resize(3, None);
            conv.inputs.push(Some(residual));
            conv.outputs = self.outputs(next);
            taken.push(next);
        }
        let mut activation = None;
        if let Some(next) = self.follower(&conv, gone)
            && let Some(found) = self.activation(next)
        {
            activation = Some(found);
            conv.outputs = self.outputs(next);
            taken.push(next);
        }
        if taken.len() == 1 {
            return;
        }
        if activation.is_some() || conv.inputs.len() > 3 {
            (conv.domain, conv.op_type, conv.opset) = ("com.microsoft".into(), "FusedConv".into(), 1);
        }
        if let Some((name, parameters)) = activation {
            conv.attrs.insert("activation".into(), Attr::String(name.into()));
            conv.attrs.insert("activation_params".into(), Attr::Floats(parameters));
        }
        nodes.push(conv);
        for (index, gone) in gone.iter_mut().enumerate() {
            *gone |= taken.contains(&index);
        }
        // Where the last of them stood, all that it takes is there.
        let last = taken.into_iter().max().unwrap_or(index);
        self.placed.insert(last, nodes);
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

    /// The convolution with node `next`, a BatchNormalization with known statistics, in its weights, and the nodes that
    /// compute these.
    fn normalised(&mut self, conv: &Node, next: usize) -> Option<(Node, Vec<Node>)> {
        let norm = self.graph.nodes.get(next)?.clone();
        let trains = norm.attrs.get("training_mode").is_some_and(|a| !matches!(a, Attr::Int(0)))
            || norm.outputs.len() > 1
            || norm.opset < 7
            || norm.attrs.contains_key("spatial");
        if !norm.is("BatchNormalization") || norm.input(0) != conv.output(0) || trains {
            return None;
        }
        let (weight, scale, bias) = (conv.input(1)?, norm.input(1)?, norm.input(2)?);
        let held = &self.graph.initializers.get(&weight)?.tensor;
        let (channels, rank) = (*held.dims().first()?, held.dims().len());
        let statistics = |i: usize| {
            let tensor = self.known.get(&norm.input(i)?)?;
            (tensor.dims() == [channels]).then(|| tensor.to_f64())
        };
        let (mean, var) = (statistics(3)?, statistics(4)?);
        let epsilon = match norm.attrs.get("epsilon") {
            Some(Attr::Float(e)) => f64::from(*e),
            Some(_) => return None,
            None => f64::from(1e-5f32),
        };
        let inverse = var.iter().map(|v| 1.0 / (v + epsilon).sqrt()).collect();
        let inverse = self.constant(HostTensor::vector::<f64>(inverse));
        let mean = self.constant(HostTensor::vector::<f64>(mean.iter().map(|m| -m).collect()));
        let mut shape = vec![1i64; rank];
        *shape.first_mut()? = -1;
        let shape = self.constant(HostTensor::vector(shape));
        let mut nodes = Vec::new();
        let mut compute = |op: &str, a: ValueId, b: ValueId| {
            let output = self.value();
            nodes.push(Node {
                name: format!("{} ({op})", norm.name),
                domain: String::new(),
                op_type: op.into(),
                opset: 13,
                inputs: vec![Some(a), Some(b)],
                outputs: vec![Some(output)],
                attrs: BTreeMap::new(),
            });
            output
        };
        let factor = compute("Mul", scale, inverse);
        let factors = compute("Reshape", factor, shape);
        let weight = compute("Mul", weight, factors);
        let offset = conv.input(2).map_or(mean, |own| compute("Add", own, mean));
        let offset = compute("Mul", offset, factor);
        let bias = compute("Add", offset, bias);
        let inputs = vec![conv.input(0), Some(weight), Some(bias)];
        Some((Node { inputs, outputs: norm.outputs, ..conv.clone() }, nodes))
    }

    /// What node `next` adds to the result.
    fn residual(&self, conv: &Node, next: usize) -> Option<ValueId> {
        let sum = self.graph.nodes.get(next).filter(|n| n.is("Add") && n.opset >= 7)?;
        let (a, b, y) = (sum.input(0)?, sum.input(1)?, conv.output(0)?);
        match (a == y, b == y) {
            (true, false) => Some(b),
            (false, true) => Some(a),
            _ => None,
        }
    }

    /// Name and parameters of an activation that `FusedConv` knows.
    fn activation(&self, index: usize) -> Option<(&'static str, Vec<f32>)> {
        let node = self.graph.nodes.get(index)?;
        if node.is("Relu") {
            return Some(("Relu", Vec::new()));
        }
        if node.is("LeakyRelu") {
            return match node.attrs.get("alpha") {
                Some(Attr::Float(alpha)) => Some(("LeakyRelu", vec![*alpha])),
                None => Some(("LeakyRelu", vec![0.01])),
                Some(_) => None,
            };
        }
        if !node.is("Clip") || node.opset < 11 {
            return None;
        }
        let bound = |i: usize, none: f32| match node.input(i) {
            None => Some(none),
            Some(value) => match *self.known.get(&value)?.to_f64().as_slice() {
                [bound] => Some(bound as f32),
                _ => None,
            },
        };
        Some(("Clip", vec![bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?]))
    }

    fn value(&mut self) -> ValueId {
        self.graph.values.push(ValueInfo::default());
        ValueId(self.graph.values.len() - 1)
    }

    fn constant(&mut self, tensor: HostTensor) -> ValueId {
        let id = self.value();
        self.graph.initializers.insert(id, Initializer { tensor: Arc::new(tensor), stored_as: None });
        id
    }
}
