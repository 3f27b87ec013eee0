//! Convolutions in which every output channel reads one input channel: plane by plane, row by row, without a matrix.

use super::{conv::Tail, par, par::Shared, simd::simd, window::Geometry};
use std::ops::Range;

/// For every row of output and every window element that meets the input: the output row, the range of it, and where
/// in the input plane the range's first element reads.
#[inline(always)]
fn each_row(g: &Geometry, mut f: impl FnMut(usize, usize, Range<usize>, usize)) {
    for y in 0..g.oh {
        for tap in 0..g.taps() {
            let row = (y * g.sh + tap / g.kw * g.dh) as isize - g.ph as isize;
            let dx = (tap % g.kw * g.dw) as isize - g.pw as isize;
            let xs = Geometry::inside(dx, g.sw, g.w, 0..g.ow);
            if row < 0 || row >= g.h as isize || xs.is_empty() {
                continue;
            }
            let at = row as usize * g.w + ((xs.start * g.sw) as isize + dx) as usize;
            f(tap, y, xs, at);
        }
    }
}

simd! {
    /// y += w ∗ x for one plane
    fn plane<I>(g: &Geometry, x: &[f32], w: &[f32], y: &mut [f32]) {
        each_row(g, #[inline(always)] |tap, row, xs, at| {
            let (to, from, w) = (&mut y[row * g.ow..][xs.clone()], &x[at..], w[tap]);
            match g.sw {
                1 => {
                    for (to, &from) in to.iter_mut().zip(&from[..xs.len()]) {
                        *to = I::fma(w, from, *to);
                    }
                }
                2 => {
                    let from = &from[..2 * xs.len() - 1];
                    for (i, to) in to.iter_mut().enumerate() {
                        *to = I::fma(w, from[2 * i], *to);
                    }
                }
                s => {
                    for (i, to) in to.iter_mut().enumerate() {
                        *to = I::fma(w, from[s * i], *to);
                    }
                }
            }
        });
    }
}

simd! {
    /// dx += the gradient to one plane of the input
    fn plane_to_input<I>(g: &Geometry, dy: &[f32], w: &[f32], dx: &mut [f32]) {
        each_row(g, #[inline(always)] |tap, row, xs, at| {
            let (from, to, w) = (&dy[row * g.ow..][xs.clone()], &mut dx[at..], w[tap]);
            match g.sw {
                1 => {
                    for (to, &from) in to[..xs.len()].iter_mut().zip(from) {
                        *to = I::fma(w, from, *to);
                    }
                }
                2 => {
                    let to = &mut to[..2 * xs.len() - 1];
                    for (i, &from) in from.iter().enumerate() {
                        to[2 * i] = I::fma(w, from, to[2 * i]);
                    }
                }
                s => {
                    for (i, &from) in from.iter().enumerate() {
                        to[s * i] = I::fma(w, from, to[s * i]);
                    }
                }
            }
        });
    }
}

const LANES: usize = 16;

simd! {
    /// Adds to `sums`, a few lanes a window element, the products of one plane's input and output gradient.
    fn plane_to_weights<I>(g: &Geometry, x: &[f32], dy: &[f32], sums: &mut [[f32; LANES]]) {
        each_row(g, #[inline(always)] |tap, row, xs, at| {
            let (dy, x, sums) = (&dy[row * g.ow..][xs.clone()], &x[at..], &mut sums[tap]);
            if g.sw == 1 {
                let ((xs, x_rest), (dys, dy_rest)) = (x[..dy.len()].as_chunks::<LANES>(), dy.as_chunks::<LANES>());
                for (x, dy) in xs.iter().zip(dys) {
                    for i in 0..LANES {
                        sums[i] = I::fma(x[i], dy[i], sums[i]);
                    }
                }
                for ((sum, &x), &dy) in sums.iter_mut().zip(x_rest).zip(dy_rest) {
                    *sum = I::fma(x, dy, *sum);
                }
            } else {
                for (i, &dy) in dy.iter().enumerate() {
                    sums[i % LANES] = I::fma(x[i * g.sw], dy, sums[i % LANES]);
                }
            }
        });
    }
}

/// w ∗ x, finished by `tail`
pub(super) fn forward(g: &Geometry, x: &[f32], w: &[f32], tail: &Tail<'_>) -> Vec<f32> {
    let channels = g.groups * g.m;
    let size = g.positions();
    par::generate_rows(g.n * channels * size, size, size * g.taps(), |first, y| {
        for (i, y) in (first..).zip(y.chunks_mut(size)) {
            let (n, channel) = (i / channels, i % channels);
            let x = &x[g.plane(n, channel / g.m, 0)..][..g.h * g.w];
            plane(g, x, &w[channel * g.taps()..][..g.taps()], y);
            tail.finish(channel, i * size, y);
        }
    })
}

/// dx += the gradient to the input.
pub(super) fn to_input(g: &Geometry, w: &[f32], dy: &[f32], dx: &mut [f32]) {
    let size = g.h * g.w;
    par::weighted_rows(dx, size, g.m * g.positions() * g.taps(), |first, dx| {
        for (i, dx) in dx.chunks_mut(size).enumerate() {
            let (n, group) = ((first + i) / g.groups, (first + i) % g.groups);
            for m in 0..g.m {
                let dy = &dy[g.out_plane(n, group, m)..][..g.positions()];
                plane_to_input(g, dy, &w[(group * g.m + m) * g.taps()..][..g.taps()], dx);
            }
        }
    });
}

/// dw += the gradient to the weights.
pub(super) fn to_weights(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let shared = Shared::new(dw);
    par::tasks(g.groups * g.m, |channel| {
        let (group, m) = (channel / g.m, channel % g.m);
        let mut sums = vec![[0.0; LANES]; g.taps()];
        for n in 0..g.n {
            let (x, dy) = (&x[g.plane(n, group, 0)..][..g.h * g.w], &dy[g.out_plane(n, group, m)..][..g.positions()]);
            plane_to_weights(g, x, dy, &mut sums);
        }
        // SAFETY: each task has a channel of its own.
        let dw = unsafe { shared.slice(channel * g.taps(), g.taps()) };
        dw.iter_mut().zip(&sums).for_each(|(dw, lanes)| *dw += lanes.iter().sum::<f32>());
    });
}
