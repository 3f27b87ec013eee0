//! LSTM-7/14/22: with gates i, o, f, c and, of peepholes, p,
//! i = f(Xᵢ + Rᵢh + pᵢc), f = f(X_f + R_f h + p_f c), c' = f·c + i·g(X_c + R_c h), o = f(Xₒ + Rₒh + pₒc'), h' = o·h(c').
//!
//! What is an LSTM by the book runs as one kernel, all else step by step. All attributes, outputs and directions; `layout` from 14 on. `input_forget` makes f = 1 − i; `clip` bounds the gates,
//! not the cell.

use super::layer::{self, Cell, Unit};
use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Backend, Binary, LstmArgs, Unary},
    ops::{
        Built, NodeContext,
        common::{add, mul},
        problem,
    },
};

struct Lstm {
    input_forget: bool,
}

/// Builds LSTM.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let input_forget = node.flag("input_forget", false)?;
    layer::build(node, Lstm { input_forget })
}

impl Cell for Lstm {
    const GATES: usize = 4;
    const ACTIVATIONS: &'static [Unary] = &[Unary::Sigmoid, Unary::Tanh, Unary::Tanh];
    const INITIAL: &'static [usize] = &[5, 6];

    fn factors(&self) -> &'static [usize] {
        &[4]
    }

    fn step<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        unit: &Unit<'_, E, D>,
        gates: &Tensor<E, D>,
        states: &[Tensor<E, D>],
    ) -> Result<Vec<Tensor<E, D>>> {
        let [h, c] = states else { return Err(problem("the layer has not two states")) };
        let product = unit.product(cx, 0, h)?;
        let gates = D::binary(cx, Binary::Add, gates, &product)?;
        let gate = |cx: &mut Context<E, D>, i| unit.gates(cx, &gates, i, 1);
        let (i, o, f, g) = (gate(cx, 0)?, gate(cx, 1)?, gate(cx, 2)?, gate(cx, 3)?);
        let i = unit.peep(cx, 0, i, c)?;
        let i = unit.open(cx, 0, &i)?;
        let f = if self.input_forget {
            let minus = D::unary(cx, Unary::Neg, &i)?;
            D::unary(cx, Unary::AddScalar(1.0), &minus)?
        } else {
            let f = unit.peep(cx, 2, f, c)?;
            unit.open(cx, 0, &f)?
        };
        let g = unit.open(cx, 1, &g)?;
        let (kept, new) = (mul(cx, &f, c)?, mul(cx, &i, &g)?);
        let c = add(cx, &kept, &new)?;
        let o = unit.peep(cx, 1, o, &c)?;
        let o = unit.open(cx, 0, &o)?;
        let shown = unit.activate(cx, 2, &c)?;
        Ok(vec![mul(cx, &o, &shown)?, c])
    }

    fn at_once<E: Float, D: Backend<E>>(
        &self,
        cx: &mut Context<E, D>,
        unit: &Unit<'_, E, D>,
        gates: &Tensor<E, D>,
        states: &[Tensor<E, D>],
    ) -> Result<Option<(Tensor<E, D>, Vec<Tensor<E, D>>)>> {
        let [h, c] = states else { return Err(problem("the layer has not two states")) };
        let Some(recurrent) = unit.plain(Self::ACTIVATIONS).filter(|_| !self.input_forget) else { return Ok(None) };
        let &[batch, hidden] = h.dims() else { return Err(problem("a state has not two axes")) };
        let steps = gates.len() / (batch * 4 * hidden);
        let gates = gates.reshaped(vec![steps, batch, 4 * hidden])?;
        let all =
            D::lstm(cx, LstmArgs { gates: &gates, recurrent, h, c })?.reshaped(vec![(steps + 1) * batch, hidden])?;
        let mut rows = |first: usize, n: usize| D::slice(cx, &all, &[first * batch, 0], &[1, 1], &[n * batch, hidden]);
        Ok(Some((rows(0, steps)?, vec![rows(steps - 1, 1)?, rows(steps, 1)?])))
    }
}
