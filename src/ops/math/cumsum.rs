//! CumSum-11/14: running sums along an axis, which is an input; `exclusive` leaves out the element itself, `reverse` sums
//! from the end. Floats or integers.

use crate::{
    engine::{Float, Value},
    error::Result,
    kernels::Backend,
    ops::{
        Built, NodeContext,
        host::{Integer, each_int},
        one, problem, shapes,
    },
    tensor::HostTensor,
};
use ndarray::{ArrayD, Axis};

/// Builds CumSum.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (exclusive, reverse) = (node.flag("exclusive", false)?, node.flag("reverse", false)?);
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let axis = shapes::axis(inputs.int(1)?, x.dims().len())?;
        match x {
            Value::Float(t) => D::cumsum(cx, t, axis, exclusive, reverse).map(Value::Float),
            Value::Host(t) => {
                let sum =
                    each_int!(t, a => sums(a, axis, exclusive, reverse), _other => return Err(problem("not a number")));
                sum.map(Value::Host)
            }
        }
    })
}

fn sums<T: Integer>(x: &ArrayD<T>, axis: usize, exclusive: bool, reverse: bool) -> Result<HostTensor> {
    let mut result = x.as_standard_layout().into_owned();
    for mut lane in result.lanes_mut(Axis(axis)) {
        let mut total = T::zero();
        let step = |x: &mut T| {
            let before = total;
            total = total.wrapping_add(x);
            *x = if exclusive { before } else { total };
        };
        if reverse { lane.iter_mut().rev().for_each(step) } else { lane.iter_mut().for_each(step) }
    }
    Ok(T::wrap(result))
}
