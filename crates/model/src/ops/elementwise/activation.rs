//! Activations with attributes, each a formula of one float element:
//! LeakyRelu-6/16, Elu-6/22, Selu-6/22, Celu-12/28, HardSigmoid-6/22, ThresholdedRelu-10/22, Mish-18/22, Swish-24, Shrink-9,
//! SwiGLU-28, QuickGelu (com.microsoft).
//!
//! At a kink the gradient is PyTorch's: that of the lower branch.

use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Backend, Binary, Unary},
    ops::{
        Built, NodeContext,
        common::{scalar, scaled, to_array},
        one, problem,
    },
};
use ndarray::ArrayD;

/// LeakyRelu.
pub fn leaky_relu<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let alpha = node.float("alpha", 0.01)?;
    one(move |cx, x| D::unary(cx, Unary::LeakyRelu { alpha }, x.float(0)?))
}

/// Elu.
pub fn elu<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let alpha = node.float("alpha", 1.0)?;
    one(move |cx, x| D::unary(cx, Unary::Elu { alpha }, x.float(0)?))
}

/// Selu: γ·Elu(x).
pub fn selu<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (alpha, gamma) = (node.float("alpha", 1.673_263_2)?, node.float("gamma", 1.050_701)?);
    one(move |cx, x| {
        let y = D::unary(cx, Unary::Elu { alpha }, x.float(0)?)?;
        scaled(cx, &y, gamma)
    })
}

/// Celu: α·Elu₁(x/α), for α > 0.
pub fn celu<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let alpha = node.float("alpha", 1.0)?;
    if alpha <= 0.0 {
        return Err(problem("alpha must be above 0"));
    }
    one(move |cx, x| {
        let inner = scaled(cx, x.float(0)?, 1.0 / alpha)?;
        let y = D::unary(cx, Unary::Elu { alpha: 1.0 }, &inner)?;
        scaled(cx, &y, alpha)
    })
}

/// HardSigmoid.
pub fn hard_sigmoid<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (alpha, beta) = (node.float("alpha", 0.2)?, node.float("beta", 0.5)?);
    one(move |cx, x| D::unary(cx, Unary::HardSigmoid { alpha, beta }, x.float(0)?))
}

/// x where `keep` says so, else 0.
fn kept<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    mask: &ArrayD<bool>,
) -> Result<Tensor<E, D>> {
    let zero = scalar(cx, 0.0)?;
    D::select(cx, mask, x, &zero)
}

/// ThresholdedRelu: x where x > α, else 0.
pub fn thresholded_relu<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let alpha = node.float("alpha", 1.0)?;
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        let mask = to_array(x)?.mapv(|x: E| x.f64() > alpha);
        kept(cx, x, &mask)
    })
}

/// Shrink: x + bias below −λ, x − bias above λ, else 0.
pub fn shrink<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (bias, lambda) = (node.float("bias", 0.0)?, node.float("lambd", 0.5)?);
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        let values = to_array(x)?;
        let (up, down) = (D::unary(cx, Unary::AddScalar(bias), x)?, D::unary(cx, Unary::AddScalar(-bias), x)?);
        let shifted = D::select(cx, &values.mapv(|x: E| x.f64() < -lambda), &up, &down)?;
        kept(cx, &shifted, &values.mapv(|x: E| x.f64().abs() > lambda))
    })
}

/// x·tanh(softplus x).
pub fn mish<E: Float, D: Backend<E>>(_: &NodeContext<'_>) -> Built<E, D> {
    one(|cx, inputs| {
        let x = inputs.float(0)?;
        let soft = D::unary(cx, Unary::Softplus, x)?;
        let gate = D::unary(cx, Unary::Tanh, &soft)?;
        D::binary(cx, Binary::Mul, x, &gate)
    })
}

/// x·sigmoid(αx): Swish with α = 1, QuickGelu with α = 1.702.
pub fn swish<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let alpha = node.float("alpha", if node.node().op_type == "QuickGelu" { 1.702 } else { 1.0 })?;
    one(move |cx, inputs| gated(cx, inputs.float(0)?, alpha))
}

fn gated<E: Float, D: Backend<E>>(cx: &mut Context<E, D>, x: &Tensor<E, D>, alpha: f64) -> Result<Tensor<E, D>> {
    let inner = scaled(cx, x, alpha)?;
    let gate = D::unary(cx, Unary::Sigmoid, &inner)?;
    D::binary(cx, Binary::Mul, x, &gate)
}

/// SwiGLU: a·sigmoid(αa)·b, of equal shapes.
pub fn swiglu<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let alpha = node.float("alpha", 1.0)?;
    one(move |cx, inputs| {
        let (a, b) = (inputs.float(0)?, inputs.float(1)?);
        if a.dims() != b.dims() {
            return Err(problem(format!("shapes {:?} and {:?} are not equal", a.dims(), b.dims())));
        }
        let gate = gated(cx, a, alpha)?;
        D::binary(cx, Binary::Mul, &gate, b)
    })
}
