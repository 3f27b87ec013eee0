//! Threads, and what happens to memory that a step frees.

use crate::{error::Result, limits::Limits};
use faer::{Accum, Mat, Par, linalg::matmul::matmul};
use onnx_forget_base::scope::Scope;
use std::sync::{Mutex, PoisonError};

/// Makes every thread of a scope, and this one, allocate the room in which faer packs matrices: a few times the
/// processor's cache, of which little is ever touched. Among blocks that are used again and again it would come to lie
/// where memory had been touched before, and that would never be free again.
fn allocate_workspaces(scope: &Scope) {
    let product = || {
        const N: usize = 64;
        let (a, mut c) = (Mat::<f32>::zeros(N, N), Mat::<f32>::zeros(N, N));
        matmul(c.as_mut(), Accum::Replace, a.as_ref(), a.as_ref(), 1.0, Par::Seq);
    };
    product();
    scope.broadcast(product);
}

/// What may be set of glibc's allocator.
enum Setting {
    /// Most arenas that threads get.
    Arenas,
    /// Least bytes of a block that may get a mapping of its own, which is handed back as soon as the block is freed.
    MappedBytes,
    /// Most blocks with a mapping of their own.
    MappedBlocks,
    /// Bytes free at the end of the heap above which they are handed back.
    Trimmed,
    /// Bytes that the heap grows by beyond what is asked for.
    Padding,
}

/// Sets the allocator where it is glibc's.
fn set(setting: Setting, value: i32) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let parameter = match setting {
            Setting::Arenas => libc::M_ARENA_MAX,
            Setting::MappedBytes => libc::M_MMAP_THRESHOLD,
            Setting::MappedBlocks => libc::M_MMAP_MAX,
            Setting::Trimmed => libc::M_TRIM_THRESHOLD,
            Setting::Padding => libc::M_TOP_PAD,
        };
        // SAFETY: mallopt may be called at any time; these settings change where blocks come from, not what they are.
        unsafe { libc::mallopt(parameter, value) };
    }
    let _ = (setting, value);
}

/// Whether freed memory stays with the process, and how many scopes there are in which it does not.
static KEPT: Mutex<(bool, usize)> = Mutex::new((false, 0));

/// A scope of [`handing_back`].
struct HandingBack;

impl HandingBack {
    fn begin() -> Self {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.1 += 1;
        set(Setting::MappedBlocks, 1 << 16);
        Self
    }
}

impl Drop for HandingBack {
    fn drop(&mut self) {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.1 -= 1;
        if *kept == (true, 0) {
            set(Setting::MappedBlocks, 0);
        }
    }
}

/// Runs `f`, in which weights are loaded: a large block is handed back to the system when it is freed, be it later, since
/// no step needs as much again. What other threads allocate meanwhile may be handed back, too.
pub fn handing_back<R>(f: impl FnOnce() -> R) -> R {
    let _scope = HandingBack::begin();
    f()
}

/// A [`Scope`] for a run: so many threads, as many as there are processors for none, each with the room that products need.
///
/// # Errors
/// [`crate::Error::Memory`] if the system gives no more threads.
pub fn scope(threads: Option<usize>, limits: Limits) -> Result<Scope> {
    let scope = Scope::new(threads, limits)?;
    allocate_workspaces(&scope);
    Ok(scope)
}

/// Lets freed memory stay with the process, for the next step needs as much again. (glibc by default hands blocks of this
/// size back to the system, and fetching them again page by page costs more than most kernels do; and it keeps what threads
/// free apart, such that one that decodes rows would fetch what another freed.) `first` makes the threads, before memory is
/// kept. These are settings of the allocator, of which a process has one: for a `main` to call first of all; no run does. Where
/// the allocator is another one, only `first` is done.
///
/// # Errors
/// Those of `first`.
pub fn keep_memory<R>(first: impl FnOnce() -> Result<R>) -> Result<R> {
    // Before there are threads.
    set(Setting::Arenas, 1);
    let made = first()?;
    set(Setting::MappedBytes, 16 << 20);
    set(Setting::MappedBlocks, 0);
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).0 = true;
    set(Setting::Trimmed, i32::MAX);
    set(Setting::Padding, 64 << 20);
    Ok(made)
}
