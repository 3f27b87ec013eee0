//! The matrix product, by faer, in blocks that depend on the shapes alone: faer runs on one thread a block.

use super::par::{self, Shared};
use faer::{Accum, MatMut, MatRef, Par, linalg::matmul::matmul};

/// A strided view of a matrix: element (i, j) lies at `i·row_stride + j·column_stride`.
#[derive(Clone, Copy)]
pub(super) struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Mat<'a> {
    /// Row-major, its rows `stride` apart.
    pub(super) fn strided(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        let reach = if rows == 0 || columns == 0 { 0 } else { (rows - 1) * stride + columns };
        assert!(reach <= data.len());
        Self { data, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// Row-major.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// Row-major, or the transpose of that.
    pub(super) fn stored(data: &'a [f32], rows: usize, columns: usize, transposed: bool) -> Self {
        if transposed { Self::new(data, columns, rows).t() } else { Self::new(data, rows, columns) }
    }

    /// Number of columns.
    pub(super) fn width(self) -> usize {
        self.columns
    }

    /// Transposed.
    pub(super) fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Some rows.
    fn rows(self, from: usize, n: usize) -> Self {
        Self { data: &self.data[(from * self.row_stride).min(self.data.len())..], rows: n, ..self }
    }

    /// Some columns.
    fn columns(self, from: usize, n: usize) -> Self {
        self.t().rows(from, n).t()
    }

    /// Writes the elements row by row, rows being [`APART`], where a row's elements are not side by side.
    fn turn(self, to: &mut [f32]) {
        const TILE: usize = 16;
        for first in (0..self.rows).step_by(TILE) {
            let rows = first..self.rows.min(first + TILE);
            for from in (0..self.columns).step_by(TILE) {
                for row in rows.clone() {
                    let to = &mut to[row * APART + from..][..TILE.min(self.columns - from)];
                    let at = row * self.row_stride + from * self.column_stride;
                    for (i, to) in to.iter_mut().enumerate() {
                        *to = self.data[at + i * self.column_stride];
                    }
                }
            }
        }
    }

    fn faer(&self) -> MatRef<'a, f32> {
        let (rs, cs) = (self.row_stride as isize, self.column_stride as isize);
        // SAFETY: the constructor checked that the last element lies inside `data`; parts of a view lie inside it.
        unsafe { MatRef::from_raw_parts(self.data.as_ptr(), self.rows, self.columns, rs, cs) }
    }
}

/// β of c = a·b + β·c.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Beta {
    /// The old elements of c are overwritten.
    Zero,
    /// The product is added to them.
    One,
}

/// c = a·b or c += a·b on this thread. Row i of c starts `i·stride` after `c`.
///
/// # Safety
/// `c` reaches as many rows and columns, and no other task touches them.
pub(super) unsafe fn on_thread(c: *mut f32, stride: usize, a: Mat<'_>, b: Mat<'_>, old: Beta) {
    assert_eq!(a.columns, b.rows);
    // SAFETY: by the caller's promise.
    let c = unsafe { MatMut::from_raw_parts_mut(c, a.rows, b.columns, stride as isize, 1) };
    let old = if old == Beta::One { Accum::Add } else { Accum::Replace };
    matmul(c, old, a.faer(), b.faer(), 1.0, Par::Seq);
}

/// c = a·b or c += a·b, c contiguous, on this thread.
pub(super) fn small(c: &mut [f32], a: Mat<'_>, b: Mat<'_>, old: Beta) {
    assert!(c.len() >= a.rows * b.columns);
    // SAFETY: c is borrowed, and long enough.
    unsafe { on_thread(c.as_mut_ptr(), b.columns, a, b, old) }
}

/// Multiplications that are worth a task of their own.
pub(super) const TASK: usize = 1 << 20;

/// A sum that is worth being taken in parts.
const DEEP: usize = 1024;
/// Terms of a sum for which the left side is laid out at once, and how far apart its rows then are.
const DEPTH: usize = 512;
const APART: usize = DEPTH + 16;
/// Elements that the results of all parts may have together.
const PARTS: usize = 1 << 22;

/// The same as [`large`] for long sums, as the gradient to weights is: parts of the sum, added in order. faer reads the
/// left side along the sum, four rows at a time; stored the other way round, it is turned first.
///
/// # Safety
/// As [`large`].
#[allow(clippy::mut_from_ref)] // By the promise, as in `Shared::slice`.
unsafe fn deep<'c>(c: &'c Shared<'_>, at: usize, a: Mat<'_>, b: Mat<'_>, old: Beta) -> &'c mut [f32] {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let most = (PARTS / (m * n).max(1)).clamp(1, 8);
    let depth = k.div_ceil((k / DEEP).clamp(1, most)).next_multiple_of(DEPTH);
    let parts = k.div_ceil(depth);
    let mut rows = m.clamp(1, 512);
    while parts * m.div_ceil(rows) < 8 && rows >= 64 {
        rows = rows.div_ceil(2).next_multiple_of(8);
    }
    let whole = match old {
        // SAFETY: by the caller's promise.
        Beta::Zero => unsafe { c.fresh(at, m * n) },
        // SAFETY: likewise.
        Beta::One => unsafe { c.slice(at, m * n) },
    };
    let bands = m.div_ceil(rows);
    let product = |part: usize, band: usize, to: *mut f32, mut old: Beta| {
        let (first, h) = (band * rows, rows.min(m - band * rows));
        for from in (part * depth..k.min((part + 1) * depth)).step_by(DEPTH) {
            let d = DEPTH.min(k - from);
            let (left, right) = (a.rows(first, h).columns(from, d), b.rows(from, d));
            let multiply = |left: Mat<'_>| {
                // SAFETY: `to` reaches h rows of n elements, which are this task's.
                unsafe { on_thread(to, n, left, right, old) };
            };
            if a.column_stride == 1 {
                multiply(left);
            } else {
                par::scratch(h * APART, |turned| {
                    left.turn(turned);
                    multiply(Mat::strided(turned, h, d, APART));
                });
            }
            old = Beta::One;
        }
    };
    if parts == 1 {
        let shared = Shared::new(whole);
        par::tasks(bands, |band| {
            let h = rows.min(m - band * rows);
            product(0, band, shared.pointer(band * rows * n, h * n), Beta::One);
        });
        return whole;
    }
    let fill = |all: &Shared<'_>| {
        par::tasks(parts * bands, |task| {
            let (part, band) = (task / bands, task % bands);
            let h = rows.min(m - band * rows);
            product(part, band, all.pointer((part * m + band * rows) * n, h * n), Beta::Zero);
        });
    };
    // SAFETY: the bands of all parts are all of the buffer.
    let partial = unsafe { par::assemble(parts * m * n, fill) };
    par::over(whole, |start, c| {
        for part in partial.chunks(m * n) {
            c.iter_mut().zip(&part[start..]).for_each(|(c, part)| *c += part);
        }
    });
    whole
}

/// The elements from `at` on become a·b, or a·b is added to them, on all threads. `finish` is given, once they are
/// complete, stretches of rows and the column at which each begins.
///
/// # Safety
/// No other task touches these elements.
pub(super) unsafe fn large(
    c: &Shared<'_>,
    at: usize,
    (a, b): (Mat<'_>, Mat<'_>),
    old: Beta,
    finish: impl Fn(usize, &mut [f32]) + Sync,
) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let tasks = (m * n * k / TASK).clamp(1, 16);
    // Halve the longer side until there are enough blocks, or they get too small for the inner kernel.
    let (mut rows, mut columns) = (m.max(1), n.max(1));
    while m.div_ceil(rows) * n.div_ceil(columns) < tasks {
        if rows >= columns && rows >= 32 {
            rows = rows.div_ceil(2).next_multiple_of(8);
        } else if columns >= 96 {
            columns = columns.div_ceil(2).next_multiple_of(48);
        } else if rows >= 32 {
            rows = rows.div_ceil(2).next_multiple_of(8);
        } else {
            break;
        }
    }
    let blocks = m.div_ceil(rows) * n.div_ceil(columns);
    if k >= DEEP && (a.column_stride != 1 || 2 * blocks <= tasks) {
        // SAFETY: by the caller's promise.
        let whole = unsafe { deep(c, at, a, b, old) };
        whole.chunks_mut(n.max(1)).for_each(|row| finish(0, row));
        return;
    }
    let across = n.div_ceil(columns);
    par::tasks(blocks, |task| {
        let (i, j) = (task / across * rows, task % across * columns);
        let (h, w) = (rows.min(m - i), columns.min(n - j));
        let start = at + i * n + j;
        let to = c.pointer(start, (h - 1) * n + w);
        // SAFETY: the pointer reaches h rows of w; blocks do not overlap.
        unsafe { on_thread(to, n, a.rows(i, h), b.columns(j, w), old) }
        for row in 0..h {
            // SAFETY: written above.
            finish(j, unsafe { c.slice(start + row * n, w) });
        }
    });
}
