//! Running sums.

use super::{elementwise::binary, layout::gather_or};
use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Binary, shape::around},
};
use dfdx::prelude::Device;

/// See [`crate::kernels::Backend::cumsum`]. After step s, element t is the sum of the 2ˢ elements that end at t: the next
/// step adds what the tensor, shifted by 2ˢ with zeros moving in, has there.
///
/// # Errors
/// Those of [`Backend::cumsum`](crate::kernels::Backend::cumsum).
pub fn cumsum<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    axis: usize,
    exclusive: bool,
    reverse: bool,
) -> Result<Tensor<E, D>> {
    let (outer, n, inner) = around(x.dims(), axis)?;
    let len = x.len();
    let shifted = |by: usize| -> Vec<usize> {
        let from = move |t: usize| if reverse { Some(t + by).filter(|&t| t < n) } else { t.checked_sub(by) };
        let row = move |o, t| {
            let start = from(t).map(|t| (o * n + t) * inner);
            (0..inner).map(move |i| start.map_or(len, |s| s + i))
        };
        (0..outer).flat_map(|o| (0..n).flat_map(move |t| row(o, t))).collect()
    };
    let dims = x.dims();
    let mut y = if exclusive { gather_or(cx, x, shifted(1), 0., dims.to_vec())? } else { x.clone() };
    let mut by = 1;
    while by < n {
        let before = gather_or(cx, &y, shifted(by), 0., dims.to_vec())?;
        y = binary(cx, Binary::Add, &y, &before)?;
        by *= 2;
    }
    Ok(y)
}
