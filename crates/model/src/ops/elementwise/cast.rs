//! Cast-6/9/13/19 on and CastLike-15 on, among f16, bf16, f32, f64, integers and booleans.
//!
//! Floats are computed in the model's float type: only a cast to f16 or bf16 rounds, to nearest even, and its gradient
//! is that of the identity. Floats become integers by truncation, booleans by being other than 0. `saturate` and `round_mode` concern 8-bit
//! floats, which are refused, as are strings.

use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    graph::Node,
    kernels::{Backend, Binary},
    ops::{Built, NodeContext, common::value, host, one, problem},
    tensor::DType,
};

/// Cast.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    node.ignore(&["saturate", "round_mode"]);
    let code = node.int("to")?.ok_or_else(|| problem("attribute to is missing"))?;
    let to = dtype(code).ok_or_else(|| problem(format!("element type {code} is not supported")))?;
    one(move |cx, x| cast(cx, x.value(0)?, to))
}

/// CastLike.
pub fn like<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    node.ignore(&["saturate", "round_mode"]);
    let float = node.dtype(1).filter(|t| t.is_float()).unwrap_or(DType::F32);
    one(move |cx, x| {
        let to = match x.value(1)? {
            Value::Float(_) => float,
            Value::Host(t) => t.dtype(),
        };
        cast(cx, x.value(0)?, to)
    })
}

fn dtype(code: i64) -> Option<DType> {
    i32::try_from(code).ok().and_then(DType::from_onnx)
}

/// Whether a node turns floats into integers or booleans, so that no gradient passes.
pub fn leaves_floats(node: &Node) -> bool {
    node.int("to", None).is_ok_and(|code| dtype(code).is_some_and(|t| !t.is_float()))
}

/// Converts a value.
pub fn cast<E: Float, D: Backend<E>>(cx: &mut Context<E, D>, x: &Value<E, D>, to: DType) -> Result<Value<E, D>> {
    match x {
        Value::Float(t) if to.is_float() => Ok(rounded(cx, t, to)?.into()),
        Value::Float(t) => {
            let values = t.to_vec().into_iter().map(Float::f64).collect();
            Ok(host::from_f64(t.dims(), values, to)?.into())
        }
        Value::Host(t) if to.is_float() => {
            let Value::Float(x) = value(cx, crate::tensor::HostTensor::F64(host::array(t.dims(), t.to_f64())?))? else {
                return Err(problem("an integer tensor did not become a float tensor"));
            };
            Ok(rounded(cx, &x, to)?.into())
        }
        Value::Host(t) => Ok(host::cast(t, to)?.into()),
    }
}

/// Rounds to a half-precision type, and leaves others as they are; the gradient passes unchanged.
///
/// # Errors
/// [`crate::Error::DeviceFailed`] if the device fails.
pub fn rounded<E: Float, D: Backend<E>>(cx: &mut Context<E, D>, x: &Tensor<E, D>, to: DType) -> Result<Tensor<E, D>> {
    if !matches!(to, DType::F16 | DType::BF16) {
        return Ok(x.clone());
    }
    let change = |x: E| {
        let change = to.nearest(x.f64()) - x.f64();
        E::of(if change.is_nan() { 0.0 } else { change })
    };
    let changes: Vec<E> = x.to_vec().into_iter().map(change).collect();
    if changes.iter().all(|c| c.is_zero()) {
        return Ok(x.clone());
    }
    let changes = cx.upload(x.dims().to_vec(), changes)?;
    D::binary(cx, Binary::Add, x, &changes)
}
