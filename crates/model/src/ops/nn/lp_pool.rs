//! LpPool-2/11/18/22 and GlobalLpPool-2/22, of floats (N, C, …): (Σ |x|ᵖ)^(1/p) over each window, or over all of a
//! channel; p is at least 1.
//!
//! `ceil_mode` and dilations from 18 on. Padding counts as 0. The gradient is 0 where the norm is 0.

use super::{pool::spatial, window::Window};
use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Backend, PadMode, PoolSpec, Reduce, Unary},
    ops::{Built, NodeContext, common::scaled, one, problem, reduce::reduction::root},
};

fn exponent(node: &NodeContext<'_>) -> Result<i64> {
    let p = node.int("p")?.unwrap_or(2);
    if p < 1 { Err(problem(format!("p is {p}, not at least 1"))) } else { Ok(p) }
}

/// LpPool.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let p = exponent(node)?;
    let window = Window::read(node, node.opset() >= 18, node.opset() >= 18)?;
    window.kernel()?;
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        let powers = power(cx, x, p)?;
        let sums = window_sums(cx, &powers, &window)?;
        norm(cx, &sums, p)
    })
}

/// GlobalLpPool.
pub fn global<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let p = exponent(node)?;
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        spatial(x.dims())?;
        let axes: Vec<usize> = (2..x.rank()).collect();
        let powers = power(cx, x, p)?;
        let sums = D::reduce(cx, Reduce::Sum, &powers, &axes, true)?;
        norm(cx, &sums, p)
    })
}

fn power<E: Float, D: Backend<E>>(cx: &mut Context<E, D>, x: &Tensor<E, D>, p: i64) -> Result<Tensor<E, D>> {
    let size = D::unary(cx, Unary::Abs, x)?;
    if p == 1 { Ok(size) } else { D::unary(cx, Unary::PowScalar(p as f64), &size) }
}

fn norm<E: Float, D: Backend<E>>(cx: &mut Context<E, D>, sums: &Tensor<E, D>, p: i64) -> Result<Tensor<E, D>> {
    match p {
        1 => Ok(sums.clone()),
        2 => root(cx, Unary::Sqrt, sums),
        _ => root(cx, Unary::PowScalar(1.0 / p as f64), sums),
    }
}

/// The sum of each window: its mean by its extent, after the zeros around x are put in place, so that no window
/// overhangs and every mean has the same divisor.
fn window_sums<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    window: &Window,
) -> Result<Tensor<E, D>> {
    let placed = window.place(spatial(x.dims())?, None)?;
    placed.require_pool(x.dims())?;
    let axes = placed.kernel.iter().zip(&placed.dilations).zip(placed.strides.iter().zip(&placed.output));
    let mut pads = vec![[0, 0]; 2];
    for ((((&k, &dilation), (&stride, &output)), &[before, _]), &n) in axes.zip(&placed.pads).zip(spatial(x.dims())?) {
        let reach = output.checked_sub(1).and_then(|o| o.checked_mul(stride));
        let reach = reach.and_then(|r| r.checked_add((k - 1).checked_mul(dilation)?)?.checked_add(1));
        let reach = reach.and_then(|r| isize::try_from(r).ok()).ok_or_else(|| problem("the window is too large"))?;
        pads.push([before, reach - before - n as isize]);
    }
    let x =
        if pads.iter().flatten().any(|&p| p != 0) { D::pad(cx, x, &pads, PadMode::Constant(0.0))? } else { x.clone() };
    let elements: usize = placed.kernel.iter().product();
    let spec = PoolSpec {
        pads: vec![[0, 0]; placed.kernel.len()],
        kernel: placed.kernel,
        strides: placed.strides,
        dilations: placed.dilations,
        output: placed.output,
        count_include_pad: true,
    };
    let means = D::avg_pool(cx, &x, &spec)?;
    scaled(cx, &means, elements as f64)
}
