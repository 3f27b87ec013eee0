//! What happens to memory that a step frees.

/// Lets freed memory stay with the process, for the next step needs as much again. (glibc by default hands blocks of
/// this size back to the system, and fetching them again page by page costs more than most kernels do.) To be called
/// before the first step; does nothing where the allocator is another one.
pub fn keep_freed() {
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
