//! Which device runs which kernel: the one place that chooses between a fast kernel and a definition.

use super::{AdamStep, Backend, Binary, ConvSpec, PadMode, PoolSpec, Reduce, Unary, compose, cpu};
use crate::{
    engine::{Buffer, Context, KernelChoice, Tensor},
    error::Result,
};
use dfdx::prelude::Cpu;
use ndarray::ArrayD;

impl Backend<f64> for Cpu {}

/// Calls the fast kernel, or the definition where those are asked for or there is no fast kernel for the case.
macro_rules! choose {
    ($cx:ident, $name:ident($($argument:expr),*) $(if $condition:expr)?) => {
        if $cx.kernels == KernelChoice::Fast $(&& $condition)? {
            cpu::$name($cx, $($argument),*)
        } else {
            compose::$name($cx, $($argument),*)
        }
    };
}

type Cx = Context<f32, Cpu>;
type F32 = Tensor<f32, Cpu>;

impl Backend<f32> for Cpu {
    fn unary(cx: &mut Cx, op: Unary, x: &F32) -> Result<F32> {
        choose!(cx, unary(op, x))
    }

    fn binary(cx: &mut Cx, op: Binary, a: &F32, b: &F32) -> Result<F32> {
        choose!(cx, binary(op, a, b))
    }

    fn select(cx: &mut Cx, mask: &ArrayD<bool>, a: &F32, b: &F32) -> Result<F32> {
        choose!(cx, select(mask, a, b))
    }

    fn matmul(cx: &mut Cx, a: &F32, b: &F32, ta: bool, tb: bool) -> Result<F32> {
        choose!(cx, matmul(a, b, ta, tb))
    }

    fn linear(cx: &mut Cx, x: &F32, w: &F32, t: bool, bias: Option<&F32>, activation: Option<Unary>) -> Result<F32> {
        choose!(cx, linear(x, w, t, bias, activation) if activation.is_none_or(cpu::fuses))
    }

    fn conv(cx: &mut Cx, x: &F32, w: &F32, bias: Option<&F32>, spec: &ConvSpec) -> Result<F32> {
        Self::conv_fused(cx, x, w, bias, None, None, spec)
    }

    fn conv_fused(
        cx: &mut Cx,
        x: &F32,
        w: &F32,
        bias: Option<&F32>,
        residual: Option<&F32>,
        activation: Option<Unary>,
        spec: &ConvSpec,
    ) -> Result<F32> {
        choose!(cx, conv_fused(x, w, bias, residual, activation, spec)
            if cpu::convolves(x) && activation.is_none_or(cpu::fuses))
    }

    fn max_pool(cx: &mut Cx, x: &F32, spec: &PoolSpec) -> Result<F32> {
        choose!(cx, max_pool(x, spec) if cpu::pools(x))
    }

    fn avg_pool(cx: &mut Cx, x: &F32, spec: &PoolSpec) -> Result<F32> {
        choose!(cx, avg_pool(x, spec) if cpu::pools(x))
    }

    fn reduce(cx: &mut Cx, op: Reduce, x: &F32, axes: &[usize], keep_dims: bool) -> Result<F32> {
        choose!(cx, reduce(op, x, axes, keep_dims) if cpu::reduces(op))
    }

    fn softmax(cx: &mut Cx, x: &F32, axis: usize) -> Result<F32> {
        choose!(cx, softmax(x, axis))
    }

    fn log_softmax(cx: &mut Cx, x: &F32, axis: usize) -> Result<F32> {
        choose!(cx, log_softmax(x, axis))
    }

    fn batch_norm(cx: &mut Cx, x: &F32, s: &F32, b: &F32, mean: &F32, var: &F32, epsilon: f64) -> Result<F32> {
        choose!(cx, batch_norm(x, s, b, mean, var, epsilon))
    }

    fn batch_norm_train(cx: &mut Cx, x: &F32, scale: &F32, bias: &F32, epsilon: f64) -> Result<F32> {
        choose!(cx, batch_norm_train(x, scale, bias, epsilon))
    }

    fn layer_norm(cx: &mut Cx, x: &F32, s: &F32, b: Option<&F32>, axis: usize, epsilon: f64) -> Result<F32> {
        choose!(cx, layer_norm(x, s, b, axis, epsilon))
    }

    fn permute(cx: &mut Cx, x: &F32, perm: &[usize]) -> Result<F32> {
        choose!(cx, permute(x, perm))
    }

    fn expand(cx: &mut Cx, x: &F32, dims: &[usize]) -> Result<F32> {
        choose!(cx, expand(x, dims))
    }

    fn concat(cx: &mut Cx, xs: &[&F32], axis: usize) -> Result<F32> {
        choose!(cx, concat(xs, axis))
    }

    fn slice(cx: &mut Cx, x: &F32, starts: &[usize], steps: &[isize], out_dims: &[usize]) -> Result<F32> {
        choose!(cx, slice(x, starts, steps, out_dims))
    }

    fn pad(cx: &mut Cx, x: &F32, pads: &[[isize; 2]], mode: PadMode) -> Result<F32> {
        choose!(cx, pad(x, pads, mode))
    }

    fn gather(cx: &mut Cx, x: &F32, axis: usize, indices: &[usize], index_dims: &[usize]) -> Result<F32> {
        choose!(cx, gather(x, axis, indices, index_dims))
    }

    fn gather_flat(cx: &mut Cx, x: &F32, indices: &[usize], dims: &[usize]) -> Result<F32> {
        choose!(cx, gather_flat(x, indices, dims))
    }

    fn cumsum(cx: &mut Cx, x: &F32, axis: usize, exclusive: bool, reverse: bool) -> Result<F32> {
        choose!(cx, cumsum(x, axis, exclusive, reverse))
    }

    fn lstm(cx: &mut Cx, gates: &F32, recurrent: &F32, h: &F32, c: &F32) -> Result<F32> {
        choose!(cx, lstm(gates, recurrent, h, c))
    }

    fn cross_entropy(cx: &mut Cx, logits: &F32, classes: &[usize]) -> Result<F32> {
        choose!(cx, cross_entropy(logits, classes))
    }

    fn bce_with_logits(cx: &mut Cx, logits: &F32, targets: &F32) -> Result<F32> {
        choose!(cx, bce_with_logits(logits, targets))
    }

    fn adamw(
        cx: &mut Cx,
        step: &AdamStep,
        parameter: &mut F32,
        moments: [&mut Buffer<f32, Cpu>; 2],
        gradient: &Buffer<f32, Cpu>,
        share: Option<&F32>,
    ) -> Result<bool> {
        choose!(cx, adamw(step, parameter, moments, gradient, share))
    }
}

#[cfg(feature = "cuda")]
impl Backend<f32> for dfdx::prelude::Cuda {}

#[cfg(feature = "cuda")]
impl Backend<f64> for dfdx::prelude::Cuda {}
