//! Which tool made a graph, for what, and whether it can be unlearned as it is.

use super::{Attr, Graph, Node, build::linear, fuse::MADE_OF, loss};
use crate::{
    error::{Error, Result},
    onnx::attributes,
};
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
/// Those among them whose tensors have an order of their own.
const LAYOUTS: [&str; 2] = ["com.microsoft.nchwc", "com.ms.internal.nhwc"];

/// The forms that `graph` has; several may apply.
pub fn recognize(graph: &Graph) -> Vec<Form> {
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
    if loss::has_training_mode(graph) {
        found("training mode (BatchNormalization or Dropout); computed as inference unless --bn batch or --dropout");
    }
    if loss::holds_loss(graph) {
        found("loss in the graph");
    }
    if !graph.trained_names.is_empty() {
        found("training information (TrainingInfoProto), whose optimizer states are zero in a new model");
    }
    if graph.ir_version < 4 {
        found("initializers that are also inputs (IR version 3 or older)");
    }
    if !graph.checkpoint.is_empty() {
        found("onnxruntime training artifact, with the parameters of its checkpoint");
    }
    if any(&|domain, _| MICROSOFT.contains(&domain)) {
        found("optimized by onnxruntime (com.microsoft operators)");
    }
    if graph
        .nodes
        .iter()
        .any(|node| matches!(node.attrs.get(MADE_OF), Some(Attr::String(of)) if of.starts_with(LEARNERS)))
    {
        found("linear model (ai.onnx.ml), whose weights are attributes of its node");
    }
    let mut refuse = |name: &'static str, hint: &str| forms.push(Form { name, refused: Some(hint.into()) });
    let optimizer = ["AdamWOptimizer", "SGDOptimizerV2", "AdamOptimizer", "SGDOptimizer", "LambOptimizer"];
    if any(&|_, op| optimizer.contains(&op)) {
        refuse(
            "onnxruntime optimizer model",
            "it holds no forward pass; give eval_model.onnx, or the inference model it belongs to",
        );
    } else if input("_grad.accumulation.buffer") || any(&|_, op| op == "InPlaceAccumulatorV2") {
        refuse(
            "onnxruntime training model",
            "its parameters are inputs that a checkpoint fills, and there is no file `checkpoint` beside it; give \
             --checkpoint FILE",
        );
    } else if any(&|domain, op| domain == "com.microsoft" && op == "YieldOp") {
        refuse("ORTModule debug graph", "it holds forward and backward pass; export the module with torch.onnx.export");
    } else if parameters_are_inputs(graph) {
        refuse(
            "onnxruntime eval model",
            "its parameters are inputs that a checkpoint fills, and there is no file `checkpoint` beside it; give \
             --checkpoint FILE, or export the inference model (Module.export_model_for_inferencing) and give that",
        );
    }
    if any(&|domain, _| LAYOUTS.contains(&domain)) {
        refuse(
            "laid out by onnxruntime for one kind of machine",
            "give the model that it was optimized from, or optimize that at level extended at most",
        );
    }
    if any(&|domain, op| domain.is_empty() && DRAWN.contains(&op)) {
        refuse(
            "random numbers in the graph",
            "they are a dropout that was written out, if the model was exported in training mode, but not one whose mask is \
             divided by the probability to keep, whose expectation would be known; export it after model.eval(), or with \
             torch.onnx.export(training=TRAINING, dynamo=False), which keeps Dropout",
        );
    }
    let quantized = |op: &str| op.contains("uantize") || op.starts_with("QLinear") || op.ends_with("Integer");
    if any(&|_, op| quantized(op) || op == "MatMulNBits" || op == "QAttention") {
        refuse(
            "quantized model",
            "quantized weights have no gradient; give the float model and quantize its result again",
        );
    }
    let (linear, prepares) = (linear_obstacles(graph), unprepared(graph));
    if any(&|domain, op| domain == LEARNERS && op.starts_with("Tree")) {
        refuse("decision trees (ai.onnx.ml)", "trees have no gradient; train them again without the rows");
    } else if !linear.is_empty() {
        refuse(
            "linear model (ai.onnx.ml)",
            &format!(
                "{linear}; export it with skl2onnx, or write its coefficients into a Gemm, or train it again without the rows"
            ),
        );
    } else if !prepares.is_empty() {
        refuse(
            "columns are prepared in the graph (ai.onnx.ml)",
            &format!(
                "{prepares}: not supported, as it takes or makes texts or keys; export the model without it, and give columns of \
                 numbers that are prepared already"
            ),
        );
    } else if any(&|domain, op| domain == LEARNERS && !AROUND.contains(&op)) {
        refuse(
            "classical learner (ai.onnx.ml)",
            "its weights are not in tensors; train it again without the rows, or export a linear model or a neural network in its \
             place",
        );
    }
    forms
}

/// Fails if `graph` is an artifact of onnxruntime's training that does not hold its parameters.
///
/// # Errors
/// [`Error::Untrainable`] with what to give instead.
pub fn require_parameters(graph: &Graph) -> Result<()> {
    let artifact = |form: &Form| form.name.starts_with("onnxruntime") || form.name.starts_with("ORTModule");
    match recognize(graph).into_iter().filter(artifact).find_map(|form| Some((form.name, form.refused?))) {
        Some((name, hint)) => Err(Error::Untrainable(format!("{name}: {hint}"))),
        None => Ok(()),
    }
}

/// Adds to `error`, which says that the graph cannot be used, what to give instead where its form tells.
pub fn explained(graph: &Graph, error: Error) -> Error {
    let hints = recognize(graph).into_iter().filter_map(|form| Some(format!("{}: {}", form.name, form.refused?)));
    let with_hints = |said: String| {
        hints.filter(|hint| !said.contains(hint.as_str())).fold(said.clone(), |all, hint| format!("{all}\n{hint}"))
    };
    match error {
        Error::Unsupported(said) => Error::Unsupported(with_hints(said)),
        Error::Untrainable(said) => Error::Untrainable(with_hints(said)),
        other => other,
    }
}

/// The domain of classical learners.
const LEARNERS: &str = "ai.onnx.ml";

/// Operators of it that prepare columns of numbers, or name the classes after the scores are there.
const AROUND: [&str; 9] = [
    "ArrayFeatureExtractor",
    "Binarizer",
    "FeatureVectorizer",
    "Imputer",
    "LabelEncoder",
    "Normalizer",
    "OneHotEncoder",
    "Scaler",
    "ZipMap",
];

/// Those that prepare columns, and are not supported where they hold texts.
const PREPARE: [&str; 5] = ["CategoryMapper", "CastMap", "DictVectorizer", "LabelEncoder", "OneHotEncoder"];

/// The linear models that are left as nodes, and why.
fn linear_obstacles(graph: &Graph) -> String {
    let left = graph.nodes.iter().filter(|node| attributes::is_linear(&node.domain, &node.op_type));
    let why = |node: &Node| Some(format!("{} ({}): {}", node.op_type, node.name, linear::obstacle(node)?));
    left.filter_map(why).collect::<Vec<_>>().join(", ")
}

/// The nodes that prepare columns in a way that is not supported, and that the scores may depend on: the names of classes are
/// put behind these.
fn unprepared(graph: &Graph) -> String {
    let texts = |node: &Node| {
        node.attrs
            .iter()
            .any(|(name, attr)| !name.starts_with("values") && matches!(attr, Attr::Strings(list) if !list.is_empty()))
    };
    let own = |node: &&Node| !matches!(node.op_type.as_str(), "LabelEncoder" | "OneHotEncoder") || texts(node);
    let learners =
        graph.nodes.iter().filter(|node| node.domain == LEARNERS && PREPARE.contains(&node.op_type.as_str()));
    learners.filter(own).map(|node| format!("{} ({})", node.op_type, node.name)).collect::<Vec<_>>().join(", ")
}

/// Operators that draw numbers.
const DRAWN: [&str; 6] =
    ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"];

/// Whether float inputs sit where only parameters do, beside labels: what onnxruntime's training tools write.
fn parameters_are_inputs(graph: &Graph) -> bool {
    let is_input = |slot: usize, node: &Node| node.input(slot).is_some_and(|v| graph.inputs.contains(&v));
    let weights = graph.nodes.iter().filter(|n| (n.is("Gemm") || n.is("Conv")) && is_input(1, n)).count();
    let layers = graph.nodes.iter().filter(|n| n.is("Gemm") || n.is("Conv")).count();
    layers > 0 && weights == layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::testing::{Model, node},
        onnx::proto::NodeProto,
    };

    fn forms(model: &Model) -> Vec<Form> {
        recognize(&model.build().unwrap())
    }

    fn refused(model: &Model) -> Option<(&'static str, String)> {
        forms(model).into_iter().find_map(|form| Some((form.name, form.refused?)))
    }

    fn with(domain: &str, op: &str) -> Model {
        let mut model = Model::new(17, &["x:f32[2]"], &["y:f32[2]"]);
        model.graph().node.push(NodeProto { domain: Some(domain.into()), ..node(op, "x", "y", &[]) });
        model.proto.opset_import.push(crate::graph::testing::opset(domain, 17));
        model
    }

    #[test]
    fn forms_that_cannot_be_used_are_refused_with_a_hint() {
        let cases = [
            ("com.microsoft", "AdamWOptimizer", "optimizer"),
            ("com.microsoft", "InPlaceAccumulatorV2", "training model"),
            ("com.microsoft", "YieldOp", "ORTModule"),
            ("", "DynamicQuantizeLinear", "quantized"),
            ("", "DequantizeLinear", "quantized"),
            ("com.microsoft", "MatMulNBits", "quantized"),
            ("ai.onnx.ml", "TreeEnsembleClassifier", "trees"),
            ("ai.onnx.ml", "SVMClassifier", "classical"),
            ("ai.onnx.ml", "LinearClassifier", "linear"),
            ("ai.onnx.ml", "CategoryMapper", "prepared"),
            ("com.microsoft.nchwc", "Conv", "laid out"),
            ("", "RandomUniformLike", "random numbers"),
        ];
        for (domain, op, name) in cases {
            let (found, hint) = refused(&with(domain, op)).unwrap_or_else(|| panic!("{op} is not refused"));
            assert!(found.contains(name) && !hint.is_empty(), "{op}: {found}: {hint}");
        }
        for (domain, op) in [("", "Relu"), ("com.microsoft", "FusedMatMul"), ("ai.onnx.ml", "Scaler")] {
            assert_eq!(refused(&with(domain, op)), None, "{op}");
        }
        let eval = Model::new(17, &["x:f32[n,4]", "fc.weight:f32[3,4]", "labels:i64[n]"], &["loss:f32[]"])
            .node("Gemm", "x fc.weight", "h", &[])
            .node("SoftmaxCrossEntropyLoss", "h labels", "loss", &[]);
        assert_eq!(refused(&eval).map(|(name, _)| name), Some("onnxruntime eval model"));
    }

    #[test]
    fn exports_are_named() {
        let names = |model: &Model| forms(model).into_iter().map(|form| form.name).collect::<Vec<_>>();
        let plain = Model::new(17, &["x:f32[2]"], &["y:f32[2]"]).node("Relu", "x", "y", &[]);
        assert!(names(&plain).is_empty());
        let torch = plain.clone().producer("pytorch");
        assert_eq!(names(&torch), ["PyTorch TorchScript export"]);
        let kind = [("pkg.torch.export.graph_signature.OutputSpec.kind", "USER_OUTPUT")];
        let dynamo = torch.clone().value("y:f32[2]", &kind);
        assert_eq!(names(&dynamo), ["PyTorch dynamo export"]);
        let mut old = plain;
        old.proto.ir_version = Some(3);
        assert!(names(&old)[0].contains("IR version 3"));
    }
}
