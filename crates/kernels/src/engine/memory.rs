//! Threads, and what happens to memory that a step frees.

use crate::error::{Error, Result};
use faer::{Accum, Mat, Par, linalg::matmul::matmul};
use std::sync::{Mutex, PoisonError};

/// Makes every thread of rayon's pool, and this one, allocate the room in which faer packs matrices: a few times the
/// processor's cache, of which little is ever touched. Among blocks that are used again and again it would come to lie
/// where memory had been touched before, and that would never be free again.
fn allocate_workspaces() {
    let product = || {
        const N: usize = 64;
        let (a, mut c) = (Mat::<f32>::zeros(N, N), Mat::<f32>::zeros(N, N));
        matmul(c.as_mut(), Accum::Replace, a.as_ref(), a.as_ref(), 1.0, Par::Seq);
    };
    product();
    rayon::broadcast(|_| product());
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

/// Starts rayon's pool of so many threads, as many as there are processors for none, and lets freed memory stay with the
/// process, for the next step needs as much again. (glibc by default hands blocks of this size back to the system, and
/// fetching them again page by page costs more than most kernels do; and it keeps what threads free apart, such that one
/// that decodes rows would fetch what another freed.) To be called first of all; where the allocator is another one, only
/// the pool and the room for products are made.
///
/// # Errors
/// If there is a pool already.
pub fn start_pool(threads: Option<usize>) -> Result<()> {
    // The numbers of <malloc.h>. Before there are threads: M_ARENA_MAX.
    option(-8, 1);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .build_global()
        .map_err(|e| Error::Internal(format!("thread pool: {e}")))?;
    allocate_workspaces();
    // M_MMAP_THRESHOLD for where blocks are handed back.
    option(-3, 16 << 20);
    option(M_MMAP_MAX, 0);
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).0 = true;
    // M_TRIM_THRESHOLD, M_TOP_PAD.
    option(-1, std::ffi::c_int::MAX);
    option(-2, 64 << 20);
    Ok(())
}
