//! What an operator sees of its inputs when it runs.

use super::{Mode, problem};
use crate::{
    engine::{Float, Tensor, Value},
    error::Result,
    kernels::Backend,
    tensor::{Element, HostTensor},
};
use ndarray::ArrayD;

/// A node's inputs, `None` where an optional one is left out.
pub struct Inputs<'a, E: Float, D: Backend<E>> {
    values: Vec<Option<&'a Value<E, D>>>,
    mode: Mode,
}

impl<'a, E: Float, D: Backend<E>> Inputs<'a, E, D> {
    /// The inputs in the node's order.
    pub fn new(values: Vec<Option<&'a Value<E, D>>>, mode: Mode) -> Self {
        Self { values, mode }
    }

    /// How training-dependent operators run.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Number of inputs, with those left out in the middle.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no input.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The inputs in order.
    pub fn iter(&self) -> impl Iterator<Item = Option<&'a Value<E, D>>> + '_ {
        self.values.iter().copied()
    }

    /// Input `i`, if it is there.
    pub fn get(&self, i: usize) -> Option<&'a Value<E, D>> {
        self.values.get(i).copied().flatten()
    }

    /// Input `i`.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if it is missing.
    pub fn value(&self, i: usize) -> Result<&'a Value<E, D>> {
        self.get(i).ok_or_else(|| problem(format!("input {i} is missing")))
    }

    /// Input `i`, a float tensor.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if it is missing, or integers or booleans.
    pub fn float(&self, i: usize) -> Result<&'a Tensor<E, D>> {
        match self.value(i)? {
            Value::Float(t) => Ok(t),
            Value::Host(t) => Err(problem(format!("input {i} is {}, not a float tensor", t.dtype()))),
        }
    }

    /// Input `i`, a float tensor, if it is there.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if it is integers or booleans.
    pub fn opt_float(&self, i: usize) -> Result<Option<&'a Tensor<E, D>>> {
        self.get(i).map(|_| self.float(i)).transpose()
    }

    /// All inputs, float tensors.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if one is missing, or integers or booleans.
    pub fn floats(&self) -> Result<Vec<&'a Tensor<E, D>>> {
        (0..self.len()).map(|i| self.float(i)).collect()
    }

    /// Input `i`, an integer or boolean tensor.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if it is missing, or a float tensor.
    pub fn host(&self, i: usize) -> Result<&'a HostTensor> {
        match self.value(i)? {
            Value::Host(t) => Ok(t),
            Value::Float(_) => Err(problem(format!("input {i} is a float tensor, not integer or boolean"))),
        }
    }

    /// Input `i`, a tensor of one element type.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if it is missing, or of another element type.
    pub fn array<T: Element>(&self, i: usize) -> Result<&'a ArrayD<T>> {
        let host = self.host(i)?;
        T::array(host).ok_or_else(|| problem(format!("input {i} is {}, not {}", host.dtype(), T::DTYPE)))
    }

    /// Input `i`'s elements, integers.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if it is missing, or a float tensor.
    pub fn ints(&self, i: usize) -> Result<Vec<i64>> {
        self.host(i)?.to_i64().ok_or_else(|| problem(format!("input {i} is not an integer tensor")))
    }

    /// Input `i`'s elements, integers, if it is there.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if it is a float tensor.
    pub fn opt_ints(&self, i: usize) -> Result<Option<Vec<i64>>> {
        self.get(i).map(|_| self.ints(i)).transpose()
    }

    /// Input `i`'s single integer.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if it is missing, a float tensor, or has another number of elements.
    pub fn int(&self, i: usize) -> Result<i64> {
        match self.ints(i)?.as_slice() {
            [x] => Ok(*x),
            other => Err(problem(format!("input {i} has {} elements, not one", other.len()))),
        }
    }

    /// Input `i`'s single value, of whatever type, if it is there.
    ///
    /// # Errors
    /// [`crate::Error::Node`] if it has another number of elements.
    pub fn opt_scalar(&self, i: usize) -> Result<Option<f64>> {
        let values = match self.get(i) {
            None => return Ok(None),
            Some(Value::Float(t)) => t.to_vec().into_iter().map(Float::f64).collect(),
            Some(Value::Host(t)) => t.to_f64(),
        };
        match values.as_slice() {
            [x] => Ok(Some(*x)),
            other => Err(problem(format!("input {i} has {} elements, not one", other.len()))),
        }
    }
}
