//! GRU-7/14/22: with gates z, r, h, z = f(X_z + R_z h), r = f(Xᵣ + Rᵣ h), n = g(X_h + R_h(r·h)), h' = (1 − z)·n + z·h.
//!
//! With `linear_before_reset`, n = g(X_h + r·(R_h h + b)), where b is the recurrent bias. All attributes, outputs and
//! directions; `layout` from 14 on.

use super::layer::{self, Cell, Unit};
use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Backend, Binary, Unary},
    ops::{
        Built, NodeContext,
        common::{add, mul},
        problem,
    },
};

struct Gru {
    linear_before_reset: bool,
}

/// Builds GRU.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let linear_before_reset = node.flag("linear_before_reset", false)?;
    layer::build(node, Gru { linear_before_reset })
}

impl Cell for Gru {
    const GATES: usize = 3;
    const ACTIVATIONS: &'static [Unary] = &[Unary::Sigmoid, Unary::Tanh];
    const INITIAL: &'static [usize] = &[5];

    fn factors(&self) -> &'static [usize] {
        if self.linear_before_reset { &[3] } else { &[2, 1] }
    }

    fn bias_in_product(&self) -> bool {
        self.linear_before_reset
    }

    fn step<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        unit: &Unit<'_, E, D>,
        gates: &Tensor<E, D>,
        states: &[Tensor<E, D>],
    ) -> Result<Vec<Tensor<E, D>>> {
        let [h] = states else { return Err(problem("the layer has not one state")) };
        let product = unit.product(cx, 0, h)?;
        let (first, new) = (unit.gates(cx, gates, 0, 2)?, unit.gates(cx, gates, 2, 1)?);
        let of_state = unit.gates(cx, &product, 0, 2)?;
        let first = add(cx, &first, &of_state)?;
        let first = unit.open(cx, 0, &first)?;
        let (z, r) = (unit.gates(cx, &first, 0, 1)?, unit.gates(cx, &first, 1, 1)?);
        let reset = if self.linear_before_reset {
            let linear = unit.gates(cx, &product, 2, 1)?;
            mul(cx, &r, &linear)?
        } else {
            let seen = mul(cx, &r, h)?;
            unit.product(cx, 1, &seen)?
        };
        let new = add(cx, &new, &reset)?;
        let new = unit.open(cx, 1, &new)?;
        // (1 − z)·n + z·h = n + z·(h − n)
        let change = D::binary(cx, Binary::Sub, h, &new)?;
        let change = mul(cx, &z, &change)?;
        Ok(vec![add(cx, &new, &change)?])
    }
}
