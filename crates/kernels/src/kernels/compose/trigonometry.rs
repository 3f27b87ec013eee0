//! Circular and hyperbolic functions and their inverses. dfdx has sine, cosine and tanh alone, and what is composed of those
//! loses digits near 0, near 1 and where exponentials overflow: values and slopes are computed on the host.

use crate::{engine::Float, kernels::Unary};

/// f and f′, where `op` is one of these functions. 1 − x² is taken as (1 − x)(1 + x), which keeps its digits near |x| = 1.
pub(super) fn value_and_slope<E: Float>(op: Unary) -> Option<[fn(E) -> E; 2]> {
    Some(match op {
        Unary::Tan => [E::tan, |x| E::ONE + x.tan() * x.tan()],
        Unary::Acos => [E::acos, |x| -complement(x).sqrt().recip()],
        Unary::Asin => [E::asin, |x| complement(x).sqrt().recip()],
        Unary::Atan => [E::atan, |x| (E::ONE + x * x).recip()],
        Unary::Cosh => [E::cosh, E::sinh],
        Unary::Sinh => [E::sinh, E::cosh],
        Unary::Acosh => [acosh, |x| ((x - E::ONE).sqrt() * (x + E::ONE).sqrt()).recip()],
        Unary::Asinh => [E::asinh, |x| x.hypot(E::ONE).recip()],
        Unary::Atanh => [E::atanh, |x| complement(x).recip()],
        _ => return None,
    })
}

/// 1 − x².
fn complement<E: Float>(x: E) -> E {
    (E::ONE - x) * (E::ONE + x)
}

/// ln(x + √(x² − 1)) = ln(1 + t + √t·√(t + 2)) with t = x − 1, which keeps its digits near 1.
fn acosh<E: Float>(x: E) -> E {
    let t = x - E::ONE;
    (t + t.sqrt() * (t + E::of(2.)).sqrt()).ln_1p()
}
