//! Operators without attributes that apply one formula to each element.
//!
//! Abs-6/13, Neg-6/13, Sign-9/13 and Relu-14 also take integers. Floor, Ceil, Round and Sign change in steps: no
//! gradient passes, as in PyTorch, where it is 0.

use crate::{
    engine::{Context, Float, Value},
    error::Result,
    kernels::{Backend, Unary},
    ops::{
        Built, NodeContext,
        host::{self, Integer, each_int},
        one, problem,
    },
    tensor::HostTensor,
};
use ndarray::ArrayD;

/// One kernel each.
const KERNELS: &[(&str, Unary)] = &[
    ("Abs", Unary::Abs),
    ("Acos", Unary::Acos),
    ("Acosh", Unary::Acosh),
    ("Asin", Unary::Asin),
    ("Asinh", Unary::Asinh),
    ("Atan", Unary::Atan),
    ("Atanh", Unary::Atanh),
    ("Ceil", Unary::Ceil),
    ("Cos", Unary::Cos),
    ("Cosh", Unary::Cosh),
    ("Erf", Unary::Erf),
    ("Exp", Unary::Exp),
    ("Floor", Unary::Floor),
    ("HardSwish", Unary::HardSwish),
    ("Log", Unary::Log),
    ("Neg", Unary::Neg),
    ("Reciprocal", Unary::Reciprocal),
    ("Relu", Unary::Relu),
    ("Round", Unary::Round),
    ("Sigmoid", Unary::Sigmoid),
    ("Sign", Unary::Sign),
    ("Sin", Unary::Sin),
    ("Sinh", Unary::Sinh),
    ("Softplus", Unary::Softplus),
    ("Softsign", Unary::Softsign),
    ("Sqrt", Unary::Sqrt),
    ("Tan", Unary::Tan),
    ("Tanh", Unary::Tanh),
];

/// Builds the operator that the table names.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let name = &node.node().op_type;
    let found = KERNELS.iter().find(|(n, _)| n == name);
    let &(_, op) = found.ok_or_else(|| problem("the operator is not in its table"))?;
    one(move |cx, x| apply(cx, op, x.value(0)?))
}

fn apply<E: Float, D: Backend<E>>(cx: &mut Context<E, D>, op: Unary, x: &Value<E, D>) -> Result<Value<E, D>> {
    match x {
        Value::Float(t) => Ok(D::unary(cx, op, t)?.into()),
        Value::Host(t) => Ok(integer(op, t)?.into()),
    }
}

fn integer(op: Unary, x: &HostTensor) -> Result<HostTensor> {
    fn go<T: Integer>(op: Unary, a: &ArrayD<T>) -> Result<HostTensor> {
        let zero = T::zero();
        let negated = move |x: T| zero.wrapping_sub(&x);
        Ok(match op {
            Unary::Neg => host::map(a, negated),
            Unary::Abs => host::map(a, |x| if x < zero { negated(x) } else { x }),
            Unary::Relu => host::map(a, |x| x.max(zero)),
            Unary::Sign => host::map(a, |x| match x.cmp(&zero) {
                std::cmp::Ordering::Less => negated(T::one()),
                std::cmp::Ordering::Equal => zero,
                std::cmp::Ordering::Greater => T::one(),
            }),
            _ => return Err(problem(format!("the operator has no meaning for {} values", T::DTYPE))),
        })
    }
    each_int!(x, a => go(op, a), other => Err(problem(format!("the operator has no meaning for {} values", other.dtype()))))
}
