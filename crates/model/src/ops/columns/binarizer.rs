//! Binarizer-1 (ai.onnx.ml): 1 where an element is above `threshold` (0), else 0, in the element's type. Changes in steps only.

use crate::{
    engine::{Float, Value},
    kernels::Backend,
    ops::{Built, NodeContext, host, one, problem},
};

/// Builds Binarizer.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let threshold = node.float("threshold", 0.0)?;
    one(move |cx, inputs| match inputs.value(0)? {
        Value::Float(x) => {
            let above = |x: E| E::of(if x.f64() > threshold { 1.0 } else { 0.0 });
            Ok(Value::Float(cx.upload(x.dims().to_vec(), x.to_vec().into_iter().map(above).collect())?))
        }
        Value::Host(x) => {
            let whole = x.to_i64().ok_or_else(|| problem(format!("input 0 is {}, not numbers", x.dtype())))?;
            let above = whole.into_iter().map(|x| i64::from(x as f64 > threshold)).collect();
            host::from_i64(x.dims(), above, x.dtype()).map(Value::Host)
        }
    })
}
