//! A batch's tensors as the model's inputs.

use super::Input;
use crate::{
    engine::{Context, Float, Value},
    error::{Error, Result},
    graph::Dim,
    kernels::Backend,
    ops::cast_integers,
    tensor::HostTensor,
};
use std::collections::BTreeMap;

/// The tensor for `input`: of its type and shape, but for the first extent, the number of rows.
pub(super) fn feed<E: Float, D: Backend<E>>(
    cx: &Context<E, D>,
    input: &Input,
    inputs: &BTreeMap<String, HostTensor>,
) -> Result<Value<E, D>> {
    let name = &input.name;
    let tensor = inputs.get(name).ok_or_else(|| Error::Data(format!("the model's input {name} is not fed")))?;
    if let Some(dims) = &input.dims {
        let fits = |(axis, (dim, &n)): (usize, (&Dim, &usize))| axis == 0 || !matches!(dim, Dim::Fixed(d) if *d != n);
        if dims.len() != tensor.dims().len() || !dims.iter().zip(tensor.dims()).enumerate().all(fits) {
            let declared: Vec<String> = dims.iter().map(dim_name).collect();
            return Err(Error::Data(format!(
                "the model's input {name} has shape ({}), but the data gives {:?}",
                declared.join(", "),
                tensor.dims()
            )));
        }
    }
    let (given, declared) = (tensor.dtype(), input.dtype.unwrap_or(tensor.dtype()));
    match (declared.is_float(), given.is_float()) {
        (true, _) => Ok(D::feed(cx, tensor)?.into()),
        (false, false) if declared == given => Ok(tensor.clone().into()),
        (false, false) => Ok(cast_integers(tensor, declared)?.into()),
        (false, true) => {
            Err(Error::Data(format!("the model's input {name} is {declared}, but the data gives {given}")))
        }
    }
}

fn dim_name(dim: &Dim) -> String {
    match dim {
        Dim::Fixed(n) => n.to_string(),
        Dim::Symbol(name) => name.clone(),
        Dim::Unknown => "?".into(),
    }
}
