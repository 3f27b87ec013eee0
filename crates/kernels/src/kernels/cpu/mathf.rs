//! Transcendental functions in `f32` without branches or tables, so that loops over them vectorize.
//!
//! The polynomials are minimax fits (weighted, on Chebyshev nodes) of this project's own. Errors are at most 2 ulp of
//! the exact result, subnormal results included; the test below holds them to that.
//! NaN goes through, infinities give the limits.

use super::simd::Isa;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
// ln 2 in two parts, the first with trailing zeros, so that n·LN2_HIGH is exact for |n| < 2⁹.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
// Adding it leaves the nearest integer in the low bits of the mantissa.
const ROUND: f32 = 12_582_912.0;

#[inline(always)]
fn horner<I: Isa, const N: usize>(x: f32, c: [f32; N]) -> f32 {
    let mut y = 0.0;
    let mut i = N;
    while i > 0 {
        i -= 1;
        y = if i == N - 1 { c[i] } else { I::fma(y, x, c[i]) };
    }
    y
}

/// x clamped to [low, high], NaN kept.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x > high { high } else { x };
    if x < low { low } else { x }
}

/// 2ⁿ for n in −126 ..= 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}

/// (n, r, eʳ − 1 − r) with x = n·ln 2 + r and |r| ≤ ½·ln 2.
#[inline(always)]
fn reduce<I: Isa>(x: f32) -> (i32, f32, f32) {
    let t = I::fma(x, LOG2_E, ROUND);
    let n = t.to_bits() as i32 - ROUND.to_bits() as i32;
    let k = t - ROUND;
    let r = I::fma(k, -LN2_LOW, I::fma(k, -LN2_HIGH, x));
    let q = horner::<I, 6>(r, [0.5, 1.666_666_7e-1, 4.166_625_4e-2, 8.333_263e-3, 1.394_722_5e-3, 1.991_938e-4]);
    (n, r, r * r * q)
}

/// eˣ.
#[inline(always)]
pub(super) fn exp<I: Isa>(x: f32) -> f32 {
    let x = clamp(x, -110.0, 100.0);
    let (n, r, rest) = reduce::<I>(x);
    // 1 + r with its rounding error, which goes into the smaller summand.
    let high = 1.0 + r;
    let y = high + ((1.0 - high) + r + rest);
    // In two steps, so that results below the normal range are rounded once and those above it become infinite.
    let half = n >> 1;
    y * power_of_two(half) * power_of_two(n - half)
}

/// eˣ − 1.
#[inline(always)]
pub(super) fn exp_m1<I: Isa>(x: f32) -> f32 {
    let clamped = clamp(x, -30.0, 100.0);
    let (n, r, rest) = reduce::<I>(clamped);
    let half = n >> 1;
    let (a, b) = (power_of_two(half), power_of_two(n - half));
    // Up to 2²⁴ the sum 2ⁿ − 1 matters; it is exact.
    let small = I::fma(r + rest, a * b, a * b - 1.0);
    let large = (1.0 + (r + rest)) * a * b - 1.0;
    let y = if n > 24 { large } else { small };
    // x itself where its square is nothing: keeps −0.
    if x.abs() < 1e-8 { x } else { y }
}

/// (atanh s − s)/s for |s| ≤ ⅓, as a function of z = s².
#[inline(always)]
fn atanh_rest<I: Isa>(z: f32) -> f32 {
    z * horner::<I, 5>(z, [3.333_333_7e-1, 1.999_943_7e-1, 1.430_851_8e-1, 1.071_292_5e-1, 1.215_416_3e-1])
}

/// ln(1 + u) for 0 ≤ u ≤ 1.
#[inline(always)]
pub(super) fn log_1p_unit<I: Isa>(u: f32) -> f32 {
    // ln(1 + u) = 2·atanh(u/(2 + u)), with the leading u/(2 + u)·2 = u − u·s taken apart for its rounding.
    let s = u / (2.0 + u);
    let rest = 2.0 * s * atanh_rest::<I>(s * s);
    u - (u * s - rest)
}

/// ln x.
#[inline(always)]
pub(super) fn ln<I: Isa>(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    // The mantissa in [√½, √2).
    let bits = scaled.to_bits() as i32;
    let e = (bits.wrapping_sub(0x3f35_04f3)) >> 23;
    let m = f32::from_bits(bits.wrapping_sub(e << 23) as u32);
    let n = (e - if tiny { 23 } else { 0 }) as f32;
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let rest = 2.0 * s * atanh_rest::<I>(s * s);
    // ln m = f − f·s + rest
    let low = I::fma(n, LN2_LOW, rest - f * s);
    let y = I::fma(n, LN2_HIGH, f + low);
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x < 0.0 || x.is_nan() { f32::NAN } else { y }
}

/// ln(1 + eˣ).
#[inline(always)]
pub(super) fn softplus<I: Isa>(x: f32) -> f32 {
    let positive = if x > 0.0 { x } else { 0.0 };
    let y = positive + log_1p_unit::<I>(exp::<I>(-x.abs()));
    if x.is_nan() { x } else { y }
}

/// 1/(1 + e⁻ˣ).
#[inline(always)]
pub(super) fn sigmoid<I: Isa>(x: f32) -> f32 {
    let e = exp::<I>(-x.abs());
    let d = 1.0 + e;
    let q = (if x >= 0.0 { 1.0 } else { e }) / d;
    // Corrected for the rounding of d; 1/d is q or 1 − q.
    let lost = e - (d - 1.0);
    I::fma(-q * lost, if x >= 0.0 { q } else { 1.0 - q }, q)
}

/// tanh x.
#[inline(always)]
pub(super) fn tanh<I: Isa>(x: f32) -> f32 {
    // (e²ˣ − 1)/(e²ˣ + 1), on |x| so that both signs agree.
    let m = exp_m1::<I>(2.0 * clamp(x.abs(), 0.0, 12.0));
    let d = m + 2.0;
    let q = m / d;
    // Corrected for the rounding of d where that matters; 1/d is (1 − q)/2.
    let lost = if m < 1.0 { m - (d - 2.0) } else { 0.0 };
    I::fma(-0.5 * q * lost, 1.0 - q, q).copysign(x)
}

/// erf x.
#[inline(always)]
pub(super) fn erf<I: Isa>(x: f32) -> f32 {
    let s = x * x;
    let near = horner::<I, 7>(
        s,
        [1.283_791_7e-1, -3.761_263_5e-1, 1.128_369_4e-1, -2.685_927e-2, 5.200_634e-3, -8.137_437_4e-4, 8.345_225e-5],
    );
    let near = I::fma(near, x, x);
    let t = clamp(x.abs(), 0.0, 4.0);
    let log = t * horner::<I, 6>(
        t,
        [-1.128_510_7, -6.357_309e-1, -1.052_446_6e-1, 2.287_861e-2, -3.211_317_6e-3, 2.135_329e-4],
    );
    let far = (1.0 - exp::<I>(log)).copysign(x);
    let y = if x.abs() < 0.925 { near } else { far };
    if x.is_nan() { x } else { y }
}

#[cfg(test)]
mod tests {
    use super::super::simd::{Fused, Plain};
    use super::*;

    /// Largest error in ulp of the exact value, over every 4,999th bit pattern in the range and both signs.
    fn worst(range: std::ops::RangeInclusive<f32>, f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> (f64, f32) {
        let mut worst = (0.0, 0.0);
        for bits in (0..0x7f80_0000u32).step_by(4999) {
            for x in [f32::from_bits(bits), -f32::from_bits(bits)] {
                if !range.contains(&x) {
                    continue;
                }
                let (y, want) = (f(x), exact(f64::from(x)));
                let near = want as f32;
                if near.is_infinite() {
                    assert_eq!(y, near, "at {x}");
                    continue;
                }
                let next = f32::from_bits(near.abs().to_bits() + 1);
                let ulp = if next.is_infinite() { 2f64.powi(104) } else { f64::from(next) - f64::from(near.abs()) };
                let error = (f64::from(y) - want).abs() / ulp;
                assert!(!error.is_nan(), "NaN at {x}");
                if error > worst.0 {
                    worst = (error, x);
                }
            }
        }
        worst
    }

    /// erf through its series and continued fraction, in f64.
    fn erf64(x: f64) -> f64 {
        let t = x.abs();
        let y = if t < 3.0 {
            let (mut term, mut sum) = (t, t);
            for n in 1..200 {
                term *= -t * t / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * std::f64::consts::FRAC_2_SQRT_PI
        } else {
            let mut c = t;
            for k in (1..60).rev() {
                c = t + f64::from(k) / 2.0 / c;
            }
            1.0 - (-t * t).exp() / (c * std::f64::consts::PI.sqrt())
        };
        y.copysign(x)
    }

    fn check<I: Isa>() {
        let all = f32::MIN..=f32::MAX;
        let cases: [(&str, (f64, f32)); 8] = [
            ("exp", worst(all.clone(), exp::<I>, f64::exp)),
            ("exp_m1", worst(all.clone(), exp_m1::<I>, f64::exp_m1)),
            ("ln", worst(f32::from_bits(1)..=f32::MAX, ln::<I>, f64::ln)),
            ("log_1p", worst(0.0..=1.0, log_1p_unit::<I>, f64::ln_1p)),
            ("softplus", worst(all.clone(), softplus::<I>, |x| x.max(0.0) + (-x.abs()).exp().ln_1p())),
            (
                "sigmoid",
                worst(all.clone(), sigmoid::<I>, |x| {
                    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
                }),
            ),
            ("tanh", worst(all.clone(), tanh::<I>, f64::tanh)),
            ("erf", worst(all, erf::<I>, erf64)),
        ];
        for (name, (error, at)) in cases {
            println!("{name}: {error:.2} ulp at {at}");
            assert!(error <= 2.0, "{name}: {error} ulp at {at}");
        }
    }

    #[test]
    fn two_ulp_with_fused_multiply_add() {
        check::<Fused>();
    }

    #[test]
    fn two_ulp_without() {
        check::<Plain>();
    }

    #[test]
    fn limits_and_nan() {
        type F = fn(f32) -> f32;
        let inf = f32::INFINITY;
        let cases: [(F, f32, f32); 6] = [
            (exp::<Fused>, 0.0, inf),
            (exp_m1::<Fused>, -1.0, inf),
            (softplus::<Fused>, 0.0, inf),
            (sigmoid::<Fused>, 0.0, 1.0),
            (tanh::<Fused>, -1.0, 1.0),
            (erf::<Fused>, -1.0, 1.0),
        ];
        for (f, low, high) in cases {
            assert_eq!((f(-inf), f(inf)), (low, high));
            assert!(f(f32::NAN).is_nan());
        }
        assert_eq!((ln::<Fused>(0.0), ln::<Fused>(inf)), (-inf, inf));
        assert!(ln::<Fused>(-1.0).is_nan() && ln::<Fused>(f32::NAN).is_nan());
    }
}
