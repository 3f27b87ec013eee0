//! Which tool made a graph, for what, and whether it can be unlearned as it is.

use super::{Graph, training};
use serde::Serialize;

/// A form that graphs come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Form {
    /// Name of the form.
    pub name: &'static str,
    /// Why it cannot be used and what to do instead, if so.
    pub refused: Option<String>,
}

/// Domains of onnxruntime's own operators.
const MICROSOFT: [&str; 3] = ["com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"];

/// The forms that `graph` has; several may apply.
pub fn recognise(graph: &Graph) -> Vec<Form> {
    let any = |test: &dyn Fn(&str, &str) -> bool| graph.nodes.iter().any(|n| test(&n.domain, &n.op_type));
    let input = |suffix: &str| graph.inputs.iter().any(|&v| graph.name(v).ends_with(suffix));
    let metadata = |key: &str| graph.values.iter().any(|info| info.metadata.keys().any(|k| k.starts_with(key)));
    let mut forms = Vec::new();
    let mut found = |name: &'static str| forms.push(Form { name, refused: None });
    if metadata("pkg.torch.export.graph_signature") {
        found("PyTorch dynamo export");
    } else if graph.producer.starts_with("pytorch") {
        found("PyTorch TorchScript export");
    }
    if graph.nodes.iter().any(|node| training::is_training_mode(graph, node)) {
        found("training mode (BatchNormalization or Dropout); computed as inference unless --bn batch or --dropout");
    }
    if any(&|domain, op| domain.is_empty() && (op == "SoftmaxCrossEntropyLoss" || op == "NegativeLogLikelihoodLoss")) {
        found("loss in the graph");
    }
    if !graph.trained_names.is_empty() {
        found("training information (TrainingInfoProto)");
    }
    if graph.ir_version < 4 {
        found("initializers that are also inputs (IR version 3 or older)");
    }
    if any(&|domain, _| MICROSOFT.contains(&domain)) {
        found("optimised by onnxruntime (com.microsoft operators)");
    }
    let mut refuse = |name: &'static str, hint: &str| forms.push(Form { name, refused: Some(hint.into()) });
    let optimizer = ["AdamWOptimizer", "SGDOptimizerV2", "AdamOptimizer", "SGDOptimizer", "LambOptimizer"];
    if any(&|_, op| optimizer.contains(&op)) {
        refuse("onnxruntime optimizer model", "it holds no forward pass; give the inference model it belongs to");
    } else if input("_grad.accumulation.buffer") || any(&|_, op| op == "InPlaceAccumulatorV2") {
        refuse(
            "onnxruntime training model",
            "it holds the backward pass; export the inference model (Module.export_model_for_inferencing) and give that",
        );
    } else if any(&|domain, op| domain == "com.microsoft" && op == "YieldOp") {
        refuse("ORTModule debug graph", "it holds forward and backward pass; export the module with torch.onnx.export");
    } else if parameters_are_inputs(graph) {
        refuse(
            "onnxruntime eval model",
            "its parameters are inputs that a checkpoint fills; export the inference model \
             (Module.export_model_for_inferencing) and give that",
        );
    }
    let quantized = |op: &str| op.contains("Quantize") || op.starts_with("QLinear") || op.ends_with("Integer");
    if any(&|_, op| quantized(op) || op == "MatMulNBits" || op == "QAttention") {
        refuse(
            "quantized model",
            "quantized weights have no gradient; give the float model and quantize its result again",
        );
    }
    if any(&|domain, op| domain == "ai.onnx.ml" && op.starts_with("Tree")) {
        refuse("decision trees (ai.onnx.ml)", "trees have no gradient; train them again without the rows");
    } else if any(&|domain, op| domain == "ai.onnx.ml" && !LABELLING.contains(&op)) {
        refuse("ai.onnx.ml operators", "they have no gradient here; export the model as a neural network");
    }
    forms
}

/// Operators of ai.onnx.ml that only name the classes after the scores are there.
const LABELLING: [&str; 4] = ["ArrayFeatureExtractor", "ZipMap", "LabelEncoder", "Binarizer"];

/// Whether float inputs sit where only parameters do, beside labels: what onnxruntime's training tools write.
fn parameters_are_inputs(graph: &Graph) -> bool {
    let is_input = |slot: usize, node: &super::Node| node.input(slot).is_some_and(|v| graph.inputs.contains(&v));
    let weights = graph.nodes.iter().filter(|n| (n.is("Gemm") || n.is("Conv")) && is_input(1, n)).count();
    let layers = graph.nodes.iter().filter(|n| n.is("Gemm") || n.is("Conv")).count();
    layers > 0 && weights == layers
}
