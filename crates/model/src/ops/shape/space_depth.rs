//! DepthToSpace-1/11/13/28 and SpaceToDepth-1/13/28: blocks of the plane laid out along the channels, or back; of any
//! type.
//!
//! In mode DCR the place in the block is the outer part of a channel's number, in mode CRD the inner one. DepthToSpace
//! has the mode from 11 on, SpaceToDepth from 28 on; both are DCR before.

use super::transpose::permuted;
use crate::{
    engine::Float,
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, common::reshaped, one, problem},
};

/// The block's extent, and whether the place in the block is the outer part of a channel's number.
fn attributes(node: &NodeContext<'_>, mode_since: i64) -> Result<(usize, bool)> {
    let size = node.int("blocksize")?.and_then(|b| usize::try_from(b).ok()).filter(|&b| b > 0);
    let size = size.ok_or_else(|| problem("blocksize is not above 0"))?;
    let mode = if node.opset() < mode_since { "DCR" } else { node.string("mode", "DCR")? };
    match mode {
        "DCR" => Ok((size, true)),
        "CRD" => Ok((size, false)),
        other => Err(problem(format!("mode {other:?} is not known"))),
    }
}

/// DepthToSpace.
pub fn depth_to_space<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (size, outer) = attributes(node, 11)?;
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let misfit = || problem(format!("blocks of {size} × {size} do not fit a tensor of {:?}", x.dims()));
        let &[n, c, h, w] = x.dims() else { return Err(misfit()) };
        let area = size.checked_mul(size).filter(|area| c % area == 0).ok_or_else(misfit)?;
        let depth = c / area;
        let (split, perm) = if outer {
            (vec![n, size, size, depth, h, w], [0, 3, 4, 1, 5, 2])
        } else {
            (vec![n, depth, size, size, h, w], [0, 1, 4, 2, 5, 3])
        };
        let (high, wide) = (h.checked_mul(size).ok_or_else(misfit)?, w.checked_mul(size).ok_or_else(misfit)?);
        let moved = permuted(cx, &reshaped(x, split)?, &perm)?;
        reshaped(&moved, vec![n, depth, high, wide])
    })
}

/// SpaceToDepth.
pub fn space_to_depth<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (size, outer) = attributes(node, 28)?;
    let perm = if outer { [0, 3, 5, 1, 2, 4] } else { [0, 1, 3, 5, 2, 4] };
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let misfit = || problem(format!("blocks of {size} × {size} do not fit a tensor of {:?}", x.dims()));
        let &[n, c, h, w] = x.dims() else { return Err(misfit()) };
        if h % size != 0 || w % size != 0 {
            return Err(misfit());
        }
        let depth = size.checked_mul(size).and_then(|area| area.checked_mul(c)).ok_or_else(misfit)?;
        let moved = permuted(cx, &reshaped(x, vec![n, c, h / size, size, w / size, size])?, &perm)?;
        reshaped(&moved, vec![n, depth, h / size, w / size])
    })
}
