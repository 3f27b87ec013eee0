//! The transforms of Winograd's minimal filtering F(m×m, 3×3), on sixteen channels at a time. The interpolation points
//! are 0, ±1, ±2 and ∞ for m = 4, and 0, ±1 and ∞ for m = 2.

use super::{
    par::Stretches,
    simd::{Isa, simd},
};

/// Channels side by side.
pub(super) const LANES: usize = 16;

/// One element of each of sixteen channels.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Lanes(pub [f32; LANES]);

impl Lanes {
    pub(super) const ZERO: Self = Self([0.0; LANES]);

    #[inline(always)]
    fn load(from: &[f32], n: usize) -> Self {
        let mut lanes = Self::ZERO;
        lanes.0[..n].copy_from_slice(&from[..n]);
        lanes
    }

    #[inline(always)]
    fn each(mut self, o: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        for i in 0..LANES {
            self.0[i] = f(self.0[i], o.0[i]);
        }
        self
    }

    #[inline(always)]
    fn add(self, o: Self) -> Self {
        self.each(
            o,
            #[inline(always)]
            |a, b| a + b,
        )
    }

    #[inline(always)]
    fn sub(self, o: Self) -> Self {
        self.each(
            o,
            #[inline(always)]
            |a, b| a - b,
        )
    }

    #[inline(always)]
    fn times(self, c: f32) -> Self {
        self.each(
            self,
            #[inline(always)]
            |a, _| a * c,
        )
    }

    /// self + c·o
    #[inline(always)]
    fn plus<I: Isa>(self, c: f32, o: Self) -> Self {
        self.each(
            o,
            #[inline(always)]
            |a, b| I::fma(c, b, a),
        )
    }
}

/// Outputs along a side of a tile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tile {
    Two,
    Four,
}

/// The one-dimensional transforms; N = m + 2.
trait Filter<const M: usize, const N: usize> {
    /// Bᵀd
    fn input<I: Isa>(d: [Lanes; N]) -> [Lanes; N];
    /// Aᵀp
    fn output<I: Isa>(p: [Lanes; N]) -> [Lanes; M];
    /// A·y
    fn output_gradient<I: Isa>(y: [Lanes; M]) -> [Lanes; N];
    /// G·g
    fn kernel<I: Isa>(g: [Lanes; 3]) -> [Lanes; N];
    /// Gᵀu
    fn kernel_gradient<I: Isa>(u: [Lanes; N]) -> [Lanes; 3];
}

#[derive(Clone, Copy)]
struct F4;
#[derive(Clone, Copy)]
struct F2;

impl Filter<4, 6> for F4 {
    #[inline(always)]
    fn input<I: Isa>([a, b, c, d, e, f]: [Lanes; 6]) -> [Lanes; 6] {
        let (p, q) = (d.plus::<I>(-4.0, b), e.plus::<I>(-4.0, c));
        let (r, s) = (d.sub(b).times(2.0), e.sub(c));
        [
            e.plus::<I>(4.0, a).plus::<I>(-5.0, c),
            q.add(p),
            q.sub(p),
            s.add(r),
            s.sub(r),
            f.plus::<I>(4.0, b).plus::<I>(-5.0, d),
        ]
    }

    #[inline(always)]
    fn output<I: Isa>([a, b, c, d, e, f]: [Lanes; 6]) -> [Lanes; 4] {
        let (p, q, r, s) = (b.add(c), b.sub(c), d.add(e), d.sub(e));
        [a.add(p).add(r), q.plus::<I>(2.0, s), p.plus::<I>(4.0, r), q.plus::<I>(8.0, s).add(f)]
    }

    #[inline(always)]
    fn output_gradient<I: Isa>([a, b, c, d]: [Lanes; 4]) -> [Lanes; 6] {
        let (p, q) = (a.add(c), b.add(d));
        let (r, s) = (a.plus::<I>(4.0, c), b.times(2.0).plus::<I>(8.0, d));
        [a, p.add(q), p.sub(q), r.add(s), r.sub(s), d]
    }

    #[inline(always)]
    fn kernel<I: Isa>([a, b, c]: [Lanes; 3]) -> [Lanes; 6] {
        let p = a.add(c).times(-1.0 / 6.0);
        let q = a.times(1.0 / 24.0).plus::<I>(1.0 / 6.0, c);
        [
            a.times(0.25),
            p.plus::<I>(-1.0 / 6.0, b),
            p.plus::<I>(1.0 / 6.0, b),
            q.plus::<I>(1.0 / 12.0, b),
            q.plus::<I>(-1.0 / 12.0, b),
            c,
        ]
    }

    #[inline(always)]
    fn kernel_gradient<I: Isa>([a, b, c, d, e, f]: [Lanes; 6]) -> [Lanes; 3] {
        let (p, q) = (b.add(c), d.add(e));
        let rest = p.times(-1.0 / 6.0);
        [
            rest.plus::<I>(0.25, a).plus::<I>(1.0 / 24.0, q),
            c.sub(b).times(1.0 / 6.0).plus::<I>(1.0 / 12.0, d.sub(e)),
            rest.plus::<I>(1.0 / 6.0, q).add(f),
        ]
    }
}

impl Filter<2, 4> for F2 {
    #[inline(always)]
    fn input<I: Isa>([a, b, c, d]: [Lanes; 4]) -> [Lanes; 4] {
        [a.sub(c), b.add(c), c.sub(b), d.sub(b)]
    }

    #[inline(always)]
    fn output<I: Isa>([a, b, c, d]: [Lanes; 4]) -> [Lanes; 2] {
        [a.add(b).add(c), b.sub(c).add(d)]
    }

    #[inline(always)]
    fn output_gradient<I: Isa>([a, b]: [Lanes; 2]) -> [Lanes; 4] {
        [a, a.add(b), a.sub(b), b]
    }

    #[inline(always)]
    fn kernel<I: Isa>([a, b, c]: [Lanes; 3]) -> [Lanes; 4] {
        let (p, q) = (a.add(c).times(0.5), b.times(0.5));
        [a, p.add(q), p.sub(q), c]
    }

    #[inline(always)]
    fn kernel_gradient<I: Isa>([a, b, c, d]: [Lanes; 4]) -> [Lanes; 3] {
        let p = b.add(c).times(0.5);
        [a.add(p), b.sub(c).times(0.5), p.add(d)]
    }
}

/// f on the columns of what `read(y, x)` gives, then on the rows; a row at a time to `write`.
#[inline(always)]
fn both_ways<const A: usize, const B: usize, const C: usize, const D: usize>(
    read: impl Fn(usize, usize) -> Lanes,
    f: impl Fn([Lanes; A]) -> [Lanes; B],
    g: impl Fn([Lanes; C]) -> [Lanes; D],
    mut write: impl FnMut(usize, [Lanes; D]),
) {
    let mut columns = [[Lanes::ZERO; C]; B];
    for x in 0..C {
        let mut column = [Lanes::ZERO; A];
        for y in 0..A {
            column[y] = read(y, x);
        }
        let column = f(column);
        for y in 0..B {
            columns[y][x] = column[y];
        }
    }
    for y in 0..B {
        write(y, g(columns[y]));
    }
}

simd! {
    fn input<I, F: Filter<M, N>>[M, N](_f: F, from: &[Lanes], row: usize, to: &mut Stretches) {
        both_ways::<N, N, N, N>(
            #[inline(always)] |y, x| from[y * row + x],
            F::input::<I>,
            F::input::<I>,
            #[inline(always)] |y, line| (0..N).for_each(|x| to.write(y * N + x, &line[x].0)),
        );
    }
}

simd! {
    fn output_gradient<I, F: Filter<M, N>>[M, N](_f: F, from: &[Lanes], row: usize, to: &mut Stretches) {
        both_ways::<M, N, M, N>(
            #[inline(always)] |y, x| from[y * row + x],
            F::output_gradient::<I>,
            F::output_gradient::<I>,
            #[inline(always)] |y, line| (0..N).for_each(|x| to.write(y * N + x, &line[x].0)),
        );
    }
}

simd! {
    fn output<I, F: Filter<M, N>>[M, N](_f: F, from: &[f32], stride: usize, to: &mut [Lanes], row: usize) {
        both_ways::<N, M, N, M>(
            #[inline(always)] |y, x| Lanes::load(&from[(y * N + x) * stride..], LANES),
            F::output::<I>,
            F::output::<I>,
            #[inline(always)] |y, line| to[y * row..][..M].copy_from_slice(&line),
        );
    }
}

simd! {
    fn kernel<I, F: Filter<M, N>>[M, N](_f: F, taps: &[Lanes; 9], n: usize, to: &mut Stretches) {
        both_ways::<3, N, 3, N>(
            #[inline(always)] |y, x| taps[3 * y + x],
            F::kernel::<I>,
            F::kernel::<I>,
            #[inline(always)] |y, line| (0..N).for_each(|x| to.write(y * N + x, &line[x].0[..n])),
        );
    }
}

simd! {
    fn kernel_gradient<I, F: Filter<M, N>>[M, N](_f: F, from: &[f32], stride: usize, n: usize, to: &mut [f32]) {
        both_ways::<N, 3, N, 3>(
            #[inline(always)] |y, x| Lanes::load(&from[(y * N + x) * stride..], n),
            F::kernel_gradient::<I>,
            F::kernel_gradient::<I>,
            #[inline(always)] |y, line| {
                for (x, lanes) in line.iter().enumerate() {
                    for (to, v) in to.chunks_mut(9).zip(&lanes.0[..n]) {
                        to[3 * y + x] += v;
                    }
                }
            },
        );
    }
}

impl Tile {
    /// m
    pub(super) fn out(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// (m + 2)²
    pub(super) fn positions(self) -> usize {
        (self.out() + 2) * (self.out() + 2)
    }

    /// Bᵀ·d·B of the tile at the start of `from`, whose rows are `row` apart, to `to`: a stretch a position.
    pub(super) fn input(self) -> fn(&[Lanes], usize, &mut Stretches) {
        match self {
            Self::Two => |from, row, to| input::<F2, 2, 4>(F2, from, row, to),
            Self::Four => |from, row, to| input::<F4, 4, 6>(F4, from, row, to),
        }
    }

    /// A·dy·Aᵀ, likewise.
    pub(super) fn output_gradient(self) -> fn(&[Lanes], usize, &mut Stretches) {
        match self {
            Self::Two => |from, row, to| output_gradient::<F2, 2, 4>(F2, from, row, to),
            Self::Four => |from, row, to| output_gradient::<F4, 4, 6>(F4, from, row, to),
        }
    }

    /// Aᵀ·p·A of the products that lie `stride` apart, to the tile at the start of `to`.
    pub(super) fn output(self, from: &[f32], stride: usize, to: &mut [Lanes], row: usize) {
        match self {
            Self::Two => output::<F2, 2, 4>(F2, from, stride, to, row),
            Self::Four => output::<F4, 4, 6>(F4, from, stride, to, row),
        }
    }

    /// G·g·Gᵀ of `n` channels' taps.
    pub(super) fn kernel(self, taps: &[Lanes; 9], n: usize, to: &mut Stretches) {
        match self {
            Self::Two => kernel::<F2, 2, 4>(F2, taps, n, to),
            Self::Four => kernel::<F4, 4, 6>(F4, taps, n, to),
        }
    }

    /// to += Gᵀ·u·G of `n` channels, nine taps each.
    pub(super) fn kernel_gradient(self, from: &[f32], stride: usize, n: usize, to: &mut [f32]) {
        match self {
            Self::Two => kernel_gradient::<F2, 2, 4>(F2, from, stride, n, to),
            Self::Four => kernel_gradient::<F4, 4, 6>(F4, from, stride, n, to),
        }
    }
}

/// The taps of `n` channels side by side; `flipped`: in reverse.
pub(super) fn taps(w: &[f32], n: usize, flipped: bool) -> [Lanes; 9] {
    let mut taps = [Lanes::ZERO; 9];
    for (c, w) in w.chunks_exact(9).take(n).enumerate() {
        for (i, &v) in w.iter().enumerate() {
            taps[if flipped { 8 - i } else { i }].0[c] = v;
        }
    }
    taps
}

/// Rows of `channels` planes side by side; the planes are `plane` apart.
pub(super) fn gather(from: &[f32], plane: usize, channels: usize, to: &mut [Lanes]) {
    for c in 0..channels {
        for (to, &v) in to.iter_mut().zip(&from[c * plane..]) {
            to.0[c] = v;
        }
    }
}
