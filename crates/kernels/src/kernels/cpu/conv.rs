//! Convolution over one or two spatial axes: windows are unrolled block by block into a small matrix that stays in the
//! cache, and multiplied by faer. The blocks depend on the shapes alone. Some shapes have a quicker [`ConvAlgorithm`].

use super::{
    F32, depthwise, elementwise,
    par::{self, Shared},
    product::{Beta, Mat, on_thread, small},
    reduce,
    simd::simd,
    window::{Block, Geometry},
    winograd,
};
use crate::{
    engine::Context,
    error::Result,
    kernels::{ConvArgs, shape::require, spec::Unary},
};
use dfdx::prelude::Cpu;

/// Whether there is a fast version: for one and two spatial axes.
pub(in crate::kernels) fn supports(x: &F32) -> bool {
    matches!(x.rank(), 3 | 4)
}

/// What is done to the products: y = f(product + bias + residual).
#[derive(Clone, Copy, Default)]
pub(super) struct Epilogue<'a> {
    pub bias: Option<&'a [f32]>,
    pub residual: Option<&'a [f32]>,
    pub activation: Option<Unary>,
}

impl Epilogue<'_> {
    /// Finishes elements of channel `m` that start at `at` in the output.
    pub(super) fn finish(&self, m: usize, at: usize, y: &mut [f32]) {
        match (self.bias, self.residual) {
            (Some(bias), Some(z)) => add_both(bias[m], &z[at..at + y.len()], y),
            (Some(bias), None) => add_scalar(bias[m], y),
            (None, Some(z)) => y.iter_mut().zip(&z[at..]).for_each(|(y, z)| *y += z),
            (None, None) => {}
        }
        if let Some(op) = self.activation {
            elementwise::in_place(op, y);
        }
    }
}

simd! {
    fn add_scalar<I>(c: f32, y: &mut [f32]) {
        y.iter_mut().for_each(|y| *y += c);
    }
}

simd! {
    fn add_both<I>(c: f32, z: &[f32], y: &mut [f32]) {
        y.iter_mut().zip(z).for_each(|(y, z)| *y += c + z);
    }
}

/// Convolution of x (N, C, spatial…) by w (M, C/groups, kernel…), plus bias (M), plus a residual of the output's shape;
/// then the activation.
pub(in crate::kernels) fn conv(
    cx: &mut Context<f32, Cpu>,
    ConvArgs { x, w, bias, residual, activation, spec }: ConvArgs<'_, f32, Cpu>,
) -> Result<F32> {
    let geometry = Geometry::of(x.dims(), w.dims(), spec)?;
    let [n, m, oh, ow] = geometry.output();
    let dims = if x.rank() == 3 { vec![n, m, ow] } else { vec![n, m, oh, ow] };
    require(bias.is_none_or(|b| b.len() == m), || format!("bias for {m} channels"))?;
    require(residual.is_none_or(|z| z.dims() == dims), || format!("a residual beside {dims:?}"))?;
    let epilogue = Epilogue { bias: bias.map(F32::as_slice), residual: residual.map(F32::as_slice), activation };
    let algorithm = ConvAlgorithm::of(&geometry);
    let values = algorithm.forward(&geometry, x.as_slice(), w.as_slice(), &epilogue);
    let (dx, dw, db, dz) = (x.slot(), w.slot(), bias.and_then(F32::slot), residual.and_then(F32::slot));
    let (x_kept, w_kept) = (dw.is_some().then(|| x.detached()), dx.is_some().then(|| w.detached()));
    let mut inputs = vec![x, w];
    inputs.extend(bias);
    inputs.extend(residual);
    cx.record_with(&inputs, dims, values, |y| {
        let y_kept = activation.map(|op| (op, y.detached()));
        move |mut dy, sink| {
            let g = &geometry;
            if let Some((op, y)) = y_kept {
                elementwise::scale_by_slope(op, y.as_slice(), &mut dy);
            }
            if let Some(slot) = db {
                par::give(sink, &slot, reduce::sum_to(&dy, &[n, m, oh * ow], &[1, m, 1]))?;
            }
            if let (Some(slot), Some(x)) = (dw, x_kept) {
                par::change(sink, &slot, |dw| algorithm.to_weights(g, x.as_slice(), &dy, dw))?;
            }
            if let (Some(slot), Some(w)) = (dx, w_kept) {
                let arrived = sink.take(&slot)?;
                let dx = algorithm.to_input(g, w.as_slice(), &dy, arrived);
                sink.put(&slot, dx)?;
            }
            match dz {
                Some(slot) => par::give(sink, &slot, dy),
                None => Ok(()),
            }
        }
    })
}

/// How a convolution is computed: from its shape alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ConvAlgorithm {
    /// Plane by plane.
    Depthwise,
    Winograd,
    /// As products of unrolled windows.
    Unrolled,
}

impl ConvAlgorithm {
    fn of(g: &Geometry) -> Self {
        if g.c == 1 && g.groups > 1 {
            Self::Depthwise
        } else if winograd::suits(g) {
            Self::Winograd
        } else {
            Self::Unrolled
        }
    }

    fn forward(self, g: &Geometry, x: &[f32], w: &[f32], epilogue: &Epilogue<'_>) -> Vec<f32> {
        match self {
            Self::Depthwise => depthwise::forward(g, x, w, epilogue),
            Self::Winograd => winograd::forward(g, x, w, false, epilogue),
            Self::Unrolled => forward(g, x, w, epilogue),
        }
    }

    /// dw += the gradient to the weights.
    fn to_weights(self, g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        match self {
            Self::Depthwise => depthwise::to_weights(g, x, dy, dw),
            Self::Winograd => winograd::to_weights(g, x, dy, dw),
            Self::Unrolled => to_weights(g, x, dy, dw),
        }
    }

    /// The gradient to the input, added to what has arrived.
    fn to_input(self, g: &Geometry, w: &[f32], dy: &[f32], arrived: Option<Vec<f32>>) -> Vec<f32> {
        let size = g.n * g.groups * g.c * g.h * g.w;
        if self == Self::Depthwise {
            return depthwise::to_input(g, w, dy, arrived);
        }
        let Some(reversed) = g.reversed() else {
            let mut dx = arrived.unwrap_or_else(|| par::zeros(size));
            to_input(g, w, dy, &mut dx);
            return dx;
        };
        let epilogue = Epilogue { residual: arrived.as_deref(), ..Epilogue::default() };
        if self == Self::Winograd && winograd::takes(&reversed) {
            return winograd::forward(&reversed, dy, w, true, &epilogue);
        }
        forward(&reversed, dy, &flipped(g, w), &epilogue)
    }
}

/// w ∗ x, finished by `epilogue`
fn forward(g: &Geometry, x: &[f32], w: &[f32], epilogue: &Epilogue<'_>) -> Vec<f32> {
    let (blocks, ranges, depth) = (g.blocks(), g.channel_ranges(), g.c * g.taps());
    let tallest = ranges.iter().map(|r| r.len()).max().unwrap_or(0) * g.taps();
    let fill = |y: &Shared<'_>| {
        par::tasks(blocks.len() * g.groups, |task| {
            let (block, group) = (&blocks[task / g.groups], task % g.groups);
            let one = block.rows.len() * g.ow;
            let width = block.images.len() * one;
            let weights = &w[group * g.m * depth..(group + 1) * g.m * depth];
            let place = |image: usize, m: usize| g.out_plane(image, group, m) + block.rows.start * g.ow;
            // One image is written in place; several go through a buffer in which they lie side by side.
            let direct = block.images.len() == 1;
            par::scratch(tallest * width, |unrolled| {
                par::scratch(if direct { 0 } else { g.m * width }, |buffer| {
                    let (to, stride) = if direct {
                        let reach = (g.m - 1) * g.positions() + width;
                        (y.pointer(place(block.images.start, 0), reach), g.positions())
                    } else {
                        (buffer.as_mut_ptr(), width)
                    };
                    for (i, channels) in ranges.iter().enumerate() {
                        let taken =
                            Mat::strided(&weights[channels.start * g.taps()..], g.m, channels.len() * g.taps(), depth);
                        let columns = g.unroll(x, group, channels.clone(), block, unrolled);
                        let old = if i > 0 { Beta::One } else { Beta::Zero };
                        // SAFETY: `to` reaches m rows of `width` elements, which belong to this task.
                        unsafe { on_thread(to, stride, taken, columns, old) }
                    }
                    for (i, image) in block.images.clone().enumerate() {
                        for m in 0..g.m {
                            let at = place(image, m);
                            let rows = if direct {
                                // SAFETY: written above; these rows of this image belong to this task.
                                unsafe { y.slice(at, one) }
                            } else {
                                // SAFETY: this image belongs to this task.
                                let rows = unsafe { y.fresh(at, one) };
                                rows.copy_from_slice(&buffer[m * width + i * one..][..one]);
                                rows
                            };
                            epilogue.finish(group * g.m + m, at, rows);
                        }
                    }
                });
            });
        });
    };
    // SAFETY: the blocks cover all positions, and a task writes all channels of its group.
    unsafe { par::assemble(g.n * g.groups * g.m * g.positions(), fill) }
}

/// dx += the gradient to the input.
fn to_input(g: &Geometry, w: &[f32], dy: &[f32], dx: &mut [f32]) {
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
                with_rows(g, dy, group, block, |dy| small(unrolled, weights.t(), dy, Beta::Zero));
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
                with_rows(g, dy, group, block, |dy| small(&mut sum, dy, columns.t(), Beta::One));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::ConvSpec;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Winograd's errors are a few dozen times those of sums, relative to the largest element.
    const TOLERANCE: f32 = 2e-5;

    fn near(what: &str, got: &[f32], want: &[f32]) {
        let scale = want.iter().fold(0f32, |m, x| m.max(x.abs()));
        assert_eq!(got.len(), want.len(), "{what}");
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            assert!((g - w).abs() <= TOLERANCE * (w.abs() + scale), "{what}, element {i}: {g}, not {w}");
        }
    }

    #[test]
    fn winograd_is_the_product_of_unrolled_windows_for_any_shape() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        // Tiles that are cut off, channels that do not fill the lanes, windows of two, one image and several chunks.
        let shapes = [
            ([2, 40, 9, 5], 17, 1),
            ([1, 16, 4, 6], 33, 2),
            ([1, 18, 5, 8], 16, 0),
            ([5, 20, 2, 2], 16, 1),
            ([3, 1, 7, 4], 2, 1),
            ([9, 70, 16, 16], 40, 1),
            ([300, 48, 4, 4], 64, 1),
        ];
        for (x, m, pad) in shapes {
            let what = format!("{x:?} to {m} channels, pad {pad}");
            let spec = ConvSpec { strides: vec![1; 2], dilations: vec![1; 2], pads: vec![[pad; 2]; 2], groups: 1 };
            let g = Geometry::of(&x, &[m, x[1], 3, 3], &spec).unwrap();
            assert!(winograd::takes(&g), "{what}");
            let mut random = |n: usize| (0..n).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
            let size = g.n * m * g.positions();
            let (input, w, dy) = (random(x.iter().product()), random(m * x[1] * 9), random(size));
            let (bias, residual) = (random(m), random(size));
            let epilogue = Epilogue {
                bias: Some(&bias),
                residual: Some(&residual),
                activation: Some(Unary::LeakyRelu { alpha: 0.5 }),
            };
            let forward = |algorithm: ConvAlgorithm| algorithm.forward(&g, &input, &w, &epilogue);
            near(&what, &forward(ConvAlgorithm::Winograd), &forward(ConvAlgorithm::Unrolled));
            let arrived = random(input.len());
            let back = |algorithm: ConvAlgorithm| algorithm.to_input(&g, &w, &dy, Some(arrived.clone()));
            near(&format!("{what}: input"), &back(ConvAlgorithm::Winograd), &back(ConvAlgorithm::Unrolled));
            let weights = |algorithm: ConvAlgorithm| {
                let mut dw = vec![1.0; w.len()];
                algorithm.to_weights(&g, &input, &dy, &mut dw);
                dw
            };
            near(&format!("{what}: weights"), &weights(ConvAlgorithm::Winograd), &weights(ConvAlgorithm::Unrolled));
        }
    }
}
