//! Slice-1/10/11/13: elements start, start + step, … before end of the named axes, of any type.
//!
//! Version 1 has attributes and steps of 1; from 10 on starts, ends, axes and steps are inputs, steps may be negative. Starts and ends
//! beyond the edge are moved to it.

use crate::{
    engine::{Context, Float, Value},
    error::Result,
    graph::fold::slice_bounds,
    kernels::Backend,
    ops::{Built, NodeContext, host, one, problem, shapes},
};
use ndarray::Axis;

/// Builds Slice.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    if node.opset() < 10 { slice_1(node) } else { slice_10() }
}

fn slice_1<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let missing = || problem("attributes starts and ends are missing");
    let starts = node.ints("starts")?.ok_or_else(missing)?;
    let ends = node.ints("ends")?.ok_or_else(missing)?;
    let axes = node.ints("axes")?;
    one(move |cx, inputs| cut(cx, inputs.value(0)?, &starts, &ends, axes.as_deref(), None))
}

fn slice_10<E: Float, D: Backend<E>>() -> Built<E, D> {
    one(|cx, inputs| {
        let (axes, steps) = (inputs.opt_ints(3)?, inputs.opt_ints(4)?);
        cut(cx, inputs.value(0)?, &inputs.ints(1)?, &inputs.ints(2)?, axes.as_deref(), steps.as_deref())
    })
}

/// What is taken of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    start: usize,
    step: isize,
    count: usize,
}

fn part(extent: usize, start: i64, end: i64, step: i64) -> Result<Part> {
    let (start, count) = slice_bounds(start, end, step, extent).ok_or_else(|| problem("a step is 0"))?;
    let n = i64::try_from(extent).unwrap_or(i64::MAX).max(1);
    Ok(Part { start, step: isize::try_from(step.clamp(-n, n)).unwrap_or(1), count })
}

fn cut<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Value<E, D>,
    starts: &[i64],
    ends: &[i64],
    axes: Option<&[i64]>,
    steps: Option<&[i64]>,
) -> Result<Value<E, D>> {
    let dims = x.dims();
    let n = starts.len();
    let all: Vec<i64> = (0..n as i64).collect();
    let axes = axes.unwrap_or(&all);
    let ones = vec![1; n];
    let steps = steps.unwrap_or(&ones);
    if [ends.len(), axes.len(), steps.len()] != [n; 3] {
        return Err(problem("starts, ends, axes and steps differ in length"));
    }
    shapes::axes(axes, dims.len())?;
    let mut parts: Vec<Part> = dims.iter().map(|&d| Part { start: 0, step: 1, count: d }).collect();
    for (((&axis, &start), &end), &step) in axes.iter().zip(starts).zip(ends).zip(steps) {
        let axis = shapes::axis(axis, dims.len())?;
        if let (Some(slot), Some(&extent)) = (parts.get_mut(axis), dims.get(axis)) {
            *slot = part(extent, start, end, step)?;
        }
    }
    if parts.iter().zip(dims).all(|(p, &d)| *p == Part { start: 0, step: 1, count: d }) {
        return Ok(x.clone());
    }
    let out: Vec<usize> = parts.iter().map(|p| p.count).collect();
    match x {
        Value::Float(_) if out.contains(&0) => Ok(cx.upload(out, Vec::new())?.into()),
        Value::Float(t) => {
            let starts: Vec<usize> = parts.iter().map(|p| p.start).collect();
            let steps: Vec<isize> = parts.iter().map(|p| p.step).collect();
            D::slice(cx, t, &starts, &steps, &out).map(Value::Float)
        }
        Value::Host(t) => host::rearrange(t, |mut indices| {
            for (axis, p) in parts.iter().enumerate() {
                let picked: Vec<usize> =
                    (0..p.count as isize).filter_map(|i| p.start.checked_add_signed(i * p.step)).collect();
                indices = indices.select(Axis(axis), &picked);
            }
            Ok(indices)
        })
        .map(Value::Host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(extent: usize, start: i64, end: i64, step: i64) -> Vec<usize> {
        let p = part(extent, start, end, step).unwrap();
        (0..p.count as isize).map(|i| p.start.checked_add_signed(i * p.step).unwrap()).collect()
    }

    #[test]
    fn parts_follow_numpy() {
        assert_eq!(taken(5, 1, 4, 1), [1, 2, 3]);
        assert_eq!(taken(5, -3, i64::MAX, 2), [2, 4]);
        assert_eq!(taken(5, -1, i64::MIN, -1), [4, 3, 2, 1, 0]);
        assert_eq!(taken(5, 100, 0, -2), [4, 2]);
        assert_eq!(taken(5, -100, -200, -1), [0]);
        assert_eq!(taken(5, i64::MIN, 2, 1), [0, 1]);
        assert!(taken(5, 7, 9, 1).is_empty());
        assert_eq!(taken(5, 0, 5, i64::MAX), [0]);
        assert!(taken(0, 0, 5, 1).is_empty());
        assert!(taken(0, -1, i64::MIN, -1).is_empty());
        assert!(part(5, 0, 5, 0).is_err());
    }
}
