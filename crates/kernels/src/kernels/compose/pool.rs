//! Pooling.

use super::view::{Of1, Of2, filled};
use crate::{
    engine::{Context, Float, Taped, Tensor},
    error::{Error, Result},
    kernels::{
        PoolSpec,
        shape::{Windows, require},
    },
};
use dfdx::{
    prelude::{
        Axes2, Axis, BroadcastTo, ChooseFrom, Device, GatherTo, MaxTo, MinTo, PermuteTo, ReshapeTo, SumTo, TryAdd,
        TryConcatAlong, TryEq, TryMul,
    },
    tensor::{NoneTape, OwnedTape},
};

/// The extents of a pooling: rows (N·C) and positions of the window.
#[derive(Clone, Copy)]
struct Extents {
    rows: usize,
    positions: usize,
}

/// See [`crate::kernels::Backend::max_pool`]: y = Σₖ xₖ·[k is the first with xₖ = max x]. NaN counts as largest.
///
/// # Errors
/// Those of [`Backend::max_pool`](crate::kernels::Backend::max_pool).
pub fn max_pool<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    spec: &PoolSpec,
) -> Result<Tensor<E, D>> {
    let elements = spec.kernel.iter().product();
    let order: Of1<E, D, NoneTape> =
        cx.upload(vec![elements], (0..elements).map(|k| E::of(k as f64)).collect())?.flat().clone();
    pool(cx, x, spec, f64::NEG_INFINITY, |windows, Extents { rows, positions }| {
        let all = (elements, positions * rows);
        let plain = windows.retaped::<NoneTape>().try_nans_to(f64::INFINITY)?;
        let largest = plain.clone().try_max::<(usize,), Axis<0>>()?.try_broadcast_like::<_, Axis<0>>(&all)?;
        let order = order.try_broadcast_like::<_, Axis<1>>(&all)?.try_reshape_like(&all)?;
        let never = order.clone().try_mul(E::of(0.))?.try_add(E::of(elements as f64))?;
        let at = plain.try_eq(&largest.try_reshape_like(&all)?)?.try_choose(order.clone(), never.clone())?;
        let first =
            at.try_min::<(usize,), Axis<0>>()?.try_broadcast_like::<_, Axis<0>>(&all)?.try_reshape_like(&all)?;
        let zeros = never.try_mul(E::of(0.))?;
        order.try_eq(&first)?.try_choose(windows, zeros)?.try_sum::<(usize,), Axis<0>>()
    })
}

/// See [`crate::kernels::Backend::avg_pool`]: y = Σₖ xₖ/count, where the count is that of a window's elements inside
/// the (padded) input. A window with none is 0.
///
/// # Errors
/// Those of [`Backend::avg_pool`](crate::kernels::Backend::avg_pool).
pub fn avg_pool<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    spec: &PoolSpec,
) -> Result<Tensor<E, D>> {
    let counts = windows(x.dims(), spec)?.counts(spec.count_include_pad);
    let shares = counts.into_iter().map(|n| E::of((n.max(1) as f64).recip())).collect::<Vec<_>>();
    let shares: Of1<E, D, NoneTape> = cx.upload(vec![shares.len()], shares)?.flat().clone();
    pool(cx, x, spec, 0., |windows, Extents { rows, positions }| {
        let all = (positions, rows);
        let sums = windows.try_sum::<(usize,), Axis<0>>()?.try_reshape_like(&all)?;
        sums.try_mul(shares.try_broadcast_like::<_, Axis<1>>(&all)?)?.try_reshape_like(&(positions * rows,))
    })
}

fn windows<'a>(dims: &'a [usize], spec: &'a PoolSpec) -> Result<Windows<'a>> {
    let [_, _, input @ ..] = dims else { return Err(Error::Internal(format!("pooling of {dims:?}"))) };
    let PoolSpec { kernel, strides, dilations, pads, output, .. } = spec;
    let windows = Windows { input, kernel, output, strides, dilations, pads };
    windows.prove()?;
    Ok(windows)
}

/// Gathers the windows of xᵀ (S, N·C) as (window element, position · row), has `f` make one of each, and transposes back.
/// A row of `fill` stands for what is outside.
fn pool<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    spec: &PoolSpec,
    fill: f64,
    f: impl FnOnce(Of2<E, D, OwnedTape<E, D>>, Extents) -> Result<Taped<E, D>, D::Err>,
) -> Result<Tensor<E, D>> {
    let offsets = windows(x.dims(), spec)?.offsets();
    let dims: Vec<usize> = x.dims().iter().take(2).chain(&spec.output).copied().collect();
    let len: usize = dims.iter().product();
    let rows: usize = dims.iter().take(2).product();
    let elements: usize = spec.kernel.iter().product();
    require(elements > 0, || format!("pooling by {:?}", spec.kernel))?;
    if len == 0 || x.is_empty() {
        return filled(cx, &dims, fill);
    }
    let (size, positions) = (x.len() / rows, len / rows);
    let outside = filled(cx, &[rows], fill)?;
    let padded = offsets.contains(&None);
    let indices = cx.upload_indices(offsets.into_iter().map(|o| o.unwrap_or(size)).collect())?;
    cx.compose(&[x], dims, |x| {
        let mut x = x.try_reshape_like(&(rows, size))?;
        if padded {
            x = (x, outside.flat().clone().try_reshape_like(&(rows, 1))?).try_concat_along(Axis::<1>)?;
        }
        let x = x.try_permute::<(usize, usize), Axes2<1, 0>>()?;
        let windows =
            x.try_gather::<(usize, usize), (usize,)>(indices)?.try_reshape_like(&(elements, positions * rows))?;
        let y = f(windows, Extents { rows, positions })?.try_reshape_like(&(positions, rows))?;
        y.try_permute::<(usize, usize), Axes2<1, 0>>()?.try_reshape_like(&(len,))
    })
}
