//! Pow-7/12/13/15: base to the power of the exponent, broadcast; the result has the base's type.
//!
//! The exponent's gradient is taken where it is tracked; a constant one is a function of the base alone.

use crate::{
    engine::{Float, Value},
    kernels::{Backend, Binary, Unary},
    ops::{Built, NodeContext, common::to_f64, host, one},
};

/// Builds Pow.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    if let Some(exponent) = node.scalar(1, 0) {
        return one(move |cx, x| match x.value(0)? {
            Value::Float(base) => D::unary(cx, Unary::PowScalar(exponent), base).map(Value::Float),
            Value::Host(base) => host::power(base, &ndarray::arr0(exponent).into_dyn()).map(Value::Host),
        });
    }
    one(|cx, x| match (x.value(0)?, x.value(1)?) {
        (Value::Float(base), Value::Float(exponent)) => {
            super::binary::float(cx, Binary::Pow, base, exponent).map(Value::Float)
        }
        (Value::Float(base), Value::Host(exponent)) => {
            let exponent = cx.upload_host(exponent)?;
            super::binary::float(cx, Binary::Pow, base, &exponent).map(Value::Float)
        }
        (Value::Host(base), exponent) => host::power(base, &to_f64(exponent)?).map(Value::Host),
    })
}
