//! Reductions. dfdx adds one element after the other in the tensor's own type, so that the rounding error of an `f32` sum
//! grows with its length; [`sum`] keeps that length short where it can.

use super::{
    elementwise::{binary, slope, unary},
    layout::{expand, gather_or},
    view::filled,
};
use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Binary, Reduce, Unary, shape::require},
};
use dfdx::{
    prelude::{Axis, ChooseFrom, Device, MaxTo, MinTo, ReshapeTo, SumTo, TryEq, TryNe},
    tensor::NoneTape,
};

/// See [`crate::kernels::Backend::reduce`]. Of no elements, the sum is 0, the product 1, the mean NaN, the largest −∞.
///
/// # Errors
/// Those of [`Backend::reduce`](crate::kernels::Backend::reduce).
pub fn reduce<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    op: Reduce,
    x: &Tensor<E, D>,
    axes: &[usize],
    keep_dims: bool,
) -> Result<Tensor<E, D>> {
    let sorted = axes.windows(2).all(|w| w.first() < w.last());
    require(sorted && axes.iter().all(|&a| a < x.rank()), || format!("reduction of {:?} over {axes:?}", x.dims()))?;
    if axes.is_empty() {
        return Ok(x.clone());
    }
    let reduced = |(i, &d): (usize, &usize)| if axes.contains(&i) { 1 } else { d };
    let kept: Vec<usize> = x.dims().iter().enumerate().map(reduced).collect();
    let count: usize = axes.iter().filter_map(|&a| x.dims().get(a)).product();
    let y = match op {
        _ if kept.contains(&0) => cx.upload(kept.clone(), vec![])?,
        Reduce::Sum if count == 0 => filled(cx, &kept, 0.)?,
        Reduce::Prod if count == 0 => filled(cx, &kept, 1.)?,
        Reduce::Mean if count == 0 => filled(cx, &kept, f64::NAN)?,
        Reduce::Max if count == 0 => filled(cx, &kept, f64::NEG_INFINITY)?,
        Reduce::Min if count == 0 => filled(cx, &kept, f64::INFINITY)?,
        Reduce::Sum => blocks(cx, x, axes, sum)?,
        Reduce::Mean => {
            let sum = blocks(cx, x, axes, sum)?;
            unary(cx, Unary::MulScalar((count as f64).recip()), &sum)?
        }
        Reduce::Max | Reduce::Min => extreme(cx, op, x, axes)?,
        Reduce::Prod => blocks(cx, x, axes, product)?,
    };
    let dropped = kept.iter().enumerate().filter(|(i, _)| keep_dims || !axes.contains(i)).map(|(_, &d)| d);
    y.reshaped(dropped.collect())
}

type Block<E, D> = fn(&mut Context<E, D>, &Tensor<E, D>, (usize, usize, usize)) -> Result<Tensor<E, D>>;

/// Reduces one run of neighboring axes after the other by `f`, which is given (outer, run, inner).
fn blocks<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    axes: &[usize],
    f: Block<E, D>,
) -> Result<Tensor<E, D>> {
    let mut dims = x.dims().to_vec();
    let mut y = x.clone();
    for run in axes.chunk_by(|a, b| a + 1 == *b).rev() {
        let (&[first, ..], &[.., last]) = (run, run) else { continue };
        let extent = |d: Option<&[usize]>| d.unwrap_or_default().iter().product();
        let view = (extent(dims.get(..first)), extent(dims.get(first..=last)), extent(dims.get(last + 1..)));
        y = f(cx, &y, view)?;
        for d in dims.iter_mut().take(last + 1).skip(first) {
            *d = 1;
        }
    }
    y.reshaped(dims)
}

/// Long axes are summed in two levels, if they divide: errors grow with the root of their length.
fn sum<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    (o, a, i): (usize, usize, usize),
) -> Result<Tensor<E, D>> {
    if a > 256
        && let Some(part) = (2..=a.isqrt()).rev().find(|p| a % p == 0)
    {
        let parts = sum(cx, x, (o * (a / part), part, i))?;
        return sum(cx, &parts, (o, a / part, i));
    }
    cx.compose(&[x], vec![o * i], |x| {
        x.try_reshape_like(&(o, a, i))?.try_sum::<(usize, usize), Axis<1>>()?.try_reshape_like(&(o * i,))
    })
}

fn largest<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    (o, a, i): (usize, usize, usize),
) -> Result<Tensor<E, D>> {
    cx.compose(&[x], vec![o * i], |x| {
        x.try_reshape_like(&(o, a, i))?.try_max::<(usize, usize), Axis<1>>()?.try_reshape_like(&(o * i,))
    })
}

fn smallest<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    (o, a, i): (usize, usize, usize),
) -> Result<Tensor<E, D>> {
    cx.compose(&[x], vec![o * i], |x| {
        x.try_reshape_like(&(o, a, i))?.try_min::<(usize, usize), Axis<1>>()?.try_reshape_like(&(o * i,))
    })
}

/// Halves the axis until one element is left, multiplying the halves: exact gradients, zeros or not.
fn product<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    (o, a, i): (usize, usize, usize),
) -> Result<Tensor<E, D>> {
    let (mut y, mut a) = (x.clone(), a);
    while a > 1 {
        let (half, none) = (a.div_ceil(2), y.len());
        let take = |start: usize| {
            let row = move |o, t| (0..i).map(move |k| if t < a { (o * a + t) * i + k } else { none });
            (0..o).flat_map(move |o| (start..start + half).flat_map(move |t| row(o, t))).collect::<Vec<_>>()
        };
        let (low, high) =
            (gather_or(cx, &y, take(0), 1., vec![o, half, i])?, gather_or(cx, &y, take(half), 1., vec![o, half, i])?);
        y = binary(cx, Binary::Mul, &low, &high)?;
        a = half;
    }
    y.reshaped(vec![o * i])
}

/// y = m + Σ over the ties of (x − x̄)/(number of ties), where m is the extreme, computed off the tape, and x̄ is x cut off
/// from it: the value is m, and the gradient is shared equally. (dfdx gives each tie the whole of it, and takes a number
/// before NaN, which would be hidden: all NaN are added to m.)
fn extreme<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    op: Reduce,
    x: &Tensor<E, D>,
    axes: &[usize],
) -> Result<Tensor<E, D>> {
    let m = blocks(cx, &x.detached(), axes, if op == Reduce::Max { largest } else { smallest })?;
    let zeros = filled(cx, x.dims(), 0.)?;
    let poison = cx.compose(&[&x.detached()], x.dims().to_vec(), |x| {
        let x = x.retaped::<NoneTape>();
        x.try_ne(&x)?.try_choose(x.retaped(), zeros.flat().clone())
    })?;
    let poison = blocks(cx, &poison, axes, sum)?;
    let m = binary(cx, Binary::Add, &m, &poison)?;
    if !cx.records(&[x]) {
        return Ok(m);
    }
    let wide = expand(cx, &m, x.dims())?;
    let ones = filled(cx, x.dims(), 1.)?;
    let ties = cx.compose(&[&wide], x.dims().to_vec(), |m| {
        let equal = x.flat().try_eq(&m.retaped::<NoneTape>())?;
        equal.try_choose(ones.flat().retaped(), zeros.flat().clone())
    })?;
    let moved = cx.compose(&[x], x.dims().to_vec(), |x| slope(x, ties.flat().clone()))?;
    let (moved, count) = (blocks(cx, &moved, axes, sum)?, blocks(cx, &ties, axes, sum)?);
    let shared = binary(cx, Binary::Div, &moved, &count)?;
    binary(cx, Binary::Add, &shared, &m)
}
