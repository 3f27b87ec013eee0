//! Losses.

use super::{
    elementwise::{binary, unary},
    layout::gather_flat,
    softmax::log_softmax,
};
use crate::{
    engine::{Context, Float, Tensor},
    error::{Error, Result},
    kernels::{Binary, Unary, shape::require},
};
use dfdx::prelude::Device;

/// See [`crate::kernels::Backend::cross_entropy`].
///
/// # Errors
/// Those of [`Backend::cross_entropy`](crate::kernels::Backend::cross_entropy).
pub fn cross_entropy<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    logits: &Tensor<E, D>,
    classes: &[usize],
) -> Result<Tensor<E, D>> {
    let &[n, c] = logits.dims() else {
        return Err(Error::Internal(format!("cross-entropy of logits {:?}", logits.dims())));
    };
    let fits = classes.len() == n && classes.iter().all(|&k| k < c);
    require(fits, || format!("{} classes for logits {:?}", classes.len(), logits.dims()))?;
    let logs = log_softmax(cx, logits, 1)?;
    let indices: Vec<usize> = classes.iter().enumerate().map(|(row, &k)| row * c + k).collect();
    let picked = gather_flat(cx, &logs, &indices, &[n])?;
    unary(cx, Unary::Neg, &picked)
}

/// See [`crate::kernels::Backend::bce_with_logits`]: t·ln(1 + e⁻ˣ) + (1 − t)·ln(1 + eˣ), which keeps its precision where
/// the prediction is right and confident, and max(x, 0) − x·t + … would cancel.
///
/// # Errors
/// Those of [`Backend::bce_with_logits`](crate::kernels::Backend::bce_with_logits).
pub fn bce_with_logits<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    logits: &Tensor<E, D>,
    targets: &Tensor<E, D>,
) -> Result<Tensor<E, D>> {
    let (x, t) = (logits, targets);
    require(x.dims() == t.dims(), || format!("logits {:?} and targets {:?}", x.dims(), t.dims()))?;
    let negative = unary(cx, Unary::Neg, x)?;
    let if_one = unary(cx, Unary::Softplus, &negative)?;
    let if_zero = unary(cx, Unary::Softplus, x)?;
    let negated = unary(cx, Unary::Neg, t)?;
    let rest = unary(cx, Unary::AddScalar(1.), &negated)?;
    let one = binary(cx, Binary::Mul, &if_one, t)?;
    let zero = binary(cx, Binary::Mul, &if_zero, &rest)?;
    binary(cx, Binary::Add, &one, &zero)
}
