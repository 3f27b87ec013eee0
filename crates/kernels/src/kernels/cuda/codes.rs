//! Codes of elementwise functions, as elementwise.cu knows them: each enum is written into the source that is compiled.

use crate::kernels::{Binary, Unary};

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident: $prefix:literal; $($code:ident),* $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name {
            $($code),*
        }

        impl $name {
            /// A `#define` a code, by its name in capitals.
            fn defines() -> String {
                let all = [$((stringify!($code), Self::$code)),*];
                all.map(|(name, code)| format!("#define {}_{} {}\n", $prefix, name.to_uppercase(), code as i32)).concat()
            }
        }
    };
}

codes! {
    /// A function of one tensor.
    UnaryCode: "UNARY";
    Neg, Abs, Reciprocal, Sqrt, Exp, Log, Erf, Tanh, Sigmoid, Relu, LeakyRelu, Elu, Gelu, GeluTanh,
    HardSwish, HardSigmoid, Clip, Softplus, Softsign, Sin, Cos, Tan, Acos, Asin, Atan, Cosh, Sinh,
    Acosh, Asinh, Atanh, AddScalar, MulScalar, PowScalar, Floor, Ceil, Round, Sign, Square, Cube,
}

codes! {
    /// A function of two tensors, or a choice between them.
    BinaryCode: "BINARY";
    Add, Sub, Mul, Div, Pow, Max, Min, PRelu, Select,
}

/// What elementwise.cu needs before it.
pub(super) fn defines() -> String {
    UnaryCode::defines() + &BinaryCode::defines()
}

/// A function's code with its constants. None is negative.
#[derive(Clone, Copy)]
pub(super) struct Code {
    pub op: i32,
    pub a: f32,
    pub b: f32,
}

impl Code {
    /// No function.
    pub const NONE: Self = Self { op: -1, a: 0.0, b: 0.0 };
}

/// What the derivative is computed from, and so what the backward pass saves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SavedForBackward {
    Argument,
    Value,
}

pub(super) fn code(op: Unary) -> (Code, SavedForBackward) {
    use SavedForBackward::{Argument, Value};
    use UnaryCode as C;
    let with = |code, a: f64, b: f64, saved| (Code { op: code as i32, a: a as f32, b: b as f32 }, saved);
    let plain = |code, saved| with(code, 0.0, 0.0, saved);
    match op {
        Unary::Neg => plain(C::Neg, Argument),
        Unary::Abs => plain(C::Abs, Argument),
        Unary::Reciprocal => plain(C::Reciprocal, Value),
        Unary::Sqrt => plain(C::Sqrt, Value),
        Unary::Exp => plain(C::Exp, Value),
        Unary::Log => plain(C::Log, Argument),
        Unary::Erf => plain(C::Erf, Argument),
        Unary::Tanh => plain(C::Tanh, Value),
        Unary::Sigmoid => plain(C::Sigmoid, Value),
        Unary::Relu => plain(C::Relu, Value),
        Unary::LeakyRelu { alpha } => with(C::LeakyRelu, alpha, 0.0, Argument),
        Unary::Elu { alpha } => with(C::Elu, alpha, 0.0, Argument),
        Unary::Gelu { tanh: false } => plain(C::Gelu, Argument),
        Unary::Gelu { tanh: true } => plain(C::GeluTanh, Argument),
        Unary::HardSwish => plain(C::HardSwish, Argument),
        Unary::HardSigmoid { alpha, beta } => with(C::HardSigmoid, alpha, beta, Value),
        Unary::Clip { min, max } => with(C::Clip, min, max, Argument),
        Unary::Softplus => plain(C::Softplus, Argument),
        Unary::Softsign => plain(C::Softsign, Argument),
        Unary::Sin => plain(C::Sin, Argument),
        Unary::Cos => plain(C::Cos, Argument),
        Unary::Tan => plain(C::Tan, Argument),
        Unary::Acos => plain(C::Acos, Argument),
        Unary::Asin => plain(C::Asin, Argument),
        Unary::Atan => plain(C::Atan, Argument),
        Unary::Cosh => plain(C::Cosh, Argument),
        Unary::Sinh => plain(C::Sinh, Argument),
        Unary::Acosh => plain(C::Acosh, Argument),
        Unary::Asinh => plain(C::Asinh, Argument),
        Unary::Atanh => plain(C::Atanh, Argument),
        Unary::AddScalar(c) => with(C::AddScalar, c, 0.0, Argument),
        Unary::MulScalar(c) => with(C::MulScalar, c, 0.0, Argument),
        Unary::PowScalar(2.0) => plain(C::Square, Argument),
        Unary::PowScalar(3.0) => plain(C::Cube, Argument),
        Unary::PowScalar(0.5) => plain(C::Sqrt, Value),
        Unary::PowScalar(-1.0) => plain(C::Reciprocal, Value),
        Unary::PowScalar(c) => with(C::PowScalar, c, 0.0, Argument),
        Unary::Floor => plain(C::Floor, Argument),
        Unary::Ceil => plain(C::Ceil, Argument),
        Unary::Round => plain(C::Round, Argument),
        Unary::Sign => plain(C::Sign, Argument),
    }
}

/// The code of a function whose derivative follows from its value, as a convolution's last pass may apply it.
pub(super) fn activation(op: Unary) -> Option<Code> {
    match op {
        Unary::Relu | Unary::Clip { .. } => Some(code(op).0),
        // Where the slope is positive the value has the argument's sign.
        Unary::LeakyRelu { alpha } if alpha > 0.0 => Some(code(op).0),
        _ => None,
    }
}

impl From<Binary> for BinaryCode {
    fn from(op: Binary) -> Self {
        match op {
            Binary::Add => Self::Add,
            Binary::Sub => Self::Sub,
            Binary::Mul => Self::Mul,
            Binary::Div => Self::Div,
            Binary::Pow => Self::Pow,
            Binary::Max => Self::Max,
            Binary::Min => Self::Min,
            Binary::PRelu => Self::PRelu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_defined_and_no_case_is_without_one() {
        let source = include_str!("elementwise.cu");
        let defined = defines();
        let names: Vec<&str> = defined.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        for name in &names {
            assert!(source.contains(&format!("case {name}:")), "{name}");
        }
        for case in source.split("case ").skip(1).filter_map(|rest| rest.split(':').next()) {
            assert!(names.contains(&case), "{case}");
        }
    }
}
