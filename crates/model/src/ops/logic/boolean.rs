//! And-7, Or-7, Xor-7 (broadcast), Not-1, and BitwiseAnd/Or/Xor/Not-18 on integers.

use crate::{
    engine::Float,
    error::Result,
    kernels::Backend,
    ops::{
        Built, NodeContext,
        host::{self, Integer, each_int},
        one, problem,
    },
    tensor::HostTensor,
};
use ndarray::ArrayD;

#[derive(Clone, Copy)]
enum Bits {
    And,
    Or,
    Xor,
}

fn which(node: &NodeContext<'_>) -> Bits {
    match node.node().op_type.as_str() {
        "And" | "BitwiseAnd" => Bits::And,
        "Or" | "BitwiseOr" => Bits::Or,
        _ => Bits::Xor,
    }
}

/// And, Or and Xor.
pub fn pair<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let op = which(node);
    one(move |_, x| {
        let combine = |&a: &bool, &b: &bool| {
            Ok(match op {
                Bits::And => a && b,
                Bits::Or => a || b,
                Bits::Xor => a != b,
            })
        };
        host::zip(x.array::<bool>(0)?, x.array::<bool>(1)?, combine).map(HostTensor::Bool)
    })
}

/// Not.
pub fn not<E: Float, D: Backend<E>>(_: &NodeContext<'_>) -> Built<E, D> {
    one(|_, x| Ok(host::map(x.array::<bool>(0)?, |b| !b)))
}

/// BitwiseAnd, BitwiseOr and BitwiseXor.
pub fn bitwise<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    fn go<T: Integer>(op: Bits, a: &ArrayD<T>, b: &HostTensor) -> Result<HostTensor> {
        let combine = |&a: &T, &b: &T| {
            Ok(match op {
                Bits::And => a & b,
                Bits::Or => a | b,
                Bits::Xor => a ^ b,
            })
        };
        host::zip(a, host::same::<T>(b)?, combine).map(T::wrap)
    }
    let op = which(node);
    one(move |_, x| each_int!(x.host(0)?, a => go(op, a, x.host(1)?), _other => Err(problem("not an integer"))))
}

/// BitwiseNot.
pub fn bitwise_not<E: Float, D: Backend<E>>(_: &NodeContext<'_>) -> Built<E, D> {
    one(|_, x| each_int!(x.host(0)?, a => Ok(host::map(a, |x| !x)), _other => Err(problem("not an integer"))))
}
