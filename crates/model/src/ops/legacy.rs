//! Broadcasting before version 7: the second input lies along the first one's axes from `axis` on, or along its last ones.
//!
//! The attribute `broadcast` only allows it, so what it forbids is accepted here, too.

use super::{Built, Inputs, NodeContext, common::reshaped, many, problem};
use crate::{
    engine::{Float, Value},
    error::Result,
    kernels::Backend,
};

/// The operator that `build` makes; before version 7 with its second input moved to where the first one's axes are.
pub fn aligned<E: Float, D: Backend<E>>(
    node: &NodeContext<'_>,
    build: fn(&NodeContext<'_>) -> Built<E, D>,
) -> Built<E, D> {
    if node.opset() >= 7 {
        return build(node);
    }
    node.ignore(&["broadcast"]);
    // PRelu has no attribute: its slope is one number, or one a channel.
    let axis = if node.node().is("PRelu") { Some(1) } else { node.int("axis")? };
    let operator = build(node)?;
    let Some(axis) = axis else { return Ok(operator) };
    many(move |cx, inputs| {
        let (a, b) = (inputs.value(0)?, inputs.value(1)?);
        let b = moved(a.dims(), b, axis)?;
        operator.run(cx, &Inputs::new(vec![Some(a), Some(&b)], inputs.mode()))
    })
}

/// `b` with axes of 1 behind it, so that its first axis is axis `axis` of a tensor of `dims`.
fn moved<E: Float, D: Backend<E>>(dims: &[usize], b: &Value<E, D>, axis: i64) -> Result<Value<E, D>> {
    let given = b.dims().iter().product::<usize>();
    if given == 1 {
        return reshaped(b, Vec::new());
    }
    let start = if axis < 0 { axis + dims.len() as i64 } else { axis };
    let behind = usize::try_from(start).ok().and_then(|start| dims.len().checked_sub(start + b.dims().len()));
    let behind = behind.ok_or_else(|| problem(format!("{:?} at axis {axis} does not fit {dims:?}", b.dims())))?;
    reshaped(b, [b.dims(), &vec![1; behind]].concat())
}
