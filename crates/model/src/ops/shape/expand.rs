//! Expand-8/13 (broadcast to a shape, both ways) and Tile-6/13 (repeat each axis), of any type.

use crate::{
    engine::{Float, Value},
    kernels::Backend,
    ops::{Built, NodeContext, host, one, problem, shapes},
};
use ndarray::IxDyn;

/// Expand.
pub fn expand<E: Float, D: Backend<E>>(_: &NodeContext<'_>) -> Built<E, D> {
    one(|cx, inputs| {
        let x = inputs.value(0)?;
        let dims = shapes::broadcast(x.dims(), &shapes::extents(&inputs.ints(1)?)?)?;
        shapes::count(&dims)?;
        match x {
            Value::Float(t) => D::expand(cx, t, &dims).map(Value::Float),
            Value::Host(t) => {
                let misfit = || problem(format!("shape {:?} does not broadcast to {dims:?}", t.dims()));
                let wide = host::rearrange(t, |i| i.broadcast(IxDyn(&dims)).map(|v| v.to_owned()).ok_or_else(misfit));
                wide.map(Value::Host)
            }
        }
    })
}

/// Tile: a axis of extent d repeated r times is an expansion of (1, d) to (r, d), seen as one axis.
pub fn tile<E: Float, D: Backend<E>>(_: &NodeContext<'_>) -> Built<E, D> {
    one(|cx, inputs| {
        let x = inputs.value(0)?;
        let repeats = shapes::extents(&inputs.ints(1)?)?;
        if repeats.len() != x.dims().len() {
            return Err(problem(format!("{} repeats for {} axes", repeats.len(), x.dims().len())));
        }
        let split: Vec<usize> = x.dims().iter().flat_map(|&d| [1, d]).collect();
        let wide: Vec<usize> = repeats.iter().zip(x.dims()).flat_map(|(&r, &d)| [r, d]).collect();
        shapes::count(&wide)?;
        let dims: Vec<usize> = repeats.iter().zip(x.dims()).map(|(&r, &d)| r.saturating_mul(d)).collect();
        match x {
            Value::Float(t) => D::expand(cx, &t.reshaped(split)?, &wide)?.reshaped(dims).map(Value::Float),
            Value::Host(t) => {
                let misfit = || problem("the repeats do not fit");
                let split = t.clone().reshaped(&split).ok_or_else(misfit)?;
                let tiled =
                    host::rearrange(&split, |i| i.broadcast(IxDyn(&wide)).map(|v| v.to_owned()).ok_or_else(misfit))?;
                tiled.reshaped(&dims).map(Value::Host).ok_or_else(misfit)
            }
        }
    })
}
