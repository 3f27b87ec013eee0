//! Integers and booleans that are moved, picked or repeated: what exporters write around sizes and paddings.

use super::{MAX_ELEMENTS, cast, normalized};
use crate::{
    graph::{Attr, Node},
    tensor::HostTensor,
};
use ndarray::{ArrayD, Axis, IxDyn};
use std::sync::Arc;

/// The result of Transpose, Slice, Gather, Where or ConstantOfShape of integers or booleans.
pub(super) fn moved(node: &Node, inputs: &[Arc<HostTensor>]) -> Option<HostTensor> {
    let first = inputs.first()?;
    let array = |tensor: &HostTensor| ArrayD::from_shape_vec(IxDyn(tensor.dims()), tensor.to_i64()?).ok();
    let back = |array: ArrayD<i64>, like: &HostTensor| {
        let dims = array.shape().to_vec();
        cast(&HostTensor::new(&dims, array.iter().copied().collect())?, like.dtype())
    };
    match node.op_type.as_str() {
        "Transpose" => {
            let array = array(first)?;
            let rank = array.ndim();
            let order = match node.opt_ints("perm") {
                Ok(Some(perm)) => normalized(perm, rank)?,
                _ => (0..rank).rev().collect(),
            };
            let mut sorted = order.clone();
            sorted.sort_unstable();
            (sorted == (0..rank).collect::<Vec<_>>()).then(|| back(array.permuted_axes(order), first))?
        }
        "Slice" => {
            let mut array = array(first)?;
            let list = |slot: usize, name: &str| match (inputs.get(slot), node.attrs.get(name)) {
                (Some(tensor), _) => tensor.to_i64(),
                (None, Some(Attr::Ints(list))) => Some(list.clone()),
                _ => None,
            };
            let (starts, ends) = (list(1, "starts")?, list(2, "ends")?);
            let axes = list(3, "axes").unwrap_or_else(|| (0..).take(starts.len()).collect());
            let steps = list(4, "steps").unwrap_or_else(|| vec![1; starts.len()]);
            let axes = normalized(&axes, array.ndim())?;
            if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
                return None;
            }
            for (((start, end), axis), step) in starts.iter().zip(&ends).zip(axes).zip(&steps) {
                let extent = *array.shape().get(axis)?;
                array = array.select(Axis(axis), &places(*start, *end, *step, extent)?);
            }
            back(array, first)
        }
        "Gather" => {
            let (array, index) = (array(first)?, inputs.get(1)?);
            let axis = node.int("axis", Some(0)).unwrap_or(0);
            let axis = *normalized(&[axis], array.ndim())?.first()?;
            let extent = i64::try_from(*array.shape().get(axis)?).ok()?;
            let place = |i: i64| Some(if i < 0 { i + extent } else { i }).filter(|i| (0..extent).contains(i));
            let places: Option<Vec<usize>> =
                index.to_i64()?.into_iter().map(|i| usize::try_from(place(i)?).ok()).collect();
            let places = places?;
            if (array.len() / array.shape().get(axis)?.max(&1)).checked_mul(places.len())? > MAX_ELEMENTS {
                return None;
            }
            let mut dims = array.shape().to_vec();
            dims.splice(axis..=axis, index.dims().iter().copied());
            back(array.select(Axis(axis), &places), first)?.reshaped(&dims)
        }
        "Where" => {
            let [condition, x, y] = inputs else { return None };
            let (same, dims) = (x.dtype() == y.dtype(), condition.dims());
            let all = |t: &HostTensor| t.to_i64().filter(|_| t.dims() == dims || t.len() == 1 && t.dims().len() < 2);
            let (flags, x, y) = (condition.to_i64()?, all(x).filter(|_| same)?, all(y)?);
            let pick = |((flag, x), y): ((&i64, &i64), &i64)| if *flag != 0 { *x } else { *y };
            let picked = flags.iter().zip(x.iter().cycle()).zip(y.iter().cycle()).map(pick).collect();
            cast(&HostTensor::new(dims, picked)?, inputs.get(1)?.dtype())
        }
        "ConstantOfShape" => {
            let value = node.attrs.get("value")?.tensor()?;
            let filling = value.to_i64()?.first().copied().filter(|_| value.len() == 1)?;
            let dims: Option<Vec<usize>> = first.to_i64()?.into_iter().map(|n| usize::try_from(n).ok()).collect();
            let dims = dims?;
            let count = dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim)).filter(|&n| n <= MAX_ELEMENTS)?;
            cast(&HostTensor::new(&dims, vec![filling; count])?, value.dtype())
        }
        _ => None,
    }
}

/// Where a slice of an axis of `extent` elements starts, and how many it takes; `None` for a step of 0. ONNX counts negative
/// bounds from the end and cuts what lies outside.
pub fn slice_bounds(start: i64, end: i64, step: i64, extent: usize) -> Option<(usize, usize)> {
    if extent == 0 || step == 0 {
        return (step != 0).then_some((0, 0));
    }
    let extent = i64::try_from(extent).ok()?;
    let from_end = |i: i64| if i < 0 { i.saturating_add(extent) } else { i };
    let (start, span) = match step > 0 {
        true => {
            let start = from_end(start).clamp(0, extent);
            (start, from_end(end).clamp(0, extent) - start)
        }
        false => {
            let start = from_end(start).clamp(0, extent - 1);
            (start, start - from_end(end).clamp(-1, extent - 1))
        }
    };
    let count = u64::try_from(span).unwrap_or(0).div_ceil(step.unsigned_abs());
    let start = if count == 0 { 0 } else { start };
    Some((usize::try_from(start).ok()?, usize::try_from(count).ok()?))
}

/// The indices that a slice takes of an axis.
fn places(start: i64, end: i64, step: i64, extent: usize) -> Option<Vec<usize>> {
    let (start, count) = slice_bounds(start, end, step, extent)?;
    let start = i64::try_from(start).ok()?;
    (0..).take(count).map(|i: i64| usize::try_from(start.checked_add(i.checked_mul(step)?)?).ok()).collect()
}
