//! Loops compiled for several instruction sets, the best of which is chosen at run time.
//!
//! The lanes of a loop are fixed by its source, so results differ between machines only where one of them lacks fused
//! multiply-add.

/// What the instruction set changes in the arithmetic.
pub(super) trait Isa: Copy {
    /// a·b + c, rounded once where the machine can.
    fn fma(a: f32, b: f32, c: f32) -> f32;
}

/// With fused multiply-add.
#[derive(Clone, Copy)]
pub(super) struct Fused;

/// Without.
#[derive(Clone, Copy)]
pub(super) struct Plain;

impl Isa for Fused {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

impl Isa for Plain {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// An instruction set that loops are compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Level {
    /// x86-64 with AVX-512 (F, BW, DQ, VL).
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// x86-64 with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What every machine of the target has.
    Base,
}

/// The best instruction set of this machine.
#[inline]
pub(super) fn level() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if has!("avx2") && has!("fma") {
            let wide = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
            return if wide { Level::Avx512 } else { Level::Avx2 };
        }
    }
    Level::Base
}

/// The arithmetic of [`Level::Base`]: aarch64 always has fused multiply-add.
#[cfg(target_arch = "aarch64")]
pub(super) type Base = Fused;
/// The arithmetic of [`Level::Base`].
#[cfg(not(target_arch = "aarch64"))]
pub(super) type Base = Plain;

/// `simd!(fn name<I>(args) -> Out { body })`: a function whose body, generic over [`Isa`], is compiled for each
/// [`Level`]. Extents that are known when it is compiled may follow: `fn name<I, F: Trait<N>>[N](…)`.
macro_rules! simd {
    ($(#[$meta:meta])* $vis:vis fn $name:ident<$isa:ident $(, $g:ident: $bound:path)*> $([$($n:ident),*])?
     ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name<$($g: $bound,)* $($(const $n: usize),*)?>($($arg: $ty),*) $(-> $ret)? {
            #[allow(clippy::too_many_arguments, clippy::extra_unused_type_parameters)]
            #[inline(always)]
            fn body<$isa: $crate::kernels::cpu::simd::Isa, $($g: $bound,)* $($(const $n: usize),*)?>($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::kernels::cpu::simd::{Fused, Level, level};
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512<$($g: $bound,)* $($(const $n: usize),*)?>($($arg: $ty),*) $(-> $ret)? {
                    body::<Fused, $($g,)* $($($n),*)?>($($arg),*)
                }
                #[allow(clippy::too_many_arguments)]
                #[target_feature(enable = "avx2,fma")]
                fn avx2<$($g: $bound,)* $($(const $n: usize),*)?>($($arg: $ty),*) $(-> $ret)? {
                    body::<Fused, $($g,)* $($($n),*)?>($($arg),*)
                }
                match level() {
                    // SAFETY: `level` found these features on this machine.
                    Level::Avx512 => return unsafe { avx512::<$($g,)* $($($n),*)?>($($arg),*) },
                    // SAFETY: likewise.
                    Level::Avx2 => return unsafe { avx2::<$($g,)* $($($n),*)?>($($arg),*) },
                    Level::Base => {}
                }
            }
            body::<$crate::kernels::cpu::simd::Base, $($g,)* $($($n),*)?>($($arg),*)
        }
    };
}
pub(super) use simd;
