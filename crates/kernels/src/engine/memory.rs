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

/// Sets a parameter of glibc's allocator, by its number in <malloc.h>; others have none.
fn option(parameter: std::ffi::c_int, value: std::ffi::c_int) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn mallopt(parameter: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
        }
        // SAFETY: mallopt may be called at any time; these settings change where blocks come from, not what they are.
        unsafe { mallopt(parameter, value) };
    }
    let _ = (parameter, value);
}

/// Whether freed memory stays with the process, and how many scopes there are in which it does not.
static KEPT: Mutex<(bool, usize)> = Mutex::new((false, 0));
const M_MMAP_MAX: std::ffi::c_int = -4;

/// A scope of [`handing_back`].
struct HandingBack;

impl HandingBack {
    fn begin() -> Self {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.1 += 1;
        option(M_MMAP_MAX, 1 << 16);
        Self
    }
}

impl Drop for HandingBack {
    fn drop(&mut self) {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.1 -= 1;
        if *kept == (true, 0) {
            option(M_MMAP_MAX, 0);
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
    // The numbers of <malloc.h>. Before there are threads: M_ARENA_MAX.
    option(-8, 1);
    let made = first()?;
    // M_MMAP_THRESHOLD for where blocks are handed back.
    option(-3, 16 << 20);
    option(M_MMAP_MAX, 0);
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).0 = true;
    // M_TRIM_THRESHOLD, M_TOP_PAD.
    option(-1, std::ffi::c_int::MAX);
    option(-2, 64 << 20);
    Ok(made)
}
