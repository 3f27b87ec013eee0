//! Every variant of every specification.

use crate::kernels::{Binary, PadMode, Reduce, Unary};

/// Lists the variants of a specification with instances of each. A variant that is not listed does not compile.
macro_rules! variants {
    ($name:ident: $type:ty { $($pattern:pat => [$($instance:expr),+],)+ }) => {
        pub(super) fn $name() -> Vec<$type> {
            let _listed = |x: $type| match x { $($pattern => (),)+ };
            vec![$($($instance),+),+]
        }
    };
}

variants!(unaries: Unary {
    Unary::Neg => [Unary::Neg],
    Unary::Abs => [Unary::Abs],
    Unary::Reciprocal => [Unary::Reciprocal],
    Unary::Sqrt => [Unary::Sqrt],
    Unary::Exp => [Unary::Exp],
    Unary::Log => [Unary::Log],
    Unary::Erf => [Unary::Erf],
    Unary::Tanh => [Unary::Tanh],
    Unary::Sigmoid => [Unary::Sigmoid],
    Unary::Relu => [Unary::Relu],
    Unary::LeakyRelu { .. } => [Unary::LeakyRelu { alpha: 0.01 }, Unary::LeakyRelu { alpha: 0.3 }],
    Unary::Elu { .. } => [Unary::Elu { alpha: 1. }, Unary::Elu { alpha: 0.7 }],
    Unary::Gelu { .. } => [Unary::Gelu { tanh: false }, Unary::Gelu { tanh: true }],
    Unary::HardSwish => [Unary::HardSwish],
    Unary::HardSigmoid { .. } => [Unary::HardSigmoid { alpha: 0.2, beta: 0.5 }, Unary::HardSigmoid { alpha: 1. / 6., beta: 0.5 }],
    Unary::Clip { .. } => [
        Unary::Clip { min: -1., max: 0.5 },
        Unary::Clip { min: 0., max: 6. },
        Unary::Clip { min: f64::NEG_INFINITY, max: 1. },
        Unary::Clip { min: 1., max: -1. }
    ],
    Unary::Softplus => [Unary::Softplus],
    Unary::Softsign => [Unary::Softsign],
    Unary::Sin => [Unary::Sin],
    Unary::Cos => [Unary::Cos],
    Unary::Tan => [Unary::Tan],
    Unary::Acos => [Unary::Acos],
    Unary::Asin => [Unary::Asin],
    Unary::Atan => [Unary::Atan],
    Unary::Cosh => [Unary::Cosh],
    Unary::Sinh => [Unary::Sinh],
    Unary::Acosh => [Unary::Acosh],
    Unary::Asinh => [Unary::Asinh],
    Unary::Atanh => [Unary::Atanh],
    Unary::AddScalar(_) => [Unary::AddScalar(0.7)],
    Unary::MulScalar(_) => [Unary::MulScalar(-1.3)],
    Unary::PowScalar(_) => [
        Unary::PowScalar(0.), Unary::PowScalar(1.), Unary::PowScalar(2.), Unary::PowScalar(3.),
        Unary::PowScalar(0.5), Unary::PowScalar(-1.), Unary::PowScalar(-0.5), Unary::PowScalar(1.7)
    ],
    Unary::Floor => [Unary::Floor],
    Unary::Ceil => [Unary::Ceil],
    Unary::Round => [Unary::Round],
    Unary::Sign => [Unary::Sign],
});

variants!(binaries: Binary {
    Binary::Add => [Binary::Add],
    Binary::Sub => [Binary::Sub],
    Binary::Mul => [Binary::Mul],
    Binary::Div => [Binary::Div],
    Binary::Pow => [Binary::Pow],
    Binary::Max => [Binary::Max],
    Binary::Min => [Binary::Min],
    Binary::PRelu => [Binary::PRelu],
});

variants!(reductions: Reduce {
    Reduce::Sum => [Reduce::Sum],
    Reduce::Mean => [Reduce::Mean],
    Reduce::Max => [Reduce::Max],
    Reduce::Min => [Reduce::Min],
    Reduce::Prod => [Reduce::Prod],
});

variants!(pad_modes: PadMode {
    PadMode::Constant(_) => [PadMode::Constant(0.), PadMode::Constant(-1.5)],
    PadMode::Edge => [PadMode::Edge],
    PadMode::Reflect => [PadMode::Reflect],
    PadMode::Wrap => [PadMode::Wrap],
});
