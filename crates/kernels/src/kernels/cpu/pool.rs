//! Pooling over one or two spatial axes, plane by plane.

use super::{F32, par, simd::simd, window::Geometry};
use crate::{
    engine::Context,
    error::{Error, Result},
    kernels::spec::{ConvSpec, PoolSpec},
};
use dfdx::prelude::Cpu;
use std::ops::Range;

/// Whether there is a fast version: for one and two spatial axes.
pub(in crate::kernels) fn supports(x: &F32) -> bool {
    matches!(x.rank(), 3 | 4) && x.len() < u32::MAX as usize
}

/// The geometry of a pooling, its output extents as the specification gives them; how many padded positions there are
/// along each axis; and the result's dimensions.
fn geometry(x: &F32, spec: &PoolSpec) -> Result<(Geometry, [usize; 2], Vec<usize>)> {
    let fault = || Error::Internal(format!("pooling of {:?} with {spec:?}", x.dims()));
    let &[n, c, ..] = x.dims() else { return Err(fault()) };
    // Each channel is a group of its own. The extents that `of` derives are replaced: ceil mode rounds them up.
    let dims = [[c, 1].as_slice(), &spec.kernel].concat();
    let roomy =
        spec.pads.iter().zip(&spec.kernel).zip(&spec.dilations).map(|((p, k), d)| [p[0], p[1] + k * d]).collect();
    let conv =
        ConvSpec { strides: spec.strides.clone(), dilations: spec.dilations.clone(), pads: roomy, groups: c.max(1) };
    let mut g = Geometry::of(x.dims(), &dims, &conv)?;
    let (mut padded, after) = ([g.h + g.ph, g.w + g.pw], |axis: usize| spec.pads.get(axis).map_or(0, |p| p[1]));
    match *spec.output.as_slice() {
        [w] => (g.oh, g.ow) = (1, w),
        [h, w] => (g.oh, g.ow) = (h, w),
        _ => return Err(fault()),
    }
    let last = spec.output.len() - 1;
    padded[1] += after(last);
    if last == 1 {
        padded[0] += after(0);
    }
    Ok((g, padded, [[n, c].as_slice(), &spec.output].concat()))
}

/// For each output row and window element that meets the plane: the row, the range of it, where the range's first
/// element reads.
#[inline(always)]
fn each_row(g: &Geometry, mut f: impl FnMut(usize, Range<usize>, usize)) {
    for y in 0..g.oh {
        for tap in 0..g.taps() {
            let row = (y * g.sh + tap / g.kw * g.dh) as isize - g.ph as isize;
            let dx = (tap % g.kw * g.dw) as isize - g.pw as isize;
            let xs = Geometry::inside(dx, g.sw, g.w, 0..g.ow);
            if row < 0 || row >= g.h as isize || xs.is_empty() {
                continue;
            }
            let at = row as usize * g.w + ((xs.start * g.sw) as isize + dx) as usize;
            f(y, xs, at);
        }
    }
}

/// No element: the window lies outside the plane.
const NOWHERE: u32 = u32::MAX;

simd! {
    /// The largest element of each window and where it lies; the first of equal ones, or the first NaN.
    fn largest<I>(g: &Geometry, x: &[f32], y: &mut [f32], place: &mut [u32]) {
        y.fill(f32::NEG_INFINITY);
        place.fill(NOWHERE);
        each_row(g, #[inline(always)] |row, xs, at| {
            let y = &mut y[row * g.ow..][xs.clone()];
            let place = &mut place[row * g.ow..][xs.clone()];
            let stride = g.sw;
            for (i, ((y, place), &x)) in y.iter_mut().zip(place).zip(x[at..].iter().step_by(stride)).enumerate() {
                let wins = x > *y || (x.is_nan() && !y.is_nan()) || *place == NOWHERE;
                *y = if wins { x } else { *y };
                *place = if wins { (at + i * stride) as u32 } else { *place };
            }
        });
    }
}

simd! {
    fn sums<I>(g: &Geometry, x: &[f32], y: &mut [f32]) {
        y.fill(0.0);
        each_row(g, #[inline(always)] |row, xs, at| {
            let y = &mut y[row * g.ow..][xs];
            y.iter_mut().zip(x[at..].iter().step_by(g.sw)).for_each(|(y, x)| *y += x);
        });
    }
}

/// Largest element of each window.
pub(in crate::kernels) fn max_pool(cx: &mut Context<f32, Cpu>, x: &F32, spec: &PoolSpec) -> Result<F32> {
    let (g, _, dims) = geometry(x, spec)?;
    let (size, out) = (g.h * g.w, g.positions());
    let planes = g.n * g.groups;
    let group = (par::CHUNK / (out * g.taps()).max(1)).max(1);
    let tasks = planes.div_ceil(group);
    let mut values = par::zeros(planes * out);
    let slot = x.slot().filter(|_| cx.records(&[x]));
    let wanted = slot.is_some();
    let places = {
        let (x, values) = (x.as_slice(), par::Shared::new(&mut values));
        par::collect(if out == 0 { 0 } else { tasks }, |task| {
            let first = task * group;
            let count = group.min(planes - first);
            // SAFETY: each task has planes of its own.
            let y = unsafe { values.slice(first * out, count * out) };
            let mut places = vec![NOWHERE; count * out];
            for (i, (y, place)) in y.chunks_mut(out).zip(places.chunks_mut(out)).enumerate() {
                largest(&g, &x[(first + i) * size..][..size], y, place);
            }
            if wanted { places } else { Vec::new() }
        })
    };
    cx.record(&[x], dims, values, move |dy, sink| {
        let Some(slot) = slot else { return Ok(()) };
        // One piece is one task's planes.
        par::accumulate(sink, &slot, size * group, par::CHUNK, |task, dx| {
            let Some(places) = places.get(task) else { return };
            for (i, (dx, places)) in dx.chunks_mut(size).zip(places.chunks(out)).enumerate() {
                for (&place, dy) in places.iter().zip(&dy[(task * group + i) * out..]) {
                    if place != NOWHERE {
                        dx[place as usize] += dy;
                    }
                }
            }
        })
    })
}

/// 1 / how many elements count in the mean of each window.
fn shares(g: &Geometry, padded: [usize; 2], include_pad: bool) -> Vec<f32> {
    let counts =
        |o: usize, stride: usize, kernel: usize, dilation: usize, before: usize, size: usize, padded: usize| {
            (0..kernel)
                .map(|k| o * stride + k * dilation)
                .filter(|&at| if include_pad { at < padded } else { at >= before && at - before < size })
                .count()
        };
    let rows = (0..g.oh).map(|y| counts(y, g.sh, g.kh, g.dh, g.ph, g.h, padded[0]));
    rows.flat_map(|rows| {
        (0..g.ow).map(move |x| 1.0 / (rows * counts(x, g.sw, g.kw, g.dw, g.pw, g.w, padded[1])).max(1) as f32)
    })
    .collect()
}

/// Mean of each window.
pub(in crate::kernels) fn avg_pool(cx: &mut Context<f32, Cpu>, x: &F32, spec: &PoolSpec) -> Result<F32> {
    let (g, padded, dims) = geometry(x, spec)?;
    let (size, out) = (g.h * g.w, g.positions());
    let shares = shares(&g, padded, spec.count_include_pad);
    let source = x.as_slice();
    let values = par::generate_rows(g.n * g.groups * out, out, out * g.taps(), |first, y| {
        for (i, y) in y.chunks_mut(out).enumerate() {
            sums(&g, &source[(first + i) * size..][..size], y);
            y.iter_mut().zip(&shares).for_each(|(y, share)| *y *= share);
        }
    });
    let slot = x.slot();
    cx.record(&[x], dims, values, move |dy, sink| {
        let Some(slot) = slot else { return Ok(()) };
        par::accumulate(sink, &slot, size, out * g.taps(), |first, dx| {
            for (i, dx) in dx.chunks_mut(size).enumerate() {
                let dy = &dy[(first + i) * out..][..out];
                each_row(
                    &g,
                    #[inline(always)]
                    |row, xs, at| {
                        let (dy, shares) = (&dy[row * g.ow..][xs.clone()], &shares[row * g.ow..][xs]);
                        let products = dy.iter().zip(shares).map(|(dy, share)| dy * share);
                        dx[at..].iter_mut().step_by(g.sw).zip(products).for_each(|(dx, p)| *dx += p);
                    },
                );
            }
        })
    })
}
