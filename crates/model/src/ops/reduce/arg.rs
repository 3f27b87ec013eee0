//! ArgMax-1/11/12/13, ArgMin-1/11/12/13: the place of the largest or smallest element along `axis`; of equals the first, or
//! with `select_last_index` (12 on) the last. Integers, so no gradient passes.

use crate::{
    engine::{Float, Value},
    error::Result,
    kernels::Backend,
    ops::{
        Built, NodeContext,
        common::to_array,
        host::{self, each_int},
        one, problem, shapes,
    },
    tensor::HostTensor,
};
use ndarray::{ArrayD, ArrayView1, Axis};

#[derive(Clone, Copy)]
struct Pick {
    largest: bool,
    last: bool,
}

/// Builds both.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let axis = node.int("axis")?.unwrap_or(0);
    let keep = node.flag("keepdims", true)?;
    let last = node.opset() >= 12 && node.flag("select_last_index", false)?;
    let pick = Pick { largest: node.node().op_type == "ArgMax", last };
    one(move |_, inputs| {
        let x = inputs.value(0)?;
        let axis = shapes::axis(axis, x.dims().len())?;
        match x {
            Value::Float(t) => places(&to_array(t)?, axis, keep, pick),
            Value::Host(t) => each_int!(t, a => places(a, axis, keep, pick), _other => Err(problem("not a number"))),
        }
    })
}

fn places<T: PartialOrd + Copy>(x: &ArrayD<T>, axis: usize, keep: bool, pick: Pick) -> Result<HostTensor> {
    let mut dims = x.shape().to_vec();
    if dims.get(axis) == Some(&0) {
        return Err(problem("the axis has no element"));
    }
    let found: Vec<i64> = x.lanes(Axis(axis)).into_iter().map(|lane| place(lane, pick)).collect();
    if keep {
        dims.iter_mut().skip(axis).take(1).for_each(|d| *d = 1);
    } else {
        dims.remove(axis);
    }
    host::array(&dims, found).map(HostTensor::I64)
}

fn place<T: PartialOrd + Copy>(lane: ArrayView1<'_, T>, pick: Pick) -> i64 {
    let mut values = lane.iter().copied().enumerate();
    let Some((mut at, mut best)) = values.next() else { return 0 };
    for (i, x) in values {
        let better = if pick.largest { x > best } else { x < best };
        if better || (pick.last && x == best) {
            (at, best) = (i, x);
        }
    }
    at as i64
}
