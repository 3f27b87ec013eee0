//! Gather-1/11/13, ArrayFeatureExtractor-1 (ai.onnx.ml; the last axis, indices in one row): slices of `axis` by index, of any type. Negative indices count from the end; the gradient of a slice is the sum over
//! its uses. No index is ever printed: it may be a row's value.

use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, common::reshaped, host, one, problem, shapes},
};
use ndarray::Axis;

/// Builds Gather.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let axis = node.int("axis")?.unwrap_or(0);
    one(move |cx, inputs| slices(cx, inputs.value(0)?, axis, &inputs.ints(1)?, inputs.host(1)?.dims()))
}

/// ArrayFeatureExtractor.
pub fn features<E: Float, D: Backend<E>>(_: &NodeContext<'_>) -> Built<E, D> {
    one(|cx, inputs| {
        let (x, indices) = (inputs.value(0)?, inputs.ints(1)?);
        let picked = slices(cx, x, -1, &indices, &[indices.len()])?;
        if x.dims().len() == 1 { reshaped(&picked, vec![1, indices.len()]) } else { Ok(picked) }
    })
}

/// The slices of `axis` at `indices`, which have `index_dims`.
pub fn slices<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Value<E, D>,
    axis: i64,
    indices: &[i64],
    index_dims: &[usize],
) -> Result<Value<E, D>> {
    let axis = shapes::axis(axis, x.dims().len())?;
    let extent = x.dims().get(axis).copied().unwrap_or(1);
    let indices = wrapped(indices, extent)?;
    let (before, after) = x.dims().split_at(axis);
    let dims = [before, index_dims, after.get(1..).unwrap_or_default()].concat();
    shapes::count(&dims)?;
    match x {
        Value::Float(_) if dims.contains(&0) => Ok(cx.upload(dims, Vec::new())?.into()),
        Value::Float(t) => D::gather(cx, t, axis, &indices, index_dims).map(Value::Float),
        Value::Host(t) => {
            let picked = host::rearrange(t, |i| Ok(i.select(Axis(axis), &indices)))?;
            picked.reshaped(&dims).map(Value::Host).ok_or_else(|| problem("the indices do not fit"))
        }
    }
}

/// The rows of a table (rows, width) at `indices`, which have `dims`.
pub fn rows<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    table: &Tensor<E, D>,
    indices: &[i64],
    dims: &[usize],
) -> Result<Tensor<E, D>> {
    let &[extent, width] = table.dims() else {
        return Err(problem(format!("a table of shape {:?}, not (rows, width)", table.dims())));
    };
    let indices = wrapped(indices, extent)?;
    if indices.is_empty() || width == 0 {
        return cx.upload([dims, &[width]].concat(), Vec::new());
    }
    shapes::count(&[dims, &[width]].concat())?;
    D::gather(cx, table, 0, &indices, dims)
}

/// Indices of an axis of `extent`, those below 0 counted from the end.
pub fn wrapped(indices: &[i64], extent: usize) -> Result<Vec<usize>> {
    let n = extent as i64;
    let wrap = |&i: &i64| usize::try_from(if i < 0 { i.saturating_add(n) } else { i }).ok().filter(|&i| i < extent);
    indices
        .iter()
        .map(wrap)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| problem(format!("an index is out of range for an extent of {extent}")))
}
