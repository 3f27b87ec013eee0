//! Split-2/11/13/18: parts along `axis`, of any type. Their extents are an attribute until 11, an input from 13 on; without
//! them the parts are equal, and from 18 on (`num_outputs`) the last may be smaller.

use crate::{
    engine::{Context, Float, Value},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, host, many, problem, shapes},
};
use ndarray::{Axis, Slice};

/// Builds Split.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let axis = node.int("axis")?.unwrap_or(0);
    let given = if node.opset() < 13 { node.sizes("split", 0)? } else { None };
    let outputs = node.node().outputs.len();
    let uneven = node.opset() >= 18;
    if uneven && node.int("num_outputs")?.is_some_and(|n| n != outputs as i64) {
        return Err(problem("num_outputs is not the number of outputs"));
    }
    many(move |cx, inputs| {
        let x = inputs.value(0)?;
        let axis = shapes::axis(axis, x.dims().len())?;
        let extent = x.dims().get(axis).copied().unwrap_or(1);
        let parts = match (&given, inputs.opt_ints(1)?) {
            (Some(parts), _) => parts.clone(),
            (None, Some(parts)) => shapes::extents(&parts)?,
            (None, None) => equal(extent, outputs, uneven)?,
        };
        let total = parts.iter().try_fold(0usize, |n, &p| n.checked_add(p));
        if parts.len() != outputs || total != Some(extent) {
            return Err(problem(format!("parts {parts:?} in {outputs} outputs do not make up an extent of {extent}")));
        }
        let mut start = 0;
        parts
            .iter()
            .map(|&n| {
                let piece = piece(cx, x, axis, start, n);
                start += n;
                piece
            })
            .collect()
    })
}

fn equal(extent: usize, outputs: usize, uneven: bool) -> Result<Vec<usize>> {
    if outputs == 0 || (!uneven && !extent.is_multiple_of(outputs)) {
        return Err(problem(format!("an extent of {extent} has no {outputs} equal parts")));
    }
    let size = extent.div_ceil(outputs);
    Ok((0..outputs).map(|i| size.min(extent.saturating_sub(i * size))).collect())
}

fn piece<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Value<E, D>,
    axis: usize,
    start: usize,
    n: usize,
) -> Result<Value<E, D>> {
    let rank = x.dims().len();
    let along = |at: usize, other: &dyn Fn(usize) -> usize| {
        (0..rank).map(|a| if a == axis { at } else { other(a) }).collect::<Vec<_>>()
    };
    match x {
        Value::Float(t) => {
            let out = along(n, &|a| t.dims().get(a).copied().unwrap_or(1));
            if out.contains(&0) {
                return Ok(cx.upload(out, Vec::new())?.into());
            }
            D::slice(cx, t, &along(start, &|_| 0), &vec![1; rank], &out).map(Value::Float)
        }
        Value::Host(t) => {
            host::rearrange(t, |i| Ok(i.slice_axis(Axis(axis), Slice::from(start..start + n)).to_owned()))
                .map(Value::Host)
        }
    }
}
