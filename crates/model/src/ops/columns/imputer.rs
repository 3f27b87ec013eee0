//! Imputer-1 (ai.onnx.ml): `replaced_value_float` (0; NaN is equal to itself) is replaced by `imputed_value_floats`, one for all
//! elements or one a column; integers likewise. What is replaced passes no gradient.

use crate::{
    engine::{Float, Value},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, host, one, problem},
};

/// Builds Imputer.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let missing = node.float("replaced_value_float", 0.0)? as f32;
    let floats = node.floats("imputed_value_floats")?.unwrap_or_default();
    let missing_int = node.int("replaced_value_int64")?.unwrap_or(0);
    let ints = node.ints("imputed_value_int64s")?.unwrap_or_default();
    if floats.is_empty() == ints.is_empty() {
        return Err(problem("one of imputed_value_floats and imputed_value_int64s must be there"));
    }
    one(move |cx, inputs| match inputs.value(0)? {
        Value::Float(x) if !floats.is_empty() => {
            require_columns(x.dims(), floats.len())?;
            let kept = |x: E| {
                let x = x.f64() as f32;
                x != missing && !(x.is_nan() && missing.is_nan())
            };
            let kept: Vec<bool> = x.to_vec().into_iter().map(kept).collect();
            if kept.iter().all(|kept| *kept) {
                return Ok(Value::Float(x.clone()));
            }
            let kept = host::array(x.dims(), kept)?;
            let values = cx.upload(vec![floats.len()], floats.iter().map(|&x| E::of(x)).collect())?;
            D::select(cx, &kept, x, &values).map(Value::Float)
        }
        Value::Host(x) if !ints.is_empty() => {
            require_columns(x.dims(), ints.len())?;
            let whole = x.to_i64().ok_or_else(|| problem(format!("input 0 is {}, not integers", x.dtype())))?;
            let filled = whole.into_iter().zip(ints.iter().copied().cycle());
            let filled = filled.map(|(x, value)| if x == missing_int { value } else { x }).collect();
            host::from_i64(x.dims(), filled, x.dtype()).map(Value::Host)
        }
        _ => Err(problem("the imputed values are not of the input's type")),
    })
}

/// Fails unless there is one value for all, or one for each of the columns of `dims`.
fn require_columns(dims: &[usize], values: usize) -> Result<()> {
    let fits = dims.len() <= 2 && (values == 1 || dims.last() == Some(&values));
    if fits { Ok(()) } else { Err(problem(format!("{values} imputed values for a tensor of shape {dims:?}"))) }
}
