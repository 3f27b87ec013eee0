//! Normalizer-1 (ai.onnx.ml): each row divided by its `norm`: MAX (the largest element, signed), L1 (Σ|x|) or L2 (√Σx²). A row
//! whose norm is 0 stays as it is. Of floats and integers, as floats; one row or rows of columns.

use crate::{
    engine::{Float, Tensor},
    error::Result,
    kernels::{Backend, Binary, Reduce, Unary},
    ops::{
        Built, NodeContext,
        common::{float, scalar, to_array},
        one, problem,
    },
};

/// Builds Normalizer.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (power, reduce) = match node.string("norm", "MAX")? {
        "MAX" => (None, Reduce::Max),
        "L1" => (Some(Unary::Abs), Reduce::Sum),
        "L2" => (Some(Unary::PowScalar(2.0)), Reduce::Sum),
        other => return Err(problem(format!("norm is {other:?}, not MAX, L1 or L2"))),
    };
    one(move |cx, inputs| {
        let x = float(cx, inputs.value(0)?)?;
        let axis = match x.rank() {
            rank @ (1 | 2) => rank - 1,
            rank => return Err(problem(format!("input 0 has {rank} axes, not one or two"))),
        };
        if x.is_empty() {
            return Ok(x);
        }
        let powers = match power {
            Some(power) => D::unary(cx, power, &x)?,
            None => x.clone(),
        };
        let whole = D::reduce(cx, reduce, &powers, &[axis], true)?;
        let whole: Tensor<E, D> = without_zeros(cx, &whole)?;
        let norm = if power == Some(Unary::PowScalar(2.0)) { D::unary(cx, Unary::Sqrt, &whole)? } else { whole };
        D::binary(cx, Binary::Div, &x, &norm)
    })
}

/// 1 in place of 0.
fn without_zeros<E: Float, D: Backend<E>>(
    cx: &mut crate::engine::Context<E, D>,
    x: &Tensor<E, D>,
) -> Result<Tensor<E, D>> {
    let mask = to_array(x)?.mapv(|x: E| x != E::of(0.0));
    let one = scalar(cx, 1.0)?;
    if mask.iter().all(|&m| m) { Ok(x.clone()) } else { D::select(cx, &mask, x, &one) }
}
