//! The activation that onnxruntime's optimizer fuses into FusedConv and FusedGemm.

use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Backend, Unary},
    ops::{NodeContext, problem},
};

fn named(name: &str, p: &[f64]) -> Result<Option<Unary>> {
    let at = |i: usize, default: f64| p.get(i).copied().unwrap_or(default);
    Ok(Some(match name {
        "" => return Ok(None),
        "Relu" => Unary::Relu,
        "Tanh" => Unary::Tanh,
        "Sigmoid" => Unary::Sigmoid,
        "LeakyRelu" => Unary::LeakyRelu { alpha: at(0, 0.01) },
        "Clip" => Unary::Clip { min: at(0, f64::NEG_INFINITY), max: at(1, f64::INFINITY) },
        "HardSigmoid" => Unary::HardSigmoid { alpha: at(0, 0.2), beta: at(1, 0.5) },
        other => return Err(problem(format!("activation {other} is not supported"))),
    }))
}

/// FusedConv's `activation` and `activation_params`.
pub fn conv_activation(node: &NodeContext<'_>) -> Result<Option<Unary>> {
    named(node.string("activation", "")?, &node.floats("activation_params")?.unwrap_or_default())
}

/// FusedGemm's `activation`, `activation_alpha`, `activation_beta` and `activation_gamma`.
pub fn gemm_activation(node: &NodeContext<'_>) -> Result<Option<Unary>> {
    let name = node.string("activation", "")?;
    node.ignore(&["activation_gamma"]);
    let (alpha, beta) = match name {
        "HardSigmoid" => (0.2, 0.5),
        _ => (0.01, 0.0),
    };
    named(name, &[node.float("activation_alpha", alpha)?, node.float("activation_beta", beta)?])
}

/// Applies it.
pub fn activate<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    activation: Option<Unary>,
    y: Tensor<E, D>,
) -> Result<Tensor<E, D>> {
    match activation {
        None => Ok(y),
        Some(op) => D::unary(cx, op, &y),
    }
}
