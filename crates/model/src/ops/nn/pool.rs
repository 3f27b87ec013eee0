//! MaxPool-1/8/10/11/12/22, AveragePool-7/10/11/19/22, GlobalAveragePool-1/22, GlobalMaxPool-1/22, of floats (N, C, …);
//! MaxPool also of integers (12 on).
//!
//! `ceil_mode` from 10 on (a window that would start in the padding is dropped, as in onnxruntime); dilations in MaxPool from 10, in AveragePool from 19 on.
//! Where several elements are largest, the first gets the gradient and its place is in Indices; a window of padding alone has −1 there.
//! Indices beside negative pads are refused.

use super::{max_pool, window::Window};
use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::{Backend, PadMode, PoolSpec, Reduce},
    ops::{Built, NodeContext, common::to_array, host::each_int, many, one, problem},
};

/// MaxPool.
pub fn max<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (dilations, ceil) = (node.opset() >= 10, node.opset() >= 10);
    let columns_first = node.flag("storage_order", false)?;
    let window = Window::read(node, dilations, ceil)?;
    window.kernel()?;
    let indices = node.wants(1);
    many(move |cx, inputs| match inputs.value(0)? {
        Value::Float(x) => {
            let (cut, spec) = place(cx, x, &window, false, f64::NEG_INFINITY)?;
            let mut outputs = vec![D::max_pool(cx, &cut, &spec)?.into()];
            if indices {
                let places = max_pool::places(&to_array(x)?, &window)?;
                outputs.push(max_pool::indices(&places, x.dims(), columns_first).into());
            }
            Ok(outputs)
        }
        Value::Host(x) => {
            let places =
                each_int!(x, a => max_pool::places(a, &window)?, _other => return Err(problem("not a number")));
            let y = max_pool::pick(x, &places)?;
            Ok(vec![y.into(), max_pool::indices(&places, x.dims(), columns_first).into()])
        }
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
    let placed = window.place(spatial(x.dims())?, None)?;
    placed.require_pool(x.dims())?;
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

/// The extents behind N and C.
pub fn spatial(dims: &[usize]) -> Result<&[usize]> {
    match dims {
        [_, _, spatial @ ..] if !spatial.is_empty() => Ok(spatial),
        dims => Err(problem(format!("x has shape {dims:?}, not (N, C, …)"))),
    }
}

/// GlobalAveragePool and GlobalMaxPool.
pub fn global<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let max = node.node().op_type == "GlobalMaxPool";
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        let plane: usize = spatial(x.dims())?.iter().product();
        if !max || x.is_empty() {
            let axes: Vec<usize> = (2..x.rank()).collect();
            return D::reduce(cx, if max { Reduce::Max } else { Reduce::Mean }, x, &axes, true);
        }
        let (rows, spatial) = x.dims().split_at(2);
        let dims = [rows, &vec![1; spatial.len()]].concat();
        let whole = PoolSpec {
            kernel: vec![plane],
            strides: vec![1],
            dilations: vec![1],
            pads: vec![[0, 0]],
            output: vec![1],
            count_include_pad: false,
        };
        D::max_pool(cx, &x.reshaped([rows, &[plane]].concat())?, &whole)?.reshaped(dims)
    })
}
