//! MaxPool-1/8/10/11/12/22, AveragePool-7/10/11/19/22, GlobalAveragePool-1/22, GlobalMaxPool-1/22, of floats (N, C, …).
//!
//! `ceil_mode` from 10 on (a window that would start in the padding is dropped, as in onnxruntime); dilations in MaxPool from 10, in AveragePool from 19 on.
//! MaxPool's Indices output and `storage_order` are refused. Where several elements are largest, the first gets the gradient.

use super::window::Window;
use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Backend, PadMode, PoolSpec, Reduce},
    ops::{Built, NodeContext, one, problem},
};

/// MaxPool.
pub fn max<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    if node.wants(1) {
        return Err(problem("the Indices output is not supported"));
    }
    // Only the Indices depend on it.
    node.ignore(&["storage_order"]);
    let (dilations, ceil) = (node.opset() >= 10, node.opset() >= 10);
    let window = Window::read(node, dilations, ceil)?;
    window.kernel()?;
    one(move |cx, inputs| {
        let (x, spec) = place(cx, inputs.float(0)?, &window, false, f64::NEG_INFINITY)?;
        D::max_pool(cx, &x, &spec)
    })
}

/// AveragePool.
pub fn average<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let count = node.flag("count_include_pad", false)?;
    let window = Window::read(node, node.opset() >= 19, node.opset() >= 10)?;
    window.kernel()?;
    one(move |cx, inputs| {
        let (x, spec) = place(cx, inputs.float(0)?, &window, count, 0.0)?;
        D::avg_pool(cx, &x, &spec)
    })
}

fn place<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    window: &Window,
    count_include_pad: bool,
    fill: f64,
) -> Result<(Tensor<E, D>, PoolSpec)> {
    let placed = window.place(spatial(x)?, None)?;
    let (pads, cut) = placed.split_pads();
    let x = match cut {
        None => x.clone(),
        Some(cut) => {
            let pads: Vec<_> = [[0, 0]; 2].into_iter().chain(cut).collect();
            D::pad(cx, x, &pads, PadMode::Constant(fill))?
        }
    };
    let spec = PoolSpec {
        kernel: placed.kernel,
        strides: placed.strides,
        dilations: placed.dilations,
        pads,
        output: placed.output,
        count_include_pad,
    };
    Ok((x, spec))
}

/// The spatial extents of x (N, C, …), at least one.
pub fn spatial<E: Float, D: Backend<E>>(x: &Tensor<E, D>) -> Result<&[usize]> {
    match x.dims() {
        [_, _, spatial @ ..] if !spatial.is_empty() => Ok(spatial),
        dims => Err(problem(format!("x has shape {dims:?}, not (N, C, …)"))),
    }
}

/// GlobalAveragePool and GlobalMaxPool.
pub fn global<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let op = if node.node().op_type == "GlobalMaxPool" { Reduce::Max } else { Reduce::Mean };
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        spatial(x)?;
        let axes: Vec<usize> = (2..x.rank()).collect();
        D::reduce(cx, op, x, &axes, true)
    })
}
