//! Functions that dfdx lacks, or has with a gradient that is wrong.
//!
//! They are given by a value and a slope, both composed of dfdx operations off the tape. What the tape sees is
//! y = value + slope·(x − x̄), where x̄ is x cut off from the tape: `value`, with `slope` as its gradient.

use super::elementwise::slope;
use crate::engine::{Flat, Float, Taped};
use dfdx::{
    prelude::{ChooseFrom, Device, TryAdd, TryDiv, TryEq, TryLt, TryMul, TrySub},
    tensor::NoneTape,
};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI, SQRT_2};

/// `value`, with `by_x` as its gradient.
fn given<E: Float, D: Device<E>>(x: Taped<E, D>, value: Flat<E, D>, by_x: Flat<E, D>) -> Result<Taped<E, D>, D::Err> {
    slope(x, by_x)?.try_add(value)
}

/// erf x, with gradient 2/√π·exp(−x²).
pub(super) fn erf<E: Float, D: Device<E>>(x: Taped<E, D>) -> Result<Taped<E, D>, D::Err> {
    let flat = x.retaped::<NoneTape>();
    let by_x = flat.clone().try_square()?.try_negate()?.try_exp()?.try_mul(E::of(FRAC_2_SQRT_PI))?;
    given(x, erf_value(flat)?, by_x)
}

/// x·Φ(x), with gradient Φ(x) + x·exp(−x²/2)/√2π. (dfdx's own has a gradient that lacks a factor of 1/√2.)
pub(super) fn gelu<E: Float, D: Device<E>>(x: Taped<E, D>) -> Result<Taped<E, D>, D::Err> {
    let flat = x.retaped::<NoneTape>();
    let cdf = erf_value(flat.clone().try_mul(E::of(FRAC_1_SQRT_2))?)?.try_add(E::ONE)?.try_mul(E::of(0.5))?;
    let density =
        flat.clone().try_square()?.try_mul(E::of(-0.5))?.try_exp()?.try_mul(E::of((2. * PI).sqrt().recip()))?;
    let by_x = density.try_mul(flat.clone())?.try_add(cdf)?;
    given(x, flat.try_accurate_gelu()?, by_x)
}

/// ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|), with gradient σ(x).
pub(super) fn log_1p_exp<E: Float, D: Device<E>>(x: Taped<E, D>) -> Result<Taped<E, D>, D::Err> {
    let flat = x.retaped::<NoneTape>();
    let tail = log_1p(flat.clone().try_abs()?.try_negate()?.try_exp()?)?;
    given(x, flat.clone().try_relu()?.try_add(tail)?, flat.try_sigmoid()?)
}

/// ln(1 + t) for t ≥ 0 to full relative precision: t·ln(u)/(u − 1) with u = 1 + t as rounded, and t where u = 1.
fn log_1p<E: Float, D: Device<E>>(t: Flat<E, D>) -> Result<Flat<E, D>, D::Err> {
    let u = t.clone().try_add(E::ONE)?;
    let ratio = u.clone().try_ln()?.try_div(u.clone().try_sub(E::ONE)?)?;
    u.try_eq(E::ONE)?.try_choose(t.clone(), t.try_mul(ratio)?)
}

/// erf x, off the tape. dfdx has it inside gelu(z) = z/2·(1 + erf(z/√2)): erf x = 2·gelu(z)/z − 1 with z = √2·x. Below
/// |x| = ½, where that loses precision, it is the series 2/√π·Σ (−1)ⁿ x²ⁿ⁺¹/(n!·(2n + 1)), whose 13th term is under 1e-17.
fn erf_value<E: Float, D: Device<E>>(x: Flat<E, D>) -> Result<Flat<E, D>, D::Err> {
    let z = x.clone().try_clamp(-10., 10.)?.try_mul(E::of(SQRT_2))?;
    let far = z.clone().try_accurate_gelu()?.try_div(z)?.try_mul(E::of(2.))?.try_sub(E::ONE)?;
    let square = x.clone().try_square()?;
    let mut factorial = 1.;
    let terms: Vec<f64> = (0..13)
        .map(|n| {
            let n = f64::from(n);
            factorial *= if n == 0. { 1. } else { -n };
            FRAC_2_SQRT_PI / (factorial * (2. * n + 1.))
        })
        .collect();
    let mut sum = square.clone().try_mul(E::of(0.))?;
    for term in terms.into_iter().rev() {
        sum = sum.try_mul(square.clone())?.try_add(E::of(term))?;
    }
    x.clone().try_abs()?.try_lt(E::of(0.5))?.try_choose(x.try_mul(sum)?, far)
}
