//! Constant-1/9/11/12/13 on, ConstantOfShape-9/20 on, EyeLike-9/22: tensors that depend on no value.
//!
//! Constants of the main graph are folded into its initializers; this is for those that are left. Strings and sparse tensors are refused.

use crate::{
    engine::{Float, Value},
    kernels::Backend,
    ops::{Built, NodeContext, common::value, host, one, problem, shapes},
    tensor::{DType, HostTensor},
};

/// Constant, with a tensor, number or list attribute.
pub fn constant<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let narrow = |x: f64| x as f32;
    let tensor = if let Some(tensor) = node.tensor("value")? {
        tensor.clone()
    } else if let Some(x) = node.int("value_int")? {
        HostTensor::scalar(x)
    } else if let Some(list) = node.ints("value_ints")? {
        HostTensor::vector(list)
    } else if let Some(list) = node.floats("value_floats")? {
        HostTensor::vector(list.into_iter().map(narrow).collect())
    } else if node.node().attrs.contains_key("value_float") {
        HostTensor::scalar(narrow(node.float("value_float", 0.0)?))
    } else {
        return Err(problem("a constant that is neither a number nor a dense tensor"));
    };
    one(move |cx, _| value(cx, tensor.clone()))
}

/// ConstantOfShape: one value (default 0 of f32) in the shape that the input says.
pub fn of_shape<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let fill = node.tensor("value")?.cloned().unwrap_or_else(|| HostTensor::vector(vec![0f32]));
    if fill.len() != 1 {
        return Err(problem(format!("attribute value has {} elements, not one", fill.len())));
    }
    one(move |cx, inputs| value(cx, host::filled(&fill, &shapes::extents(&inputs.ints(0)?)?)?))
}

/// EyeLike: 1 on the diagonal that is `k` above the main one.
pub fn eye_like<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let k = node.int("k")?.unwrap_or(0);
    let asked = match node.int("dtype")? {
        None => None,
        Some(code) => {
            Some(i32::try_from(code).ok().and_then(DType::from_onnx).ok_or_else(|| problem("dtype is not supported"))?)
        }
    };
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let &[rows, columns] = x.dims() else {
            return Err(problem(format!("a tensor of {:?} is no matrix", x.dims())));
        };
        shapes::count(&[rows, columns, 2])?;
        let own = if let Value::Host(t) = x { t.dtype() } else { DType::F32 };
        let cells = (0..rows as i64)
            .flat_map(|i| (0..columns as i64).map(move |j| f64::from(u8::from(i.saturating_add(k) == j))));
        let eye = HostTensor::F64(host::array(&[rows, columns], cells.collect())?);
        super::super::elementwise::cast::cast(cx, &value(cx, eye)?, asked.unwrap_or(own))
    })
}
