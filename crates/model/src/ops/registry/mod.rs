//! The operators, a line each.

use super::{
    Built, NodeContext, attention::*, columns::*, elementwise::*, legacy::aligned, logic::*, loss::*, math::*, nn::*,
    problem, recurrent::*, reduce, shape::*,
};
use crate::{
    engine::Float,
    error::{Error, Result},
    graph::{
        Attr, Node,
        facts::{self, Facts},
    },
    kernels::Backend,
};

pub use crate::graph::{build::NEWEST_OPSET, facts::Gradient};

const MANY: usize = usize::MAX;
const MICROSOFT: &str = "com.microsoft";
const LEARNERS: &str = "ai.onnx.ml";
/// Newest version of ai.onnx.ml that this program knows.
const NEWEST_LEARNERS: i64 = 5;
/// Runs a fast kernel of the CPU, by which a test finds it: the dispatch counts them.
const FAST: bool = true;
const SLOW: bool = false;

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
    /// Whether it runs a fast kernel of the CPU.
    pub fast: bool,
}

impl Spec {
    /// Whether this is the operator of `node`, in its version.
    pub fn takes(&self, node: &Node) -> bool {
        let (first, last) = self.opsets;
        self.domain == node.domain
            && self.name == node.op_type
            && (first..=last).contains(&node.opset)
            && !(self.domain == LEARNERS && holds_texts(node))
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

    /// Whether input `i` may depend on a parameter.
    pub fn reaches(&self, i: usize) -> bool {
        facts::named(self.domain, self.name).is_some_and(|facts| facts.reaches(i))
    }

    /// The error for a gradient that is asked of input `i` and does not exist.
    pub fn without_gradient(&self, node: &Node, i: usize) -> Error {
        let name = node.op();
        Error::Untrainable(format!(
            "node {} ({name}): its input {i} depends on a trainable parameter, but {} has no gradient there; \
             freeze what leads to it with --freeze, or bring a model without it",
            node.name, self.name
        ))
    }
}

/// Whether a node takes or makes texts, which no tensor here holds.
pub fn holds_texts(node: &Node) -> bool {
    let texts = |attr: &Attr| match attr {
        Attr::Strings(list) => !list.is_empty(),
        Attr::Other(_) => true,
        _ => false,
    };
    node.attrs.values().any(texts)
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
        self.spec.gradient = gradient(domain, self.spec.name);
        self.spec.opsets = if domain == LEARNERS { (self.spec.opsets.0, NEWEST_LEARNERS) } else { (1, 1) };
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
    fast: bool,
    build: fn(&NodeContext<'_>) -> Built<E, D>,
) -> Entry<E, D> {
    let gradient = gradient("", name);
    Entry { spec: Spec { domain: "", name, opsets: (since, NEWEST_OPSET), inputs, outputs, gradient, fast }, build }
}

/// Where gradients flow, by what is known of the operator; a test holds the two together.
fn gradient(domain: &str, name: &str) -> Gradient {
    facts::named(domain, name).map_or(Gradient::None, Facts::gradient)
}

/// What is known of every operator.
pub fn specs() -> Vec<Spec> {
    registry::<f32, dfdx::prelude::Cpu>().iter().map(|entry| entry.spec).collect()
}

/// Every operator.
#[rustfmt::skip]
pub fn registry<E: Float, D: Backend<E>>() -> Vec<Entry<E, D>> {
    vec![
        // attention
        op("Attention", 23, (3, 7), 4, FAST, dot_product::build),
        op("RotaryEmbedding", 23, (3, 4), 1, FAST, rotary::build),
        // elementwise
        op("Abs", 6, (1, 1), 1, FAST, unary::build),
        op("Acos", 7, (1, 1), 1, FAST, unary::build),
        op("Acosh", 9, (1, 1), 1, FAST, unary::build),
        op("Add", 6, (2, 2), 1, FAST, |n| aligned(n, binary::build)),
        op("Asin", 7, (1, 1), 1, FAST, unary::build),
        op("Asinh", 9, (1, 1), 1, FAST, unary::build),
        op("Atan", 7, (1, 1), 1, FAST, unary::build),
        op("Atanh", 9, (1, 1), 1, FAST, unary::build),
        op("Cast", 6, (1, 1), 1, FAST, cast::build),
        op("CastLike", 15, (2, 2), 1, FAST, cast::like),
        op("Ceil", 6, (1, 1), 1, FAST, unary::build),
        op("Celu", 12, (1, 1), 1, FAST, activation::celu),
        op("Clip", 6, (1, 3), 1, FAST, clip::build),
        op("Cos", 7, (1, 1), 1, FAST, unary::build),
        op("Cosh", 9, (1, 1), 1, FAST, unary::build),
        op("Div", 6, (2, 2), 1, FAST, |n| aligned(n, binary::build)),
        op("Elu", 6, (1, 1), 1, FAST, activation::elu),
        op("Erf", 9, (1, 1), 1, FAST, unary::build),
        op("Exp", 6, (1, 1), 1, FAST, unary::build),
        op("Floor", 6, (1, 1), 1, FAST, unary::build),
        op("Gelu", 20, (1, 1), 1, FAST, gelu::build),
        op("HardSigmoid", 6, (1, 1), 1, FAST, activation::hard_sigmoid),
        op("HardSwish", 14, (1, 1), 1, FAST, unary::build),
        op("Identity", 6, (1, 1), 1, SLOW, identity::build),
        op("LeakyRelu", 6, (1, 1), 1, FAST, activation::leaky_relu),
        op("Log", 6, (1, 1), 1, FAST, unary::build),
        op("Max", 6, (1, MANY), 1, FAST, variadic::extreme),
        op("Mean", 6, (1, MANY), 1, FAST, variadic::sum),
        op("Min", 6, (1, MANY), 1, FAST, variadic::extreme),
        op("Mish", 18, (1, 1), 1, FAST, activation::mish),
        op("Mod", 10, (2, 2), 1, SLOW, binary::modulo),
        op("Mul", 6, (2, 2), 1, FAST, |n| aligned(n, binary::build)),
        op("Neg", 6, (1, 1), 1, FAST, unary::build),
        op("PRelu", 6, (2, 2), 1, FAST, |n| aligned(n, binary::prelu)),
        op("Pow", 6, (2, 2), 1, FAST, |n| aligned(n, pow::build)),
        op("Reciprocal", 6, (1, 1), 1, FAST, unary::build),
        op("Relu", 6, (1, 1), 1, FAST, unary::build),
        op("Round", 11, (1, 1), 1, FAST, unary::build),
        op("Selu", 6, (1, 1), 1, FAST, activation::selu),
        op("Shrink", 9, (1, 1), 1, FAST, activation::shrink),
        op("Sigmoid", 6, (1, 1), 1, FAST, unary::build),
        op("Sign", 9, (1, 1), 1, FAST, unary::build),
        op("Sin", 7, (1, 1), 1, FAST, unary::build),
        op("Sinh", 9, (1, 1), 1, FAST, unary::build),
        op("Softplus", 6, (1, 1), 1, FAST, unary::build),
        op("Softsign", 6, (1, 1), 1, FAST, unary::build),
        op("Sqrt", 6, (1, 1), 1, FAST, unary::build),
        op("Sub", 6, (2, 2), 1, FAST, |n| aligned(n, binary::build)),
        op("Sum", 6, (1, MANY), 1, FAST, variadic::sum),
        op("SwiGLU", 28, (2, 2), 1, FAST, activation::swiglu),
        op("Swish", 24, (1, 1), 1, FAST, activation::swish),
        op("Tan", 7, (1, 1), 1, FAST, unary::build),
        op("Tanh", 6, (1, 1), 1, FAST, unary::build),
        op("ThresholdedRelu", 10, (1, 1), 1, FAST, activation::thresholded_relu),
        op("Where", 9, (3, 3), 1, FAST, select::build),
        // logic
        op("And", 6, (2, 2), 1, SLOW, |n| aligned(n, boolean::pair)),
        op("BitwiseAnd", 18, (2, 2), 1, SLOW, boolean::bitwise),
        op("BitwiseNot", 18, (1, 1), 1, SLOW, boolean::bitwise_not),
        op("BitwiseOr", 18, (2, 2), 1, SLOW, boolean::bitwise),
        op("BitwiseXor", 18, (2, 2), 1, SLOW, boolean::bitwise),
        op("Equal", 6, (2, 2), 1, SLOW, |n| aligned(n, compare::build)),
        op("Greater", 6, (2, 2), 1, SLOW, |n| aligned(n, compare::build)),
        op("GreaterOrEqual", 12, (2, 2), 1, SLOW, compare::build),
        op("IsInf", 10, (1, 1), 1, SLOW, special::is_inf),
        op("IsNaN", 9, (1, 1), 1, SLOW, special::is_nan),
        op("Less", 6, (2, 2), 1, SLOW, |n| aligned(n, compare::build)),
        op("LessOrEqual", 12, (2, 2), 1, SLOW, compare::build),
        op("Not", 1, (1, 1), 1, SLOW, boolean::not),
        op("Or", 6, (2, 2), 1, SLOW, |n| aligned(n, boolean::pair)),
        op("Xor", 6, (2, 2), 1, SLOW, |n| aligned(n, boolean::pair)),
        // loss
        op("NegativeLogLikelihoodLoss", 12, (2, 3), 1, FAST, cross_entropy::build),
        op("SoftmaxCrossEntropyLoss", 12, (2, 3), 2, FAST, cross_entropy::build),
        // math
        op("CumProd", 26, (2, 2), 1, FAST, cumsum::build),
        op("CumSum", 11, (2, 2), 1, FAST, cumsum::build),
        op("Einsum", 12, (1, MANY), 1, FAST, einsum::build),
        op("Gemm", 6, (2, 3), 1, FAST, gemm::build),
        op("MatMul", 6, (2, 2), 1, FAST, matmul::build),
        op("Range", 11, (3, 3), 1, SLOW, range::build),
        // nn
        op("AffineGrid", 20, (2, 2), 1, FAST, affine_grid::build),
        op("AveragePool", 6, (1, 1), 1, FAST, pool::average),
        op("BatchNormalization", 6, (5, 5), 5, FAST, batch_norm::build),
        op("Col2Im", 18, (3, 3), 1, FAST, col2im::build),
        op("Conv", 6, (2, 3), 1, FAST, conv::build),
        op("ConvTranspose", 6, (2, 3), 1, FAST, conv_transpose::build),
        op("Dropout", 6, (1, 3), 2, FAST, dropout::build),
        op("GlobalAveragePool", 6, (1, 1), 1, FAST, pool::global),
        op("GlobalLpPool", 7, (1, 1), 1, FAST, lp_pool::global),
        op("GlobalMaxPool", 6, (1, 1), 1, FAST, pool::global),
        op("GridSample", 16, (2, 2), 1, FAST, grid_sample::build),
        op("GroupNormalization", 18, (3, 3), 1, FAST, group_norm::group),
        op("Hardmax", 7, (1, 1), 1, SLOW, softmax::build),
        op("InstanceNormalization", 6, (3, 3), 1, FAST, group_norm::instance),
        op("LRN", 7, (1, 1), 1, FAST, local_norm::local_response),
        op("LayerNormalization", 7, (2, 3), 3, FAST, layer_norm::layer),
        op("LogSoftmax", 6, (1, 1), 1, FAST, softmax::build),
        op("LpPool", 7, (1, 1), 1, FAST, lp_pool::build),
        op("LpNormalization", 7, (1, 1), 1, FAST, local_norm::by_norm),
        op("MaxPool", 6, (1, 1), 2, FAST, pool::max),
        op("MaxUnpool", 9, (2, 3), 1, FAST, max_unpool::build),
        op("MeanVarianceNormalization", 9, (1, 1), 1, FAST, local_norm::mean_variance),
        op("RMSNormalization", 23, (2, 2), 1, FAST, layer_norm::root_mean_square),
        op("Resize", 10, (1, 4), 1, FAST, resize::resize),
        op("SimplifiedLayerNormalization", 7, (2, 2), 1, FAST, layer_norm::root_mean_square),
        op("Softmax", 6, (1, 1), 1, FAST, softmax::build),
        op("Upsample", 7, (1, 2), 1, FAST, resize::upsample).until(9),
        // recurrent
        op("GRU", 7, (3, 6), 2, FAST, gru::build),
        op("LSTM", 7, (3, 8), 3, FAST, lstm::build),
        op("RNN", 7, (3, 6), 2, FAST, rnn::build),
        // reduce
        op("ArgMax", 6, (1, 1), 1, SLOW, reduce::arg::build),
        op("ArgMin", 6, (1, 1), 1, SLOW, reduce::arg::build),
        op("ReduceL1", 6, (1, 2), 1, FAST, reduce::reduction::build),
        op("ReduceL2", 6, (1, 2), 1, FAST, reduce::reduction::build),
        op("ReduceLogSum", 6, (1, 2), 1, FAST, reduce::reduction::build),
        op("ReduceLogSumExp", 6, (1, 2), 1, FAST, reduce::reduction::build),
        op("ReduceMax", 6, (1, 2), 1, FAST, reduce::reduction::build),
        op("ReduceMean", 6, (1, 2), 1, FAST, reduce::reduction::build),
        op("ReduceMin", 6, (1, 2), 1, FAST, reduce::reduction::build),
        op("ReduceProd", 6, (1, 2), 1, SLOW, reduce::reduction::build),
        op("ReduceSum", 6, (1, 2), 1, FAST, reduce::reduction::build),
        op("ReduceSumSquare", 6, (1, 2), 1, FAST, reduce::reduction::build),
        // shape
        op("Compress", 9, (2, 2), 1, FAST, compress::build),
        op("CenterCropPad", 18, (2, 2), 1, FAST, center_crop_pad::build),
        op("Concat", 6, (1, MANY), 1, FAST, concat::build),
        op("Constant", 6, (0, 0), 1, SLOW, constant::constant),
        op("ConstantOfShape", 9, (1, 1), 1, SLOW, constant::of_shape),
        op("DepthToSpace", 7, (1, 1), 1, FAST, space_depth::depth_to_space),
        op("Expand", 8, (2, 2), 1, FAST, expand::expand),
        op("EyeLike", 9, (1, 1), 1, SLOW, constant::eye_like),
        op("Flatten", 6, (1, 1), 1, SLOW, reshape::flatten),
        op("Gather", 6, (2, 2), 1, FAST, gather::build),
        op("GatherElements", 11, (2, 2), 1, FAST, gather_elements::elements),
        op("GatherND", 11, (2, 2), 1, FAST, gather_elements::tuples),
        op("NonZero", 9, (1, 1), 1, SLOW, non_zero::build),
        op("OneHot", 9, (3, 3), 1, SLOW, one_hot::build),
        op("Pad", 6, (1, 4), 1, FAST, pad::build),
        op("Reshape", 6, (2, 2), 1, SLOW, reshape::reshape),
        op("ReverseSequence", 10, (2, 2), 1, FAST, reverse_sequence::build),
        op("Scatter", 9, (3, 3), 1, FAST, scatter::elements).until(10),
        op("ScatterElements", 11, (3, 3), 1, FAST, scatter::elements),
        op("ScatterND", 11, (3, 3), 1, FAST, scatter::tuples),
        op("Shape", 6, (1, 1), 1, SLOW, shape_of::shape),
        op("Size", 6, (1, 1), 1, SLOW, shape_of::size),
        op("Slice", 6, (1, 5), 1, FAST, slice::build),
        op("SpaceToDepth", 7, (1, 1), 1, FAST, space_depth::space_to_depth),
        op("Split", 6, (1, 2), MANY, FAST, split::build),
        op("Squeeze", 6, (1, 2), 1, SLOW, squeeze::squeeze),
        op("Tile", 6, (2, 2), 1, FAST, expand::tile),
        op("TopK", 7, (1, 2), 2, FAST, top_k::build),
        op("Transpose", 6, (1, 1), 1, FAST, transpose::build),
        op("Trilu", 14, (1, 2), 1, FAST, trilu::build),
        op("Unsqueeze", 6, (1, 2), 1, SLOW, squeeze::unsqueeze),
        // what scikit-learn's exporter puts around a network
        op("ArrayFeatureExtractor", 1, (2, 2), 1, FAST, gather::features).domain(LEARNERS),
        op("Binarizer", 1, (1, 1), 1, SLOW, binarizer::build).domain(LEARNERS),
        op("FeatureVectorizer", 1, (1, MANY), 1, FAST, feature_vectorizer::build).domain(LEARNERS),
        op("Imputer", 1, (1, 1), 1, FAST, imputer::build).domain(LEARNERS),
        op("LabelEncoder", 2, (1, 1), 1, SLOW, label_encoder::build).domain(LEARNERS),
        op("Normalizer", 1, (1, 1), 1, FAST, normalizer::build).domain(LEARNERS),
        op("OneHotEncoder", 1, (1, 1), 1, SLOW, one_hot_encoder::build).domain(LEARNERS),
        op("Scaler", 1, (1, 1), 1, FAST, scaler::build).domain(LEARNERS),
        // onnxruntime's own
        op("Attention", 1, (2, 7), 2, FAST, multi_head::packed).domain(MICROSOFT),
        op("BiasGelu", 1, (2, 2), 1, FAST, gelu::build).domain(MICROSOFT),
        op("EmbedLayerNormalization", 1, (1, 9), 3, FAST, embed::build).domain(MICROSOFT),
        op("FastGelu", 1, (1, 2), 1, FAST, gelu::build).domain(MICROSOFT),
        op("FusedConv", 1, (2, 4), 1, FAST, conv::build).domain(MICROSOFT),
        op("FusedGemm", 1, (2, 3), 1, FAST, gemm::build).domain(MICROSOFT),
        op("FusedMatMul", 1, (2, 2), 1, FAST, matmul::fused).domain(MICROSOFT),
        op("Gelu", 1, (1, 1), 1, FAST, gelu::build).domain(MICROSOFT),
        op("GroupQueryAttention", 1, (1, 17), 4, FAST, group_query::build).domain(MICROSOFT),
        op("MultiHeadAttention", 1, (1, 10), 3, FAST, multi_head::build).domain(MICROSOFT),
        op("QuickGelu", 1, (1, 1), 1, FAST, activation::swish).domain(MICROSOFT),
        op("RotaryEmbedding", 1, (4, 4), 1, FAST, rotary::fused).domain(MICROSOFT),
        op("SkipLayerNormalization", 1, (3, 5), 4, FAST, layer_norm::skip).domain(MICROSOFT),
        op("SkipSimplifiedLayerNormalization", 1, (3, 4), 4, FAST, layer_norm::skip).domain(MICROSOFT),
    ]
}

#[cfg(test)]
mod tests;
