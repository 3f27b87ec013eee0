//! OneHot-9/11: along a new `axis` (default −1), the on-value where the index is, the off-value elsewhere. Indices out of
//! range give off-values only. Values of any type; no gradient.

use crate::{
    engine::{Context, Float, Value},
    error::Result,
    kernels::Backend,
    ops::{
        Built, NodeContext,
        common::{to_f64, value},
        host, one, problem, shapes,
    },
    tensor::HostTensor,
};
use ndarray::{ArrayD, Axis};

/// Builds OneHot.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let axis = node.int("axis")?.unwrap_or(-1);
    one(move |cx, inputs| {
        let indices = to_f64(inputs.value(0)?)?;
        let depth = inputs.opt_scalar(1)?.unwrap_or(0.0);
        if depth.is_nan() || depth < 0.0 {
            return Err(problem("depth is negative"));
        }
        let axis = shapes::axis(axis, indices.ndim() + 1)?;
        let places = places(&indices, depth as usize, axis)?;
        let pair = pair(cx, inputs.value(2)?)?;
        value(cx, host::take(&pair, &places)?)
    })
}

fn pair<E: Float, D: Backend<E>>(_: &Context<E, D>, values: &Value<E, D>) -> Result<HostTensor> {
    match values {
        Value::Float(t) => Ok(t.to_host()),
        Value::Host(t) => Ok(t.clone()),
    }
}

/// 1 where the on-value stands, else 0.
fn places(indices: &ArrayD<f64>, depth: usize, axis: usize) -> Result<ArrayD<usize>> {
    let mut dims = indices.shape().to_vec();
    dims.insert(axis, depth);
    shapes::count(&dims)?;
    let mut places = ArrayD::zeros(ndarray::IxDyn(&dims));
    for (class, mut plane) in places.axis_iter_mut(Axis(axis)).enumerate() {
        plane.zip_mut_with(indices, |on, &i| {
            let i = if i < 0.0 { i + depth as f64 } else { i };
            *on = usize::from(i.trunc() == class as f64);
        });
    }
    Ok(places)
}
