//! Through which inputs a gradient flows.

use super::{Attr, Graph, Node, ValueId};
use crate::tensor::DType;
use std::collections::BTreeSet;

/// Operators whose outputs are integers or booleans, or change in steps only.
const NONE: &[&str] = &[
    "And",
    "ArgMax",
    "ArgMin",
    "Bernoulli",
    "BitShift",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Ceil",
    "ConcatFromSequence",
    "ConstantOfShape",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "Equal",
    "EyeLike",
    "Floor",
    "Greater",
    "GreaterOrEqual",
    "Hardmax",
    "If",
    "IsInf",
    "IsNaN",
    "Less",
    "LessOrEqual",
    "Loop",
    "Multinomial",
    "NonMaxSuppression",
    "NonZero",
    "Not",
    "OneHot",
    "Or",
    "QuantizeLinear",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Range",
    "Round",
    "Scan",
    "Shape",
    "Sign",
    "Size",
    "Unique",
    "Xor",
];

/// Operators whose first input is data; the others are shapes, indices, bounds.
const FIRST: &[&str] = &[
    "AffineGrid",
    "CastLike",
    "CenterCropPad",
    "Clip",
    "Col2Im",
    "Compress",
    "CumProd",
    "CumSum",
    "DFT",
    "Dropout",
    "Expand",
    "Gather",
    "GatherElements",
    "GatherND",
    "MaxRoiPool",
    "MaxUnpool",
    "NegativeLogLikelihoodLoss",
    "Pad",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Reshape",
    "Resize",
    "ReverseSequence",
    "RoiAlign",
    "STFT",
    "Slice",
    "SoftmaxCrossEntropyLoss",
    "Split",
    "Squeeze",
    "Tile",
    "TopK",
    "Trilu",
    "Unsqueeze",
    "Upsample",
];

/// Whether a small change of input `slot` changes the outputs of `node` in proportion. Inputs past the last one are
/// what bodies capture.
pub fn carries(node: &Node, slot: usize) -> bool {
    if slot >= node.inputs.len() {
        return false;
    }
    let op = node.op_type.as_str();
    match op {
        // Its tables of cosines and sines are made, not learnt.
        "RotaryEmbedding" => slot == 0,
        _ if node.domain == "ai.onnx.ml" => match op {
            "FeatureVectorizer" | "Imputer" | "Normalizer" | "Scaler" => true,
            "ArrayFeatureExtractor" => slot == 0,
            _ => false,
        },
        _ if !node.domain.is_empty() => true,
        "Cast" => match node.attrs.get("to") {
            Some(Attr::Int(code)) => i32::try_from(*code).ok().and_then(DType::from_onnx).is_some_and(DType::is_float),
            _ => true,
        },
        "Where" => slot != 0,
        "ScatterElements" | "ScatterND" | "Scatter" => slot != 1,
        "BatchNormalization" => slot < 3,
        "LSTM" | "GRU" | "RNN" => slot != 4,
        "GridSample" => slot < 2,
        "Attention" => slot < 6,
        "TensorScatter" => slot < 2,
        _ if NONE.contains(&op) => false,
        _ if FIRST.contains(&op) => slot == 0,
        _ => true,
    }
}

/// The values from which a gradient flows to `targets`, these included.
pub fn path_to(graph: &Graph, targets: &[ValueId]) -> BTreeSet<ValueId> {
    let mut path: BTreeSet<ValueId> = targets.iter().copied().collect();
    for node in graph.nodes.iter().rev() {
        if node.outputs.iter().flatten().any(|v| path.contains(v)) {
            let inputs = node.inputs.iter().enumerate().filter(|(slot, _)| carries(node, *slot));
            path.extend(inputs.filter_map(|(_, value)| *value));
        }
    }
    path
}
