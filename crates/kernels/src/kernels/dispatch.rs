//! Which device runs which kernel: the one place that chooses between a fast kernel and a definition.

#[cfg(feature = "cuda")]
use super::cuda;
use super::{
    AdamArgs, Backend, BatchNormArgs, Binary, ConvArgs, LayerNormArgs, LinearArgs, LstmArgs, PadMode, PoolSpec, Reduce,
    Unary, compose, cpu, sizes,
};
#[cfg(feature = "cuda")]
use crate::tensor::HostTensor;
use crate::{
    engine::{Context, KernelChoice, Tensor},
    error::Result,
};
use dfdx::prelude::Cpu;
#[cfg(feature = "cuda")]
use dfdx::prelude::Cuda;
use ndarray::ArrayD;

impl Backend<f64> for Cpu {}

/// Calls and counts the fast kernel, or calls the definition where those are asked for or there is no fast kernel for the case.
macro_rules! choose {
    ($device:ident, $cx:ident, $name:ident($($argument:expr),*) $(if $condition:expr)?) => {
        if $cx.kernels == KernelChoice::Fast $(&& $condition)? {
            $cx.fast_kernels += 1;
            $device::$name($cx, $($argument),*)
        } else {
            compose::$name($cx, $($argument),*)
        }
    };
}

type Cx = Context<f32, Cpu>;
type F32 = Tensor<f32, Cpu>;

impl Backend<f32> for Cpu {
    fn unary(cx: &mut Cx, op: Unary, x: &F32) -> Result<F32> {
        choose!(cpu, cx, unary(op, x))
    }

    fn binary(cx: &mut Cx, op: Binary, a: &F32, b: &F32) -> Result<F32> {
        choose!(cpu, cx, binary(op, a, b))
    }

    fn select(cx: &mut Cx, mask: &ArrayD<bool>, a: &F32, b: &F32) -> Result<F32> {
        choose!(cpu, cx, select(mask, a, b))
    }

    fn matmul(cx: &mut Cx, a: &F32, b: &F32, ta: bool, tb: bool) -> Result<F32> {
        sizes::matmul(a.dims(), b.dims(), ta, tb)?;
        choose!(cpu, cx, matmul(a, b, ta, tb))
    }

    fn linear(cx: &mut Cx, args: LinearArgs<'_, f32, Cpu>) -> Result<F32> {
        sizes::linear(args.x.dims(), args.w.dims(), args.transposed)?;
        choose!(cpu, cx, linear(args) if args.activation.is_none_or(cpu::fuses))
    }

    fn conv(cx: &mut Cx, args: ConvArgs<'_, f32, Cpu>) -> Result<F32> {
        sizes::conv(args.x.dims(), args.w.dims(), args.spec)?;
        choose!(cpu, cx, conv(args) if cpu::convolves(args.x) && args.activation.is_none_or(cpu::fuses))
    }

    fn max_pool(cx: &mut Cx, x: &F32, spec: &PoolSpec) -> Result<F32> {
        choose!(cpu, cx, max_pool(x, spec) if cpu::pools(x))
    }

    fn avg_pool(cx: &mut Cx, x: &F32, spec: &PoolSpec) -> Result<F32> {
        choose!(cpu, cx, avg_pool(x, spec) if cpu::pools(x))
    }

    fn reduce(cx: &mut Cx, op: Reduce, x: &F32, axes: &[usize], keep_dims: bool) -> Result<F32> {
        choose!(cpu, cx, reduce(op, x, axes, keep_dims) if cpu::reduces(op))
    }

    fn softmax(cx: &mut Cx, x: &F32, axis: usize) -> Result<F32> {
        choose!(cpu, cx, softmax(x, axis))
    }

    fn log_softmax(cx: &mut Cx, x: &F32, axis: usize) -> Result<F32> {
        choose!(cpu, cx, log_softmax(x, axis))
    }

    fn batch_norm(cx: &mut Cx, args: BatchNormArgs<'_, f32, Cpu>) -> Result<F32> {
        choose!(cpu, cx, batch_norm(args))
    }

    fn layer_norm(cx: &mut Cx, args: LayerNormArgs<'_, f32, Cpu>) -> Result<F32> {
        choose!(cpu, cx, layer_norm(args))
    }

    fn permute(cx: &mut Cx, x: &F32, perm: &[usize]) -> Result<F32> {
        choose!(cpu, cx, permute(x, perm))
    }

    fn expand(cx: &mut Cx, x: &F32, dims: &[usize]) -> Result<F32> {
        choose!(cpu, cx, expand(x, dims))
    }

    fn concat(cx: &mut Cx, xs: &[&F32], axis: usize) -> Result<F32> {
        sizes::concat(&xs.iter().map(|x| x.dims()).collect::<Vec<_>>(), axis)?;
        choose!(cpu, cx, concat(xs, axis))
    }

    fn slice(cx: &mut Cx, x: &F32, starts: &[usize], steps: &[isize], out_dims: &[usize]) -> Result<F32> {
        choose!(cpu, cx, slice(x, starts, steps, out_dims))
    }

    fn pad(cx: &mut Cx, x: &F32, pads: &[[isize; 2]], mode: PadMode) -> Result<F32> {
        sizes::pad(x.dims(), pads)?;
        choose!(cpu, cx, pad(x, pads, mode))
    }

    fn gather(cx: &mut Cx, x: &F32, axis: usize, indices: &[usize], index_dims: &[usize]) -> Result<F32> {
        sizes::gather(x.dims(), axis, index_dims)?;
        choose!(cpu, cx, gather(x, axis, indices, index_dims))
    }

    fn gather_flat(cx: &mut Cx, x: &F32, indices: &[usize], dims: &[usize]) -> Result<F32> {
        choose!(cpu, cx, gather_flat(x, indices, dims))
    }

    fn cumsum(cx: &mut Cx, x: &F32, axis: usize, exclusive: bool, reverse: bool) -> Result<F32> {
        choose!(cpu, cx, cumsum(x, axis, exclusive, reverse))
    }

    fn lstm(cx: &mut Cx, args: LstmArgs<'_, f32, Cpu>) -> Result<F32> {
        choose!(cpu, cx, lstm(args))
    }

    fn cross_entropy(cx: &mut Cx, logits: &F32, classes: &[usize]) -> Result<F32> {
        choose!(cpu, cx, cross_entropy(logits, classes))
    }

    fn bce_with_logits(cx: &mut Cx, logits: &F32, targets: &F32) -> Result<F32> {
        choose!(cpu, cx, bce_with_logits(logits, targets))
    }

    fn adamw(cx: &mut Cx, args: AdamArgs<'_, f32, Cpu>) -> Result<bool> {
        choose!(cpu, cx, adamw(args))
    }
}

#[cfg(feature = "cuda")]
type GpuCx = Context<f32, Cuda>;
#[cfg(feature = "cuda")]
type GpuF32 = Tensor<f32, Cuda>;

#[cfg(feature = "cuda")]
impl Backend<f32> for Cuda {
    fn unary(cx: &mut GpuCx, op: Unary, x: &GpuF32) -> Result<GpuF32> {
        choose!(cuda, cx, unary(op, x) if cuda::takes(&[x]))
    }

    fn binary(cx: &mut GpuCx, op: Binary, a: &GpuF32, b: &GpuF32) -> Result<GpuF32> {
        choose!(cuda, cx, binary(op, a, b) if cuda::takes(&[a, b]))
    }

    fn select(cx: &mut GpuCx, mask: &ArrayD<bool>, a: &GpuF32, b: &GpuF32) -> Result<GpuF32> {
        choose!(cuda, cx, select(mask, a, b) if cuda::takes(&[a, b]) && !mask.is_empty())
    }

    fn matmul(cx: &mut GpuCx, a: &GpuF32, b: &GpuF32, ta: bool, tb: bool) -> Result<GpuF32> {
        sizes::matmul(a.dims(), b.dims(), ta, tb)?;
        choose!(cuda, cx, matmul(a, b, ta, tb) if cuda::takes(&[a, b]))
    }

    fn linear(cx: &mut GpuCx, args: LinearArgs<'_, f32, Cuda>) -> Result<GpuF32> {
        sizes::linear(args.x.dims(), args.w.dims(), args.transposed)?;
        choose!(cuda, cx, linear(args) if cuda::takes(&[args.x, args.w]))
    }

    fn conv(cx: &mut GpuCx, args: ConvArgs<'_, f32, Cuda>) -> Result<GpuF32> {
        sizes::conv(args.x.dims(), args.w.dims(), args.spec)?;
        match args.activation {
            Some(op) if !cuda::fuses(op) => {
                let y = Self::conv(cx, ConvArgs { activation: None, ..args })?;
                Self::unary(cx, op, &y)
            }
            _ => choose!(cuda, cx, conv(args) if cuda::convolves(args.x, args.w)),
        }
    }

    fn max_pool(cx: &mut GpuCx, x: &GpuF32, spec: &PoolSpec) -> Result<GpuF32> {
        choose!(cuda, cx, max_pool(x, spec) if cuda::pools(x))
    }

    fn avg_pool(cx: &mut GpuCx, x: &GpuF32, spec: &PoolSpec) -> Result<GpuF32> {
        choose!(cuda, cx, avg_pool(x, spec) if cuda::pools(x))
    }

    fn reduce(cx: &mut GpuCx, op: Reduce, x: &GpuF32, axes: &[usize], keep_dims: bool) -> Result<GpuF32> {
        choose!(cuda, cx, reduce(op, x, axes, keep_dims) if cuda::takes(&[x]) && cuda::reduces(op))
    }

    fn softmax(cx: &mut GpuCx, x: &GpuF32, axis: usize) -> Result<GpuF32> {
        choose!(cuda, cx, softmax(x, axis) if cuda::takes(&[x]))
    }

    fn log_softmax(cx: &mut GpuCx, x: &GpuF32, axis: usize) -> Result<GpuF32> {
        choose!(cuda, cx, log_softmax(x, axis) if cuda::takes(&[x]))
    }

    fn batch_norm(cx: &mut GpuCx, args: BatchNormArgs<'_, f32, Cuda>) -> Result<GpuF32> {
        choose!(cuda, cx, batch_norm(args) if cuda::takes(&[args.x]))
    }

    fn layer_norm(cx: &mut GpuCx, args: LayerNormArgs<'_, f32, Cuda>) -> Result<GpuF32> {
        choose!(cuda, cx, layer_norm(args) if cuda::takes(&[args.x]))
    }

    fn permute(cx: &mut GpuCx, x: &GpuF32, perm: &[usize]) -> Result<GpuF32> {
        choose!(cuda, cx, permute(x, perm) if cuda::takes(&[x]))
    }

    fn expand(cx: &mut GpuCx, x: &GpuF32, dims: &[usize]) -> Result<GpuF32> {
        choose!(cuda, cx, expand(x, dims) if cuda::takes(&[x]) && !dims.contains(&0))
    }

    fn concat(cx: &mut GpuCx, xs: &[&GpuF32], axis: usize) -> Result<GpuF32> {
        sizes::concat(&xs.iter().map(|x| x.dims()).collect::<Vec<_>>(), axis)?;
        choose!(cuda, cx, concat(xs, axis) if cuda::takes(xs))
    }

    fn slice(cx: &mut GpuCx, x: &GpuF32, starts: &[usize], steps: &[isize], out_dims: &[usize]) -> Result<GpuF32> {
        choose!(cuda, cx, slice(x, starts, steps, out_dims) if cuda::takes(&[x]) && !out_dims.contains(&0))
    }

    fn pad(cx: &mut GpuCx, x: &GpuF32, pads: &[[isize; 2]], mode: PadMode) -> Result<GpuF32> {
        sizes::pad(x.dims(), pads)?;
        choose!(cuda, cx, pad(x, pads, mode) if cuda::takes(&[x]))
    }

    fn gather(cx: &mut GpuCx, x: &GpuF32, axis: usize, indices: &[usize], index_dims: &[usize]) -> Result<GpuF32> {
        sizes::gather(x.dims(), axis, index_dims)?;
        choose!(cuda, cx, gather(x, axis, indices, index_dims) if cuda::takes(&[x]) && !indices.is_empty())
    }

    fn gather_flat(cx: &mut GpuCx, x: &GpuF32, indices: &[usize], dims: &[usize]) -> Result<GpuF32> {
        choose!(cuda, cx, gather_flat(x, indices, dims) if cuda::takes(&[x]) && !indices.is_empty())
    }

    fn lstm(cx: &mut GpuCx, args: LstmArgs<'_, f32, Cuda>) -> Result<GpuF32> {
        choose!(cuda, cx, lstm(args))
    }

    fn cross_entropy(cx: &mut GpuCx, logits: &GpuF32, classes: &[usize]) -> Result<GpuF32> {
        choose!(cuda, cx, cross_entropy(logits, classes) if cuda::takes(&[logits]))
    }

    fn bce_with_logits(cx: &mut GpuCx, logits: &GpuF32, targets: &GpuF32) -> Result<GpuF32> {
        choose!(cuda, cx, bce_with_logits(logits, targets) if cuda::takes(&[logits]))
    }

    fn adamw(cx: &mut GpuCx, args: AdamArgs<'_, f32, Cuda>) -> Result<bool> {
        choose!(cuda, cx, adamw(args))
    }

    fn feed(cx: &GpuCx, tensor: &HostTensor) -> Result<GpuF32> {
        if cx.kernels == KernelChoice::Fast { cuda::feed(cx, tensor) } else { cx.upload_host(tensor) }
    }

    fn stayed_finite(cx: &GpuCx) -> Result<bool> {
        if cx.kernels == KernelChoice::Fast { cuda::stayed_finite(cx) } else { Ok(true) }
    }
}
