//! Reductions over axes. Each pass reduces one run of neighboring axes, so works on (outer, axis, inner); the passes
//! go from the innermost run outwards.

use super::{F32, lanes, par, simd::simd, walk::Walk};
use crate::{
    engine::{Context, Slot},
    error::{Error, Result},
    kernels::{shape::broadcast_strides, spec::Reduce},
};
use dfdx::{prelude::Cpu, tensor::CpuError};

/// How two elements become one.
pub(super) trait Fold: Copy + Send + Sync + 'static {
    const IDENTITY: f32;
    fn combine(a: f32, b: f32) -> f32;
}

#[derive(Clone, Copy)]
pub(super) struct Sum;
#[derive(Clone, Copy)]
pub(super) struct Max;
#[derive(Clone, Copy)]
pub(super) struct Min;

impl Fold for Sum {
    const IDENTITY: f32 = 0.0;
    #[inline(always)]
    fn combine(a: f32, b: f32) -> f32 {
        a + b
    }
}

impl Fold for Max {
    const IDENTITY: f32 = f32::NEG_INFINITY;
    #[inline(always)]
    fn combine(a: f32, b: f32) -> f32 {
        lanes::larger(a, b)
    }
}

impl Fold for Min {
    const IDENTITY: f32 = f32::INFINITY;
    #[inline(always)]
    fn combine(a: f32, b: f32) -> f32 {
        lanes::smaller(a, b)
    }
}

simd! {
    fn fold_row<I, F: Fold>(_f: F, x: &[f32]) -> f32 {
        lanes::fold(x, F::IDENTITY, |x| x, F::combine)
    }
}

simd! {
    /// out[j] = fold over rows r of x[r·stride + j]
    fn fold_columns<I, F: Fold>(_f: F, x: &[f32], stride: usize, out: &mut [f32]) {
        out.fill(F::IDENTITY);
        for row in x.chunks(stride) {
            for (out, &x) in out.iter_mut().zip(row) {
                *out = F::combine(*out, x);
            }
        }
    }
}

simd! {
    fn add_scalar<I>(x: f32, y: &mut [f32]) {
        y.iter_mut().for_each(|y| *y += x);
    }
}

simd! {
    fn add_scaled<I>(c: f32, x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = I::fma(c, x, *y);
        }
    }
}

/// Reduces the middle axis of (outer, axis, inner).
pub(super) fn middle<F: Fold>(f: F, x: &[f32], outer: usize, axis: usize, inner: usize) -> Vec<f32> {
    let mut out = vec![F::IDENTITY; outer * inner];
    if out.is_empty() || axis == 0 {
        return out;
    }
    if inner == 1 && axis <= 4 * par::CHUNK {
        par::weighted_rows(&mut out, 1, axis, |first, out| {
            let x = &x[first * axis..];
            out.iter_mut().zip(x.chunks(axis)).for_each(|(out, row)| *out = fold_row(f, row));
        });
        return out;
    }
    // Rows of a block that one task reduces; where that leaves several blocks, their results are reduced in turn.
    let block = (par::CHUNK / inner).max(4).min(axis);
    let wide = inner >= 1 << 12;
    if inner > 1 && (wide || axis <= block || outer * inner >= 1 << 16) {
        if wide {
            // Tasks of columns.
            const COLUMNS: usize = 1 << 10;
            let pieces = inner.div_ceil(COLUMNS);
            let shared = par::Shared::new(&mut out);
            par::tasks(outer * pieces, |task| {
                let (o, from) = (task / pieces, task % pieces * COLUMNS);
                let width = COLUMNS.min(inner - from);
                // SAFETY: tasks have different columns.
                let out = unsafe { shared.slice(o * inner + from, width) };
                fold_columns(f, &x[o * axis * inner + from..(o + 1) * axis * inner], inner, out);
            });
        } else {
            par::weighted_rows(&mut out, inner, axis * inner, |first, out| {
                let x = &x[first * axis * inner..];
                out.chunks_mut(inner).zip(x.chunks(axis * inner)).for_each(|(out, x)| fold_columns(f, x, inner, out));
            });
        }
        return out;
    }
    let blocks = axis.div_ceil(block);
    let mut parts = vec![0.0; outer * blocks * inner];
    par::weighted_rows(&mut parts, inner, block * inner, |first, parts| {
        for (i, out) in parts.chunks_mut(inner).enumerate() {
            let (o, b) = ((first + i) / blocks, (first + i) % blocks);
            let (from, to) = (b * block, ((b + 1) * block).min(axis));
            let x = &x[(o * axis + from) * inner..(o * axis + to) * inner];
            if inner == 1 { out[0] = fold_row(f, x) } else { fold_columns(f, x, inner, out) }
        }
    });
    middle(f, &parts, outer, blocks, inner)
}

/// Reduces `axes` of a tensor of `dims`.
pub(super) fn fold<F: Fold>(f: F, x: &[f32], dims: &[usize], axes: &[usize]) -> Vec<f32> {
    let mut done: Option<Vec<f32>> = None;
    let (mut inner, mut axis) = (1, dims.len());
    while axis > 0 {
        axis -= 1;
        if !axes.contains(&axis) {
            inner *= dims[axis];
            continue;
        }
        let mut extent = dims[axis];
        while axis > 0 && axes.contains(&(axis - 1)) {
            axis -= 1;
            extent *= dims[axis];
        }
        if extent != 1 {
            let outer = dims[..axis].iter().product();
            done = Some(middle(f, done.as_deref().unwrap_or(x), outer, extent, inner));
        }
    }
    done.unwrap_or_else(|| x.to_vec())
}

/// Sums a tensor of shape `from` down to `to`, which broadcasts to `from`.
pub(super) fn sum_to(x: &[f32], from: &[usize], to: &[usize]) -> Vec<f32> {
    let missing = from.len() - to.len();
    let axes: Vec<usize> =
        (0..from.len()).filter(|&axis| axis < missing || (to[axis - missing] == 1 && from[axis] != 1)).collect();
    fold(Sum, x, from, &axes)
}

/// Adds c·v, with v of shape `dims` repeated to shape `full`.
fn add_repeated(
    sink: &mut par::Sink<'_>,
    slot: &Slot<f32>,
    full: &[usize],
    v: &[f32],
    dims: &[usize],
    c: f32,
) -> Result<(), CpuError> {
    let walk = Walk::new(full, [&broadcast_strides(dims, full)]);
    let [step] = walk.steps();
    par::accumulate(sink, slot, 1, 1, |start, dx| {
        walk.each(start, dx.len(), |at, [i], n| {
            let (i, dx) = (i as usize, &mut dx[at..at + n]);
            if step == 0 { add_scalar(c * v[i], dx) } else { add_scaled(c, &v[i..i + n], dx) }
        });
    })
}

/// Whether there is a fast version.
pub(in crate::kernels) fn supports(op: Reduce) -> bool {
    op != Reduce::Prod
}

/// A reduction over `axes` (sorted, unique; none of them: the identity).
pub(in crate::kernels) fn reduce(
    cx: &mut Context<f32, Cpu>,
    op: Reduce,
    x: &F32,
    axes: &[usize],
    keep_dims: bool,
) -> Result<F32> {
    let full = x.dims().to_vec();
    let kept: Vec<usize> = (0..full.len()).map(|a| if axes.contains(&a) { 1 } else { full[a] }).collect();
    let dims: Vec<usize> =
        if keep_dims { kept.clone() } else { (0..full.len()).filter(|a| !axes.contains(a)).map(|a| full[a]).collect() };
    if axes.is_empty() {
        return x.reshaped(dims);
    }
    let count: usize = axes.iter().map(|&a| full[a]).product();
    let slot = x.slot();
    match op {
        Reduce::Sum | Reduce::Mean => {
            let scale = if op == Reduce::Mean { 1.0 / count as f32 } else { 1.0 };
            let mut values = fold(Sum, x.as_slice(), &full, axes);
            if op == Reduce::Mean {
                values.iter_mut().for_each(|v| *v /= count as f32);
            }
            cx.record(&[x], dims, values, move |dy, sink| match slot {
                Some(slot) => add_repeated(sink, &slot, &full, &dy, &kept, scale),
                None => Ok(()),
            })
        }
        Reduce::Max | Reduce::Min => {
            let values = match op {
                Reduce::Max => fold(Max, x.as_slice(), &full, axes),
                _ => fold(Min, x.as_slice(), &full, axes),
            };
            let axes = axes.to_vec();
            cx.record_with(&[x], dims, values, |y| {
                let (x, y) = (x.detached(), y.detached());
                move |dy, sink| {
                    let Some(slot) = slot else { return Ok(()) };
                    par::change(sink, &slot, |dx| share(dx, x.as_slice(), &full, y.as_slice(), &kept, &axes, &dy))
                }
            })
        }
        Reduce::Prod => Err(Error::Internal("no fast product over axes".into())),
    }
}

/// dx += dy/k where x is one of the k extreme elements y.
fn share(dx: &mut [f32], x: &[f32], full: &[usize], y: &[f32], kept: &[usize], axes: &[usize], dy: &[f32]) {
    let walk = Walk::new(full, [&broadcast_strides(kept, full)]);
    let [step] = walk.steps();
    let ties = par::generate(x.len(), |start, out| {
        walk.each(start, out.len(), |at, [i], n| {
            let x = &x[start + at..start + at + n];
            for (j, (out, &x)) in out[at..at + n].iter_mut().zip(x).enumerate() {
                *out = f32::from(x == y[i as usize + j * step as usize]);
            }
        });
    });
    let mut shares = fold(Sum, &ties, full, axes);
    shares.iter_mut().zip(dy).for_each(|(count, dy)| *count = dy / *count);
    par::over(dx, |start, dx| {
        walk.each(start, dx.len(), |at, [i], n| {
            let ties = &ties[start + at..start + at + n];
            for (j, (dx, &tie)) in dx[at..at + n].iter_mut().zip(ties).enumerate() {
                if tie != 0.0 {
                    *dx += shares[i as usize + j * step as usize];
                }
            }
        });
    });
}
