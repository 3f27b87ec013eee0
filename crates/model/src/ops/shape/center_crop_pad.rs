//! CenterCropPad-18: each named axis is cut, or padded with zeros, to the extent that `shape` gives it, around its
//! middle; of any type. Where the difference is odd, one more element is cut off or added at the end.

use super::pad::pad;
use crate::{
    engine::Float,
    kernels::{Backend, PadMode},
    ops::{Built, NodeContext, one, problem, shapes},
};

/// Builds CenterCropPad.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let axes = node.ints("axes")?;
    one(move |cx, inputs| {
        let (x, wanted) = (inputs.value(0)?, inputs.ints(1)?);
        let rank = x.dims().len();
        let axes = axes.clone().unwrap_or_else(|| (0..rank as i64).collect());
        if wanted.len() != axes.len() {
            return Err(problem(format!("{} extents for {} axes", wanted.len(), axes.len())));
        }
        shapes::axes(&axes, rank)?;
        let mut pads = vec![[0, 0]; rank];
        for (&axis, wanted) in axes.iter().zip(shapes::extents(&wanted)?) {
            let axis = shapes::axis(axis, rank)?;
            let difference = x.dims().get(axis).map(|&d| wanted as isize - d as isize).unwrap_or_default();
            if let Some(slot) = pads.get_mut(axis) {
                *slot = [difference / 2, difference - difference / 2];
            }
        }
        pad(cx, x, &pads, PadMode::Constant(0.0), None)
    })
}
