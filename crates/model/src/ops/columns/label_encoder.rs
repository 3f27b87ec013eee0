//! LabelEncoder-2/4 (ai.onnx.ml), of numbers: the value that stands beside an element's key, or the default where it is no key.
//! Keys and values are lists of attributes, or from version 4 on tensors. NaN is equal to itself. Texts are refused.

use crate::{
    engine::{Float, Value},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, host, one, problem},
    tensor::{DType, HostTensor},
};
use std::collections::HashMap;

/// What is looked up, or found: floats or integers.
enum List {
    Floats(Vec<f64>),
    Ints(Vec<i64>),
}

/// Builds LabelEncoder.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let keys = list(node.floats("keys_floats")?, node.ints("keys_int64s")?, node.tensor("keys_tensor")?, "keys")?;
    let values =
        list(node.floats("values_floats")?, node.ints("values_int64s")?, node.tensor("values_tensor")?, "values")?;
    let (float, int) = (node.float("default_float", -0.0)?, node.int("default_int64")?.unwrap_or(-1));
    let default = node.tensor("default_tensor")?.and_then(|tensor| tensor.to_f64().first().copied());
    node.ignore(&["default_string"]);
    let dtype = node.tensor("values_tensor")?.map_or(DType::I64, HostTensor::dtype);
    let (keys_len, values_len) = (keys.len(), values.len());
    if keys_len != values_len {
        return Err(problem(format!("{keys_len} keys for {values_len} values")));
    }
    let places = keys.places();
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let found: Vec<Option<usize>> = match (x, &keys) {
            (Value::Float(x), List::Floats(_)) => {
                x.to_vec().into_iter().map(|x: E| places.get(&key(x.f64())).copied()).collect()
            }
            (Value::Host(x), List::Ints(_)) => {
                let whole = x.to_i64().ok_or_else(|| problem(format!("input 0 is {}, not integers", x.dtype())))?;
                whole.iter().map(|x| places.get(x).copied()).collect()
            }
            _ => return Err(problem("the keys are not of the input's type")),
        };
        match &values {
            List::Floats(values) => {
                let default = default.unwrap_or(float);
                let of = |place: Option<usize>| place.and_then(|place| values.get(place)).copied().unwrap_or(default);
                Ok(Value::Float(
                    cx.upload(x.dims().to_vec(), found.into_iter().map(|place| E::of(of(place))).collect())?,
                ))
            }
            List::Ints(values) => {
                let default = default.map_or(int, |default| default as i64);
                let of = |place: Option<usize>| place.and_then(|place| values.get(place)).copied().unwrap_or(default);
                host::from_i64(x.dims(), found.into_iter().map(of).collect(), dtype).map(Value::Host)
            }
        }
    })
}

/// A float as a key: as many bits as an `f32` has, 0 and −0 the same, NaN the same as NaN.
fn key(x: f64) -> i64 {
    let x = x as f32;
    if x.is_nan() { i64::MAX } else { (x + 0.0).to_bits().into() }
}

impl List {
    fn len(&self) -> usize {
        match self {
            Self::Floats(list) => list.len(),
            Self::Ints(list) => list.len(),
        }
    }

    /// The place of each key; the first of those that are equal.
    fn places(&self) -> HashMap<i64, usize> {
        let keys: Vec<i64> = match self {
            Self::Floats(list) => list.iter().map(|&x| key(x)).collect(),
            Self::Ints(list) => list.clone(),
        };
        keys.into_iter().enumerate().rev().map(|(place, key)| (key, place)).collect()
    }
}

fn list(floats: Option<Vec<f64>>, ints: Option<Vec<i64>>, tensor: Option<&HostTensor>, what: &str) -> Result<List> {
    match (floats, ints, tensor) {
        (Some(list), None, None) => Ok(List::Floats(list)),
        (None, Some(list), None) => Ok(List::Ints(list)),
        (None, None, Some(tensor)) if tensor.dtype().is_float() => Ok(List::Floats(tensor.to_f64())),
        (None, None, Some(tensor)) => {
            tensor.to_i64().map(List::Ints).ok_or_else(|| problem(format!("its {what} are {}", tensor.dtype())))
        }
        _ => Err(problem(format!("its {what} must be one list of numbers"))),
    }
}
