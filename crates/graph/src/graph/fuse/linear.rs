//! Matrix products by a parameter with the addition of a bias and the activation behind them, as `FusedGemm`.

use super::Fusion;
use crate::graph::{Attr, ValueId};
use std::collections::BTreeMap;

impl Fusion<'_> {
    /// Fuses the product that node `index` is, if it is one, with the nodes behind it.
    pub(super) fn linear(&mut self, index: usize, gone: &mut [bool]) {
        let Some(mut node) = self.node(index, gone).filter(|n| n.is("MatMul") || n.is("Gemm")).cloned() else { return };
        let mut taken = vec![index];
        if node.is("MatMul") {
            // A bias of one axis, by the last one of a matrix: nothing else broadcasts.
            let bias = self.follower(&node, gone).and_then(|next| Some((next, self.bias(&node, next)?)));
            let Some((next, bias)) = bias else { return };
            node.inputs.push(Some(bias));
            node.attrs = BTreeMap::new();
            node.outputs = self.outputs(next);
            taken.push(next);
        } else if node.opset < 7 {
            return;
        }
        let next = self.follower(&node, gone);
        if let Some((next, (name, alpha))) = next.and_then(|i| Some((i, Self::activation(self.node(i, gone)?)?))) {
            node.attrs.insert("activation".into(), Attr::String(name.into()));
            if let Some(alpha) = alpha {
                node.attrs.insert("activation_alpha".into(), Attr::Float(alpha));
            }
            node.outputs = self.outputs(next);
            taken.push(next);
        }
        if taken.len() > 1 {
            (node.domain, node.op_type, node.opset) = ("com.microsoft".into(), "FusedGemm".into(), 1);
            self.place(&taken, vec![node], gone);
        }
    }

    /// What node `next` adds to each row of the product.
    fn bias(&self, product: &crate::graph::Node, next: usize) -> Option<ValueId> {
        let sum = self.graph.nodes.get(next).filter(|n| n.is("Add") && n.opset >= 7)?;
        let bias = Self::beside(sum, product.output(0)?)?;
        let dims = |value: &ValueId| {
            let tensor = &self.graph.initializers.get(value)?.tensor;
            tensor.dtype().is_float().then(|| tensor.dims())
        };
        match (dims(&product.input(1)?)?, dims(&bias)?) {
            (&[_, columns], &[n]) if columns == n => Some(bias),
            _ => None,
        }
    }
}
