//! TopK-7/10/11/24: the `k` largest or smallest elements along `axis`, and their places. k is an attribute until 7, an input
//! from 10 on; `largest` and integers from 11 on.
//!
//! They are always sorted; of equals the one with the lowest index comes first. NaN counts as largest. The gradient goes to the chosen
//! elements.

use super::gather_elements::{along, take};
use crate::{
    engine::{Float, Value},
    kernels::Backend,
    ops::{
        Built, NodeContext,
        common::to_array,
        host::{self, each_int},
        many, problem, shapes,
    },
    tensor::HostTensor,
};
use ndarray::{ArrayD, Axis, IxDyn};

/// Builds TopK.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let axis = node.int("axis")?.unwrap_or(-1);
    let fixed = if node.opset() < 10 { node.int("k")? } else { None };
    let largest = node.opset() < 11 || node.flag("largest", true)?;
    if node.opset() >= 11 {
        node.ignore(&["sorted"]);
    }
    many(move |cx, inputs| {
        let x = inputs.value(0)?;
        let axis = shapes::axis(axis, x.dims().len())?;
        let k = fixed.map_or_else(|| inputs.int(1), Ok)?;
        let extent = x.dims().get(axis).copied().unwrap_or_default();
        let k = usize::try_from(k).ok().filter(|&k| k <= extent);
        let k = k.ok_or_else(|| problem(format!("k is no number of elements of an axis of {extent}")))?;
        let chosen = match x {
            Value::Float(t) => chosen(&to_array(t)?, axis, k, largest),
            Value::Host(t) => {
                each_int!(t, a => chosen(a, axis, k, largest), _other => return Err(problem("not a number")))
            }
        };
        Ok(vec![take(cx, x, &along(x.dims(), &chosen, axis)?)?, chosen.into()])
    })
}

fn chosen<T: PartialOrd>(x: &ArrayD<T>, axis: usize, k: usize, largest: bool) -> HostTensor {
    let mut dims = x.shape().to_vec();
    dims.iter_mut().skip(axis).take(1).for_each(|d| *d = k);
    let mut places = ArrayD::zeros(IxDyn(&dims));
    for (lane, mut out) in x.lanes(Axis(axis)).into_iter().zip(places.lanes_mut(Axis(axis))) {
        let mut order: Vec<(usize, &T)> = lane.iter().enumerate().collect();
        // The sort is stable.
        order.sort_by(|a, b| if largest { host::order(b.1, a.1) } else { host::order(a.1, b.1) });
        for (place, (i, _)) in out.iter_mut().zip(order) {
            *place = i as i64;
        }
    }
    HostTensor::I64(places)
}
