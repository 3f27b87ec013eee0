//! Convolutions in which every output channel reads one input channel, plane by plane, without a matrix.
//!
//! A plane is laid out with its padding, and by phases where the stride is not 1: the rows and columns that leave the same
//! rest by the stride lie together. Then consecutive outputs read consecutive elements for every element of the window, also
//! from one row to the next, and a whole plane is one loop. What is computed at the ends of rows, where a window would
//! reach into the next row, is thrown away.

use super::{conv::Epilogue, par, par::Shared, simd::simd, window::Geometry};

/// Outputs that are computed side by side.
const SIDE: usize = 32;

simd! {
    /// out[i] = Σ w[t]·from[i + offsets[t]], for whole blocks.
    fn correlate<I>(from: &[f32], offsets: &[usize], w: &[f32], out: &mut [f32]) {
        for (block, out) in out.as_chunks_mut::<SIDE>().0.iter_mut().enumerate() {
            let mut sums = [0.0; SIDE];
            for (&offset, &w) in offsets.iter().zip(w) {
                let from = &from[block * SIDE + offset..][..SIDE];
                for i in 0..SIDE {
                    sums[i] = I::fma(w, from[i], sums[i]);
                }
            }
            *out = sums;
        }
    }
}

simd! {
    /// sums[t] += Σ from[i + offsets[t]]·with[i], in lanes, for whole blocks.
    fn products<I>(from: &[f32], offsets: &[usize], with: &[f32], sums: &mut [[f32; SIDE]]) {
        for (&offset, sums) in offsets.iter().zip(sums) {
            let mut lanes = *sums;
            for (from, with) in from[offset..].as_chunks::<SIDE>().0.iter().zip(with.as_chunks::<SIDE>().0) {
                for i in 0..SIDE {
                    lanes[i] = I::fma(from[i], with[i], lanes[i]);
                }
            }
            *sums = lanes;
        }
    }
}

/// How a plane is laid out.
struct Layout<'a> {
    g: &'a Geometry,
    /// Rows of a phase, and elements of a row.
    high: usize,
    wide: usize,
    /// Where each window element finds what the first output reads.
    offsets: Vec<usize>,
}

impl<'a> Layout<'a> {
    fn of(g: &'a Geometry) -> Self {
        let (high, wide) = (g.oh + (g.kh - 1) * g.dh / g.sh, g.ow + (g.kw - 1) * g.dw / g.sw);
        let offset = |tap: usize| {
            let (y, x) = (tap / g.kw * g.dh, tap % g.kw * g.dw);
            let phase = y % g.sh * g.sw + x % g.sw;
            (phase * high + y / g.sh) * wide + x / g.sw
        };
        Self { g, high, wide, offsets: (0..g.taps()).map(offset).collect() }
    }

    fn phase(&self) -> usize {
        self.high * self.wide
    }

    /// Length of all phases, with room for the last block.
    fn len(&self) -> usize {
        self.g.sh * self.g.sw * self.phase() + SIDE
    }

    /// Length of the outputs in rows of `wide`, in whole blocks.
    fn outputs(&self) -> usize {
        (self.g.oh * self.wide - (self.wide - self.g.ow)).next_multiple_of(SIDE)
    }

    /// Calls `f` with the row of the plane, and where its first element of each rest of columns is: its column, and its
    /// place in the layout, where the next ones follow.
    #[inline(always)]
    fn each_row(&self, mut f: impl FnMut(usize, usize, usize, usize)) {
        let g = self.g;
        for row in 0..g.h {
            let padded = row + g.ph;
            if padded / g.sh >= self.high {
                break;
            }
            for first in 0..g.sw.min(g.w) {
                let column = first + g.pw;
                let (phase, from) = (padded % g.sh * g.sw + column % g.sw, column / g.sw);
                if from < self.wide {
                    let n = (g.w - first).div_ceil(g.sw).min(self.wide - from);
                    f(row, first, (phase * self.high + padded / g.sh) * self.wide + from, n);
                }
            }
        }
    }

    /// Lays out a plane; what is not of the plane stays.
    fn embed(&self, plane: &[f32], to: &mut [f32]) {
        let step = self.g.sw;
        self.each_row(|row, column, at, n| {
            let (from, to) = (&plane[row * self.g.w + column..], &mut to[at..at + n]);
            match step {
                1 => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
                _ => to.iter_mut().zip(from.iter().step_by(step)).for_each(|(to, from)| *to = *from),
            }
        });
    }

    /// Adds what is laid out to a plane.
    fn collect(&self, from: &[f32], plane: &mut [f32]) {
        let step = self.g.sw;
        self.each_row(|row, column, at, n| {
            let (from, to) = (&from[at..at + n], &mut plane[row * self.g.w + column..]);
            match step {
                1 => to.iter_mut().zip(from).for_each(|(to, from)| *to += *from),
                _ => to.iter_mut().step_by(step).zip(from).for_each(|(to, from)| *to += *from),
            }
        });
    }

    /// Lays out a plane of outputs; what is between their rows stays.
    fn embed_outputs(&self, plane: &[f32], to: &mut [f32]) {
        for (to, from) in to.chunks_mut(self.wide).zip(plane.chunks(self.g.ow)) {
            to[..from.len()].iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }
}

/// Lends two buffers of zeros.
fn zeroed<R>(a: usize, b: usize, f: impl FnOnce(&mut [f32], &mut [f32]) -> R) -> R {
    par::scratch(a, |a| {
        a.fill(0.0);
        par::scratch(b, |b| {
            b.fill(0.0);
            f(a, b)
        })
    })
}

/// w ∗ x, finished by `epilogue`
pub(super) fn forward(g: &Geometry, x: &[f32], w: &[f32], epilogue: &Epilogue<'_>) -> Vec<f32> {
    let (channels, size, layout) = (g.groups * g.m, g.positions(), Layout::of(g));
    par::generate_rows(g.n * channels * size, size, cost(size * g.taps()), |first, y| {
        zeroed(layout.len(), layout.outputs(), |plane, out| {
            for (i, y) in (first..).zip(y.chunks_mut(size)) {
                let (n, channel) = (i / channels, i % channels);
                layout.embed(&x[g.plane(n, channel / g.m, 0)..][..g.h * g.w], plane);
                correlate(plane, &layout.offsets, &w[channel * g.taps()..], out);
                for (y, out) in y.chunks_mut(g.ow).zip(out.chunks(layout.wide)) {
                    y.iter_mut().zip(out).for_each(|(y, out)| *y = *out);
                }
                epilogue.finish(channel, i * size, y);
            }
        });
    })
}

/// The gradient to the input, added to what has arrived.
pub(super) fn to_input(g: &Geometry, w: &[f32], dy: &[f32], arrived: Option<Vec<f32>>) -> Vec<f32> {
    let (size, layout) = (g.h * g.w, Layout::of(g));
    let (phase, phases) = (layout.phase(), g.sh * g.sw);
    // Element j of a phase is read for output j − o by the window elements at o in that phase: the same sums, over outputs
    // with as many zeros before them.
    let before = layout.offsets.iter().map(|o| o % phase).max().unwrap_or(0);
    let mut order: Vec<usize> = (0..g.taps()).collect();
    order.sort_by_key(|&tap| layout.offsets[tap] / phase);
    let offsets: Vec<usize> = order.iter().map(|&tap| before - layout.offsets[tap] % phase).collect();
    let starts: Vec<usize> =
        (0..=phases).map(|p| order.partition_point(|&tap| layout.offsets[tap] / phase < p)).collect();
    let sorted: Vec<f32> = w.chunks(g.taps()).flat_map(|w| order.iter().map(|&tap| w[tap])).collect();
    let length = phase.next_multiple_of(SIDE);
    let piece = |first: usize, dx: &mut [f32]| {
        zeroed(before + length + SIDE, phases * phase + SIDE, |outputs, inputs| {
            for (i, dx) in dx.chunks_mut(size).enumerate() {
                let (n, group) = ((first + i) / g.groups, (first + i) % g.groups);
                for m in 0..g.m {
                    layout.embed_outputs(&dy[g.out_plane(n, group, m)..][..g.positions()], &mut outputs[before..]);
                    let w = &sorted[(group * g.m + m) * g.taps()..][..g.taps()];
                    // The end of a block may reach into the next phase, which is then written.
                    for p in 0..phases {
                        let taps = starts[p]..starts[p + 1];
                        correlate(outputs, &offsets[taps.clone()], &w[taps], &mut inputs[p * phase..][..length]);
                    }
                    layout.collect(inputs, dx);
                }
            }
        });
    };
    let cost = cost(g.m * g.positions() * g.taps());
    match arrived {
        Some(mut dx) => {
            par::weighted_rows(&mut dx, size, cost, piece);
            dx
        }
        None => par::generate_rows(g.n * g.groups * size, size, cost, piece),
    }
}

/// What so many multiplications cost, in elements of an elementwise loop.
fn cost(products: usize) -> usize {
    products.div_ceil(8)
}

/// dw += the gradient to the weights.
pub(super) fn to_weights(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let (shared, layout) = (Shared::new(dw), Layout::of(g));
    par::tasks(g.groups * g.m, |channel| {
        let (group, m) = (channel / g.m, channel % g.m);
        let mut sums = vec![[0.0; SIDE]; g.taps()];
        zeroed(layout.len(), layout.outputs(), |plane, outputs| {
            for n in 0..g.n {
                layout.embed(&x[g.plane(n, group, 0)..][..g.h * g.w], plane);
                layout.embed_outputs(&dy[g.out_plane(n, group, m)..][..g.positions()], outputs);
                products(plane, &layout.offsets, outputs, &mut sums);
            }
        });
        // SAFETY: each task has a channel of its own.
        let dw = unsafe { shared.slice(channel * g.taps(), g.taps()) };
        dw.iter_mut().zip(&sums).for_each(|(dw, lanes)| *dw += lanes.iter().sum::<f32>());
    });
}
