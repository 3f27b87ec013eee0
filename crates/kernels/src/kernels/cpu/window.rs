//! Geometry of a two-dimensional convolution (one-dimensional ones have height 1), and the unrolling of windows into
//! the columns of a matrix.

use super::{par, product::Mat, simd::simd};
use crate::{
    error::{Error, Result},
    kernels::spec::ConvSpec,
};
use std::ops::Range;

/// Columns of the unrolled input that one matrix product takes, and rows likewise: together they stay in the cache.
const COLUMNS: usize = 512;
const ROWS: usize = 512;
const FEWEST_COLUMNS: usize = 96;
const TASKS: usize = 8;

/// Extents of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    /// Images.
    pub n: usize,
    /// Groups.
    pub groups: usize,
    /// Input and output channels of a group.
    pub c: usize,
    pub m: usize,
    /// Input extents.
    pub h: usize,
    pub w: usize,
    /// Kernel extents.
    pub kh: usize,
    pub kw: usize,
    /// Output extents.
    pub oh: usize,
    pub ow: usize,
    /// Strides, dilations, zeros before.
    pub sh: usize,
    pub sw: usize,
    pub dh: usize,
    pub dw: usize,
    pub ph: usize,
    pub pw: usize,
}

/// Part of the output positions: some rows of one image, or all rows of some images.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub images: Range<usize>,
    pub rows: Range<usize>,
}

impl Geometry {
    /// Of a convolution of `x` by `w`.
    pub(super) fn of(x: &[usize], w: &[usize], spec: &ConvSpec) -> Result<Self> {
        let pair = |v: &[usize], one: usize| match *v {
            [b] => Some((one, b)),
            [a, b] => Some((a, b)),
            _ => None,
        };
        let build = || {
            let (&[n, channels], space) = x.split_first_chunk::<2>()?;
            let (&[m, c], kernel) = w.split_first_chunk::<2>()?;
            let (h, w) = pair(space, 1)?;
            let (kh, kw) = pair(kernel, 1)?;
            let (sh, sw) = pair(&spec.strides, 1)?;
            let (dh, dw) = pair(&spec.dilations, 1)?;
            let (before, after): (Vec<_>, Vec<_>) = spec.pads.iter().map(|&[b, a]| (b, a)).unzip();
            let ((ph, pw), (qh, qw)) = (pair(&before, 0)?, pair(&after, 0)?);
            let extent = |size: usize, pads: usize, kernel: usize, dilation: usize, stride: usize| {
                Some((size + pads).checked_sub(dilation * kernel.checked_sub(1)? + 1)? / stride.max(1) + 1)
            };
            let (oh, ow) = (extent(h, ph + qh, kh, dh, sh)?, extent(w, pw + qw, kw, dw, sw)?);
            let groups = spec.groups;
            let fits = groups > 0 && c > 0 && channels == c * groups && m % groups == 0 && sh > 0 && sw > 0;
            let m = m / groups.max(1);
            fits.then_some(Self { n, groups, c, m, h, w, kh, kw, oh, ow, sh, sw, dh, dw, ph, pw })
        };
        build().ok_or_else(|| Error::Internal(format!("convolution of {x:?} by {w:?} with {spec:?}")))
    }

    /// Elements of a kernel plane.
    pub(super) fn taps(&self) -> usize {
        self.kh * self.kw
    }

    /// Output positions of an image.
    pub(super) fn positions(&self) -> usize {
        self.oh * self.ow
    }

    /// Dimensions of the output, with two spatial axes.
    pub(super) fn output(&self) -> [usize; 4] {
        [self.n, self.groups * self.m, self.oh, self.ow]
    }

    /// Whether the input is its own unrolling.
    pub(super) fn pointwise(&self) -> bool {
        self.taps() == 1
            && (self.sh, self.sw, self.ph, self.pw) == (1, 1, 0, 0)
            && (self.oh, self.ow) == (self.h, self.w)
    }

    /// The gradient to the input as a convolution of the output's gradient by the flipped, transposed kernel: for
    /// stride 1.
    pub(super) fn reversed(&self) -> Option<Self> {
        let (ph, pw) = ((self.kh - 1) * self.dh, (self.kw - 1) * self.dw);
        (self.sh == 1 && self.sw == 1 && ph >= self.ph && pw >= self.pw).then(|| Self {
            c: self.m,
            m: self.c,
            h: self.oh,
            w: self.ow,
            oh: self.h,
            ow: self.w,
            ph: ph - self.ph,
            pw: pw - self.pw,
            ..*self
        })
    }

    /// The output positions in blocks of a good number of columns.
    pub(super) fn blocks(&self) -> Vec<Block> {
        let positions = self.positions();
        if self.n * positions == 0 {
            return Vec::new();
        }
        let columns = (self.n * positions / TASKS).clamp(FEWEST_COLUMNS, COLUMNS);
        if positions >= columns {
            let pieces = positions.div_ceil(columns).min(self.oh);
            let rows = self.oh.div_ceil(pieces);
            let of_image = |n| (0..self.oh).step_by(rows).map(move |r| (n, r));
            let all = (0..self.n).flat_map(of_image);
            return all.map(|(n, r)| Block { images: n..n + 1, rows: r..(r + rows).min(self.oh) }).collect();
        }
        let images = columns / positions;
        let starts = (0..self.n).step_by(images);
        starts.map(|n| Block { images: n..(n + images).min(self.n), rows: 0..self.oh }).collect()
    }

    /// The input channels of a group in ranges whose unrolling is not too tall.
    pub(super) fn channel_ranges(&self) -> Vec<Range<usize>> {
        let pieces = (self.c * self.taps()).div_ceil(ROWS).clamp(1, self.c.max(1));
        let each = self.c.div_ceil(pieces).max(1);
        (0..self.c).step_by(each).map(|c| c..(c + each).min(self.c)).collect()
    }

    /// Where channel `c` of a group of image `n` starts in the input.
    pub(super) fn plane(&self, n: usize, group: usize, c: usize) -> usize {
        ((n * self.groups + group) * self.c + c) * self.h * self.w
    }

    /// Where channel `m` of a group of image `n` starts in the output.
    pub(super) fn out_plane(&self, n: usize, group: usize, m: usize) -> usize {
        ((n * self.groups + group) * self.m + m) * self.positions()
    }

    /// The range of output positions along an axis whose window element lies inside the input.
    pub(super) fn inside(offset: isize, stride: usize, input: usize, output: Range<usize>) -> Range<usize> {
        // 0 ≤ o·stride + offset < input
        let first = (-offset).max(0) as usize;
        let from = first.div_ceil(stride).clamp(output.start, output.end);
        let beyond = (input as isize - offset).max(0) as usize;
        from..beyond.div_ceil(stride).clamp(from, output.end)
    }

    /// The unrolled input (channels·taps × positions of the block), as a view of `x` where that is possible, else
    /// written to `to`.
    pub(super) fn unroll<'a>(
        &self,
        x: &'a [f32],
        group: usize,
        channels: Range<usize>,
        block: &Block,
        to: &'a mut [f32],
    ) -> Mat<'a> {
        let height = channels.len() * self.taps();
        let one = block.rows.len() * self.ow;
        let width = block.images.len() * one;
        if self.pointwise() && block.images.len() == 1 {
            let at = self.plane(block.images.start, group, channels.start) + block.rows.start * self.w;
            return Mat::strided(&x[at..], height, width, self.h * self.w);
        }
        let [high, wide] = self.reach(block.rows.len());
        let padded = self.pads() || wide > self.w || block.rows.end.saturating_sub(1) * self.sh + high > self.h;
        par::scratch(if padded { high * wide } else { 0 }, |buffer| {
            for (i, n) in block.images.clone().enumerate() {
                for (j, c) in channels.clone().enumerate() {
                    let plane = &x[self.plane(n, group, c)..][..self.h * self.w];
                    let to = &mut to[j * self.taps() * width + i * one..];
                    if padded {
                        self.embed(plane, block.rows.start, buffer, wide);
                        unroll_plane(self, buffer, wide, block.rows.len(), to, width);
                    } else {
                        unroll_plane(
                            self,
                            &plane[block.rows.start * self.sh * self.w..],
                            self.w,
                            block.rows.len(),
                            to,
                            width,
                        );
                    }
                }
            }
        });
        Mat::new(to, height, width)
    }

    fn pads(&self) -> bool {
        self.ph > 0 || self.pw > 0
    }

    /// Rows and columns of input that some rows of windows reach over.
    fn reach(&self, rows: usize) -> [usize; 2] {
        let along = |n: usize, stride, kernel, dilation| n.saturating_sub(1) * stride + (kernel - 1) * dilation + 1;
        [along(rows, self.sh, self.kh, self.dh), along(self.ow, self.sw, self.kw, self.dw)]
    }

    /// Copies what the windows from output row `first` on reach over into rows of `wide` elements; zero outside.
    fn embed(&self, plane: &[f32], first: usize, to: &mut [f32], wide: usize) {
        let inside = self.pw.min(wide)..(self.pw + self.w).clamp(self.pw.min(wide), wide);
        for (i, row) in to.chunks_mut(wide).enumerate() {
            match (first * self.sh + i).checked_sub(self.ph).filter(|&y| y < self.h) {
                Some(y) => {
                    row[..inside.start].fill(0.0);
                    row[inside.clone()].copy_from_slice(&plane[y * self.w..][..inside.len()]);
                    row[inside.end..].fill(0.0);
                }
                None => row.fill(0.0),
            }
        }
    }

    /// The reverse of [`Geometry::unroll`] for one image: adds the unrolled gradient to the input's planes.
    pub(super) fn roll(&self, from: &[f32], width: usize, column: usize, rows: Range<usize>, planes: &mut [f32]) {
        let one = rows.len() * self.ow;
        for (j, plane) in planes.chunks_mut(self.h * self.w).enumerate() {
            for tap in 0..self.taps() {
                let at = (j * self.taps() + tap) * width + column;
                let dy = (tap / self.kw * self.dh) as isize - self.ph as isize;
                let dx = (tap % self.kw * self.dw) as isize - self.pw as isize;
                let xs = Self::inside(dx, self.sw, self.w, 0..self.ow);
                if xs.is_empty() {
                    continue;
                }
                for y in Self::inside(dy, self.sh, self.h, rows.clone()) {
                    let to = ((y * self.sh) as isize + dy) as usize * self.w;
                    let to = &mut plane[to + ((xs.start * self.sw) as isize + dx) as usize..];
                    let row = &from[at..at + one][(y - rows.start) * self.ow..][xs.clone()];
                    to.iter_mut().step_by(self.sw).zip(row).for_each(|(to, from)| *to += from);
                }
            }
        }
    }
}

simd! {
    /// For every window element, a row of `to`, `width` apart: the elements that it meets at `rows` rows of output
    /// positions, read from rows of `wide` elements.
    fn unroll_plane<I>(g: &Geometry, from: &[f32], wide: usize, rows: usize, to: &mut [f32], width: usize) {
        for tap in 0..g.taps() {
            let from = &from[tap / g.kw * g.dh * wide + tap % g.kw * g.dw..];
            let to = &mut to[tap * width..][..rows * g.ow];
            for (y, to) in to.chunks_exact_mut(g.ow).enumerate() {
                let from = &from[y * g.sh * wide..];
                match g.sw {
                    1 => copy(to, from),
                    2 => {
                        for (i, to) in to.iter_mut().enumerate() {
                            *to = from[2 * i];
                        }
                    }
                    s => {
                        for (i, to) in to.iter_mut().enumerate() {
                            *to = from[s * i];
                        }
                    }
                }
            }
        }
    }
}

/// Copies a row that may be short: in whole vectors, the last of which overlaps the one before. (A call of memcpy costs
/// more than copying a short row.)
#[inline(always)]
fn copy(to: &mut [f32], from: &[f32]) {
    match to.len() {
        0 => {}
        1..4 => {
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from;
            }
        }
        4..8 => copy_blocks::<4>(to, from),
        8..16 => copy_blocks::<8>(to, from),
        _ => copy_blocks::<16>(to, from),
    }
}

/// Copies a row of at least `W` elements.
#[inline(always)]
fn copy_blocks<const W: usize>(to: &mut [f32], from: &[f32]) {
    let n = to.len();
    let from = &from[..n];
    let mut at = 0;
    while at + W <= n {
        to[at..at + W].copy_from_slice(&from[at..at + W]);
        at += W;
    }
    if at < n {
        to[n - W..].copy_from_slice(&from[n - W..]);
    }
}
