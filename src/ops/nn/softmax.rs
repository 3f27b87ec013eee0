//! Softmax-1/11/13 and LogSoftmax-1/11/13, of floats.
//!
//! Until 11 all axes from `axis` (default 1) on form one distribution; from 13 on `axis` (default −1) alone does.

use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, one, shapes},
};

/// Builds both.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let log = node.node().op_type == "LogSoftmax";
    if node.opset() < 13 { softmax_11(node, log) } else { softmax_13(node, log) }
}

fn softmax_11<E: Float, D: Backend<E>>(node: &NodeContext<'_>, log: bool) -> Built<E, D> {
    let axis = node.int("axis")?.unwrap_or(1);
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        let rank = x.rank();
        let axis = if axis == rank as i64 { rank } else { shapes::axis(axis, rank)? };
        let rows = x.reshaped(shapes::two_axes(x.dims(), axis).to_vec())?;
        along(cx, &rows, 1, log)?.reshaped(x.dims().to_vec())
    })
}

fn softmax_13<E: Float, D: Backend<E>>(node: &NodeContext<'_>, log: bool) -> Built<E, D> {
    let axis = node.int("axis")?.unwrap_or(-1);
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        if x.rank() == 0 {
            let single = x.reshaped(vec![1])?;
            return along(cx, &single, 0, log)?.reshaped(Vec::new());
        }
        along(cx, x, shapes::axis(axis, x.rank())?, log)
    })
}

fn along<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    axis: usize,
    log: bool,
) -> Result<Tensor<E, D>> {
    if log { D::log_softmax(cx, x, axis) } else { D::softmax(cx, x, axis) }
}
