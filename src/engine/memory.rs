//! Threads, and what happens to memory that a step frees.

use crate::error::{Error, Result};
use faer::{Accum, Mat, Par, linalg::matmul::matmul};

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

/// Starts rayon's pool of so many threads, as many as there are processors for none, and lets freed memory stay with the
/// process, for the next step needs as much again. (glibc by default hands blocks of this size back to the system, and
/// fetching them again page by page costs more than most kernels do; and it keeps what threads free apart, such that one
/// that decodes rows would fetch what another freed.) To be called first of all; where the allocator is another one, only
/// the pool and the room for products are made.
///
/// # Errors
/// If there is a pool already.
pub fn start_pool(threads: Option<usize>) -> Result<()> {
    let option = |parameter: std::ffi::c_int, value: std::ffi::c_int| {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        {
            unsafe extern "C" {
                fn mallopt(parameter: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
            }
            // SAFETY: mallopt may be called at any time; these settings change where blocks come from, not what they are.
            unsafe { mallopt(parameter, value) };
        }
        let _ = (parameter, value);
    };
    // The numbers of <malloc.h>. Before there are threads: M_ARENA_MAX.
    option(-8, 1);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .build_global()
        .map_err(|e| Error::Internal(format!("thread pool: {e}")))?;
    allocate_workspaces();
    // M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD.
    option(-4, 0);
    option(-1, std::ffi::c_int::MAX);
    option(-2, 64 << 20);
    Ok(())
}
