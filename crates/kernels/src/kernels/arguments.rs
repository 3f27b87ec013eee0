//! The arguments of kernels that take many, so that each signature is written once.

use super::{AdamStep, ConvSpec, Unary};
use crate::engine::{Buffer, Float, Tensor};
use dfdx::prelude::Device;

/// Of [`linear`](super::Backend::linear).
pub struct LinearArgs<'a, E: Float, D: Device<E>> {
    /// (…, k) with at least one k.
    pub x: &'a Tensor<E, D>,
    /// (k, n) or, if `transposed`, (n, k).
    pub w: &'a Tensor<E, D>,
    /// How `w` lies.
    pub transposed: bool,
    /// (n).
    pub bias: Option<&'a Tensor<E, D>>,
    /// Applied to the sum.
    pub activation: Option<Unary>,
}

/// Of [`conv`](super::Backend::conv).
pub struct ConvArgs<'a, E: Float, D: Device<E>> {
    /// (N, C, spatial…).
    pub x: &'a Tensor<E, D>,
    /// (M, C/groups, window…).
    pub w: &'a Tensor<E, D>,
    /// (M).
    pub bias: Option<&'a Tensor<E, D>>,
    /// Added to the result, of whose shape it is.
    pub residual: Option<&'a Tensor<E, D>>,
    /// Applied to the sum.
    pub activation: Option<Unary>,
    /// Windows and groups.
    pub spec: &'a ConvSpec,
}

impl<'a, E: Float, D: Device<E>> ConvArgs<'a, E, D> {
    /// A convolution without a residual or an activation.
    pub fn plain(x: &'a Tensor<E, D>, w: &'a Tensor<E, D>, bias: Option<&'a Tensor<E, D>>, spec: &'a ConvSpec) -> Self {
        Self { x, w, bias, residual: None, activation: None, spec }
    }
}

/// Of [`batch_norm`](super::Backend::batch_norm).
pub struct BatchNormArgs<'a, E: Float, D: Device<E>> {
    /// (N, C, spatial…).
    pub x: &'a Tensor<E, D>,
    /// (C).
    pub scale: &'a Tensor<E, D>,
    /// (C).
    pub bias: &'a Tensor<E, D>,
    /// Mean and variance of each channel, if not the batch's own.
    pub statistics: Option<[&'a Tensor<E, D>; 2]>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// Of [`layer_norm`](super::Backend::layer_norm).
pub struct LayerNormArgs<'a, E: Float, D: Device<E>> {
    /// Of any shape.
    pub x: &'a Tensor<E, D>,
    /// Broadcasts to the axes that are normalized over.
    pub scale: &'a Tensor<E, D>,
    /// Likewise.
    pub bias: Option<&'a Tensor<E, D>>,
    /// The first of these axes, which are the last of `x`.
    pub axis: usize,
    /// Added to the variance.
    pub epsilon: f64,
}

/// Of [`lstm`](super::Backend::lstm).
pub struct LstmArgs<'a, E: Float, D: Device<E>> {
    /// The inputs' part of the gates i, o, f and c of every step, biases included: (steps, batch, 4·hidden).
    pub gates: &'a Tensor<E, D>,
    /// The weights of h: (4·hidden, hidden).
    pub recurrent: &'a Tensor<E, D>,
    /// h before the first step: (batch, hidden).
    pub h: &'a Tensor<E, D>,
    /// c before the first step: (batch, hidden).
    pub c: &'a Tensor<E, D>,
}

/// Of [`adamw`](super::Backend::adamw).
pub struct AdamArgs<'a, E: Float, D: Device<E>> {
    /// What is the same for all parameters.
    pub step: &'a AdamStep,
    /// Changes.
    pub parameter: &'a mut Tensor<E, D>,
    /// The first and the second moment of the gradient: change.
    pub moments: [&'a mut Buffer<E, D>; 2],
    /// Of the parameter's length.
    pub gradient: &'a Buffer<E, D>,
    /// How much of the step is taken; broadcasts to the parameter along one axis. The decay, in proportion to the
    /// parameter by itself, is taken whole.
    pub share: Option<&'a Tensor<E, D>>,
}
