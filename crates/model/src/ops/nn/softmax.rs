//! Softmax-1/11/13, LogSoftmax-1/11/13 and Hardmax-1/11/13, of floats.
//!
//! Until 11 all axes from `axis` (default 1) on form one distribution; from 13 on `axis` (default −1) alone does.

use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, common::to_array, one, shapes},
};
use ndarray::Axis;

#[derive(Clone, Copy)]
enum Kind {
    Soft,
    Log,
    /// 1 for the first of the largest, else 0.
    Hard,
}

/// Builds all three.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let kind = match node.node().op_type.as_str() {
        "LogSoftmax" => Kind::Log,
        "Hardmax" => Kind::Hard,
        _ => Kind::Soft,
    };
    if node.opset() < 13 { softmax_11(node, kind) } else { softmax_13(node, kind) }
}

fn softmax_11<E: Float, D: Backend<E>>(node: &NodeContext<'_>, kind: Kind) -> Built<E, D> {
    let axis = node.int("axis")?.unwrap_or(1);
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        let rank = x.rank();
        let axis = if axis == rank as i64 { rank } else { shapes::axis(axis, rank)? };
        let rows = x.reshaped(shapes::two_axes(x.dims(), axis).to_vec())?;
        along(cx, &rows, 1, kind)?.reshaped(x.dims().to_vec())
    })
}

fn softmax_13<E: Float, D: Backend<E>>(node: &NodeContext<'_>, kind: Kind) -> Built<E, D> {
    let axis = node.int("axis")?.unwrap_or(-1);
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        if x.rank() == 0 {
            let single = x.reshaped(vec![1])?;
            return along(cx, &single, 0, kind)?.reshaped(Vec::new());
        }
        along(cx, x, shapes::axis(axis, x.rank())?, kind)
    })
}

fn along<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    axis: usize,
    kind: Kind,
) -> Result<Tensor<E, D>> {
    match kind {
        Kind::Soft => D::softmax(cx, x, axis),
        Kind::Log => D::log_softmax(cx, x, axis),
        Kind::Hard => hardened(cx, x, axis),
    }
}

/// Changes in steps, so nothing is recorded.
fn hardened<E: Float, D: Backend<E>>(cx: &Context<E, D>, x: &Tensor<E, D>, axis: usize) -> Result<Tensor<E, D>> {
    let mut values = to_array(x)?;
    for mut lane in values.lanes_mut(Axis(axis)) {
        let first = lane.iter().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
        let first = first.map(|(i, _)| i);
        lane.iter_mut().enumerate().for_each(|(i, x)| *x = E::of(if Some(i) == first { 1.0 } else { 0.0 }));
    }
    cx.upload(x.dims().to_vec(), values.iter().copied().collect())
}
