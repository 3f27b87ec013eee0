//! Softmax and its logarithm over one axis, and cross-entropy. An axis that is not the last is moved there first, so
//! every row is contiguous.

use super::{F32, lanes, layout, mathf, par, simd::simd};
use crate::{
    engine::Context,
    error::Result,
    kernels::shape::{around, require},
};
use dfdx::prelude::Cpu;

simd! {
    fn softmax_row<I>(x: &[f32], y: &mut [f32]) {
        let top = lanes::max(x);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = mathf::exp::<I>(x - top);
        }
        let scale = 1.0 / lanes::sum(y, |y| y);
        y.iter_mut().for_each(|y| *y *= scale);
    }
}

simd! {
    /// dy := y·(dy − Σ y·dy)
    fn softmax_row_backward<I>(y: &[f32], dy: &mut [f32]) {
        let mean = lanes::sum2(y, dy, |y, dy| y * dy);
        dy.iter_mut().zip(y).for_each(|(dy, &y)| *dy = y * (*dy - mean));
    }
}

simd! {
    /// The largest element m and Σ eˣ⁻ᵐ.
    fn top_and_sum<I>(x: &[f32]) -> (f32, f32) {
        let top = lanes::max(x);
        (top, lanes::sum(
            x,
            #[inline(always)]
            |x| mathf::exp::<I>(x - top),
        ))
    }
}

simd! {
    fn log_softmax_row<I>(x: &[f32], y: &mut [f32]) {
        let top = lanes::max(x);
        let log = mathf::ln::<I>(lanes::sum(
            x,
            #[inline(always)]
            |x| mathf::exp::<I>(x - top),
        ));
        // In two steps: the largest element may be too large to keep the logarithm's digits.
        y.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - top) - log);
    }
}

simd! {
    /// dy := dy − eʸ·Σdy
    fn log_softmax_row_backward<I>(y: &[f32], dy: &mut [f32]) {
        let total = lanes::sum(dy, |dy| dy);
        for (dy, &y) in dy.iter_mut().zip(y) {
            *dy -= total * mathf::exp::<I>(y);
        }
    }
}

simd! {
    /// dx += scale·eˣ⁻ᶜ
    fn add_exp<I>(x: &[f32], c: f32, scale: f32, dx: &mut [f32]) {
        for (dx, &x) in dx.iter_mut().zip(x) {
            *dx = I::fma(scale, mathf::exp::<I>(x - c), *dx);
        }
    }
}

/// What an exponential costs, in elements of a plain loop.
const COST: usize = 4;

type Row = fn(&[f32], &mut [f32]);
type RowBackward = fn(&[f32], &mut [f32]);

/// eˣ/Σeˣ along `axis`.
pub(in crate::kernels) fn softmax(cx: &mut Context<f32, Cpu>, x: &F32, axis: usize) -> Result<F32> {
    along(cx, x, axis, softmax_row, softmax_row_backward)
}

/// x − ln Σeˣ along `axis`.
pub(in crate::kernels) fn log_softmax(cx: &mut Context<f32, Cpu>, x: &F32, axis: usize) -> Result<F32> {
    along(cx, x, axis, log_softmax_row, log_softmax_row_backward)
}

fn along(cx: &mut Context<f32, Cpu>, x: &F32, axis: usize, row: Row, backward: RowBackward) -> Result<F32> {
    let (outer, n, inner) = around(x.dims(), axis)?;
    if inner != 1 {
        let turned = layout::permute(cx, &x.reshaped(vec![outer, n, inner])?, &[0, 2, 1])?;
        let y = along(cx, &turned, 2, row, backward)?;
        return layout::permute(cx, &y, &[0, 2, 1])?.reshaped(x.dims().to_vec());
    }
    let source = x.as_slice();
    let values = par::generate_rows(x.len(), n, n * COST, |first, y| {
        y.chunks_mut(n).zip(source[first * n..].chunks(n)).for_each(|(y, x)| row(x, y));
    });
    let slot = x.slot();
    cx.record_with(&[x], x.dims().to_vec(), values, |y| {
        let y = y.detached();
        move |dy, sink| {
            let Some(slot) = slot else { return Ok(()) };
            let y = y.as_slice();
            let mut dy = dy;
            par::weighted_rows(&mut dy, n, n * COST, |first, dy| {
                dy.chunks_mut(n).zip(y[first * n..].chunks(n)).for_each(|(dy, y)| backward(y, dy));
            });
            par::give(sink, &slot, dy)
        }
    })
}

/// ln Σeˣ − x[class] of each row of (n, c).
pub(in crate::kernels) fn cross_entropy(cx: &mut Context<f32, Cpu>, logits: &F32, classes: &[usize]) -> Result<F32> {
    let &[n, c] = logits.dims() else {
        return Err(crate::Error::Internal(format!("cross-entropy of {:?}", logits.dims())));
    };
    require(classes.len() == n && classes.iter().all(|&k| k < c), || format!("{} classes for {n}×{c}", classes.len()))?;
    let x = logits.as_slice();
    let mut sums = vec![0.0; 2 * n];
    par::weighted_rows(&mut sums, 2, c * COST, |first, sums| {
        for (sums, row) in sums.chunks_mut(2).zip(x[first * c..].chunks(c)) {
            (sums[0], sums[1]) = top_and_sum(row);
        }
    });
    let losses = (0..n).map(|i| (sums[2 * i] - x[i * c + classes[i]]) + sums[2 * i + 1].ln()).collect();
    let (slot, kept, classes) = (logits.slot(), logits.detached(), classes.to_vec());
    cx.record(&[logits], vec![n], losses, move |dy, sink| {
        let Some(slot) = slot else { return Ok(()) };
        let x = kept.as_slice();
        par::accumulate(sink, &slot, c, c * COST, |first, dx| {
            for (i, dx) in (first..).zip(dx.chunks_mut(c)) {
                add_exp(&x[i * c..(i + 1) * c], sums[2 * i], dy[i] / sums[2 * i + 1], dx);
                dx[classes[i]] -= dy[i];
            }
        })
    })
}

simd! {
    /// max(x, 0) − x·t + ln(1 + e⁻|ˣ|)
    fn bce<I>(x: &[f32], t: &[f32], y: &mut [f32]) {
        for ((y, &x), &t) in y.iter_mut().zip(x).zip(t) {
            // The large terms first: what they leave may be small against them.
            let large = if x > 0.0 { x } else { 0.0 } - x * t;
            *y = large + mathf::log_1p_unit::<I>(mathf::exp::<I>(-x.abs()));
        }
    }
}

simd! {
    /// dx += dy·(σ(x) − t)
    fn bce_backward<I>(x: &[f32], t: &[f32], dy: &[f32], dx: &mut [f32]) {
        for (((dx, &x), &t), &dy) in dx.iter_mut().zip(x).zip(t).zip(dy) {
            *dx = I::fma(dy, mathf::sigmoid::<I>(x) - t, *dx);
        }
    }
}

/// −t·ln σ(x) − (1 − t)·ln(1 − σ(x)), elementwise.
pub(in crate::kernels) fn bce_with_logits(cx: &mut Context<f32, Cpu>, logits: &F32, targets: &F32) -> Result<F32> {
    require(logits.dims() == targets.dims(), || format!("{:?} logits, {:?} targets", logits.dims(), targets.dims()))?;
    let (x, t) = (logits.as_slice(), targets.as_slice());
    let values = par::generate(x.len(), |at, y| bce(&x[at..at + y.len()], &t[at..at + y.len()], y));
    let (dx, dt) = (logits.slot(), targets.slot());
    let (x, t) = (logits.detached(), targets.detached());
    cx.record(&[logits, targets], logits.dims().to_vec(), values, move |dy, sink| {
        let (x, t) = (x.as_slice(), t.as_slice());
        if let Some(slot) = dx {
            par::accumulate(sink, &slot, 1, 1, |at, dx| {
                let span = at..at + dx.len();
                bce_backward(&x[span.clone()], &t[span.clone()], &dy[span], dx);
            })?;
        }
        if let Some(slot) = dt {
            par::accumulate(sink, &slot, 1, 1, |at, dt| {
                let rows = x[at..].iter().zip(&dy[at..]);
                dt.iter_mut().zip(rows).for_each(|(dt, (x, dy))| *dt -= dy * x);
            })?;
        }
        Ok(())
    })
}
