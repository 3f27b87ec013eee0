//! CumSum-11/14 and CumProd-26: running sums and products along an axis, which is an input; `exclusive` leaves out the element
//! itself, `reverse` runs from the end. Floats or integers.

use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::{Backend, Binary, PadMode},
    ops::{
        Built, NodeContext,
        host::{Integer, each_int},
        one, problem, shapes,
    },
    tensor::HostTensor,
};
use ndarray::{ArrayD, Axis};

/// Builds both.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let run = Run {
        product: node.node().op_type == "CumProd",
        exclusive: node.flag("exclusive", false)?,
        reverse: node.flag("reverse", false)?,
    };
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let axis = shapes::axis(inputs.int(1)?, x.dims().len())?;
        match x {
            Value::Float(t) if run.product => products(cx, t, axis, run).map(Value::Float),
            Value::Float(t) => D::cumsum(cx, t, axis, run.exclusive, run.reverse).map(Value::Float),
            Value::Host(t) => {
                let done = each_int!(t, a => integers(a, axis, run), _other => return Err(problem("not a number")));
                done.map(Value::Host)
            }
        }
    })
}

#[derive(Clone, Copy)]
struct Run {
    product: bool,
    exclusive: bool,
    reverse: bool,
}

/// After step s, element t is the product of the 2ˢ elements that end at t: the next step multiplies it by what the tensor,
/// shifted by 2ˢ with ones moving in, has there. Nothing is divided, so the gradient is right beside zeros.
fn products<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    axis: usize,
    run: Run,
) -> Result<Tensor<E, D>> {
    let n = x.dims().get(axis).copied().unwrap_or_default();
    if x.is_empty() {
        return Ok(x.clone());
    }
    let shifted = |cx: &mut Context<E, D>, x: &Tensor<E, D>, by: usize| {
        let by = by as isize;
        let shift = if run.reverse { [-by, by] } else { [by, -by] };
        let pads: Vec<_> = (0..x.rank()).map(|a| if a == axis { shift } else { [0, 0] }).collect();
        D::pad(cx, x, &pads, PadMode::Constant(1.0))
    };
    let mut y = if run.exclusive { shifted(cx, x, 1)? } else { x.clone() };
    let mut by = 1;
    while by < n {
        let before = shifted(cx, &y, by)?;
        y = D::binary(cx, Binary::Mul, &y, &before)?;
        by *= 2;
    }
    Ok(y)
}

fn integers<T: Integer>(x: &ArrayD<T>, axis: usize, run: Run) -> Result<HostTensor> {
    let mut result = x.as_standard_layout().into_owned();
    for mut lane in result.lanes_mut(Axis(axis)) {
        let mut total = if run.product { T::one() } else { T::zero() };
        let step = |x: &mut T| {
            let before = total;
            total = if run.product { total.wrapping_mul(x) } else { total.wrapping_add(x) };
            *x = if run.exclusive { before } else { total };
        };
        if run.reverse { lane.iter_mut().rev().for_each(step) } else { lane.iter_mut().for_each(step) }
    }
    Ok(T::wrap(result))
}
