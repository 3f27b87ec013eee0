//! ScatterND-11/13/16/18, ScatterElements-11/13/16/18, Scatter-9: a copy of the data with some elements replaced by, or
//! combined with, updates.
//!
//! Replacement is one gather from data and updates laid end to end, so gradients flow to both; of several updates of one element,
//! which ONNX does not allow there, the last counts and gets the gradient. With a `reduction` (add, mul, max, min) updates of one
//! element are combined in as many rounds as an element has updates; for max and min equals share the gradient equally.

use super::gather_elements::{along, slices};
use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::{Backend, Binary},
    ops::{
        Built, NodeContext,
        host::{self, IntBinary},
        one, problem, shapes,
    },
    tensor::HostTensor,
};
use ndarray::ArrayD;
use std::{cmp::Ordering, collections::BTreeMap};

type Reduction = Option<(Binary, IntBinary)>;

fn reduction(node: &NodeContext<'_>) -> Result<Reduction> {
    if node.opset() < 16 {
        return Ok(None);
    }
    Ok(Some(match node.string("reduction", "none")? {
        "none" => return Ok(None),
        "add" => (Binary::Add, IntBinary::Add),
        "mul" => (Binary::Mul, IntBinary::Mul),
        "max" => (Binary::Max, IntBinary::Max),
        "min" => (Binary::Min, IntBinary::Min),
        other => return Err(problem(format!("reduction {other:?} is not known"))),
    }))
}

/// ScatterND.
pub fn tuples<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let reduction = reduction(node)?;
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let places = slices(x.dims(), inputs.host(1)?, 0)?;
        scatter(cx, x, &places, inputs.value(2)?, reduction)
    })
}

/// ScatterElements and Scatter.
pub fn elements<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let reduction = reduction(node)?;
    let axis = node.int("axis")?.unwrap_or(0);
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let axis = shapes::axis(axis, x.dims().len())?;
        let places = along(x.dims(), inputs.host(1)?, axis)?;
        scatter(cx, x, &places, inputs.value(2)?, reduction)
    })
}

/// Rounds in which each element is the target of at most one update: (place, index of the update).
fn rounds(places: &ArrayD<usize>, n: usize) -> Vec<Vec<(usize, usize)>> {
    let mut uses = vec![0usize; n];
    let mut rounds: Vec<Vec<(usize, usize)>> = Vec::new();
    for (update, &place) in places.iter().enumerate() {
        let Some(used) = uses.get_mut(place) else { continue };
        if rounds.len() <= *used {
            rounds.push(Vec::new());
        }
        if let Some(round) = rounds.get_mut(*used) {
            round.push((place, update));
        }
        *used += 1;
    }
    rounds
}

/// Indices into data and updates laid end to end.
fn replaced(n: usize, pairs: impl IntoIterator<Item = (usize, usize)>) -> Vec<usize> {
    let mut map: Vec<usize> = (0..n).collect();
    for (place, update) in pairs {
        if let Some(slot) = map.get_mut(place) {
            *slot = n + update;
        }
    }
    map
}

fn scatter<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Value<E, D>,
    places: &ArrayD<usize>,
    updates: &Value<E, D>,
    reduction: Reduction,
) -> Result<Value<E, D>> {
    if updates.dims() != places.shape() {
        return Err(problem(format!("updates of shape {:?} for places of {:?}", updates.dims(), places.shape())));
    }
    if places.is_empty() {
        return Ok(x.clone());
    }
    match (x, updates) {
        (Value::Float(x), Value::Float(u)) => float(cx, x, places, u, reduction).map(Value::Float),
        (Value::Host(x), Value::Host(u)) => integer(x, places, u, reduction).map(Value::Host),
        _ => Err(problem("data and updates are of a float and an integer type")),
    }
}

fn float<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    places: &ArrayD<usize>,
    updates: &Tensor<E, D>,
    reduction: Reduction,
) -> Result<Tensor<E, D>> {
    let (n, m) = (x.len(), updates.len());
    let (flat, updates) = (x.reshaped(vec![n])?, updates.reshaped(vec![m])?);
    let Some((op, _)) = reduction else {
        let both = D::concat(cx, &[&flat, &updates], 0)?;
        let map = replaced(n, places.iter().copied().zip(0..));
        return D::gather_flat(cx, &both, &map, x.dims());
    };
    let result = match op {
        Binary::Max | Binary::Min => extreme(cx, &flat, places, &updates, op == Binary::Max)?,
        _ => combined(cx, op, flat, rounds(places, n), &updates)?,
    };
    result.reshaped(x.dims().to_vec())
}

/// Combines flat data with the updates of each round.
fn combined<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    op: Binary,
    mut result: Tensor<E, D>,
    rounds: Vec<Vec<(usize, usize)>>,
    updates: &Tensor<E, D>,
) -> Result<Tensor<E, D>> {
    let n = result.len();
    for round in rounds {
        let targets: Vec<usize> = round.iter().map(|r| r.0).collect();
        let sources: Vec<usize> = round.iter().map(|r| r.1).collect();
        let old = D::gather_flat(cx, &result, &targets, &[targets.len()])?;
        let new = D::gather_flat(cx, updates, &sources, &[sources.len()])?;
        let combined = D::binary(cx, op, &old, &new)?;
        let both = D::concat(cx, &[&result, &combined], 0)?;
        result = D::gather_flat(cx, &both, &replaced(n, targets.into_iter().zip(0..)), &[n])?;
    }
    Ok(result)
}

/// Of each place the largest (or smallest) of its element and its updates: the mean of those that are equal to it.
fn extreme<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    places: &ArrayD<usize>,
    updates: &Tensor<E, D>,
    largest: bool,
) -> Result<Tensor<E, D>> {
    let n = x.len();
    let both = D::concat(cx, &[x, updates], 0)?;
    let values = both.to_vec();
    let (mut winners, mut equals): (Vec<usize>, BTreeMap<usize, Vec<usize>>) = ((0..n).collect(), BTreeMap::new());
    for (update, &place) in places.iter().enumerate() {
        let Some(winner) = winners.get_mut(place) else { continue };
        let (Some(new), Some(old)) = (values.get(n + update), values.get(*winner)) else { continue };
        let order = match (new.is_nan(), old.is_nan()) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ if largest => host::order(new, old),
            _ => host::order(old, new),
        };
        match order {
            Ordering::Less => {}
            Ordering::Equal => equals.entry(place).or_default().push(n + update),
            Ordering::Greater => {
                *winner = n + update;
                equals.remove(&place);
            }
        }
    }
    let result = D::gather_flat(cx, &both, &winners, &[n])?;
    if equals.is_empty() {
        return Ok(result);
    }
    let most = equals.values().map(Vec::len).max().unwrap_or(0);
    let nth = |i: usize| equals.iter().filter_map(|(&place, list)| Some((place, *list.get(i)?))).collect();
    let sums = combined(cx, Binary::Add, result, (0..most).map(nth).collect(), &both)?;
    let counts = (0..n).map(|place| E::of(1.0 + equals.get(&place).map_or(0, Vec::len) as f64)).collect();
    let counts = cx.upload(vec![n], counts)?;
    D::binary(cx, Binary::Div, &sums, &counts)
}

fn integer(x: &HostTensor, places: &ArrayD<usize>, updates: &HostTensor, reduction: Reduction) -> Result<HostTensor> {
    let misfit = || problem("data and updates do not fit");
    let (n, m) = (x.len(), updates.len());
    let flat = x.clone().reshaped(&[n]).ok_or_else(misfit)?;
    let updates = updates.clone().reshaped(&[m]).ok_or_else(misfit)?;
    let with = |data: &HostTensor, new: &HostTensor, map: Vec<usize>| {
        host::take(&host::concat(&[data, new], 0)?, &host::array(&[n], map)?)
    };
    let result = match reduction {
        None => with(&flat, &updates, replaced(n, places.iter().copied().zip(0..)))?,
        Some((_, op)) => {
            let mut result = flat;
            for round in rounds(places, n) {
                let pick = |i: fn(&(usize, usize)) -> usize| host::array(&[round.len()], round.iter().map(i).collect());
                let old = host::take(&result, &pick(|r| r.0)?)?;
                let combined = host::arithmetic(op, &old, &host::take(&updates, &pick(|r| r.1)?)?)?;
                result = with(&result, &combined, replaced(n, round.iter().map(|r| r.0).zip(0..)))?;
            }
            result
        }
    };
    result.reshaped(x.dims()).ok_or_else(misfit)
}
