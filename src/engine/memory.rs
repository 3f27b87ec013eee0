//! What happens to memory that a step frees.

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

/// Lets freed memory stay with the process, for the next step needs as much again. (glibc by default hands blocks of
/// this size back to the system, and fetching them again page by page costs more than most kernels do.) To be called
/// first of all, when rayon's pool is there; where the allocator is another one, only the room for products is allocated.
pub fn keep_freed() {
    allocate_workspaces();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::ffi::c_int;
        unsafe extern "C" {
            fn mallopt(parameter: c_int, value: c_int) -> c_int;
        }
        // The names and numbers of <malloc.h>.
        const M_TRIM_THRESHOLD: c_int = -1;
        const M_TOP_PAD: c_int = -2;
        const M_MMAP_MAX: c_int = -4;
        // SAFETY: mallopt may be called at any time; these settings change where blocks come from, not what they are.
        unsafe {
            mallopt(M_MMAP_MAX, 0);
            mallopt(M_TRIM_THRESHOLD, c_int::MAX);
            mallopt(M_TOP_PAD, 64 << 20);
        }
    }
}
