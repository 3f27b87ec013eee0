//! Parallel loops whose pieces depend on the shape alone, never on the number of threads: the same input gives the
//! same bytes on one thread and on many. Partial results are combined in the order of the pieces.

use rayon::prelude::*;
use std::{cell::RefCell, marker::PhantomData};

/// Elements in one piece of an elementwise loop.
pub(super) const CHUNK: usize = 1 << 14;

/// Runs `f(start, piece)` over the pieces of `v`.
pub(super) fn over(v: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
    rows(v, 1, f);
}

/// A new buffer of `n` elements, whose pieces `f(start, piece)` writes.
pub(super) fn generate(n: usize, f: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let mut v = vec![0.0; n];
    over(&mut v, f);
    v
}

/// Runs `f(first row, rows)` over pieces of whole rows of `width` elements.
pub(super) fn rows(v: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    weighted_rows(v, width, width, f);
}

/// Like [`rows`], where a row costs as much as `cost` elements of an elementwise loop.
pub(super) fn weighted_rows(v: &mut [f32], width: usize, cost: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    if v.is_empty() {
        return;
    }
    let each = (CHUNK / cost.max(1)).max(1);
    if v.len() <= each * width {
        return f(0, v);
    }
    v.par_chunks_mut(each * width).enumerate().for_each(|(i, piece)| f(i * each, piece));
}

/// Runs `f` for every task number below `n`.
pub(super) fn tasks(n: usize, f: impl Fn(usize) + Sync) {
    match n {
        0 => {}
        1 => f(0),
        _ => (0..n).into_par_iter().with_max_len(1).for_each(&f),
    }
}

/// The results of `f` for every task number below `n`, in their order.
pub(super) fn collect<R: Send>(n: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    match n {
        1 => vec![f(0)],
        _ => (0..n).into_par_iter().with_max_len(1).map(&f).collect(),
    }
}

/// A buffer that tasks write at the same time, each its own elements.
pub(super) struct Shared<'a> {
    start: *mut f32,
    len: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a `&mut [f32]` whose users promise not to touch one element from two tasks.
unsafe impl Sync for Shared<'_> {}
// SAFETY: likewise.
unsafe impl Send for Shared<'_> {}

impl<'a> Shared<'a> {
    pub(super) fn new(v: &'a mut [f32]) -> Self {
        Self { start: v.as_mut_ptr(), len: v.len(), lifetime: PhantomData }
    }

    /// The elements from `at` on.
    ///
    /// # Safety
    /// No other task may touch them before the borrow ends.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn slice(&self, at: usize, len: usize) -> &mut [f32] {
        assert!(at <= self.len && len <= self.len - at);
        // SAFETY: inside the buffer by the check; not aliased by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), len) }
    }

    /// A pointer to the element at `at`, from which `reach` elements may be reached.
    pub(super) fn pointer(&self, at: usize, reach: usize) -> *mut f32 {
        assert!(at <= self.len && reach <= self.len - at);
        // SAFETY: inside the buffer by the check.
        unsafe { self.start.add(at) }
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Lends a buffer of `n` elements of any value to `f`, and keeps it for the next loan on this thread.
pub(super) fn scratch<R>(n: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < n {
        buffer = vec![0.0; n];
    }
    let result = f(&mut buffer[..n]);
    SCRATCH.with_borrow_mut(|free| free.push(buffer));
    result
}

/// dst += src
pub(super) fn add(dst: &mut [f32], src: &[f32]) {
    over(dst, |at, dst| {
        let n = dst.len();
        dst.iter_mut().zip(&src[at..at + n]).for_each(|(d, s)| *d += s);
    });
}

/// The sum of equally long buffers, in their order.
pub(super) fn sum_in_order(mut parts: Vec<Vec<f32>>) -> Vec<f32> {
    let mut parts = parts.drain(..);
    let mut total = parts.next().unwrap_or_default();
    parts.for_each(|part| add(&mut total, &part));
    total
}
