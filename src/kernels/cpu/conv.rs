//! Convolution over one or two spatial axes: windows are unrolled block by block into a small matrix that stays in the
//! cache, and multiplied by faer. The blocks depend on the shapes alone.

use super::{
    F32, depthwise,
    par::{self, Shared},
    product::{Mat, Old, on_thread, small},
    reduce,
    window::{Block, Geometry},
};
use crate::{engine::Context, error::Result, kernels::spec::ConvSpec};
use dfdx::prelude::Cpu;

/// Whether there is a fast version: for one and two spatial axes.
pub(in crate::kernels) fn supports(x: &F32) -> bool {
    matches!(x.rank(), 3 | 4)
}

/// What the output holds before the products are added.
#[derive(Clone, Copy)]
enum Start<'a> {
    Zero,
    Bias(&'a [f32]),
    /// What is there.
    Old,
}

/// Convolution of x (N, C, spatial…) by w (M, C/groups, kernel…), plus bias (M).
pub(in crate::kernels) fn conv(
    cx: &mut Context<f32, Cpu>,
    x: &F32,
    w: &F32,
    bias: Option<&F32>,
    spec: &ConvSpec,
) -> Result<F32> {
    let geometry = Geometry::of(x.dims(), w.dims(), spec)?;
    let depthwise = geometry.c == 1 && geometry.groups > 1;
    let [n, m, oh, ow] = geometry.output();
    let dims = if x.rank() == 3 { vec![n, m, ow] } else { vec![n, m, oh, ow] };
    crate::kernels::shape::require(bias.is_none_or(|b| b.len() == m), || format!("bias for {m} channels"))?;
    let mut values = vec![0.0; n * m * oh * ow];
    if depthwise {
        depthwise::forward(&geometry, x.as_slice(), w.as_slice(), bias.map(F32::as_slice), &mut values);
    } else {
        let start = bias.map_or(Start::Zero, |b| Start::Bias(b.as_slice()));
        forward(&geometry, x.as_slice(), w.as_slice(), start, &mut values);
    }
    let (dx, dw, db) = (x.slot(), w.slot(), bias.and_then(F32::slot));
    let (x_kept, w_kept) = (dw.is_some().then(|| x.detached()), dx.is_some().then(|| w.detached()));
    let mut inputs = vec![x, w];
    inputs.extend(bias);
    cx.record(&inputs, dims, values, move |dy, sink| {
        let g = &geometry;
        if let Some(slot) = db {
            par::add(sink.at(&slot)?, &reduce::sum_to(dy, &[n, m, oh * ow], &[1, m, 1]));
        }
        if let (Some(slot), Some(x)) = (dw, x_kept) {
            let dw = sink.at(&slot)?;
            if depthwise { depthwise::to_weights(g, x.as_slice(), dy, dw) } else { to_weights(g, x.as_slice(), dy, dw) }
        }
        if let (Some(slot), Some(w)) = (dx, w_kept) {
            let dx = sink.at(&slot)?;
            if depthwise { depthwise::to_input(g, w.as_slice(), dy, dx) } else { to_input(g, w.as_slice(), dy, dx) }
        }
        Ok(())
    })
}

/// y = start + w ∗ x
fn forward(g: &Geometry, x: &[f32], w: &[f32], start: Start<'_>, y: &mut [f32]) {
    let (blocks, ranges, depth) = (g.blocks(), g.channel_ranges(), g.c * g.taps());
    let tallest = ranges.iter().map(|r| r.len()).max().unwrap_or(0) * g.taps();
    let y = Shared::new(y);
    par::tasks(blocks.len() * g.groups, |task| {
        let (block, group) = (&blocks[task / g.groups], task % g.groups);
        let one = block.rows.len() * g.ow;
        let width = block.images.len() * one;
        let weights = &w[group * g.m * depth..(group + 1) * g.m * depth];
        // One image is written in place; several go through a buffer in which they lie side by side.
        let direct = block.images.len() == 1;
        let old = if matches!(start, Start::Zero) { Old::Replaced } else { Old::Kept };
        par::scratch(tallest * width, |unrolled| {
            par::scratch(if direct { 0 } else { g.m * width }, |buffer| {
                let (to, stride) = if direct {
                    let at = g.out_plane(block.images.start, group, 0) + block.rows.start * g.ow;
                    (y.pointer(at, (g.m - 1) * g.positions() + width), g.positions())
                } else {
                    (buffer.as_mut_ptr(), width)
                };
                if let (Start::Bias(bias), true) = (start, direct) {
                    for m in 0..g.m {
                        // SAFETY: these rows of this image belong to this task.
                        unsafe { y.slice(g.out_plane(block.images.start, group, m) + block.rows.start * g.ow, width) }
                            .fill(bias[group * g.m + m]);
                    }
                }
                for (i, channels) in ranges.iter().enumerate() {
                    let taken =
                        Mat::strided(&weights[channels.start * g.taps()..], g.m, channels.len() * g.taps(), depth);
                    let columns = g.unroll(x, group, channels.clone(), block, unrolled);
                    let old = if i > 0 || (direct && old == Old::Kept) { Old::Kept } else { Old::Replaced };
                    // SAFETY: `to` reaches m rows of `width` elements, which belong to this task.
                    unsafe { on_thread(to, stride, taken, columns, old) }
                }
                if !direct {
                    for (i, n) in block.images.clone().enumerate() {
                        for m in 0..g.m {
                            let from = &buffer[m * width + i * one..][..one];
                            // SAFETY: this image belongs to this task.
                            let to = unsafe { y.slice(g.out_plane(n, group, m), one) };
                            match start {
                                Start::Zero => to.copy_from_slice(from),
                                Start::Bias(b) => add_scalar(to, from, b[group * g.m + m]),
                                Start::Old => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
                            }
                        }
                    }
                }
            });
        });
    });
}

fn add_scalar(to: &mut [f32], from: &[f32], c: f32) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = from + c);
}

/// dx += the gradient to the input.
fn to_input(g: &Geometry, w: &[f32], dy: &[f32], dx: &mut [f32]) {
    if let Some(reversed) = g.reversed() {
        return forward(&reversed, dy, &flipped(g, w), Start::Old, dx);
    }
    // Each task owns some channels of some images, whose windows overlap only with each other.
    let (blocks, ranges, depth) = (g.blocks(), g.channel_ranges(), g.c * g.taps());
    let owners: Vec<&[Block]> = blocks.chunk_by(|a, b| a.images == b.images).collect();
    let tallest = ranges.iter().map(|r| r.len()).max().unwrap_or(0) * g.taps();
    let dx = Shared::new(dx);
    par::tasks(owners.len() * g.groups * ranges.len(), |task| {
        let (owner, rest) = (owners[task / (g.groups * ranges.len())], task % (g.groups * ranges.len()));
        let (group, channels) = (rest / ranges.len(), &ranges[rest % ranges.len()]);
        let weights = &w[group * g.m * depth + channels.start * g.taps()..];
        let weights = Mat::strided(weights, g.m, channels.len() * g.taps(), depth);
        for block in owner {
            let one = block.rows.len() * g.ow;
            let width = block.images.len() * one;
            par::scratch(tallest * width, |unrolled| {
                with_rows(g, dy, group, block, |dy| small(unrolled, weights.t(), dy, Old::Replaced));
                for (i, n) in block.images.clone().enumerate() {
                    // SAFETY: these channels of this image belong to this task.
                    let planes = unsafe { dx.slice(g.plane(n, group, channels.start), channels.len() * g.h * g.w) };
                    g.roll(unrolled, width, i * one, block.rows.clone(), planes);
                }
            });
        }
    });
}

/// dw += the gradient to the weights.
fn to_weights(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let (blocks, depth) = (g.blocks(), g.c * g.taps());
    let tasks = 8usize.div_ceil(g.groups);
    // First the channels are shared out, whose weights are apart; then, where those are few, the positions, whose
    // sums are added in order.
    let each = g.c.div_ceil(g.channel_ranges().len().max(tasks.min(g.c * g.taps() / 128))).max(1);
    let ranges: Vec<_> = (0..g.c).step_by(each).map(|c| c..(c + each).min(g.c)).collect();
    let parts = (tasks / ranges.len().max(1)).clamp(1, blocks.len().max(1));
    let share = blocks.len().div_ceil(parts).max(1);
    let tallest = each * g.taps();
    let shares: Vec<&[Block]> = blocks.chunks(share).collect();
    let results = par::collect(shares.len() * g.groups * ranges.len(), |task| {
        let (blocks, rest) = (shares[task / (g.groups * ranges.len())], task % (g.groups * ranges.len()));
        let (group, channels) = (rest / ranges.len(), &ranges[rest % ranges.len()]);
        let rows = channels.len() * g.taps();
        let mut sum = vec![0.0; g.m * rows];
        for block in blocks {
            let width = block.images.len() * block.rows.len() * g.ow;
            par::scratch(tallest * width, |unrolled| {
                let columns = g.unroll(x, group, channels.clone(), block, unrolled);
                with_rows(g, dy, group, block, |dy| small(&mut sum, dy, columns.t(), Old::Kept));
            });
        }
        sum
    });
    for (task, sum) in results.iter().enumerate() {
        let rest = task % (g.groups * ranges.len());
        let (group, channels) = (rest / ranges.len(), &ranges[rest % ranges.len()]);
        let rows = channels.len() * g.taps();
        for (m, sum) in sum.chunks(rows.max(1)).enumerate() {
            let at = (group * g.m + m) * depth + channels.start * g.taps();
            dw[at..at + rows].iter_mut().zip(sum).for_each(|(dw, s)| *dw += s);
        }
    }
}

/// Lends `f` the matrix (output channels of a group × positions of a block) of an output-shaped tensor.
fn with_rows(g: &Geometry, dy: &[f32], group: usize, block: &Block, f: impl FnOnce(Mat<'_>)) {
    let one = block.rows.len() * g.ow;
    let width = block.images.len() * one;
    let at = |n: usize, m: usize| g.out_plane(n, group, m) + block.rows.start * g.ow;
    if block.images.len() == 1 {
        return f(Mat::strided(&dy[at(block.images.start, 0)..], g.m, width, g.positions()));
    }
    par::scratch(g.m * width, |buffer| {
        for (i, n) in block.images.clone().enumerate() {
            for m in 0..g.m {
                buffer[m * width + i * one..][..one].copy_from_slice(&dy[at(n, m)..][..one]);
            }
        }
        f(Mat::new(buffer, g.m, width));
    });
}

/// The weights (group, m, c, taps) as (group, c, m, taps in reverse).
fn flipped(g: &Geometry, w: &[f32]) -> Vec<f32> {
    let taps = g.taps();
    let mut out = vec![0.0; w.len()];
    for (group, out) in out.chunks_mut((g.m * g.c * taps).max(1)).enumerate() {
        for (i, out) in out.chunks_mut(taps).enumerate() {
            let (c, m) = (i / g.m, i % g.m);
            let from = &w[((group * g.m + m) * g.c + c) * taps..][..taps];
            out.iter_mut().zip(from.iter().rev()).for_each(|(out, from)| *out = *from);
        }
    }
    out
}
