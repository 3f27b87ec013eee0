//! BatchNormalization-6/7/9/14/15: (x − mean)/√(var + ε)·scale + bias per channel (axis 1), of floats.
//!
//! The training flag of a node is `is_test` in 6, its five outputs in 7 and 9, `training_mode` in 14 and 15. Whether it is obeyed is the caller's
//! choice ([`Statistics`]): by default the running statistics are used and passed on unchanged, so that
//! unlearning never moves them. Running statistics are inputs without a gradient. `spatial = 0` (6, 7) is refused.

use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::{Backend, BatchNormArgs, Binary, Reduce, Unary},
    ops::{Built, NodeContext, Statistics, common::scaled, many, problem},
};

/// Builds BatchNormalization.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let trains = if node.opset() < 14 { trains_9(node)? } else { node.flag("training_mode", false)? };
    let (epsilon, momentum) = (node.float("epsilon", 1e-5)?, node.float("momentum", 0.9)?);
    let outputs = node.node().outputs.len();
    let saved = node.opset() < 14;
    many(move |cx, inputs| {
        let x = inputs.float(0)?;
        let [scale, bias, mean, var] = [inputs.float(1)?, inputs.float(2)?, inputs.float(3)?, inputs.float(4)?];
        let channels = x.dims().get(1).copied().unwrap_or(1);
        if let Some(t) = [scale, bias, mean, var].into_iter().find(|t| t.dims() != [channels]) {
            return Err(problem(format!("x has shape {:?}, but a parameter has {:?}", x.dims(), t.dims())));
        }
        let plane = if x.rank() < 2 { x.reshaped(vec![x.len(), 1])? } else { x.clone() };
        let batch = match inputs.mode().statistics {
            Statistics::Running => false,
            Statistics::Batch => true,
            Statistics::File => trains,
        };
        let given = [&mean.detached(), &var.detached()];
        let statistics = if batch { None } else { Some(given) };
        let y = D::batch_norm(cx, BatchNormArgs { x: &plane, scale, bias, statistics, epsilon })?;
        let mut results = vec![Value::Float(y.reshaped(x.dims().to_vec())?)];
        if outputs > 1 {
            let (mean, var) =
                if batch { running(cx, &plane, mean, var, momentum)? } else { (mean.detached(), var.detached()) };
            results.extend([mean.clone().into(), var.clone().into()]);
            if saved {
                results.extend([mean.into(), var.into()]);
            }
        }
        Ok(results)
    })
}

/// Version 6 trains unless `is_test`; in 7 and 9 five outputs say so. `spatial` (6, 7) must be 1.
fn trains_9(node: &NodeContext<'_>) -> Result<bool> {
    if node.opset() < 9 && !node.flag("spatial", true)? {
        return Err(problem("spatial = 0 is not supported"));
    }
    if node.opset() < 7 {
        return Ok(!node.flag("is_test", false)?);
    }
    Ok(node.node().outputs.len() > 1)
}

/// The running statistics after this batch: old·momentum + batch·(1 − momentum), population variance.
fn running<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    mean: &Tensor<E, D>,
    var: &Tensor<E, D>,
    momentum: f64,
) -> Result<(Tensor<E, D>, Tensor<E, D>)> {
    let x = x.detached();
    let axes: Vec<usize> = (0..x.rank()).filter(|&a| a != 1).collect();
    let center = D::reduce(cx, Reduce::Mean, &x, &axes, true)?;
    let off = D::binary(cx, Binary::Sub, &x, &center)?;
    let squares = D::unary(cx, Unary::PowScalar(2.0), &off)?;
    let spread = D::reduce(cx, Reduce::Mean, &squares, &axes, false)?;
    let center = center.reshaped(mean.dims().to_vec())?;
    let mut mix = |old: &Tensor<E, D>, new: &Tensor<E, D>| {
        let old = scaled(cx, &old.detached(), momentum)?;
        let new = scaled(cx, new, 1.0 - momentum)?;
        D::binary(cx, Binary::Add, &old, &new)
    };
    Ok((mix(mean, &center)?, mix(var, &spread)?))
}
