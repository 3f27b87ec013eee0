//! Calls of kernels, as data.

use super::Tolerance;
use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{
        Backend, BatchNormArgs, Binary, ConvArgs, ConvSpec, LayerNormArgs, LinearArgs, LstmArgs, PadMode, PoolSpec,
        Reduce, Unary,
    },
};
use ndarray::ArrayD;

/// One kernel with all of its arguments that are not tensors on the device.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Unary(Unary),
    Binary(Binary),
    Select(ArrayD<bool>),
    Matmul { ta: bool, tb: bool },
    Linear { transposed: bool, activation: Option<Unary> },
    Conv(ConvSpec),
    ConvFused(Unary, ConvSpec),
    MaxPool(PoolSpec),
    AvgPool(PoolSpec),
    Reduce(Reduce, Vec<usize>, bool),
    Softmax(usize),
    LogSoftmax(usize),
    BatchNorm(f64),
    BatchNormTrain(f64),
    LayerNorm { axis: usize, epsilon: f64 },
    Permute(Vec<usize>),
    Expand(Vec<usize>),
    Concat(usize),
    Slice { starts: Vec<usize>, steps: Vec<isize>, out: Vec<usize> },
    Pad(Vec<[isize; 2]>, PadMode),
    Gather { axis: usize, indices: Vec<usize>, dims: Vec<usize> },
    GatherFlat { indices: Vec<usize>, dims: Vec<usize> },
    Cumsum { axis: usize, exclusive: bool, reverse: bool },
    Lstm,
    CrossEntropy(Vec<usize>),
    BceWithLogits,
}

/// Which values an input may have, so that the function is defined, and smooth where that is asked for.
#[derive(Clone, Debug)]
pub(super) enum Domain {
    /// Normally distributed.
    Any,
    /// From 0.2 to 3.
    Positive,
    /// From 0 to 1.
    Unit,
    /// Normally distributed, at a distance from these points.
    Except(Vec<f64>),
    /// No two elements close to each other.
    Distinct,
    /// Of both signs, never near 0.
    NotZero,
    /// From −0.9 to 0.9.
    Inner,
    /// From 1.2 to 4.
    AboveOne,
}

fn batch_norm_args<'a, E: Float, D: Backend<E>>(
    x: &'a [Tensor<E, D>],
    statistics: Option<[&'a Tensor<E, D>; 2]>,
    epsilon: f64,
) -> BatchNormArgs<'a, E, D> {
    BatchNormArgs { x: &x[0], scale: &x[1], bias: &x[2], statistics, epsilon }
}

impl Call {
    /// Runs the kernel.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn run<E: Float, D: Backend<E>>(&self, cx: &mut Context<E, D>, x: &[Tensor<E, D>]) -> Result<Tensor<E, D>> {
        match self {
            Self::Unary(op) => D::unary(cx, *op, &x[0]),
            Self::Binary(op) => D::binary(cx, *op, &x[0], &x[1]),
            Self::Select(mask) => D::select(cx, mask, &x[0], &x[1]),
            Self::Matmul { ta, tb } => D::matmul(cx, &x[0], &x[1], *ta, *tb),
            Self::Linear { transposed, activation } => {
                let (transposed, activation) = (*transposed, *activation);
                D::linear(cx, LinearArgs { x: &x[0], w: &x[1], transposed, bias: x.get(2), activation })
            }
            Self::Conv(spec) => D::conv(cx, ConvArgs::plain(&x[0], &x[1], x.get(2), spec)),
            Self::ConvFused(op, spec) => {
                let plain = ConvArgs::plain(&x[0], &x[1], Some(&x[2]), spec);
                D::conv(cx, ConvArgs { residual: x.get(3), activation: Some(*op), ..plain })
            }
            Self::MaxPool(spec) => D::max_pool(cx, &x[0], spec),
            Self::AvgPool(spec) => D::avg_pool(cx, &x[0], spec),
            Self::Reduce(op, axes, keep) => D::reduce(cx, *op, &x[0], axes, *keep),
            Self::Softmax(axis) => D::softmax(cx, &x[0], *axis),
            Self::LogSoftmax(axis) => D::log_softmax(cx, &x[0], *axis),
            Self::BatchNorm(e) => D::batch_norm(cx, batch_norm_args(x, Some([&x[3], &x[4]]), *e)),
            Self::BatchNormTrain(e) => D::batch_norm(cx, batch_norm_args(x, None, *e)),
            Self::LayerNorm { axis, epsilon } => {
                let (axis, epsilon) = (*axis, *epsilon);
                D::layer_norm(cx, LayerNormArgs { x: &x[0], scale: &x[1], bias: x.get(2), axis, epsilon })
            }
            Self::Permute(perm) => D::permute(cx, &x[0], perm),
            Self::Expand(dims) => D::expand(cx, &x[0], dims),
            Self::Concat(axis) => D::concat(cx, &x.iter().collect::<Vec<_>>(), *axis),
            Self::Slice { starts, steps, out } => D::slice(cx, &x[0], starts, steps, out),
            Self::Pad(pads, mode) => D::pad(cx, &x[0], pads, *mode),
            Self::Gather { axis, indices, dims } => D::gather(cx, &x[0], *axis, indices, dims),
            Self::GatherFlat { indices, dims } => D::gather_flat(cx, &x[0], indices, dims),
            Self::Cumsum { axis, exclusive, reverse } => D::cumsum(cx, &x[0], *axis, *exclusive, *reverse),
            Self::Lstm => D::lstm(cx, LstmArgs { gates: &x[0], recurrent: &x[1], h: &x[2], c: &x[3] }),
            Self::CrossEntropy(classes) => D::cross_entropy(cx, &x[0], classes),
            Self::BceWithLogits => D::bce_with_logits(cx, &x[0], &x[1]),
        }
    }

    /// The method of [`Backend`] that it calls.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Unary(_) => "unary",
            Self::Binary(_) => "binary",
            Self::Select(_) => "select",
            Self::Matmul { .. } => "matmul",
            Self::Linear { .. } => "linear",
            Self::Conv(_) | Self::ConvFused(..) => "conv",
            Self::MaxPool(_) => "max_pool",
            Self::AvgPool(_) => "avg_pool",
            Self::Reduce(..) => "reduce",
            Self::Softmax(_) => "softmax",
            Self::LogSoftmax(_) => "log_softmax",
            Self::BatchNorm(_) | Self::BatchNormTrain(_) => "batch_norm",
            Self::LayerNorm { .. } => "layer_norm",
            Self::Permute(_) => "permute",
            Self::Expand(_) => "expand",
            Self::Concat(_) => "concat",
            Self::Slice { .. } => "slice",
            Self::Pad(..) => "pad",
            Self::Gather { .. } => "gather",
            Self::GatherFlat { .. } => "gather_flat",
            Self::Cumsum { .. } => "cumsum",
            Self::Lstm => "lstm",
            Self::CrossEntropy(_) => "cross_entropy",
            Self::BceWithLogits => "bce_with_logits",
        }
    }

    /// How far a fast version may be from the definition, in `f32`.
    pub fn tolerance(&self) -> Tolerance {
        match self {
            Self::Unary(Unary::Erf | Unary::Gelu { .. } | Unary::Elu { .. } | Unary::PowScalar(_)) => {
                Tolerance::Approximated
            }
            Self::Unary(Unary::Sin | Unary::Cos | Unary::Tanh | Unary::Softplus) => Tolerance::Approximated,
            Self::Binary(Binary::Pow) => Tolerance::Approximated,
            Self::Unary(_) | Self::Binary(_) => Tolerance::Elementwise,
            Self::Select(_) | Self::MaxPool(_) | Self::Permute(_) | Self::Expand(_) | Self::Concat(_) => {
                Tolerance::Exact
            }
            Self::Slice { .. } | Self::Pad(..) | Self::Gather { .. } | Self::GatherFlat { .. } => Tolerance::Exact,
            Self::Matmul { .. } | Self::AvgPool(_) | Self::Reduce(..) | Self::Cumsum { .. } => Tolerance::Sums,
            Self::Conv(_) | Self::ConvFused(..) => Tolerance::Transformed,
            Self::Softmax(_) | Self::LogSoftmax(_) | Self::CrossEntropy(_) | Self::BceWithLogits => Tolerance::Sums,
            Self::Lstm | Self::Linear { .. } => Tolerance::Sums,
            Self::BatchNorm(_) => Tolerance::Elementwise,
            Self::BatchNormTrain(_) | Self::LayerNorm { .. } => Tolerance::Statistics,
        }
    }

    /// Whether input `i` gets a gradient.
    pub fn differentiable(&self, i: usize) -> bool {
        !(matches!(self, Self::BatchNorm(_)) && i >= 3)
    }

    /// Where input `i` may lie.
    pub fn domain(&self, i: usize) -> Domain {
        use Domain::*;
        match self {
            Self::Unary(op) => match op {
                Unary::Sqrt | Unary::Log => Positive,
                Unary::Reciprocal => NotZero,
                Unary::Tan | Unary::Acos | Unary::Asin | Unary::Atanh => Inner,
                Unary::Acosh => AboveOne,
                Unary::PowScalar(c) if c.fract() != 0. || *c < 0. => Positive,
                Unary::Abs | Unary::Relu | Unary::LeakyRelu { .. } | Unary::Elu { .. } | Unary::Softsign => {
                    Except(vec![0.])
                }
                Unary::HardSwish => Except(vec![-3., 3.]),
                Unary::HardSigmoid { alpha, beta } => Except(vec![-beta / alpha, (1. - beta) / alpha]),
                Unary::Clip { min, max } => Except(vec![*min, *max]),
                Unary::Floor | Unary::Ceil | Unary::Sign => Except((-4..5).map(f64::from).collect()),
                Unary::Round => Except((-4..5).map(|i| f64::from(i) + 0.5).collect()),
                _ => Any,
            },
            Self::Binary(Binary::Div) if i == 1 => NotZero,
            Self::Binary(Binary::Pow) => Positive,
            Self::Binary(Binary::PRelu) if i == 0 => Except(vec![0.]),
            Self::Binary(Binary::Max | Binary::Min) | Self::MaxPool(_) => Distinct,
            Self::Reduce(Reduce::Max | Reduce::Min, ..) => Distinct,
            Self::BatchNorm(_) if i == 4 => Positive,
            Self::BceWithLogits if i == 1 => Unit,
            _ => Any,
        }
    }
}
