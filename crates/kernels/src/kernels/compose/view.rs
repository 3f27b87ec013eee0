//! Flat tensors seen under three axes, and what definitions share.

use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
};
use dfdx::{
    prelude::{Axes2, Axes3, Axis, BroadcastTo, Device, ReshapeTo},
    tensor::Tape,
};

pub(super) type Of1<E, D, T> = dfdx::tensor::Tensor<(usize,), E, D, T>;
pub(super) type Of2<E, D, T> = dfdx::tensor::Tensor<(usize, usize), E, D, T>;
pub(super) type Of3<E, D, T> = dfdx::tensor::Tensor<(usize, usize, usize), E, D, T>;

/// `t` repeated to `dims` along the axes that it does not have. Nothing is copied.
pub(super) fn spread<E: Float, D: Device<E>, T: Tape<E, D>>(
    t: Of1<E, D, T>,
    dims: (usize, usize, usize),
    has: [bool; 3],
) -> Result<Of3<E, D, T>, D::Err> {
    let (o, a, i) = dims;
    match has {
        [true, true, true] => t.try_reshape_like(&dims),
        [false, true, true] => t.try_reshape_like(&(a, i))?.try_broadcast_like::<_, Axis<0>>(&dims),
        [true, false, true] => t.try_reshape_like(&(o, i))?.try_broadcast_like::<_, Axis<1>>(&dims),
        [true, true, false] => t.try_reshape_like(&(o, a))?.try_broadcast_like::<_, Axis<2>>(&dims),
        [false, false, true] => t.try_reshape_like(&(i,))?.try_broadcast_like::<_, Axes2<0, 1>>(&dims),
        [false, true, false] => t.try_reshape_like(&(a,))?.try_broadcast_like::<_, Axes2<0, 2>>(&dims),
        [true, false, false] => t.try_reshape_like(&(o,))?.try_broadcast_like::<_, Axes2<1, 2>>(&dims),
        [false, false, false] => t.try_reshape_like(&())?.try_broadcast_like::<_, Axes3<0, 1, 2>>(&dims),
    }
}

/// A constant tensor of `dims`, the same everywhere.
pub(super) fn filled<E: Float, D: Device<E>>(cx: &Context<E, D>, dims: &[usize], value: f64) -> Result<Tensor<E, D>> {
    cx.upload(dims.to_vec(), vec![E::of(value); dims.iter().product()])
}

/// `b`, under an identity of its own if it is `a`.
pub(super) fn distinct<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    a: &Tensor<E, D>,
    b: &Tensor<E, D>,
) -> Result<Tensor<E, D>> {
    if a.is(b) { cx.alias(b) } else { Ok(b.clone()) }
}
