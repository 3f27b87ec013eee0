//! Convolutions with what follows them: a BatchNormalization with running statistics becomes part of the weights, an
//! addition and an activation part of `FusedConv`.
//!
//! BatchNormalization of a convolution is a convolution: with σ = √(var + ε) and s = scale/σ,
//!
//! ```text
//! scale·(w ∗ x + b − mean)/σ + bias = (s·w) ∗ x + s·(b − mean) + bias
//! ```
//!
//! s·w and the new bias are computed by nodes, so that w, b, scale and bias get their gradients.

use super::Fusion;
use crate::{
    graph::{Attr, Node, ValueId},
    tensor::HostTensor,
};
use std::collections::BTreeMap;

impl Fusion<'_> {
    /// Fuses the convolution that node `index` is, if it is one, with the nodes behind it, which are then `gone`.
    pub(super) fn convolution(&mut self, index: usize, statistics: bool, gone: &mut [bool]) {
        let Some(mut conv) = self.graph.nodes.get(index).filter(|n| n.is("Conv") && n.outputs.len() == 1).cloned()
        else {
            return;
        };
        let (mut nodes, mut taken) = (Vec::new(), vec![index]);
        if let Some(next) = self.follower(&conv, gone).filter(|_| statistics)
            && let Some(normalized) = self.normalized(&conv, next)
        {
            (conv, nodes) = normalized;
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
            && let Some(found) = self.conv_activation(next)
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
        self.place(&taken, nodes, gone);
    }

    /// The convolution with node `next`, a BatchNormalization with known statistics, in its weights, and the nodes that
    /// compute these.
    fn normalized(&mut self, conv: &Node, next: usize) -> Option<(Node, Vec<Node>)> {
        let norm = self.graph.nodes.get(next)?.clone();
        let trains = norm.flag("training_mode", false).unwrap_or(true)
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
        let epsilon = f64::from(norm.float("epsilon", 1e-5).ok()?);
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
        Self::beside(sum, conv.output(0)?)
    }

    /// Name and parameters of an activation that `FusedConv` knows.
    fn conv_activation(&self, index: usize) -> Option<(&'static str, Vec<f32>)> {
        let node = self.graph.nodes.get(index)?;
        if let Some((name, parameter)) = Self::activation(node) {
            return Some((name, parameter.into_iter().collect()));
        }
        if !node.is("Clip") || node.opset < 11 {
            return None;
        }
        let bound = |i: usize, none: f32| match node.input(i) {
            None => Some(none),
            Some(value) => {
                let bound = self.known.get(&value).filter(|bound| bound.len() == 1)?;
                bound.f64_at(0).map(|bound| bound as f32)
            }
        };
        Some(("Clip", vec![bound(1, f32::NEG_INFINITY)?, bound(2, f32::INFINITY)?]))
    }
}
