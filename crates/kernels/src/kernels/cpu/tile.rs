//! The transforms of Winograd's minimal filtering F(m×m, 3×3), on sixteen channels side by side. The interpolation points
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
}

/// Outputs along a side of a tile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tile {
    Two,
    Four,
}

/// A one-dimensional transform of A elements to B.
trait Transform<const A: usize, const B: usize>: Copy {
    fn apply<I: Isa>(x: [f32; A]) -> [f32; B];
}

macro_rules! transforms {
    ($($(#[$meta:meta])* $name:ident<$isa:ident>: |[$($x:ident),*]: $a:literal| $b:literal { $($body:tt)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy)]
        struct $name;
        impl Transform<$a, $b> for $name {
            #[inline(always)]
            fn apply<$isa: Isa>([$($x),*]: [f32; $a]) -> [f32; $b] { $($body)* }
        }
    )*};
}

transforms! {
    /// Bᵀ of F(4, 3)
    Input4<I>: |[a, b, c, d, e, f]: 6| 6 {
        let (p, q, r, s) = (I::fma(-4.0, b, d), I::fma(-4.0, c, e), 2.0 * (d - b), e - c);
        [
            I::fma(-5.0, c, I::fma(4.0, a, e)), q + p, q - p, s + r, s - r,
            I::fma(-5.0, d, I::fma(4.0, b, f)),
        ]
    }
    /// Aᵀ of F(4, 3)
    Output4<I>: |[a, b, c, d, e, f]: 6| 4 {
        let (p, q, r, s) = (b + c, b - c, d + e, d - e);
        [a + p + r, I::fma(2.0, s, q), I::fma(4.0, r, p), I::fma(8.0, s, q) + f]
    }
    /// A of F(4, 3)
    OutputGradient4<I>: |[a, b, c, d]: 4| 6 {
        let (p, q, r, s) = (a + c, b + d, I::fma(4.0, c, a), I::fma(8.0, d, 2.0 * b));
        [a, p + q, p - q, r + s, r - s, d]
    }
    /// G of F(4, 3)
    Kernel4<I>: |[a, b, c]: 3| 6 {
        let (p, q) = ((a + c) / -6.0, I::fma(4.0, c, a) / 24.0);
        [a / 4.0, p - b / 6.0, p + b / 6.0, q + b / 12.0, q - b / 12.0, c]
    }
    /// Gᵀ of F(4, 3)
    KernelGradient4<I>: |[a, b, c, d, e, f]: 6| 3 {
        let (p, q) = ((b + c) / 6.0, d + e);
        [I::fma(0.25, a, q / 24.0) - p, (c - b) / 6.0 + (d - e) / 12.0, q / 6.0 - p + f]
    }
    /// Bᵀ of F(2, 3)
    Input2<I>: |[a, b, c, d]: 4| 4 { [a - c, b + c, c - b, d - b] }
    /// Aᵀ of F(2, 3)
    Output2<I>: |[a, b, c, d]: 4| 2 { [a + b + c, b - c + d] }
    /// A of F(2, 3)
    OutputGradient2<I>: |[a, b]: 2| 4 { [a, a + b, a - b, b] }
    /// G of F(2, 3)
    Kernel2<I>: |[a, b, c]: 3| 4 { [a, 0.5 * (a + b + c), 0.5 * (a - b + c), c] }
    /// Gᵀ of F(2, 3)
    KernelGradient2<I>: |[a, b, c, d]: 4| 3 { [I::fma(0.5, b + c, a), 0.5 * (b - c), I::fma(0.5, b + c, d)] }
}

simd! {
    /// t·X·tᵀ for each lane of the square X of A×A, to B×B.
    fn both_ways<I, T: Transform<A, B>>[A, B](_t: T, x: &[Lanes], y: &mut [Lanes]) {
        let (x, y) = (&x[..A * A], &mut y[..B * B]);
        for lane in 0..LANES {
            let mut columns = [[0.0; A]; B];
            for j in 0..A {
                let mut column = [0.0; A];
                for i in 0..A {
                    column[i] = x[i * A + j].0[lane];
                }
                let column = T::apply::<I>(column);
                for i in 0..B {
                    columns[i][j] = column[i];
                }
            }
            for i in 0..B {
                let line = T::apply::<I>(columns[i]);
                for j in 0..B {
                    y[i * B + j].0[lane] = line[j];
                }
            }
        }
    }
}

/// The largest square.
type Square = [Lanes; 36];

/// A square of `side` from rows that are `row` apart.
fn read(from: &[Lanes], row: usize, side: usize) -> Square {
    let mut square = [Lanes::ZERO; 36];
    for (i, line) in square.chunks_mut(side).take(side).enumerate() {
        line.copy_from_slice(&from[i * row..][..side]);
    }
    square
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

    fn write(self, square: &Square, n: usize, to: &mut Stretches) {
        square[..self.positions()].iter().enumerate().for_each(|(i, lanes)| to.write(i, &lanes.0[..n]));
    }

    /// Bᵀ·d·B of the tile at the start of `from`, whose rows are `row` apart: a stretch a position.
    pub(super) fn input(self, from: &[Lanes], row: usize, to: &mut Stretches) {
        let (square, mut done) = (read(from, row, self.out() + 2), [Lanes::ZERO; 36]);
        match self {
            Self::Two => both_ways::<Input2, 4, 4>(Input2, &square, &mut done),
            Self::Four => both_ways::<Input4, 6, 6>(Input4, &square, &mut done),
        }
        self.write(&done, LANES, to);
    }

    /// A·dy·Aᵀ, likewise.
    pub(super) fn output_gradient(self, from: &[Lanes], row: usize, to: &mut Stretches) {
        let (square, mut done) = (read(from, row, self.out()), [Lanes::ZERO; 36]);
        match self {
            Self::Two => both_ways::<OutputGradient2, 2, 4>(OutputGradient2, &square, &mut done),
            Self::Four => both_ways::<OutputGradient4, 4, 6>(OutputGradient4, &square, &mut done),
        }
        self.write(&done, LANES, to);
    }

    /// Aᵀ·p·A of the products that lie `stride` apart, to the tile at the start of `to`.
    pub(super) fn output(self, from: &[f32], stride: usize, to: &mut [Lanes], row: usize) {
        let (square, mut done) = (self.gathered(from, stride, LANES), [Lanes::ZERO; 36]);
        match self {
            Self::Two => both_ways::<Output2, 4, 2>(Output2, &square, &mut done),
            Self::Four => both_ways::<Output4, 6, 4>(Output4, &square, &mut done),
        }
        let side = self.out();
        for (i, line) in done.chunks(side).take(side).enumerate() {
            to[i * row..][..side].copy_from_slice(line);
        }
    }

    /// `n` channels of a matrix for each position.
    fn gathered(self, from: &[f32], stride: usize, n: usize) -> Square {
        let mut square = [Lanes::ZERO; 36];
        for (i, lanes) in square[..self.positions()].iter_mut().enumerate() {
            lanes.0[..n].copy_from_slice(&from[i * stride..][..n]);
        }
        square
    }

    /// G·g·Gᵀ of `n` channels' taps.
    pub(super) fn kernel(self, taps: &[Lanes; 9], n: usize, to: &mut Stretches) {
        let mut done = [Lanes::ZERO; 36];
        match self {
            Self::Two => both_ways::<Kernel2, 3, 4>(Kernel2, taps, &mut done),
            Self::Four => both_ways::<Kernel4, 3, 6>(Kernel4, taps, &mut done),
        }
        self.write(&done, n, to);
    }

    /// to += Gᵀ·u·G of `n` channels, nine taps each.
    pub(super) fn kernel_gradient(self, from: &[f32], stride: usize, n: usize, to: &mut [f32]) {
        let (square, mut done) = (self.gathered(from, stride, n), [Lanes::ZERO; 9]);
        match self {
            Self::Two => both_ways::<KernelGradient2, 4, 3>(KernelGradient2, &square, &mut done),
            Self::Four => both_ways::<KernelGradient4, 6, 3>(KernelGradient4, &square, &mut done),
        }
        for (c, to) in to.chunks_mut(9).take(n).enumerate() {
            to.iter_mut().zip(&done).for_each(|(to, lanes)| *to += lanes.0[c]);
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
