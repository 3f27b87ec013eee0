//! Elementwise functions of one and of two tensors.

use super::{
    layout::expand,
    special::{erf, gelu, log_1p_exp},
    trigonometry::value_and_slope,
    view::{Of1, distinct, filled, spread},
};
use crate::{
    engine::{Context, Flat, Float, Taped, Tensor},
    error::Result,
    kernels::{
        Binary, Unary,
        shape::{BroadcastAxes, broadcast},
    },
};
use dfdx::{
    prelude::{
        ChooseFrom, Device, ReshapeTo, TryAdd, TryDiv, TryGe, TryGt, TryLe, TryMul, TryNe, TrySub, WithEmptyTape,
    },
    tensor::{NoneTape, OwnedTape, Tape},
};

/// See [`crate::kernels::Backend::unary`].
///
/// # Errors
/// Those of [`Backend::unary`](crate::kernels::Backend::unary).
pub fn unary<E: Float, D: Device<E>>(cx: &mut Context<E, D>, op: Unary, x: &Tensor<E, D>) -> Result<Tensor<E, D>> {
    let host = |f: fn(E) -> E| cx.upload(x.dims().to_vec(), x.to_vec().into_iter().map(f).collect());
    match op {
        _ if x.is_empty() => cx.upload(x.dims().to_vec(), vec![]),
        // Constant wherever they have a derivative: nothing to record.
        Unary::Floor => host(E::floor),
        Unary::Ceil => host(E::ceil),
        Unary::Round => host(round),
        Unary::Sign => host(|x| if x == E::of(0.) { x } else { x.signum() }),
        Unary::PowScalar(0.) => filled(cx, x.dims(), 1.),
        // Bounds in the wrong order: the upper one wins, as ONNX says.
        Unary::Clip { min, max } if min > max => filled(cx, x.dims(), max),
        Unary::Clip { min, max } if min.is_nan() || max.is_nan() => filled(cx, x.dims(), f64::NAN),
        _ => match value_and_slope(op) {
            None => cx.compose(&[x], x.dims().to_vec(), |x| apply(op, x)),
            Some([value, _]) if !cx.records(&[x]) => host(value),
            Some([value, slope]) => {
                let value = host(value)?;
                let slopes = Slopes::new(cx, x.to_vec().into_iter().map(slope).collect())?;
                cx.compose(&[x], x.dims().to_vec(), |x| slopes.through(x)?.try_add(value.flat().clone()))
            }
        },
    }
}

/// To the nearest integer, halves to the even one.
fn round<E: Float>(x: E) -> E {
    let (down, half) = (x.floor(), E::of(0.5));
    match x - down {
        d if d < half => down,
        d if d > half => down + E::ONE,
        d if d == half => (x * half).round() * E::of(2.),
        _ => x,
    }
}

fn apply<E: Float, D: Device<E>>(op: Unary, x: Taped<E, D>) -> Result<Taped<E, D>, D::Err> {
    let zero = E::of(0.);
    match op {
        Unary::Neg => x.try_negate(),
        Unary::Abs => x.try_abs(),
        Unary::Reciprocal => x.try_recip(),
        Unary::Sqrt => x.try_sqrt(),
        Unary::Exp => x.try_exp(),
        Unary::Log => x.try_ln(),
        Unary::Tanh => x.try_tanh(),
        Unary::Sigmoid => x.try_sigmoid(),
        Unary::Sin => x.try_sin(),
        Unary::Cos => x.try_cos(),
        Unary::AddScalar(c) => x.try_add(E::of(c)),
        Unary::MulScalar(c) => x.try_mul(E::of(c)),
        Unary::PowScalar(1.) => x.try_mul(E::ONE),
        Unary::PowScalar(2.) => x.try_square(),
        Unary::PowScalar(0.5) => x.try_sqrt(),
        Unary::PowScalar(c) => x.try_powf(c),
        Unary::Clip { min, max } => clip(x, min, max),
        Unary::Erf => erf(x),
        Unary::Gelu { tanh: false } => gelu(x),
        Unary::Gelu { tanh: true } => x.try_fast_gelu(),
        Unary::Softplus => log_1p_exp(x),
        // dfdx's own relu maps NaN to 0, and would hide it.
        Unary::Relu => x.try_le(zero)?.try_choose(like(&x, 0.)?, x),
        Unary::LeakyRelu { alpha } => {
            let below = x.with_empty_tape().try_mul(E::of(alpha))?;
            x.try_gt(zero)?.try_choose(x, below)
        }
        // The exponential is kept from overflowing where it is not chosen: its gradient there would be ∞·0.
        Unary::Elu { alpha } => {
            let negative = x.with_empty_tape().try_clamp(f64::NEG_INFINITY, 0.)?;
            let below = negative.try_exp()?.try_sub(E::ONE)?.try_mul(E::of(alpha))?;
            x.try_gt(zero)?.try_choose(x, below)
        }
        Unary::HardSigmoid { alpha, beta } => hard_sigmoid(x, alpha, beta),
        Unary::HardSwish => hard_sigmoid(x.with_empty_tape(), 1. / 6., 0.5)?.try_mul(x),
        Unary::Softsign => {
            let divisor = x.with_empty_tape().try_abs()?.try_add(E::ONE)?;
            x.try_div(divisor)
        }
        // Not here: [`unary`] has them from the host.
        Unary::Floor | Unary::Ceil | Unary::Round | Unary::Sign | Unary::Tan => x.try_mul(zero),
        Unary::Acos | Unary::Asin | Unary::Atan | Unary::Cosh | Unary::Sinh => x.try_mul(zero),
        Unary::Acosh | Unary::Asinh | Unary::Atanh => x.try_mul(zero),
    }
}

fn like<E: Float, D: Device<E>, T: Tape<E, D>>(x: &Of1<E, D, T>, value: f64) -> Result<Taped<E, D>, D::Err> {
    x.retaped::<OwnedTape<E, D>>().try_mul(E::of(0.))?.try_nans_to(0.)?.try_add(E::of(value))
}

/// max(min, min(max, x)) with gradient 0 at both bounds.
fn clip<E: Float, D: Device<E>>(x: Taped<E, D>, min: f64, max: f64) -> Result<Taped<E, D>, D::Err> {
    let x = x.try_ge(E::of(max))?.try_choose(like(&x, max)?, x)?;
    x.try_le(E::of(min))?.try_choose(like(&x, min)?, x)
}

fn hard_sigmoid<E: Float, D: Device<E>>(x: Taped<E, D>, alpha: f64, beta: f64) -> Result<Taped<E, D>, D::Err> {
    clip(x.try_mul(E::of(alpha))?.try_add(E::of(beta))?, 0., 1.)
}

/// See [`crate::kernels::Backend::binary`].
///
/// # Errors
/// Those of [`Backend::binary`](crate::kernels::Backend::binary).
pub fn binary<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    op: Binary,
    a: &Tensor<E, D>,
    b: &Tensor<E, D>,
) -> Result<Tensor<E, D>> {
    let dims = broadcast(&[a.dims(), b.dims()])?;
    let n: usize = dims.iter().product();
    if n == 0 {
        return cx.upload(dims, vec![]);
    }
    if op == Binary::Pow {
        let (a, b) = (expand(cx, a, &dims)?, expand(cx, b, &dims)?);
        return pow(cx, &a, &b);
    }
    let Some(runs) = BroadcastAxes::of(a.dims(), b.dims(), &dims) else {
        let (a, b) = (expand(cx, a, &dims)?, expand(cx, b, &dims)?);
        return binary(cx, op, &a, &b);
    };
    let b = &distinct(cx, a, b)?;
    let [ha, hb] = runs.has;
    cx.compose(&[a, b], dims, |a| {
        let (a, b) = (spread(a, runs.dims, ha)?, spread(b.flat().retaped::<OwnedTape<E, D>>(), runs.dims, hb)?);
        let y = match op {
            Binary::Add => a.try_add(b)?,
            Binary::Sub => a.try_sub(b)?,
            Binary::Mul => a.try_mul(b)?,
            Binary::Div => a.try_div(b)?,
            // dfdx's own maximum takes a number before NaN, and would hide it.
            Binary::Max | Binary::Min => {
                let (left, right) = (a.with_empty_tape(), b.with_empty_tape());
                let y = if op == Binary::Max { left.try_maximum(right)? } else { left.try_minimum(right)? };
                let y = b.try_ne(&b)?.try_choose(b, y)?;
                a.try_ne(&a)?.try_choose(a, y)?
            }
            Binary::PRelu | Binary::Pow => {
                let below = a.with_empty_tape().try_mul(b)?;
                a.try_gt(E::of(0.))?.try_choose(a, below)?
            }
        };
        y.try_reshape_like(&(n,))
    })
}

/// aᵇ on equal dimensions, with dy/da = b·aᵇ⁻¹ (0 where b = 0) and dy/db = aᵇ·ln a (0 where a = 0 ≤ b).
///
/// dfdx raises to scalars only, and exp(b·ln a) would lose negative bases and precision: values and slopes are
/// computed on the host, and the tape sees y = aᵇ + slopeₐ·(a − ā) + slope_b·(b − b̄), where a bar cuts off the tape.
fn pow<E: Float, D: Device<E>>(cx: &mut Context<E, D>, a: &Tensor<E, D>, b: &Tensor<E, D>) -> Result<Tensor<E, D>> {
    let (base, exponent) = (a.to_vec(), b.to_vec());
    let each = |f: fn((&E, &E)) -> E| base.iter().zip(&exponent).map(f).collect::<Vec<E>>();
    let value = cx.upload(a.dims().to_vec(), each(|(a, b)| a.powf(*b)))?;
    if !cx.records(&[a, b]) {
        return Ok(value);
    }
    let by_a = each(|(a, b)| if *b == E::of(0.) { E::of(0.) } else { *b * a.powf(*b - E::ONE) });
    let by_b = each(|(a, b)| if *a == E::of(0.) && *b >= E::of(0.) { E::of(0.) } else { a.powf(*b) * a.ln() });
    let (by_a, by_b) = (Slopes::new(cx, by_a)?, Slopes::new(cx, by_b)?);
    let b = &distinct(cx, a, b)?;
    cx.compose(&[a, b], a.dims().to_vec(), |a| {
        let from_b = by_b.through(b.flat().retaped())?;
        by_a.through(a)?.try_add(from_b)?.try_add(value.flat().clone())
    })
}

/// Slopes from the host, of which some may be infinite or NaN.
struct Slopes<E: Float, D: Device<E>> {
    /// The finite ones, 0 elsewhere.
    finite: Flat<E, D>,
    /// 1 where one is not finite; and there its sign, 0 for NaN; 0 elsewhere.
    steep: Option<[Flat<E, D>; 2]>,
}

impl<E: Float, D: Device<E>> Slopes<E, D> {
    fn new(cx: &Context<E, D>, slopes: Vec<E>) -> Result<Self> {
        let n = slopes.len();
        let part = |f: fn(E) -> E| Ok(cx.upload(vec![n], slopes.iter().map(|&s| f(s)).collect())?.flat().clone());
        let steep = if slopes.iter().all(|s| s.is_finite()) {
            None
        } else {
            let sign = |s: E| if s.is_infinite() { s.signum() } else { E::of(0.) };
            Some([part(|s| if s.is_finite() { E::of(0.) } else { E::ONE })?, part(sign)?])
        };
        Ok(Self { finite: part(|s| if s.is_finite() { s } else { E::of(0.) })?, steep })
    }

    /// 0, with these slopes as its gradient. Where a slope s is not finite, [`slope`] would be 0·s: √(x − x̄) stands for
    /// x − x̄ there, which is 0 as well, and whose own slope of ∞ leaves with x the sign of s times ∞, or 0·∞ = NaN.
    fn through(&self, x: Taped<E, D>) -> Result<Taped<E, D>, D::Err> {
        let Some([mask, sign]) = &self.steep else { return slope(x, self.finite.clone()) };
        let even = slope(x.with_empty_tape(), self.finite.clone())?;
        let off = x.with_empty_tape().try_sub(x.retaped::<NoneTape>().try_mul(E::ONE)?)?.try_nans_to(0.)?;
        let ones = mask.clone().try_mul(E::of(0.))?.try_add(E::ONE)?;
        let root = mask.clone().try_gt(E::of(0.5))?.try_choose(off, ones.retaped::<OwnedTape<E, D>>())?.try_sqrt()?;
        even.try_add(root.try_mul(sign.clone())?)
    }
}

/// slope·(x − x̄), where x̄ is x cut off from the tape: 0, with `slope` as its gradient (0 where x or slope is not finite).
pub(super) fn slope<E: Float, D: Device<E>>(x: Taped<E, D>, slope: Flat<E, D>) -> Result<Taped<E, D>, D::Err> {
    let cut = x.retaped::<NoneTape>().try_mul(E::ONE)?;
    x.try_sub(cut)?.try_mul(slope)?.try_nans_to(0.)
}
