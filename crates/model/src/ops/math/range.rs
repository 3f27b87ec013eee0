//! Range-11/27: start, start + delta, … before limit. Floats or integers, all three of one type; no gradient.

use crate::{
    engine::{Float, Value},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, host, one, problem, shapes},
};

/// Builds Range.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    node.ignore(&["stash_type"]);
    one(|cx, inputs| match inputs.value(0)? {
        Value::Float(_) => {
            let at = |i: usize| Ok(inputs.opt_scalar(i)?.unwrap_or_default());
            let (start, limit, delta) = (at(0)?, at(1)?, at(2)?);
            let n = steps(((limit - start) / delta).ceil())?;
            let values = (0..n).map(|i| E::of(start + delta * i as f64)).collect();
            cx.upload(vec![n], values).map(Value::Float)
        }
        Value::Host(first) => {
            let (start, limit, delta) = (inputs.int(0)?, inputs.int(1)?, inputs.int(2)?);
            if delta == 0 {
                return Err(problem("delta is 0"));
            }
            let n = steps(((limit as f64 - start as f64) / delta as f64).ceil())?;
            let values = (0..n).map(|i| start.wrapping_add(delta.wrapping_mul(i as i64))).collect();
            host::from_i64(&[n], values, first.dtype()).map(Value::Host)
        }
    })
}

fn steps(n: f64) -> Result<usize> {
    if n.is_nan() {
        return Err(problem("start, limit and delta make no sequence"));
    }
    // `as` saturates, and `count` bounds what is left.
    shapes::count(&[n.max(0.0) as usize])
}
