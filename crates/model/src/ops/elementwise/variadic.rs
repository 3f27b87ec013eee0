//! Sum-6/8/13, Mean-6/8/13, Max-6/8/12/13, Min-6/8/12/13: any number of tensors, broadcast (version 6 has them of one shape). Max and Min also take integers (12 on).
//! Where several are largest, each side of a comparison gets half of the gradient, as in PyTorch.

use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::{Backend, Binary},
    ops::{Built, Inputs, NodeContext, common::scaled, host::IntBinary, many, one, problem},
};

/// Sum and Mean.
pub fn sum<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let mean = node.node().op_type == "Mean";
    one(move |cx, inputs| {
        let total = fold(cx, Binary::Add, &inputs.floats()?)?;
        scaled(cx, &total, if mean { 1.0 / inputs.len() as f64 } else { 1.0 })
    })
}

/// Max and Min.
pub fn extreme<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let max = node.node().op_type == "Max";
    let (op, integer) = if max { (Binary::Max, IntBinary::Max) } else { (Binary::Min, IntBinary::Min) };
    many(move |cx, inputs: &Inputs<'_, E, D>| {
        let mut result: Value<E, D> = inputs.value(0)?.clone();
        for i in 1..inputs.len() {
            result = super::binary::pair(cx, op, integer, &result, inputs.value(i)?)?;
        }
        Ok(vec![result])
    })
}

fn fold<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    op: Binary,
    tensors: &[&Tensor<E, D>],
) -> Result<Tensor<E, D>> {
    let (first, rest) = tensors.split_first().ok_or_else(|| problem("no input"))?;
    rest.iter().try_fold((*first).clone(), |total, t| super::binary::float(cx, op, &total, t))
}
