//! Softmax and its logarithm. The largest element, cut off from the tape, is taken off first: nothing overflows, and the
//! result is mathematically the same whatever is taken off.

use crate::{
    engine::{Context, Float, Taped, Tensor},
    error::Result,
    kernels::{compose::view::Of3, shape::around},
};
use dfdx::{
    prelude::{Axis, BroadcastTo, Device, MaxTo, ReshapeTo, SumTo, TryDiv, TrySub, WithEmptyTape},
    tensor::{NoneTape, OwnedTape},
};

/// See [`crate::kernels::Backend::softmax`]: e^(x − m)/Σe^(x − m).
///
/// # Errors
/// Those of [`Backend::softmax`](crate::kernels::Backend::softmax).
pub fn softmax<E: Float, D: Device<E>>(cx: &mut Context<E, D>, x: &Tensor<E, D>, axis: usize) -> Result<Tensor<E, D>> {
    along(cx, x, axis, |x, dims| {
        let powers = x.try_exp()?;
        let sums = powers.with_empty_tape().try_sum::<(usize, usize), Axis<1>>()?;
        powers.try_div(sums.try_broadcast_like::<_, Axis<1>>(&dims)?)
    })
}

/// See [`crate::kernels::Backend::log_softmax`]: x − m − ln Σe^(x − m).
///
/// # Errors
/// Those of [`Backend::log_softmax`](crate::kernels::Backend::log_softmax).
pub fn log_softmax<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    axis: usize,
) -> Result<Tensor<E, D>> {
    along(cx, x, axis, |x, dims| {
        let sums = x.with_empty_tape().try_exp()?.try_sum::<(usize, usize), Axis<1>>()?.try_ln()?;
        x.try_sub(sums.try_broadcast_like::<_, Axis<1>>(&dims)?)
    })
}

type Dims = (usize, usize, usize);

/// Runs `f` on x − m as (outer, axis, inner).
fn along<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    axis: usize,
    f: impl FnOnce(Of3<E, D, OwnedTape<E, D>>, Dims) -> Result<Of3<E, D, OwnedTape<E, D>>, D::Err>,
) -> Result<Tensor<E, D>> {
    let dims = around(x.dims(), axis)?;
    let len = x.len();
    if len == 0 {
        return cx.upload(x.dims().to_vec(), vec![]);
    }
    cx.compose(&[x], x.dims().to_vec(), |x: Taped<E, D>| {
        let x = x.try_reshape_like(&dims)?;
        let largest = x.retaped::<NoneTape>().try_max::<(usize, usize), Axis<1>>()?;
        f(x.try_sub(largest.try_broadcast_like::<_, Axis<1>>(&dims)?)?, dims)?.try_reshape_like(&(len,))
    })
}
