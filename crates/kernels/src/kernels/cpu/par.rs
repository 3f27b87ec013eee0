//! Parallel loops whose pieces depend on the shape alone, never on the number of threads: the same input gives the
//! same bytes on one thread and on many. Partial results are combined in the order of the pieces.

use super::{product::Beta, tile::Lanes};
use crate::engine::{GradSink, Slot};
use dfdx::tensor::CpuError;
use onnx_forget_base::scope::install;
use rayon::prelude::*;
use std::{cell::RefCell, marker::PhantomData, mem::MaybeUninit};

/// Elements in one piece of an elementwise loop.
pub(super) const CHUNK: usize = 1 << 14;

/// Runs `f(start, piece)` over the pieces of `v`.
pub(super) fn over(v: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
    rows(v, 1, f);
}

/// A new buffer of `n` elements, whose pieces `f(start, piece)` writes.
pub(super) fn generate(n: usize, f: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    generate_rows(n, 1, 1, f)
}

/// A new buffer of `n` elements in rows of `width`. `f(first row, rows)` is given pieces of zeros that lie in the cache:
/// the memory is passed over once, by all threads. A row costs as much as `cost` elements of an elementwise loop.
pub(super) fn generate_rows(n: usize, width: usize, cost: usize, f: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let mut v = Vec::with_capacity(n);
    if n == 0 {
        return v;
    }
    let each = (CHUNK / cost.max(1)).max(1);
    let room = &mut v.spare_capacity_mut()[..n];
    if n <= each * width {
        f(0, zeroed(room));
    } else {
        let all = || room.par_chunks_mut(each * width).enumerate().for_each(|(i, piece)| f(i * each, zeroed(piece)));
        install(all);
    }
    // SAFETY: the pieces are all of the first n elements, and each was filled.
    unsafe { v.set_len(n) };
    v
}

fn zeroed(room: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    room.fill(MaybeUninit::new(0.0));
    // SAFETY: every element was just written, and the types have one layout.
    unsafe { &mut *(std::ptr::from_mut(room) as *mut [f32]) }
}

/// Zeros.
pub(super) fn zeros(n: usize) -> Vec<f32> {
    generate(n, |_, _| {})
}

/// A gradient sink of `f32`.
pub(super) type Sink<'a> = GradSink<'a, f32>;

/// Adds to the gradient at `slot` by `f(first row, rows)` over pieces of whole rows, as [`generate_rows`] cuts them.
pub(super) fn accumulate(
    sink: &mut Sink<'_>,
    slot: &Slot<f32>,
    width: usize,
    cost: usize,
    f: impl Fn(usize, &mut [f32]) + Sync,
) -> Result<(), CpuError> {
    let gradient = match sink.take(slot)? {
        Some(mut sum) => {
            weighted_rows(&mut sum, width, cost, f);
            sum
        }
        None => generate_rows(slot.len(), width, cost, f),
    };
    sink.put(slot, gradient)
}

/// Adds to the gradient at `slot` by `f`, which is given what has arrived, zeros if nothing has.
pub(super) fn change(sink: &mut Sink<'_>, slot: &Slot<f32>, f: impl FnOnce(&mut [f32])) -> Result<(), CpuError> {
    let mut gradient = sink.take(slot)?.unwrap_or_else(|| zeros(slot.len()));
    f(&mut gradient);
    sink.put(slot, gradient)
}

/// Writes the gradient at `slot` by `f`, which is given the buffer and whether to keep what is in it.
///
/// # Safety
/// `f` writes every element where nothing is to be kept.
pub(super) unsafe fn write(
    sink: &mut Sink<'_>,
    slot: &Slot<f32>,
    f: impl FnOnce(&Shared<'_>, Beta),
) -> Result<(), CpuError> {
    let gradient = match sink.take(slot)? {
        Some(mut sum) => {
            f(&Shared::new(&mut sum), Beta::One);
            sum
        }
        // SAFETY: by the caller's promise.
        None => unsafe { assemble(slot.len(), |all| f(all, Beta::Zero)) },
    };
    sink.put(slot, gradient)
}

/// Adds `more` to the gradient at `slot`.
pub(super) fn give(sink: &mut Sink<'_>, slot: &Slot<f32>, more: Vec<f32>) -> Result<(), CpuError> {
    let gradient = match sink.take(slot)? {
        Some(mut sum) => {
            add(&mut sum, &more);
            sum
        }
        None => more,
    };
    sink.put(slot, gradient)
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
    install(|| v.par_chunks_mut(each * width).enumerate().for_each(|(i, piece)| f(i * each, piece)));
}

/// Runs `f` for every task number below `n`.
pub(super) fn tasks(n: usize, f: impl Fn(usize) + Sync) {
    match n {
        0 => {}
        1 => f(0),
        _ => install(|| (0..n).into_par_iter().with_max_len(1).for_each(&f)),
    }
}

/// The results of `f` for every task number below `n`, in their order.
pub(super) fn collect<R: Send>(n: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    match n {
        1 => vec![f(0)],
        _ => install(|| (0..n).into_par_iter().with_max_len(1).map(&f).collect()),
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

    /// Like [`Shared::slice`], of a buffer whose elements may not have been written: they are zeros.
    ///
    /// # Safety
    /// No other task may touch them before the borrow ends.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn fresh(&self, at: usize, len: usize) -> &mut [f32] {
        let start = self.pointer(at, len);
        // SAFETY: inside the buffer; the caller's promise; all bits zero is a number.
        unsafe {
            start.write_bytes(0, len);
            std::slice::from_raw_parts_mut(start, len)
        }
    }

    /// Stretches of elements from `at` on, `stride` apart, to be written.
    ///
    /// # Safety
    /// No other task may touch what is written before they are dropped.
    pub(super) unsafe fn stretches(&self, at: usize, stride: usize) -> Stretches {
        Stretches { start: self.pointer(at, 0), stride, reach: self.len - at }
    }

    /// A pointer to the element at `at`, from which `reach` elements may be reached.
    pub(super) fn pointer(&self, at: usize, reach: usize) -> *mut f32 {
        assert!(at <= self.len && reach <= self.len - at);
        // SAFETY: inside the buffer by the check.
        unsafe { self.start.add(at) }
    }
}

/// Stretches of a shared buffer that lie at equal distances, to be written by one task.
pub(super) struct Stretches {
    start: *mut f32,
    stride: usize,
    reach: usize,
}

impl Stretches {
    /// Writes the first elements of stretch `i`.
    #[inline(always)]
    pub(super) fn write(&mut self, i: usize, values: &[f32]) {
        let at = i * self.stride;
        assert!(at <= self.reach && values.len() <= self.reach - at);
        // SAFETY: inside the buffer by the check, and this task's alone by the promise of `Shared::stretches`.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.start.add(at), values.len()) }
    }
}

/// A new buffer of `n` elements that `f` writes through shared access.
///
/// # Safety
/// `f` writes every element.
pub(super) unsafe fn assemble(n: usize, f: impl FnOnce(&Shared<'_>)) -> Vec<f32> {
    let mut v = Vec::with_capacity(n);
    f(&Shared { start: v.as_mut_ptr(), len: n, lifetime: PhantomData });
    // SAFETY: there is room for n elements, which are written by the caller's promise.
    unsafe { v.set_len(n) };
    v
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

thread_local! {
    static LANES: RefCell<Vec<Lanes>> = const { RefCell::new(Vec::new()) };
}

/// Like [`scratch`], in lanes.
pub(super) fn lanes<R>(n: usize, f: impl FnOnce(&mut [Lanes]) -> R) -> R {
    let mut buffer = LANES.take();
    if buffer.len() < n {
        buffer = vec![Lanes::ZERO; n];
    }
    let result = f(&mut buffer[..n]);
    LANES.set(buffer);
    result
}

/// dst += src
pub(super) fn add(dst: &mut [f32], src: &[f32]) {
    over(dst, |at, dst| {
        let n = dst.len();
        dst.iter_mut().zip(&src[at..at + n]).for_each(|(d, s)| *d += s);
    });
}
