//! Batch and layer normalization.

use super::{F32, broadcast, par, reduce, simd::simd};
use crate::{
    engine::Context,
    error::Result,
    kernels::{BatchNormArgs, LayerNormArgs, shape::require, spec::Binary},
};
use dfdx::prelude::Cpu;

simd! {
    /// y = (x − m)·a + b
    fn scale_shift<I>(x: &[f32], m: f32, a: f32, b: f32, y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = I::fma(x - m, a, b);
        }
    }
}

simd! {
    /// y = (x − m)·a + b, elementwise
    fn scale_shift_each<I>(x: &[f32], m: &[f32], a: &[f32], b: &[f32], y: &mut [f32]) {
        for ((((y, &x), &m), &a), &b) in y.iter_mut().zip(x).zip(m).zip(a).zip(b) {
            *y = I::fma(x - m, a, b);
        }
    }
}

simd! {
    /// dx += a·(dy − first − (x − mean)·second)
    fn add_centered<I>(dy: &[f32], x: &[f32], mean: f32, first: f32, second: f32, a: f32, dx: &mut [f32]) {
        for ((dx, &dy), &x) in dx.iter_mut().zip(dy).zip(x) {
            *dx = I::fma(a, (dy - first) - (x - mean) * second, *dx);
        }
    }
}

simd! {
    /// dy ·= a
    fn scale<I>(a: f32, dy: &mut [f32]) {
        dy.iter_mut().for_each(|dy| *dy *= a);
    }
}

simd! {
    /// Σ x, Σ (x − c)·y
    fn moments<I>(x: &[f32], c: f32, y: &[f32]) -> (f32, f32) {
        (super::lanes::sum(y, |y| y), super::lanes::sum2(x, y, |x, y| (x - c) * y))
    }
}

simd! {
    fn sum<I>(x: &[f32]) -> f32 {
        super::lanes::sum(x, |x| x)
    }
}

simd! {
    /// Σ (x − c), Σ (x − c)²
    fn deviations<I>(x: &[f32], c: f32) -> [f32; 2] {
        [super::lanes::sum(x, |x| x - c), super::lanes::sum(x, |x| (x - c) * (x - c))]
    }
}

/// (n, c, p) of dimensions with channels on axis 1.
fn channels(dims: &[usize]) -> Result<(usize, usize, usize)> {
    require(dims.len() >= 2, || format!("batch normalization of {dims:?}"))?;
    Ok((dims[0], dims[1], dims[2..].iter().product()))
}

/// For each channel, the sum over images of `f(channel, plane)`, taken plane by plane.
fn per_channel<const N: usize>(
    (n, c, p): (usize, usize, usize),
    f: impl Fn(usize, std::ops::Range<usize>) -> [f32; N] + Sync,
) -> Vec<[f32; N]> {
    // Each task sums some channels over all images: the order of the sum depends on nothing else.
    let group = (par::CHUNK / (n * p).max(1)).clamp(1, c.max(1));
    let sums = par::collect(c.div_ceil(group), |task| {
        let channels = task * group..((task + 1) * group).min(c);
        channels.map(|k| sum_images(n, |i| f(k, (i * c + k) * p..(i * c + k + 1) * p))).collect::<Vec<_>>()
    });
    sums.concat()
}

/// Σ f(i), in blocks, so that rounding errors do not pile up.
fn sum_images<const N: usize>(n: usize, f: impl Fn(usize) -> [f32; N]) -> [f32; N] {
    const BLOCK: usize = 64;
    let mut total = [0.0; N];
    for from in (0..n).step_by(BLOCK) {
        let mut part = [0.0; N];
        for i in from..(from + BLOCK).min(n) {
            part.iter_mut().zip(f(i)).for_each(|(part, v)| *part += v);
        }
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    total
}

/// y = (x − m)·a + b with m, a and b of each channel. (One product and one sum would do, and lose all digits to a large
/// mean.)
fn apply(x: &[f32], (_, c, p): (usize, usize, usize), m: &[f32], a: &[f32], b: &[f32]) -> Vec<f32> {
    if p == 1 {
        return par::generate_rows(x.len(), c, c, |first, y| {
            y.chunks_mut(c).zip(x[first * c..].chunks(c)).for_each(|(y, x)| scale_shift_each(x, m, a, b, y));
        });
    }
    par::generate_rows(x.len(), p, p, |first, y| {
        for (plane, (y, x)) in (first..).zip(y.chunks_mut(p).zip(x[first * p..].chunks(p))) {
            scale_shift(x, m[plane % c], a[plane % c], b[plane % c], y);
        }
    })
}

/// Σ dy and Σ (x − mean)·dy of each channel.
fn gradient_sums(x: &[f32], dy: &[f32], mean: &[f32], shape: (usize, usize, usize)) -> Vec<[f32; 2]> {
    let (n, c, p) = shape;
    if p > 1 {
        return per_channel(shape, |k, span| {
            let (a, b) = moments(&x[span.clone()], mean[k], &dy[span]);
            [a, b]
        });
    }
    let products = par::generate(x.len(), |at, out| {
        for (i, out) in (at..).zip(out) {
            *out = (x[i] - mean[i % c]) * dy[i];
        }
    });
    let column = |v: &[f32]| reduce::sum_to(v, &[n, c], &[1, c]);
    column(dy).into_iter().zip(column(&products)).map(|(a, b)| [a, b]).collect()
}

/// See [`crate::kernels::Backend::batch_norm`].
pub(in crate::kernels) fn batch_norm(cx: &mut Context<f32, Cpu>, args: BatchNormArgs<'_, f32, Cpu>) -> Result<F32> {
    match args.statistics {
        Some([mean, var]) => by_given(cx, args, mean, var),
        None => by_own(cx, args),
    }
}

/// With given statistics, which get no gradient.
fn by_given(
    cx: &mut Context<f32, Cpu>,
    BatchNormArgs { x, scale, bias, epsilon, .. }: BatchNormArgs<'_, f32, Cpu>,
    mean: &F32,
    var: &F32,
) -> Result<F32> {
    let shape = channels(x.dims())?;
    let c = shape.1;
    require([scale, bias, mean, var].iter().all(|t| t.len() == c), || format!("statistics of {c} channels"))?;
    let inverse: Vec<f32> = var.as_slice().iter().map(|&v| (1.0 / (f64::from(v) + epsilon).sqrt()) as f32).collect();
    let mean = mean.to_vec();
    let a: Vec<f32> = inverse.iter().zip(scale.as_slice()).map(|(i, s)| i * s).collect();
    let values = apply(x.as_slice(), shape, &mean, &a, bias.as_slice());
    let (dx, ds, db) = (x.slot(), scale.slot(), bias.slot());
    let kept = ds.is_some().then(|| x.detached());
    cx.record(&[x, scale, bias], x.dims().to_vec(), values, move |dy, sink| {
        if let (Some(x), Some(slot)) = (&kept, &ds) {
            let sums = gradient_sums(x.as_slice(), &dy, &mean, shape);
            par::give(sink, slot, sums.iter().zip(&inverse).map(|(s, i)| s[1] * i).collect())?;
            if let Some(slot) = &db {
                par::give(sink, slot, sums.iter().map(|s| s[0]).collect())?;
            }
        } else if let Some(slot) = &db {
            par::give(sink, slot, reduce::sum_to(&dy, &[shape.0, c, shape.2], &[1, c, 1]))?;
        }
        let Some(slot) = dx else { return Ok(()) };
        let mut dy = dy;
        scale_channels(&mut dy, shape, &a);
        par::give(sink, &slot, dy)
    })
}

/// dy ·= a with a of each channel
fn scale_channels(dy: &mut [f32], (_, c, p): (usize, usize, usize), a: &[f32]) {
    if p == 1 {
        return par::rows(dy, c, |_, dy| {
            dy.chunks_mut(c).for_each(|dy| dy.iter_mut().zip(a).for_each(|(dy, a)| *dy *= a));
        });
    }
    par::rows(dy, p, |first, dy| (first..).zip(dy.chunks_mut(p)).for_each(|(plane, dy)| scale(a[plane % c], dy)));
}

/// With the batch's own mean and population variance, through which gradients flow.
fn by_own(
    cx: &mut Context<f32, Cpu>,
    BatchNormArgs { x, scale, bias, epsilon, .. }: BatchNormArgs<'_, f32, Cpu>,
) -> Result<F32> {
    let shape = channels(x.dims())?;
    let (n, c, p) = shape;
    require([scale, bias].iter().all(|t| t.len() == c), || format!("scale and bias of {c} channels"))?;
    let count = (n * p) as f32;
    let source = x.as_slice();
    let rough: Vec<f32> = per_channel(shape, |_, span| [sum(&source[span])]).iter().map(|[s]| s / count).collect();
    let moments = per_channel(shape, |k, span| deviations(&source[span], rough[k]));
    // What the rough mean is off by, from the deviations: exact for a mean that is large against them.
    let mean: Vec<f32> = moments.iter().zip(&rough).map(|([off, _], rough)| rough + off / count).collect();
    let var = moments.iter().map(|[off, squares]| squares / count - (off / count) * (off / count));
    let inverse: Vec<f32> = var.map(|v| (1.0 / (f64::from(v) + epsilon).sqrt()) as f32).collect();
    let a: Vec<f32> = inverse.iter().zip(scale.as_slice()).map(|(i, s)| i * s).collect();
    let values = apply(source, shape, &mean, &a, bias.as_slice());
    let (dx, ds, db, kept) = (x.slot(), scale.slot(), bias.slot(), x.detached());
    cx.record(&[x, scale, bias], x.dims().to_vec(), values, move |dy, sink| {
        let x = kept.as_slice();
        let sums = gradient_sums(x, &dy, &mean, shape);
        if let Some(slot) = ds {
            par::give(sink, &slot, sums.iter().zip(&inverse).map(|(s, i)| s[1] * i).collect())?;
        }
        if let Some(slot) = db {
            par::give(sink, &slot, sums.iter().map(|s| s[0]).collect())?;
        }
        if let Some(slot) = dx {
            // dx = a·(dy − Σdy/N − (x − mean)·inverse²·Σ(x − mean)·dy/N)
            par::accumulate(sink, &slot, p, p, |first, dx| {
                for (plane, dx) in (first..).zip(dx.chunks_mut(p)) {
                    let (k, span) = (plane % c, plane * p..(plane + 1) * p);
                    let (first, second) = (sums[k][0] / count, inverse[k] * inverse[k] * sums[k][1] / count);
                    add_centered(&dy[span.clone()], &x[span], mean[k], first, second, a[k], dx);
                }
            })?;
        }
        Ok(())
    })
}

/// Normalizes over the axes from `axis` on; `scale` and `bias` broadcast to those axes.
pub(in crate::kernels) fn layer_norm(
    cx: &mut Context<f32, Cpu>,
    LayerNormArgs { x, scale, bias, axis, epsilon }: LayerNormArgs<'_, f32, Cpu>,
) -> Result<F32> {
    require(axis <= x.rank(), || format!("layer normalization of {:?} from axis {axis}", x.dims()))?;
    let d: usize = x.dims()[axis..].iter().product();
    if [Some(scale), bias].iter().flatten().any(|t| t.len() != d) {
        // Scale or bias is repeated along some of the axes: the rare case goes in steps.
        let y = standardized(cx, x, d, epsilon)?;
        let y = broadcast::binary(cx, Binary::Mul, &y, scale)?;
        return bias.map_or(Ok(y.clone()), |bias| broadcast::binary(cx, Binary::Add, &y, bias));
    }
    super::layer_norm::layer_norm(cx, x, Some((scale, bias)), d, epsilon)
}

fn standardized(cx: &mut Context<f32, Cpu>, x: &F32, d: usize, epsilon: f64) -> Result<F32> {
    super::layer_norm::layer_norm(cx, x, None, d, epsilon)
}
