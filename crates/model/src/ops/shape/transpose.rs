//! Transpose-1/13 on: permutes axes, of any type; without `perm` it reverses them.

use crate::{
    engine::{Context, Float, Value},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, host, one, problem, shapes},
};

/// Builds Transpose.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let perm = node.sizes("perm", 0)?;
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let rank = x.dims().len();
        let perm = perm.clone().unwrap_or_else(|| (0..rank).rev().collect());
        let listed: Vec<i64> = perm.iter().map(|&a| a as i64).collect();
        if perm.len() != rank || shapes::axes(&listed, rank).is_err() {
            return Err(problem(format!("{perm:?} is not a permutation of {rank} axes")));
        }
        permuted(cx, x, &perm)
    })
}

/// Axis `i` of the result is axis `perm[i]` of `x`; `perm` is a permutation of its axes.
pub fn permuted<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Value<E, D>,
    perm: &[usize],
) -> Result<Value<E, D>> {
    match x {
        Value::Float(t) => D::permute(cx, t, perm).map(Value::Float),
        Value::Host(t) => host::rearrange(t, |i| Ok(i.permuted_axes(perm))).map(Value::Host),
    }
}
