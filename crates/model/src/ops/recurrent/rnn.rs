//! RNN-7/14/22: h' = f(X + R·h). All attributes, outputs and directions; `layout` from 14 on.

use super::layer::{self, Cell, Unit};
use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Backend, Unary},
    ops::{Built, NodeContext, common::add, problem},
};

struct Rnn;

/// Builds RNN.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    layer::build(node, Rnn)
}

impl Cell for Rnn {
    const GATES: usize = 1;
    const ACTIVATIONS: &'static [Unary] = &[Unary::Tanh];
    const INITIAL: &'static [usize] = &[5];

    fn factors(&self) -> &'static [usize] {
        &[1]
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
        let sum = add(cx, gates, &product)?;
        Ok(vec![unit.open(cx, 0, &sum)?])
    }
}
