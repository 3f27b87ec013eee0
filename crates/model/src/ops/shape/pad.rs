//! Pad-2/11/13/18/19 on: elements put before and after each axis, or cut off where a pad is negative.
//!
//! Pads and value are attributes in 2, inputs from 11 on; axes are an input from 18 on; mode wrap from 19 on. Integers and booleans too.
//! The padding value has no gradient.

use crate::{
    engine::{Context, Float, Value},
    error::Result,
    kernels::{Backend, PadMode},
    ops::{Built, NodeContext, host, one, problem, shapes},
    tensor::HostTensor,
};
use ndarray::Axis;

/// Builds Pad.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let mode = match node.string("mode", "constant")? {
        "constant" => PadMode::Constant(0.0),
        "edge" => PadMode::Edge,
        "reflect" => PadMode::Reflect,
        "wrap" if node.opset() >= 19 => PadMode::Wrap,
        other => return Err(problem(format!("mode {other:?} is not known"))),
    };
    if node.opset() < 11 { pad_2(node, mode) } else { pad_11(mode) }
}

fn pad_2<E: Float, D: Backend<E>>(node: &NodeContext<'_>, mode: PadMode) -> Built<E, D> {
    let pads = node.ints("pads")?.ok_or_else(|| problem("attribute pads is missing"))?;
    let value = node.float("value", 0.0)?;
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        pad(cx, x, &per_axis(&pads, None, x.dims().len())?, with_value(mode, value), None)
    })
}

fn pad_11<E: Float, D: Backend<E>>(mode: PadMode) -> Built<E, D> {
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let axes = inputs.opt_ints(3)?;
        let pads = per_axis(&inputs.ints(1)?, axes.as_deref(), x.dims().len())?;
        let fill = if let Some(Value::Host(t)) = inputs.get(2) { Some(t) } else { None };
        let value = if fill.is_none() { inputs.opt_scalar(2)?.unwrap_or(0.0) } else { 0.0 };
        pad(cx, x, &pads, with_value(mode, value), fill)
    })
}

fn with_value(mode: PadMode, value: f64) -> PadMode {
    if let PadMode::Constant(_) = mode { PadMode::Constant(value) } else { mode }
}

fn per_axis(pads: &[i64], axes: Option<&[i64]>, rank: usize) -> Result<Vec<[isize; 2]>> {
    let all: Vec<i64> = (0..rank as i64).collect();
    let axes = axes.unwrap_or(&all);
    if pads.len() != 2 * axes.len() {
        return Err(problem(format!("{} pads for {} axes", pads.len(), axes.len())));
    }
    shapes::axes(axes, rank)?;
    let (before, after) = pads.split_at(axes.len());
    let mut result = vec![[0, 0]; rank];
    for ((&axis, &before), &after) in axes.iter().zip(before).zip(after) {
        let narrow = |x: i64| isize::try_from(x).map_err(|_| problem("a pad is too large"));
        if let Some(slot) = result.get_mut(shapes::axis(axis, rank)?) {
            *slot = [narrow(before)?, narrow(after)?];
        }
    }
    Ok(result)
}

/// `x` with `pads[a]` = [before, after] elements added to axis `a`; an integer tensor's constant is `fill`, or 0.
pub fn pad<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Value<E, D>,
    pads: &[[isize; 2]],
    mode: PadMode,
    fill: Option<&HostTensor>,
) -> Result<Value<E, D>> {
    let misfit = || problem(format!("pads {pads:?} do not fit a tensor of {:?}", x.dims()));
    let padded = |(&d, p): (&usize, &[isize; 2])| d.checked_add_signed(p[0])?.checked_add_signed(p[1]);
    let dims = x.dims().iter().zip(pads).map(padded).collect::<Option<Vec<_>>>().ok_or_else(misfit)?;
    shapes::count(&dims)?;
    if x.dims().iter().zip(pads).any(|(&d, p)| p.iter().any(|&p| p > 0 && !reachable(mode, d, p.unsigned_abs()))) {
        return Err(misfit());
    }
    match x {
        Value::Float(_) if dims.contains(&0) => Ok(cx.upload(dims, Vec::new())?.into()),
        Value::Float(t) => D::pad(cx, t, pads, mode).map(Value::Float),
        Value::Host(t) => integer(t, pads, mode, fill).map(Value::Host),
    }
}

/// Whether padding by `p` elements finds its sources in an axis of extent `d`.
fn reachable(mode: PadMode, d: usize, p: usize) -> bool {
    match mode {
        PadMode::Constant(_) => true,
        PadMode::Edge | PadMode::Wrap => d > 0,
        PadMode::Reflect => p < d,
    }
}

fn integer(x: &HostTensor, pads: &[[isize; 2]], mode: PadMode, fill: Option<&HostTensor>) -> Result<HostTensor> {
    // The fill stands behind the last element, in the type of x.
    let zero = host::cast(&HostTensor::vector(vec![0i64]), x.dtype())?;
    let fill = match fill {
        Some(t) if t.len() == 1 => t.clone().reshaped(&[1]).unwrap_or(zero),
        _ => zero,
    };
    let flat = x.clone().reshaped(&[x.len()]).ok_or_else(|| problem("the tensor does not fit"))?;
    let source = host::concat(&[&flat, &fill], 0)?;
    let mut indices = host::array(x.dims(), (0..x.len()).collect())?;
    for (axis, &[before, after]) in pads.iter().enumerate() {
        let d = indices.shape().get(axis).copied().unwrap_or(1) as isize;
        let places: Vec<Option<usize>> = (-before..d + after).map(|i| place(mode, i, d)).collect();
        let picked: Vec<usize> = places.iter().map(|p| p.unwrap_or(0)).collect();
        let empty = d == 0;
        indices = if empty {
            let mut dims = indices.shape().to_vec();
            dims.iter_mut().skip(axis).take(1).for_each(|x| *x = places.len());
            ndarray::ArrayD::from_elem(ndarray::IxDyn(&dims), x.len())
        } else {
            indices.select(Axis(axis), &picked)
        };
        for (mut lane, place) in indices.axis_iter_mut(Axis(axis)).zip(&places) {
            if place.is_none() {
                lane.fill(x.len());
            }
        }
    }
    host::take(&source, &indices)
}

fn place(mode: PadMode, i: isize, d: isize) -> Option<usize> {
    let j = match mode {
        PadMode::Constant(_) => i,
        PadMode::Edge => i.clamp(0, (d - 1).max(0)),
        PadMode::Reflect if i < 0 => -i,
        PadMode::Reflect if i >= d => 2 * (d - 1) - i,
        PadMode::Reflect => i,
        PadMode::Wrap => i.rem_euclid(d.max(1)),
    };
    usize::try_from(j).ok().filter(|&j| j < d.unsigned_abs())
}
