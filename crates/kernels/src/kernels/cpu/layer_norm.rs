//! Layer normalization of rows.

use super::{F32, lanes, par, reduce, simd::simd};
use crate::{engine::Context, error::Result};
use dfdx::prelude::Cpu;

simd! {
    /// The row's mean and 1/√(variance + ε).
    fn statistics<I>(x: &[f32], epsilon: f64) -> (f32, f32) {
        let n = x.len() as f32;
        let rough = lanes::sum(x, |x| x) / n;
        // What the rough mean is off by, from the deviations: exact for a mean that is large against them.
        let off = lanes::sum(x, |x| x - rough) / n;
        let var = lanes::sum(x, |x| (x - rough) * (x - rough)) / n - off * off;
        (rough + off, (1.0 / (f64::from(var) + epsilon).sqrt()) as f32)
    }
}

simd! {
    /// y = (x − mean)·inverse, times scale, plus bias
    fn normalize<I>(x: &[f32], mean: f32, inverse: f32, scale: Option<&[f32]>, bias: Option<&[f32]>, y: &mut [f32]) {
        match (scale, bias) {
            (Some(scale), Some(bias)) => {
                for (((y, &x), &s), &b) in y.iter_mut().zip(x).zip(scale).zip(bias) {
                    *y = I::fma((x - mean) * inverse, s, b);
                }
            }
            (Some(scale), None) => {
                y.iter_mut().zip(x).zip(scale).for_each(|((y, &x), &s)| *y = (x - mean) * inverse * s);
            }
            _ => y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - mean) * inverse),
        }
    }
}

simd! {
    /// dx += inverse·(g − mean g − z·mean(g·z)), with g = dy·scale and z = (x − mean)·inverse
    fn to_input<I>(x: &[f32], dy: &[f32], scale: Option<&[f32]>, mean: f32, inverse: f32, g: &mut [f32], dx: &mut [f32]) {
        match scale {
            Some(scale) => g.iter_mut().zip(dy).zip(scale).for_each(|((g, &dy), &s)| *g = dy * s),
            None => g.copy_from_slice(dy),
        }
        let n = x.len() as f32;
        let first = lanes::sum(g, |g| g) / n;
        let second = lanes::sum2(x, g, |x, g| (x - mean) * inverse * g) / n;
        for ((dx, &x), &g) in dx.iter_mut().zip(x).zip(g.iter()) {
            *dx += inverse * (g - first - (x - mean) * inverse * second);
        }
    }
}

simd! {
    /// ds += dy·z, db += dy
    fn to_parameters<I>(x: &[f32], dy: &[f32], mean: f32, inverse: f32, ds: &mut [f32], db: &mut [f32]) {
        for (((ds, db), &x), &dy) in ds.iter_mut().zip(db).zip(x).zip(dy) {
            *ds = I::fma(dy, (x - mean) * inverse, *ds);
            *db += dy;
        }
    }
}

/// Normalizes rows of `d` elements; then scale and bias, as long as a row, if there are any.
pub(super) fn layer_norm(
    cx: &mut Context<f32, Cpu>,
    x: &F32,
    parameters: Option<(&F32, Option<&F32>)>,
    d: usize,
    epsilon: f64,
) -> Result<F32> {
    if x.is_empty() {
        return cx.upload(x.dims().to_vec(), Vec::new());
    }
    let rows = x.len() / d;
    let source = x.as_slice();
    let (scale, bias) = (parameters.map(|p| p.0), parameters.and_then(|p| p.1));
    let mut statistics_of = vec![0.0; rows * 2];
    par::weighted_rows(&mut statistics_of, 2, 2 * d, |first, out| {
        for (out, x) in out.chunks_mut(2).zip(source[first * d..].chunks(d)) {
            (out[0], out[1]) = statistics(x, epsilon);
        }
    });
    let values = par::generate_rows(x.len(), d, d, |first, y| {
        for (row, (y, x)) in (first..).zip(y.chunks_mut(d).zip(source[first * d..].chunks(d))) {
            let (mean, inverse) = (statistics_of[2 * row], statistics_of[2 * row + 1]);
            normalize(x, mean, inverse, scale.map(F32::as_slice), bias.map(F32::as_slice), y);
        }
    });
    let mut inputs = vec![x];
    inputs.extend(scale);
    inputs.extend(bias);
    let (dx, ds, db) = (x.slot(), scale.and_then(F32::slot), bias.and_then(F32::slot));
    let (x_kept, scale_kept) = (x.detached(), scale.map(F32::detached));
    cx.record(&inputs, x.dims().to_vec(), values, move |dy, sink| {
        let x = x_kept.as_slice();
        let row = |i: usize| i * d..(i + 1) * d;
        if ds.is_some() || db.is_some() {
            // Blocks of rows, summed in order.
            let block = (par::CHUNK / d).max(16);
            let blocks = rows.div_ceil(block);
            let mut parts = vec![0.0; blocks * 2 * d];
            par::weighted_rows(&mut parts, 2 * d, block * d, |first, parts| {
                for (b, part) in (first..).zip(parts.chunks_mut(2 * d)) {
                    let (ds, db) = part.split_at_mut(d);
                    for i in b * block..((b + 1) * block).min(rows) {
                        let (mean, inverse) = (statistics_of[2 * i], statistics_of[2 * i + 1]);
                        to_parameters(&x[row(i)], &dy[row(i)], mean, inverse, ds, db);
                    }
                }
            });
            let total = reduce::middle(reduce::Sum, &parts, 1, blocks, 2 * d);
            if let Some(slot) = ds {
                par::give(sink, &slot, total[..d].to_vec())?;
            }
            if let Some(slot) = db {
                par::give(sink, &slot, total[d..].to_vec())?;
            }
        }
        if let Some(slot) = dx {
            let scale = scale_kept.as_ref().map(F32::as_slice);
            par::accumulate(sink, &slot, d, 2 * d, |first, dx| {
                par::scratch(d, |g| {
                    for (i, dx) in (first..).zip(dx.chunks_mut(d)) {
                        let (mean, inverse) = (statistics_of[2 * i], statistics_of[2 * i + 1]);
                        to_input(&x[row(i)], &dy[row(i)], scale, mean, inverse, g, dx);
                    }
                });
            })?;
        }
        Ok(())
    })
}
