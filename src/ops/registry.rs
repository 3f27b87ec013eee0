//! The operators, a line each.

use super::{
    Built, NodeContext, elementwise::*, logic::*, loss::*, math::*, nn::*, operator_name, problem, recurrent::*,
    reduce, shape::*,
};
use crate::{
    engine::Float,
    error::{Error, Result},
    graph::Node,
    kernels::Backend,
};

pub use crate::graph::build::NEWEST_OPSET;

const MANY: usize = usize::MAX;
const MICROSOFT: &str = "com.microsoft";
const LEARNERS: &str = "ai.onnx.ml";
/// A fast kernel for the CPU exists.
const FAST: bool = true;
const SLOW: bool = false;

/// Which inputs a gradient can flow into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Gradient {
    /// All float inputs.
    All,
    /// These float inputs.
    Only(&'static [usize]),
    /// None is owed: the outputs are shapes, integers or booleans, or change in steps only, where PyTorch's gradient is 0.
    Flat,
    /// None is implemented.
    None,
}

impl Gradient {
    /// Whether input `i` may be tracked.
    pub fn reaches(self, i: usize) -> bool {
        match self {
            Self::All | Self::Flat => true,
            Self::Only(inputs) => inputs.contains(&i),
            Self::None => false,
        }
    }
}

/// What the framework knows of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Spec {
    /// Domain; empty for ONNX's own.
    pub domain: &'static str,
    /// Operator.
    pub name: &'static str,
    /// First and last version of the operator set.
    pub opsets: (i64, i64),
    /// Least and most inputs.
    pub inputs: (usize, usize),
    /// Most outputs.
    pub outputs: usize,
    /// Where gradients flow.
    pub gradient: Gradient,
    /// Whether its main computation has a fast kernel for the CPU.
    pub fast: bool,
}

impl Spec {
    /// Whether this is the operator of `node`, in its version.
    pub fn takes(&self, node: &Node) -> bool {
        let (first, last) = self.opsets;
        self.domain == node.domain && self.name == node.op_type && (first..=last).contains(&node.opset)
    }

    /// Checks the numbers of inputs and outputs.
    pub(super) fn check_arity(&self, node: &Node) -> Result<()> {
        let (least, most) = self.inputs;
        let (n, outputs) = (node.inputs.len(), node.outputs.len());
        if n > most || node.inputs.iter().take(least).flatten().count() < least {
            return Err(problem(format!("{n} inputs, where {least} are needed and {most} allowed")));
        }
        if outputs > self.outputs {
            return Err(problem(format!("{outputs} outputs, where {} are allowed", self.outputs)));
        }
        Ok(())
    }

    /// The error for a gradient that is asked of input `i` and does not exist.
    pub fn without_gradient(&self, node: &Node, i: usize) -> Error {
        let name = operator_name(node);
        Error::Untrainable(format!(
            "node {} ({name}): its input {i} depends on a trainable parameter, but {} has no gradient there; \
             freeze what leads to it with --freeze, or bring a model without it",
            node.name, self.name
        ))
    }
}

/// An operator: what is known of it, and how it is built.
pub struct Entry<E: Float, D: Backend<E>> {
    /// What the framework checks.
    pub spec: Spec,
    /// Decides attributes and version.
    pub build: fn(&NodeContext<'_>) -> Built<E, D>,
}

impl<E: Float, D: Backend<E>> Entry<E, D> {
    fn domain(mut self, domain: &'static str) -> Self {
        self.spec.domain = domain;
        self.spec.opsets = if domain == LEARNERS { (1, 5) } else { (1, 1) };
        self
    }

    fn until(mut self, last: i64) -> Self {
        self.spec.opsets.1 = last;
        self
    }
}

fn op<E: Float, D: Backend<E>>(
    name: &'static str,
    since: i64,
    inputs: (usize, usize),
    outputs: usize,
    gradient: Gradient,
    fast: bool,
    build: fn(&NodeContext<'_>) -> Built<E, D>,
) -> Entry<E, D> {
    Entry { spec: Spec { domain: "", name, opsets: (since, NEWEST_OPSET), inputs, outputs, gradient, fast }, build }
}

/// What is known of every operator.
pub fn specs() -> Vec<Spec> {
    registry::<f32, dfdx::prelude::Cpu>().iter().map(|entry| entry.spec).collect()
}

/// Every operator.
#[rustfmt::skip]
pub fn registry<E: Float, D: Backend<E>>() -> Vec<Entry<E, D>> {
    use Gradient::{All, Flat, None, Only};
    vec![
        // elementwise
        op("Abs", 7, (1, 1), 1, All, FAST, unary::build),
        op("Add", 7, (2, 2), 1, All, FAST, binary::build),
        op("Cast", 7, (1, 1), 1, All, SLOW, cast::build),
        op("CastLike", 15, (2, 2), 1, All, SLOW, cast::like),
        op("Ceil", 7, (1, 1), 1, Flat, FAST, unary::build),
        op("Celu", 12, (1, 1), 1, All, FAST, activation::celu),
        op("Clip", 7, (1, 3), 1, Only(&[0]), FAST, clip::build),
        op("Cos", 7, (1, 1), 1, All, FAST, unary::build),
        op("Div", 7, (2, 2), 1, All, FAST, binary::build),
        op("Elu", 7, (1, 1), 1, All, FAST, activation::elu),
        op("Erf", 9, (1, 1), 1, All, FAST, unary::build),
        op("Exp", 7, (1, 1), 1, All, FAST, unary::build),
        op("Floor", 7, (1, 1), 1, Flat, FAST, unary::build),
        op("Gelu", 20, (1, 1), 1, All, FAST, gelu::build),
        op("HardSigmoid", 7, (1, 1), 1, All, FAST, activation::hard_sigmoid),
        op("HardSwish", 14, (1, 1), 1, All, FAST, unary::build),
        op("Identity", 7, (1, 1), 1, All, FAST, identity::build),
        op("LeakyRelu", 7, (1, 1), 1, All, FAST, activation::leaky_relu),
        op("Log", 7, (1, 1), 1, All, FAST, unary::build),
        op("Max", 7, (1, MANY), 1, All, FAST, variadic::extreme),
        op("Mean", 7, (1, MANY), 1, All, FAST, variadic::sum),
        op("Min", 7, (1, MANY), 1, All, FAST, variadic::extreme),
        op("Mish", 18, (1, 1), 1, All, FAST, activation::mish),
        op("Mod", 10, (2, 2), 1, None, SLOW, binary::modulo),
        op("Mul", 7, (2, 2), 1, All, FAST, binary::build),
        op("Neg", 7, (1, 1), 1, All, FAST, unary::build),
        op("PRelu", 7, (2, 2), 1, All, FAST, binary::prelu),
        op("Pow", 7, (2, 2), 1, All, FAST, pow::build),
        op("Reciprocal", 7, (1, 1), 1, All, FAST, unary::build),
        op("Relu", 7, (1, 1), 1, All, FAST, unary::build),
        op("Round", 11, (1, 1), 1, Flat, FAST, unary::build),
        op("Selu", 7, (1, 1), 1, All, FAST, activation::selu),
        op("Shrink", 9, (1, 1), 1, All, SLOW, activation::shrink),
        op("Sigmoid", 7, (1, 1), 1, All, FAST, unary::build),
        op("Sign", 9, (1, 1), 1, Flat, FAST, unary::build),
        op("Sin", 7, (1, 1), 1, All, FAST, unary::build),
        op("Softplus", 7, (1, 1), 1, All, FAST, unary::build),
        op("Softsign", 7, (1, 1), 1, All, FAST, unary::build),
        op("Sqrt", 7, (1, 1), 1, All, FAST, unary::build),
        op("Sub", 7, (2, 2), 1, All, FAST, binary::build),
        op("Sum", 7, (1, MANY), 1, All, FAST, variadic::sum),
        op("Swish", 24, (1, 1), 1, All, FAST, activation::swish),
        op("Tanh", 7, (1, 1), 1, All, FAST, unary::build),
        op("ThresholdedRelu", 10, (1, 1), 1, All, SLOW, activation::thresholded_relu),
        op("Where", 9, (3, 3), 1, All, FAST, select::build),
        // logic
        op("And", 7, (2, 2), 1, Flat, SLOW, boolean::pair),
        op("BitwiseAnd", 18, (2, 2), 1, Flat, SLOW, boolean::bitwise),
        op("BitwiseNot", 18, (1, 1), 1, Flat, SLOW, boolean::bitwise_not),
        op("BitwiseOr", 18, (2, 2), 1, Flat, SLOW, boolean::bitwise),
        op("BitwiseXor", 18, (2, 2), 1, Flat, SLOW, boolean::bitwise),
        op("Equal", 7, (2, 2), 1, Flat, SLOW, compare::build),
        op("Greater", 7, (2, 2), 1, Flat, SLOW, compare::build),
        op("GreaterOrEqual", 12, (2, 2), 1, Flat, SLOW, compare::build),
        op("IsInf", 10, (1, 1), 1, Flat, SLOW, special::is_inf),
        op("IsNaN", 9, (1, 1), 1, Flat, SLOW, special::is_nan),
        op("Less", 7, (2, 2), 1, Flat, SLOW, compare::build),
        op("LessOrEqual", 12, (2, 2), 1, Flat, SLOW, compare::build),
        op("Not", 7, (1, 1), 1, Flat, SLOW, boolean::not),
        op("Or", 7, (2, 2), 1, Flat, SLOW, boolean::pair),
        op("Xor", 7, (2, 2), 1, Flat, SLOW, boolean::pair),
        // loss
        op("NegativeLogLikelihoodLoss", 12, (2, 3), 1, Only(&[0]), SLOW, cross_entropy::build),
        op("SoftmaxCrossEntropyLoss", 12, (2, 3), 2, Only(&[0]), FAST, cross_entropy::build),
        // math
        op("CumSum", 11, (2, 2), 1, All, FAST, cumsum::build),
        op("Einsum", 12, (1, MANY), 1, All, FAST, einsum::build),
        op("Gemm", 7, (2, 3), 1, All, FAST, gemm::build),
        op("MatMul", 7, (2, 2), 1, All, FAST, matmul::build),
        op("Range", 11, (3, 3), 1, None, SLOW, range::build),
        // nn
        op("AveragePool", 7, (1, 1), 1, All, FAST, pool::average),
        op("BatchNormalization", 7, (5, 5), 5, Only(&[0, 1, 2]), FAST, batch_norm::build),
        op("Conv", 7, (2, 3), 1, All, FAST, conv::build),
        op("Dropout", 7, (1, 3), 2, Only(&[0]), FAST, dropout::build),
        op("GlobalAveragePool", 7, (1, 1), 1, All, FAST, pool::global),
        op("GlobalMaxPool", 7, (1, 1), 1, All, FAST, pool::global),
        op("GroupNormalization", 18, (3, 3), 1, All, FAST, group_norm::group),
        op("InstanceNormalization", 7, (3, 3), 1, All, FAST, group_norm::instance),
        op("LayerNormalization", 7, (2, 3), 3, All, FAST, layer_norm::layer),
        op("LogSoftmax", 7, (1, 1), 1, All, FAST, softmax::build),
        op("MaxPool", 7, (1, 1), 2, All, FAST, pool::max),
        op("RMSNormalization", 23, (2, 2), 1, All, FAST, layer_norm::root_mean_square),
        op("SimplifiedLayerNormalization", 7, (2, 2), 1, All, FAST, layer_norm::root_mean_square),
        op("Softmax", 7, (1, 1), 1, All, FAST, softmax::build),
        // recurrent
        op("GRU", 7, (3, 6), 2, All, FAST, gru::build),
        op("LSTM", 7, (3, 8), 3, All, FAST, lstm::build),
        op("RNN", 7, (3, 6), 2, All, FAST, rnn::build),
        // reduce
        op("ArgMax", 7, (1, 1), 1, Flat, SLOW, reduce::arg::build),
        op("ArgMin", 7, (1, 1), 1, Flat, SLOW, reduce::arg::build),
        op("ReduceL1", 7, (1, 2), 1, All, FAST, reduce::reduction::build),
        op("ReduceL2", 7, (1, 2), 1, All, FAST, reduce::reduction::build),
        op("ReduceLogSum", 7, (1, 2), 1, All, FAST, reduce::reduction::build),
        op("ReduceLogSumExp", 7, (1, 2), 1, All, FAST, reduce::reduction::build),
        op("ReduceMax", 7, (1, 2), 1, All, FAST, reduce::reduction::build),
        op("ReduceMean", 7, (1, 2), 1, All, FAST, reduce::reduction::build),
        op("ReduceMin", 7, (1, 2), 1, All, FAST, reduce::reduction::build),
        op("ReduceProd", 7, (1, 2), 1, All, FAST, reduce::reduction::build),
        op("ReduceSum", 7, (1, 2), 1, All, FAST, reduce::reduction::build),
        op("ReduceSumSquare", 7, (1, 2), 1, All, FAST, reduce::reduction::build),
        // shape
        op("Compress", 9, (2, 2), 1, All, FAST, compress::build),
        op("Concat", 7, (1, MANY), 1, All, FAST, concat::build),
        op("Constant", 7, (0, 0), 1, All, SLOW, constant::constant),
        op("ConstantOfShape", 9, (1, 1), 1, Flat, SLOW, constant::of_shape),
        op("Expand", 8, (2, 2), 1, All, FAST, expand::expand),
        op("EyeLike", 9, (1, 1), 1, Flat, SLOW, constant::eye_like),
        op("Flatten", 7, (1, 1), 1, All, FAST, reshape::flatten),
        op("Gather", 7, (2, 2), 1, All, FAST, gather::build),
        op("GatherElements", 11, (2, 2), 1, All, FAST, gather_elements::elements),
        op("GatherND", 11, (2, 2), 1, All, FAST, gather_elements::tuples),
        op("NonZero", 9, (1, 1), 1, Flat, SLOW, non_zero::build),
        op("OneHot", 9, (3, 3), 1, Only(&[0]), SLOW, one_hot::build),
        op("Pad", 7, (1, 4), 1, Only(&[0]), FAST, pad::build),
        op("Reshape", 7, (2, 2), 1, All, FAST, reshape::reshape),
        op("Scatter", 9, (3, 3), 1, All, SLOW, scatter::elements).until(10),
        op("ScatterElements", 11, (3, 3), 1, All, SLOW, scatter::elements),
        op("ScatterND", 11, (3, 3), 1, All, SLOW, scatter::tuples),
        op("Shape", 7, (1, 1), 1, Flat, SLOW, shape_of::shape),
        op("Size", 7, (1, 1), 1, Flat, SLOW, shape_of::size),
        op("Slice", 7, (1, 5), 1, All, FAST, slice::build),
        op("Split", 7, (1, 2), MANY, All, FAST, split::build),
        op("Squeeze", 7, (1, 2), 1, All, FAST, squeeze::squeeze),
        op("Tile", 7, (2, 2), 1, All, FAST, expand::tile),
        op("TopK", 7, (1, 2), 2, All, FAST, top_k::build),
        op("Transpose", 7, (1, 1), 1, All, FAST, transpose::build),
        op("Trilu", 14, (1, 2), 1, All, FAST, trilu::build),
        op("Unsqueeze", 7, (1, 2), 1, All, FAST, squeeze::unsqueeze),
        // what scikit-learn's exporter puts behind a network
        op("ArrayFeatureExtractor", 1, (2, 2), 1, All, FAST, gather::features).domain(LEARNERS),
        // onnxruntime's own
        op("BiasGelu", 1, (2, 2), 1, All, FAST, gelu::build).domain(MICROSOFT),
        op("FastGelu", 1, (1, 2), 1, All, FAST, gelu::build).domain(MICROSOFT),
        op("FusedConv", 1, (2, 4), 1, All, FAST, conv::build).domain(MICROSOFT),
        op("FusedGemm", 1, (2, 3), 1, All, FAST, gemm::build).domain(MICROSOFT),
        op("FusedMatMul", 1, (2, 2), 1, All, FAST, matmul::fused).domain(MICROSOFT),
        op("Gelu", 1, (1, 1), 1, All, FAST, gelu::build).domain(MICROSOFT),
        op("QuickGelu", 1, (1, 1), 1, All, FAST, activation::swish).domain(MICROSOFT),
        op("SkipLayerNormalization", 1, (3, 5), 4, All, FAST, layer_norm::skip).domain(MICROSOFT),
        op("SkipSimplifiedLayerNormalization", 1, (3, 4), 4, All, FAST, layer_norm::skip).domain(MICROSOFT),
    ]
}
