//! The elementwise functions: value and slope of each.

use super::{mathf, simd::Isa};
use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_PI, FRAC_2_SQRT_PI};

/// What the backward pass keeps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SavedForBackward {
    /// Nothing: the slope is constant.
    Nothing,
    /// The argument.
    Argument,
    /// The value.
    Value,
}

/// An elementwise function.
pub(super) trait Function: Copy + Send + Sync + 'static {
    /// What [`Function::slope`] is given.
    const SAVED: SavedForBackward;
    /// f(x)
    fn value<I: Isa>(self, x: f32) -> f32;
    /// f′(x), from x or f(x)
    fn slope<I: Isa>(self, kept: f32) -> f32;
}

macro_rules! functions {
    ($($(#[$meta:meta])* $name:ident { $($field:ident),* } keeps $keeps:ident:
       |$me:ident, $x:ident| $value:expr, |$k:ident| $slope:expr;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy)]
        pub(super) struct $name { $(pub(super) $field: f32),* }
        impl Function for $name {
            const SAVED: SavedForBackward = SavedForBackward::$keeps;
            #[inline(always)]
            fn value<I: Isa>(self, $x: f32) -> f32 {
                let $me = self;
                let _ = $me;
                $value
            }
            #[inline(always)]
            fn slope<I: Isa>(self, $k: f32) -> f32 {
                let $me = self;
                let _ = ($me, $k);
                $slope
            }
        }
    )*};
}

// 1/√(2π)
const DENSITY: f32 = 0.5 * FRAC_1_SQRT_2 * FRAC_2_SQRT_PI;
const GELU_CUBIC: f32 = 0.044_715;

/// tanh(√(2/π)·(x + 0.044715·x³))
#[inline(always)]
fn gelu_tanh<I: Isa>(x: f32) -> f32 {
    mathf::tanh::<I>(FRAC_2_PI.sqrt() * (x + GELU_CUBIC * x * x * x))
}

/// Φ(x)
#[inline(always)]
fn normal<I: Isa>(x: f32) -> f32 {
    0.5 * (1.0 + mathf::erf::<I>(x * FRAC_1_SQRT_2))
}

functions! {
    Neg {} keeps Nothing: |_me, x| -x, |_k| -1.0;
    Abs {} keeps Argument: |_me, x| x.abs(), |x| sign(x);
    Reciprocal {} keeps Value: |_me, x| 1.0 / x, |y| -y * y;
    Sqrt {} keeps Value: |_me, x| x.sqrt(), |y| 0.5 / y;
    Exp {} keeps Value: |_me, x| mathf::exp::<I>(x), |y| y;
    Log {} keeps Argument: |_me, x| mathf::ln::<I>(x), |x| 1.0 / x;
    Erf {} keeps Argument: |_me, x| mathf::erf::<I>(x), |x| FRAC_2_SQRT_PI * mathf::exp::<I>(-x * x);
    Tanh {} keeps Value: |_me, x| mathf::tanh::<I>(x), |y| 1.0 - y * y;
    Sigmoid {} keeps Value: |_me, x| mathf::sigmoid::<I>(x), |y| y * (1.0 - y);
    Relu {} keeps Value: |_me, x| if x > 0.0 || x.is_nan() { x } else { 0.0 }, |y| if y > 0.0 { 1.0 } else { 0.0 };
    LeakyRelu { alpha } keeps Argument: |me, x| if x < 0.0 { me.alpha * x } else { x },
        |x| if x > 0.0 { 1.0 } else { me.alpha };
    Elu { alpha } keeps Argument: |me, x| if x > 0.0 { x } else { me.alpha * mathf::exp_m1::<I>(x) },
        |x| if x > 0.0 { 1.0 } else { me.alpha * mathf::exp::<I>(x) };
    GeluErf {} keeps Argument: |_me, x| x * normal::<I>(x),
        |x| I::fma(x * DENSITY, mathf::exp::<I>(-0.5 * x * x), normal::<I>(x));
    GeluTanh {} keeps Argument: |_me, x| 0.5 * x * (1.0 + gelu_tanh::<I>(x)),
        |x| {
            let t = gelu_tanh::<I>(x);
            let inner = FRAC_2_PI.sqrt() * (1.0 + 3.0 * GELU_CUBIC * x * x);
            0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner
        };
    HardSwish {} keeps Argument: |_me, x| x * unit(x / 6.0 + 0.5),
        |x| if x <= -3.0 { 0.0 } else if x >= 3.0 { 1.0 } else { x / 3.0 + 0.5 };
    HardSigmoid { alpha, beta } keeps Value: |me, x| unit(me.alpha * x + me.beta),
        |y| if y > 0.0 && y < 1.0 { me.alpha } else { 0.0 };
    Clip { min, max } keeps Argument:
        |me, x| { let x = if x < me.min { me.min } else { x }; if x > me.max { me.max } else { x } },
        |x| if x > me.min && x < me.max { 1.0 } else { 0.0 };
    Softplus {} keeps Argument: |_me, x| mathf::softplus::<I>(x), |x| mathf::sigmoid::<I>(x);
    Softsign {} keeps Argument: |_me, x| x / (1.0 + x.abs()),
        |x| { let d = 1.0 / (1.0 + x.abs()); d * d };
    Sin {} keeps Argument: |_me, x| x.sin(), |x| x.cos();
    Cos {} keeps Argument: |_me, x| x.cos(), |x| -x.sin();
    Tan {} keeps Argument: |_me, x| x.tan(), |x| { let y = x.tan(); 1.0 + y * y };
    Acos {} keeps Argument: |_me, x| x.acos(), |x| -1.0 / ((1.0 - x) * (1.0 + x)).sqrt();
    Asin {} keeps Argument: |_me, x| x.asin(), |x| 1.0 / ((1.0 - x) * (1.0 + x)).sqrt();
    Atan {} keeps Argument: |_me, x| x.atan(), |x| 1.0 / (1.0 + x * x);
    Cosh {} keeps Argument: |_me, x| x.cosh(), |x| x.sinh();
    Sinh {} keeps Argument: |_me, x| x.sinh(), |x| x.cosh();
    Acosh {} keeps Argument: |_me, x| { let t = x - 1.0; (t + t.sqrt() * (t + 2.0).sqrt()).ln_1p() },
        |x| 1.0 / ((x - 1.0).sqrt() * (x + 1.0).sqrt());
    Asinh {} keeps Argument: |_me, x| x.asinh(), |x| 1.0 / x.hypot(1.0);
    Atanh {} keeps Argument: |_me, x| x.atanh(), |x| 1.0 / ((1.0 - x) * (1.0 + x));
    AddScalar { c } keeps Nothing: |me, x| x + me.c, |_k| 1.0;
    MulScalar { c } keeps Nothing: |me, x| x * me.c, |_k| me.c;
    Square {} keeps Argument: |_me, x| x * x, |x| 2.0 * x;
    Cube {} keeps Argument: |_me, x| x * x * x, |x| 3.0 * x * x;
    Power { c } keeps Argument: |me, x| x.powf(me.c), |x| if me.c == 0.0 { 0.0 } else { me.c * x.powf(me.c - 1.0) };
    Floor {} keeps Nothing: |_me, x| x.floor(), |_k| 0.0;
    Ceil {} keeps Nothing: |_me, x| x.ceil(), |_k| 0.0;
    Round {} keeps Nothing: |_me, x| x.round_ties_even(), |_k| 0.0;
    Sign {} keeps Nothing: |_me, x| sign(x), |_k| 0.0;
}

/// −1, 0 or 1; NaN stays.
#[inline(always)]
fn sign(x: f32) -> f32 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        // 0, −0 or NaN
        x
    }
}

/// x clamped to [0, 1].
#[inline(always)]
fn unit(x: f32) -> f32 {
    let x = if x < 0.0 { 0.0 } else { x };
    if x > 1.0 { 1.0 } else { x }
}

/// `with_function!(op, f => body)`: `body` with `f` the function that `op` names.
macro_rules! with_function {
    ($op:expr, $f:ident => $body:expr) => {{
        use $crate::kernels::{cpu::function as f, spec::Unary};
        macro_rules! run {
            ($function:expr) => {{
                let $f = $function;
                $body
            }};
        }
        match $op {
            Unary::Neg => run!(f::Neg {}),
            Unary::Abs => run!(f::Abs {}),
            Unary::Reciprocal => run!(f::Reciprocal {}),
            Unary::Sqrt => run!(f::Sqrt {}),
            Unary::Exp => run!(f::Exp {}),
            Unary::Log => run!(f::Log {}),
            Unary::Erf => run!(f::Erf {}),
            Unary::Tanh => run!(f::Tanh {}),
            Unary::Sigmoid => run!(f::Sigmoid {}),
            Unary::Relu => run!(f::Relu {}),
            Unary::LeakyRelu { alpha } => run!(f::LeakyRelu { alpha: alpha as f32 }),
            Unary::Elu { alpha } => run!(f::Elu { alpha: alpha as f32 }),
            Unary::Gelu { tanh: false } => run!(f::GeluErf {}),
            Unary::Gelu { tanh: true } => run!(f::GeluTanh {}),
            Unary::HardSwish => run!(f::HardSwish {}),
            Unary::HardSigmoid { alpha, beta } => run!(f::HardSigmoid { alpha: alpha as f32, beta: beta as f32 }),
            Unary::Clip { min, max } => run!(f::Clip { min: min as f32, max: max as f32 }),
            Unary::Softplus => run!(f::Softplus {}),
            Unary::Softsign => run!(f::Softsign {}),
            Unary::Sin => run!(f::Sin {}),
            Unary::Cos => run!(f::Cos {}),
            Unary::Tan => run!(f::Tan {}),
            Unary::Acos => run!(f::Acos {}),
            Unary::Asin => run!(f::Asin {}),
            Unary::Atan => run!(f::Atan {}),
            Unary::Cosh => run!(f::Cosh {}),
            Unary::Sinh => run!(f::Sinh {}),
            Unary::Acosh => run!(f::Acosh {}),
            Unary::Asinh => run!(f::Asinh {}),
            Unary::Atanh => run!(f::Atanh {}),
            Unary::AddScalar(c) => run!(f::AddScalar { c: c as f32 }),
            Unary::MulScalar(c) => run!(f::MulScalar { c: c as f32 }),
            Unary::PowScalar(c) if c == 2.0 => run!(f::Square {}),
            Unary::PowScalar(c) if c == 3.0 => run!(f::Cube {}),
            Unary::PowScalar(c) if c == 0.5 => run!(f::Sqrt {}),
            Unary::PowScalar(c) if c == -1.0 => run!(f::Reciprocal {}),
            Unary::PowScalar(c) => run!(f::Power { c: c as f32 }),
            Unary::Floor => run!(f::Floor {}),
            Unary::Ceil => run!(f::Ceil {}),
            Unary::Round => run!(f::Round {}),
            Unary::Sign => run!(f::Sign {}),
        }
    }};
}
pub(super) use with_function;
