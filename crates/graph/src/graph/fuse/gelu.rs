//! x·½·(1 + erf(x/√2)), as exporters without Gelu write it, in any order of its factors.

use super::Fusion;
use crate::graph::{Node, ValueId};
use std::{
    collections::BTreeMap,
    f64::consts::{FRAC_1_SQRT_2, SQRT_2},
};

impl Fusion<'_> {
    /// Makes one Gelu of the nodes around node `index`, if it is the Erf of one.
    pub(super) fn gelu(&mut self, index: usize, gone: &mut [bool]) {
        if let Some((x, taken)) = self.around_erf(index, gone)
            && let Some(&last) = taken.iter().max()
            && let Some(node) = self.graph.nodes.get(last)
        {
            let fused = Node {
                op_type: "Gelu".into(),
                opset: 20,
                inputs: vec![Some(x)],
                attrs: BTreeMap::new(),
                ..node.clone()
            };
            self.place(&taken, vec![fused], gone);
        }
    }

    /// The argument, and all nodes that one function takes the place of.
    fn around_erf(&self, index: usize, gone: &[bool]) -> Option<(ValueId, Vec<usize>)> {
        let erf = self.node(index, gone).filter(|n| n.is("Erf"))?;
        let (inner, x) = self.made_by_scaling(erf.input(0)?, [("Div", SQRT_2), ("Mul", FRAC_1_SQRT_2)], gone)?;
        let plus = self.follower(erf, gone)?;
        self.scaled(self.node(plus, gone)?, erf.output(0)?, ("Add", 1.0))?;
        let mut taken = vec![inner, index, plus];
        let (mut halved, mut multiplied) = (false, false);
        let mut last = plus;
        while !(halved && multiplied) {
            let value = self.node(last, gone)?.output(0)?;
            last = self.follower(self.node(last, gone)?, gone)?;
            let node = self.node(last, gone)?;
            taken.push(last);
            if !halved && self.scaled(node, value, ("Mul", 0.5)).is_some() {
                halved = true;
                continue;
            }
            let other = Self::beside(node, value).filter(|_| node.is("Mul") && !multiplied)?;
            multiplied = true;
            if other != x {
                let (half, from) = self.made_by_scaling(other, [("Mul", 0.5), ("Div", 2.0)], gone)?;
                (!halved && from == x).then_some(())?;
                taken.push(half);
                halved = true;
            }
        }
        Some((x, taken))
    }

    /// The node that makes `value`, for one other node alone, as one of these functions of a value and a number, and that
    /// value.
    fn made_by_scaling(&self, value: ValueId, ways: [(&str, f64); 2], gone: &[bool]) -> Option<(usize, ValueId)> {
        let (index, _) = self.links.producer(value)?;
        let node = self.node(index, gone)?;
        self.follower(node, gone)?;
        let of = |way| {
            let (a, b) = (node.input(0)?, node.input(1)?);
            let swapped = (!node.is("Div")).then(|| self.scaled(node, b, way).map(|()| b));
            self.scaled(node, a, way).map(|()| a).or(swapped.flatten())
        };
        Some((index, ways.into_iter().find_map(of)?))
    }

    /// Whether `node` is that function of `value` and that number.
    fn scaled(&self, node: &Node, value: ValueId, (op, number): (&str, f64)) -> Option<()> {
        let known = self.known.get(&Self::beside(node, value)?)?;
        let near = known.dims().is_empty() && (known.f64_at(0)? - number).abs() < 1e-6;
        (node.is(op) && node.opset >= 7 && near && (op != "Div" || node.input(0) == Some(value))).then_some(())
    }
}
