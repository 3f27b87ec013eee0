//! Scaler-1 (ai.onnx.ml): (x − offset)·scale of floats or integers as floats. Both lists have one entry for all elements, or
//! one for each entry of the last axis.

use crate::{
    engine::{Float, Value},
    kernels::{Backend, Binary},
    ops::{Built, NodeContext, common::float, one, problem},
};

/// Builds Scaler.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let lists = [(Binary::Sub, node.floats("offset")?), (Binary::Mul, node.floats("scale")?)];
    one(move |cx, inputs| {
        let mut y = float(cx, inputs.value(0)?)?;
        for (operation, list) in &lists {
            let Some(list) = list else { continue };
            let last = y.dims().last().copied();
            if list.len() != 1 && Some(list.len()) != last {
                return Err(problem(format!("{} numbers for a tensor of shape {:?}", list.len(), y.dims())));
            }
            let numbers = cx.upload(vec![list.len()], list.iter().map(|&x| E::of(x)).collect())?;
            y = D::binary(cx, *operation, &y, &numbers)?;
        }
        Ok(Value::Float(y))
    })
}
