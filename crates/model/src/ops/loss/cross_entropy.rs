//! SoftmaxCrossEntropyLoss-12/13 and NegativeLogLikelihoodLoss-12/13/22: −w·ln p of the label's class, over (N, C, …).
//!
//! `reduction` none, sum, or mean (Σ w·l / Σ w); labels equal to `ignore_index` count nothing. The second output of the first is the logarithm of the
//! probabilities. No label is ever printed.

use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Backend, Binary, Reduce, Unary},
    ops::{Built, Inputs, NodeContext, common::scaled, many, problem},
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reduction {
    None,
    Sum,
    Mean,
}

/// Builds both.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let reduction = match node.string("reduction", "mean")? {
        "none" => Reduction::None,
        "sum" => Reduction::Sum,
        "mean" => Reduction::Mean,
        other => return Err(problem(format!("reduction {other:?} is not known"))),
    };
    let ignored = node.int("ignore_index")?;
    let softmax = node.node().op_type == "SoftmaxCrossEntropyLoss";
    many(move |cx, inputs| {
        let x = inputs.float(0)?;
        if x.rank() < 2 {
            return Err(problem(format!("scores have shape {:?}, not (N, C, …)", x.dims())));
        }
        let log = if softmax { D::log_softmax(cx, x, 1)? } else { x.clone() };
        let loss = loss(cx, &log, inputs, ignored, reduction)?;
        Ok(if softmax { vec![loss.into(), log.into()] } else { vec![loss.into()] })
    })
}

/// What each position counts for, and its class (0 where the label is ignored).
fn labels<E: Float, D: Backend<E>>(
    inputs: &Inputs<'_, E, D>,
    classes: usize,
    ignored: Option<i64>,
) -> Result<Vec<(usize, f64)>> {
    let weights = inputs.opt_float(2)?.map(|w| w.to_vec());
    if weights.as_ref().is_some_and(|w| w.len() != classes) {
        return Err(problem(format!("the weights are not one for each of {classes} classes")));
    }
    let class = |&label: &i64| {
        if Some(label) == ignored {
            return Ok((0, 0.0));
        }
        let class = usize::try_from(label).ok().filter(|&c| c < classes);
        let class = class.ok_or_else(|| problem(format!("a label is not one of {classes} classes")))?;
        let weight = weights.as_ref().map_or(Some(1.0), |w| w.get(class).map(|w| w.f64()));
        Ok((class, weight.unwrap_or(1.0)))
    };
    inputs.ints(1)?.iter().map(class).collect()
}

fn loss<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    log: &Tensor<E, D>,
    inputs: &Inputs<'_, E, D>,
    ignored: Option<i64>,
    reduction: Reduction,
) -> Result<Tensor<E, D>> {
    let [n, classes, rest @ ..] = log.dims() else { return Err(problem("scores without classes")) };
    let dims = [&[*n], rest].concat();
    if inputs.value(1)?.dims() != dims {
        return Err(problem(format!("labels of shape {:?} for scores of {:?}", inputs.value(1)?.dims(), log.dims())));
    }
    let positions: usize = rest.iter().product();
    let labels = labels(inputs, *classes, ignored)?;
    let place = |(i, (class, _)): (usize, &(usize, f64))| {
        let (row, position) = (i / positions.max(1), i % positions.max(1));
        (row * classes + class) * positions + position
    };
    let places: Vec<usize> = labels.iter().enumerate().map(place).collect();
    let chosen = D::gather_flat(cx, log, &places, &dims)?;
    let negated = D::unary(cx, Unary::Neg, &chosen)?;
    let weights = cx.upload(dims, labels.iter().map(|&(_, w)| E::of(w)).collect())?;
    let each = D::binary(cx, Binary::Mul, &negated, &weights)?;
    if reduction == Reduction::None {
        return Ok(each);
    }
    let axes: Vec<usize> = (0..each.rank()).collect();
    let sum = D::reduce(cx, Reduce::Sum, &each, &axes, false)?;
    let total: f64 = labels.iter().map(|l| l.1).sum();
    scaled(cx, &sum, if reduction == Reduction::Mean { 1.0 / total } else { 1.0 })
}
