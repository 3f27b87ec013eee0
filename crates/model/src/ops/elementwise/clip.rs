//! Clip-6/11/12/13: min(max(x, min), max). Bounds are attributes in version 6, inputs from 11 on. Integers from 12 on.
//! The gradient is 1 inside the bounds, 0 at them and outside, as in PyTorch; the bounds have none.

use crate::{
    engine::{Context, Float, Value},
    error::Result,
    kernels::{Backend, Unary},
    ops::{
        Built, NodeContext,
        host::{IntBinary, arithmetic},
        one,
    },
};

/// Builds Clip.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    if node.opset() < 11 { clip_6(node) } else { clip_11() }
}

fn clip_6<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (min, max) = (node.float("min", f32::MIN)?, node.float("max", f32::MAX)?);
    one(move |cx, x| D::unary(cx, Unary::Clip { min, max }, x.float(0)?))
}

fn clip_11<E: Float, D: Backend<E>>() -> Built<E, D> {
    one(|cx, x| match x.value(0)? {
        Value::Float(_) => {
            let min = x.opt_scalar(1)?.unwrap_or(f64::NEG_INFINITY);
            let max = x.opt_scalar(2)?.unwrap_or(f64::INFINITY);
            bounded(cx, x.value(0)?, min, max)
        }
        Value::Host(t) => {
            let mut clipped = t.clone();
            if x.get(1).is_some() {
                clipped = arithmetic(IntBinary::Max, &clipped, x.host(1)?)?;
            }
            if x.get(2).is_some() {
                clipped = arithmetic(IntBinary::Min, &clipped, x.host(2)?)?;
            }
            Ok(clipped.into())
        }
    })
}

fn bounded<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Value<E, D>,
    min: f64,
    max: f64,
) -> Result<Value<E, D>> {
    match x {
        Value::Float(t) if min == f64::NEG_INFINITY && max == f64::INFINITY => Ok(t.clone().into()),
        Value::Float(t) => Ok(D::unary(cx, Unary::Clip { min, max }, t)?.into()),
        Value::Host(t) => Ok(t.clone().into()),
    }
}
