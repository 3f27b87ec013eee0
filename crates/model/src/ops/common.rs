//! Steps that several operators take.

use super::{host, problem};
use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::{Backend, Binary, Unary},
    tensor::HostTensor,
};
use ndarray::ArrayD;

/// A constant on the device.
pub fn scalar<E: Float, D: Backend<E>>(cx: &Context<E, D>, value: f64) -> Result<Tensor<E, D>> {
    cx.upload(Vec::new(), vec![E::of(value)])
}

/// A device tensor's elements as a host array.
pub fn to_array<E: Float, D: Backend<E>>(x: &Tensor<E, D>) -> Result<ArrayD<E>> {
    host::array(x.dims(), x.to_vec())
}

/// A host tensor as a value: floats go to the device.
pub fn value<E: Float, D: Backend<E>>(cx: &Context<E, D>, tensor: HostTensor) -> Result<Value<E, D>> {
    Ok(if tensor.dtype().is_float() { cx.upload_host(&tensor)?.into() } else { tensor.into() })
}

/// A value as a host array of floats.
pub fn to_f64<E: Float, D: Backend<E>>(x: &Value<E, D>) -> Result<ArrayD<f64>> {
    match x {
        Value::Float(t) => host::array(t.dims(), t.to_vec().into_iter().map(Float::f64).collect()),
        Value::Host(t) => host::array(t.dims(), t.to_f64()),
    }
}

/// A value as a device tensor of floats.
pub fn float<E: Float, D: Backend<E>>(cx: &Context<E, D>, x: &Value<E, D>) -> Result<Tensor<E, D>> {
    match x {
        Value::Float(t) => Ok(t.clone()),
        Value::Host(t) => cx.upload_host(t),
    }
}

/// x·c, nothing to do for c = 1.
pub fn scaled<E: Float, D: Backend<E>>(cx: &mut Context<E, D>, x: &Tensor<E, D>, c: f64) -> Result<Tensor<E, D>> {
    if c == 1.0 { Ok(x.clone()) } else { D::unary(cx, Unary::MulScalar(c), x) }
}

/// a·b with broadcasting.
pub fn mul<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    a: &Tensor<E, D>,
    b: &Tensor<E, D>,
) -> Result<Tensor<E, D>> {
    super::shapes::broadcast(a.dims(), b.dims())?;
    D::binary(cx, Binary::Mul, a, b)
}

/// a + b with broadcasting.
pub fn add<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    a: &Tensor<E, D>,
    b: &Tensor<E, D>,
) -> Result<Tensor<E, D>> {
    super::shapes::broadcast(a.dims(), b.dims())?;
    D::binary(cx, Binary::Add, a, b)
}

/// The elements at `indices` of each of the `outer` rows of `x`, as a tensor of `dims`; the index one beyond a row
/// stands for `fill`.
pub fn take_or<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    outer: usize,
    indices: &[usize],
    dims: &[usize],
    fill: f64,
) -> Result<Tensor<E, D>> {
    if outer == 0 || indices.is_empty() {
        return cx.upload(dims.to_vec(), Vec::new());
    }
    let n = x.len() / outer;
    let mut rows = x.reshaped(vec![outer, n])?;
    if indices.contains(&n) {
        let fill = cx.upload(vec![outer, 1], vec![E::of(fill); outer])?;
        rows = D::concat(cx, &[&rows, &fill], 1)?;
    }
    D::gather(cx, &rows, 1, indices, &[indices.len()])?.reshaped(dims.to_vec())
}

/// A constant tensor of zeros.
pub fn zeros<E: Float, D: Backend<E>>(cx: &Context<E, D>, dims: Vec<usize>) -> Result<Tensor<E, D>> {
    let n = super::shapes::count(&dims)?;
    cx.upload(dims, vec![E::of(0.0); n])
}

/// The tensor with other dimensions, which its number of elements must fit.
pub fn reshaped<E: Float, D: Backend<E>>(x: &Value<E, D>, dims: Vec<usize>) -> Result<Value<E, D>> {
    let misfit = || problem(format!("a tensor of shape {:?} does not fit {dims:?}", x.dims()));
    if dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) != Some(x.dims().iter().product()) {
        return Err(misfit());
    }
    match x {
        Value::Float(t) => Ok(t.reshaped(dims)?.into()),
        Value::Host(t) => t.clone().reshaped(&dims).map(Value::Host).ok_or_else(misfit),
    }
}
