//! GatherElements-11/13 and GatherND-11/12/13: single elements, or slices by index tuple, of any type.
//!
//! Both are one gather of the flat tensor: the indices of the elements are worked out here.

use super::gather::wrapped;
use crate::{
    engine::{Context, Float, Value},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, host, one, problem, shapes},
    tensor::HostTensor,
};
use ndarray::{ArrayD, Dimension, IxDyn};

/// Elements at row-major `indices`, in their shape.
pub fn take<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Value<E, D>,
    indices: &ArrayD<usize>,
) -> Result<Value<E, D>> {
    match x {
        Value::Float(_) if indices.is_empty() => Ok(cx.upload(indices.shape().to_vec(), Vec::new())?.into()),
        Value::Float(t) => {
            let flat: Vec<usize> = indices.iter().copied().collect();
            D::gather_flat(cx, t, &flat, indices.shape()).map(Value::Float)
        }
        Value::Host(t) => host::take(t, indices).map(Value::Host),
    }
}

/// GatherElements: out[i][j] = x[index[i][j]][j] for axis 0.
pub fn elements<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let axis = node.int("axis")?.unwrap_or(0);
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let axis = shapes::axis(axis, x.dims().len())?;
        let places = along(x.dims(), inputs.host(1)?, axis)?;
        take(cx, x, &places)
    })
}

/// The row-major place in a tensor of `dims` of each of `indices`, which replace the coordinate `axis`.
pub fn along(dims: &[usize], indices: &HostTensor, axis: usize) -> Result<ArrayD<usize>> {
    let shape = indices.dims();
    let inside = shape.len() == dims.len() && shape.iter().zip(dims).enumerate().all(|(a, (s, d))| a == axis || s <= d);
    if !inside {
        return Err(problem(format!("indices of shape {shape:?} do not fit a tensor of {dims:?}")));
    }
    let list = indices.to_i64().ok_or_else(|| problem("the indices are not integers"))?;
    let indices = host::array(shape, wrapped(&list, dims.get(axis).copied().unwrap_or(1))?)?;
    let strides = shapes::strides(dims);
    let place = |(at, &index): (IxDyn, &usize)| -> usize {
        let coordinates = at.slice();
        coordinates.iter().enumerate().zip(&strides).map(|((a, &c), s)| if a == axis { index * s } else { c * s }).sum()
    };
    host::array(shape, indices.indexed_iter().map(place).collect())
}

/// GatherND.
pub fn tuples<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let batch = node.int("batch_dims")?.unwrap_or(0);
    let batch = usize::try_from(batch).map_err(|_| problem("batch_dims is negative"))?;
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let places = slices(x.dims(), inputs.host(1)?, batch)?;
        take(cx, x, &places)
    })
}

/// The row-major places of the slices that index tuples name, after `batch` leading axes that both tensors share.
pub fn slices(dims: &[usize], indices: &HostTensor, batch: usize) -> Result<ArrayD<usize>> {
    let misfit = || problem(format!("index tuples of shape {:?} do not fit a tensor of {dims:?}", indices.dims()));
    let (&depth, lead) = indices.dims().split_last().ok_or_else(misfit)?;
    let shared = dims.get(..batch).ok_or_else(misfit)?;
    let indexed = dims.get(batch..batch + depth).ok_or_else(misfit)?;
    let inner = dims.get(batch + depth..).ok_or_else(misfit)?;
    if lead.get(..batch) != Some(shared) {
        return Err(misfit());
    }
    let list = indices.to_i64().ok_or_else(|| problem("the indices are not integers"))?;
    let strides = shapes::strides(dims);
    shapes::count(&[lead, inner].concat())?;
    let size: usize = inner.iter().product();
    let groups: usize = shared.iter().product();
    let count: usize = lead.iter().product();
    let each_group = count.checked_div(groups).unwrap_or(0);
    let group_size: usize = indexed.iter().product::<usize>() * size;
    let mut places = Vec::with_capacity(count * size);
    for tuple in 0..count {
        let mut place = tuple.checked_div(each_group).unwrap_or(0) * group_size;
        for (axis, &extent) in indexed.iter().enumerate() {
            let index = list.get(tuple * depth + axis).copied().ok_or_else(misfit)?;
            let index = *wrapped(&[index], extent)?.first().ok_or_else(misfit)?;
            place += index * strides.get(batch + axis).copied().ok_or_else(misfit)?;
        }
        places.extend(place..place + size);
    }
    host::array(&[lead, inner].concat(), places)
}
