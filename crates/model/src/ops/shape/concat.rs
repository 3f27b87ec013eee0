//! Concat-4/11/13: tensors of one type one after the other along `axis`.

use crate::{
    engine::{Float, Tensor, Value},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, host, one, problem, shapes},
    tensor::HostTensor,
};

/// Builds Concat.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let axis = node.int("axis")?.ok_or_else(|| problem("attribute axis is missing"))?;
    one(move |cx, inputs| {
        let first = inputs.value(0)?;
        let axis = shapes::axis(axis, first.dims().len())?;
        match first {
            Value::Float(_) => {
                let tensors = inputs.floats()?;
                let dims: Vec<&[usize]> = tensors.iter().map(|t| t.dims()).collect();
                fit(&dims, axis)?;
                let joined = joined(&dims, axis);
                shapes::count(&joined)?;
                // An empty tensor of rank 1 among others is not an ONNX form; extents of 0 are.
                let filled: Vec<&Tensor<E, D>> = tensors.iter().copied().filter(|t| !t.is_empty()).collect();
                match filled.as_slice() {
                    [] => Ok(Value::Float(cx.upload(joined, Vec::new())?)),
                    [only] => Ok(Value::Float((*only).clone())),
                    many => D::concat(cx, many, axis).map(Value::Float),
                }
            }
            Value::Host(_) => {
                let tensors = (0..inputs.len()).map(|i| inputs.host(i)).collect::<Result<Vec<&HostTensor>>>()?;
                shapes::count(&joined(&tensors.iter().map(|t| t.dims()).collect::<Vec<_>>(), axis))?;
                host::concat(&tensors, axis).map(Value::Host)
            }
        }
    })
}

fn fit(shapes: &[&[usize]], axis: usize) -> Result<()> {
    let rest =
        |dims: &[usize]| dims.iter().enumerate().filter(|&(a, _)| a != axis).map(|(_, &d)| d).collect::<Vec<_>>();
    let same = shapes.windows(2).all(|w| matches!(w, [a, b] if a.len() == b.len() && rest(a) == rest(b)));
    if same { Ok(()) } else { Err(problem(format!("shapes {shapes:?} do not fit along axis {axis}"))) }
}

fn joined(shapes: &[&[usize]], axis: usize) -> Vec<usize> {
    let extents = shapes.iter().filter_map(|dims| dims.get(axis));
    let extent = extents.fold(0usize, |all, &extent| all.saturating_add(extent));
    let first = shapes.first().copied().unwrap_or_default();
    first.iter().enumerate().map(|(a, &d)| if a == axis { extent } else { d }).collect()
}
