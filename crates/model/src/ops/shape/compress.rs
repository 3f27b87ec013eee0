//! Compress-9/11/28: the slices of `axis`, or without it the elements, at which the condition holds. Of any type; what lies
//! beyond a short condition is left out.

use super::gather::slices;
use crate::{
    engine::Float,
    kernels::Backend,
    ops::{Built, NodeContext, common::reshaped, one},
};

/// Builds Compress.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let axis = node.int("axis")?;
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let holds = inputs.array::<bool>(1)?;
        let kept: Vec<i64> = holds.iter().zip(0..).filter(|(holds, _)| **holds).map(|(_, i)| i).collect();
        let places = [kept.len()];
        match axis {
            Some(axis) => slices(cx, x, axis, &kept, &places),
            None => slices(cx, &reshaped(x, vec![x.dims().iter().product()])?, 0, &kept, &places),
        }
    })
}
