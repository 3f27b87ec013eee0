//! Shape-1/13/15 on (with `start` and `end` from 15 on) and Size-1/13 on: extents as integers, known when the node runs.

use crate::{
    engine::Float,
    kernels::Backend,
    ops::{Built, NodeContext, one},
    tensor::HostTensor,
};

/// Shape.
pub fn shape<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (start, end) = if node.opset() < 15 { (0, None) } else { (node.int("start")?.unwrap_or(0), node.int("end")?) };
    one(move |_, inputs| {
        let dims = inputs.value(0)?.dims();
        let rank = dims.len() as i64;
        let at = |x: i64| usize::try_from((if x < 0 { x.saturating_add(rank) } else { x }).clamp(0, rank)).unwrap_or(0);
        let part = dims.get(at(start)..at(end.unwrap_or(rank))).unwrap_or_default();
        Ok(HostTensor::vector(part.iter().map(|&d| d as i64).collect::<Vec<_>>()))
    })
}

/// Size.
pub fn size<E: Float, D: Backend<E>>(_: &NodeContext<'_>) -> Built<E, D> {
    one(|_, inputs| Ok(HostTensor::scalar(inputs.value(0)?.dims().iter().product::<usize>() as i64)))
}
