//! The activations that recurrent layers name, with `activation_alpha` and `activation_beta`.
//!
//! The values are given out in order to those activations that have one. Where they run out, LeakyRelu, HardSigmoid and
//! Elu have their own defaults; of Affine, ScaledTanh and ThresholdedRelu runtimes differ, so they must be given.

use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Backend, Unary},
    ops::{
        NodeContext,
        common::{scalar, scaled, to_array},
        problem,
    },
};

/// An activation with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// One that is a kernel.
    Kernel(Unary),
    /// αx + β
    Affine(f64, f64),
    /// α·tanh βx
    ScaledTanh(f64, f64),
    /// x where x > α, else 0
    Thresholded(f64),
}

impl Activation {
    /// The activation of `x`.
    pub fn apply<E: Float, D: Backend<E>>(self, cx: &mut Context<E, D>, x: &Tensor<E, D>) -> Result<Tensor<E, D>> {
        match self {
            Self::Kernel(op) => D::unary(cx, op, x),
            Self::Affine(alpha, beta) => {
                let y = scaled(cx, x, alpha)?;
                D::unary(cx, Unary::AddScalar(beta), &y)
            }
            Self::ScaledTanh(alpha, beta) => {
                let inner = scaled(cx, x, beta)?;
                let y = D::unary(cx, Unary::Tanh, &inner)?;
                scaled(cx, &y, alpha)
            }
            Self::Thresholded(alpha) => {
                let mask = to_array(x)?.mapv(|x: E| x.f64() > alpha);
                let zero = scalar(cx, 0.0)?;
                D::select(cx, &mask, x, &zero)
            }
        }
    }
}

/// The node's activations, `defaults` once a direction if it names none.
pub fn read(node: &NodeContext<'_>, defaults: &[Unary], directions: usize) -> Result<Vec<Activation>> {
    let mut alphas = node.floats("activation_alpha")?.unwrap_or_default().into_iter();
    let mut betas = node.floats("activation_beta")?.unwrap_or_default().into_iter();
    let Some(names) = node.strings("activations")? else {
        return Ok(defaults.repeat(directions).into_iter().map(Activation::Kernel).collect());
    };
    if names.len() != defaults.len() * directions {
        return Err(problem(format!("{} activations, where {} are due", names.len(), defaults.len() * directions)));
    }
    names.iter().map(|name| named(name, &mut alphas, &mut betas)).collect()
}

fn named(
    name: &str,
    alphas: &mut impl Iterator<Item = f64>,
    betas: &mut impl Iterator<Item = f64>,
) -> Result<Activation> {
    let mut alpha = |default: Option<f64>| parameter(name, "activation_alpha", alphas.next().or(default));
    let mut beta = |default: Option<f64>| parameter(name, "activation_beta", betas.next().or(default));
    // onnxruntime takes the names in any case.
    Ok(match name.to_ascii_lowercase().as_str() {
        "relu" => Activation::Kernel(Unary::Relu),
        "tanh" => Activation::Kernel(Unary::Tanh),
        "sigmoid" => Activation::Kernel(Unary::Sigmoid),
        "softsign" => Activation::Kernel(Unary::Softsign),
        "softplus" => Activation::Kernel(Unary::Softplus),
        "leakyrelu" => Activation::Kernel(Unary::LeakyRelu { alpha: alpha(Some(0.01))? }),
        "elu" => Activation::Kernel(Unary::Elu { alpha: alpha(Some(1.0))? }),
        "hardsigmoid" => Activation::Kernel(Unary::HardSigmoid { alpha: alpha(Some(0.2))?, beta: beta(Some(0.5))? }),
        "affine" => Activation::Affine(alpha(None)?, beta(None)?),
        "scaledtanh" => Activation::ScaledTanh(alpha(None)?, beta(None)?),
        "thresholdedrelu" => Activation::Thresholded(alpha(None)?),
        _ => return Err(problem(format!("activation {name:?} is not known"))),
    })
}

fn parameter(name: &str, attribute: &str, value: Option<f64>) -> Result<f64> {
    value.ok_or_else(|| problem(format!("activation {name} needs a value in {attribute}")))
}
