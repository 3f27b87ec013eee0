//! The graph of real exports: what is trained is what PyTorch calls a parameter, in every form of export.

use onnx_forget::{
    graph::{
        Graph, build, forms,
        loss::{self, LabelKind, LossKind, LossPlan},
        parameters::{self, Decision},
    },
    onnx::{OnnxFile, ReadOptions},
};
use std::{collections::BTreeSet, path::Path};

fn graph(fixture: &str) -> Graph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(fixture);
    build::build(&OnnxFile::open(&path, &ReadOptions::default()).unwrap()).unwrap()
}

fn planned(graph: &Graph, label: LabelKind) -> LossPlan {
    loss::plan(graph, None, label).unwrap()
}

fn decided(graph: &Graph, label: LabelKind) -> Vec<Decision> {
    parameters::decide(graph, &planned(graph, label), &[], &[]).unwrap()
}

fn trained(decisions: &[Decision]) -> BTreeSet<&str> {
    decisions.iter().filter(|decision| decision.trainable).map(|decision| decision.name.as_str()).collect()
}

fn parameters(fixture: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(fixture).join("expected.json");
    let expected: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    expected["parameters"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_string()).collect()
}

#[test]
fn what_is_trained_is_what_pytorch_calls_a_parameter() {
    let exports = [
        ("digits-cnn", "model.onnx", LabelKind::Class),
        ("digits-cnn", "variants/torchscript-training.onnx", LabelKind::Class),
        ("cancer-mlp", "model.onnx", LabelKind::Binary),
        ("cancer-mlp", "variants/dynamo.onnx", LabelKind::Binary),
        ("notes-transformer", "model.onnx", LabelKind::Class),
        ("notes-transformer", "variants/dynamo.onnx", LabelKind::Class),
        ("notes-transformer", "variants/torchscript-opset14.onnx", LabelKind::Class),
        ("tags-lstm", "model.onnx", LabelKind::Positions),
        ("words-decoder", "model.onnx", LabelKind::Positions),
    ];
    for (fixture, file, label) in exports {
        let decisions = decided(&graph(&format!("{fixture}/{file}")), label);
        let expected = parameters(fixture);
        assert_eq!(trained(&decisions), expected.iter().map(String::as_str).collect(), "{fixture}/{file}");
        assert!(decisions.iter().all(|decision| !decision.reason.is_empty()));
    }
}

#[test]
fn folded_batch_normalization_leaves_weights_and_biases_only() {
    for file in ["dynamo.onnx", "dynamo-external.onnx", "torchscript-folded.onnx"] {
        let decisions = decided(&graph(&format!("digits-cnn/variants/{file}")), LabelKind::Class);
        // Six convolutions and a linear layer, each with a weight and a bias.
        assert_eq!((decisions.len(), trained(&decisions).len()), (14, 14), "{file}");
    }
}

#[test]
fn the_loss_follows_labels_and_endings() {
    let cases = [
        ("digits-cnn/model.onnx", LabelKind::Class, LossKind::CrossEntropy, "logits"),
        ("cancer-mlp/model.onnx", LabelKind::Binary, LossKind::Bce, "logit"),
        ("cancer-mlp/model.onnx", LabelKind::Value, LossKind::Mse, "logit"),
        ("edge/softmax-tail.onnx", LabelKind::Class, LossKind::CrossEntropy, "logits"),
        ("edge/logsoftmax-tail.onnx", LabelKind::Class, LossKind::CrossEntropy, "logits"),
        ("edge/argmax-tail.onnx", LabelKind::Class, LossKind::CrossEntropy, "logits"),
        ("edge/multilabel.onnx", LabelKind::MultiLabel, LossKind::Bce, "logits"),
        ("edge/loss-in-graph.onnx", LabelKind::Class, LossKind::Graph, "logits"),
        ("edge/nll-in-graph.onnx", LabelKind::Class, LossKind::Graph, "logits"),
    ];
    for (file, label, kind, scores) in cases {
        let graph = graph(file);
        let plan = planned(&graph, label);
        assert_eq!((plan.kind, graph.name(plan.scores)), (kind, scores), "{file}: {}", plan.why);
        assert_eq!(plan.label_input.is_some(), kind == LossKind::Graph, "{file}");
        assert!(!plan.scores_are_log_probs, "{file}: the LogSoftmax is seen through");
    }
}

#[test]
fn every_form_of_a_small_model_is_read() {
    let all = ["w1", "b1", "w2", "b2"];
    let halves = ["w1.half", "b1.half", "w2.half", "b2.half"];
    let cases: [(&str, &[&str]); 9] = [
        ("ir3-inputs", &all),
        ("reversed", &all),
        ("typed-fields", &all),
        ("external", &all),
        ("multi-opset", &all),
        ("f16", &halves),
        ("f16-typed", &halves),
        ("bf16", &halves),
        ("function", &["w1", "b1", "w2", "b2", "w3", "b3"]),
    ];
    for (name, expected) in cases {
        let graph = graph(&format!("edge/{name}.onnx"));
        assert_eq!(graph.inputs.iter().map(|v| graph.name(*v)).collect::<Vec<_>>(), ["x"], "{name}");
        let decisions = decided(&graph, LabelKind::Class);
        assert_eq!(trained(&decisions), expected.iter().copied().collect(), "{name}");
        assert!(graph.nodes.iter().all(|node| node.domain.is_empty()), "{name}: functions are inlined");
    }
    let tied = graph("edge/tied.onnx");
    assert!(decided(&tied, LabelKind::Class).iter().any(|decision| decision.trainable && decision.uses == 2));
}

#[test]
fn forms_of_exports_are_recognized() {
    let names =
        |file: &str| forms::recognize(&graph(file)).into_iter().map(|form| form.name).collect::<Vec<_>>().join("; ");
    assert_eq!(names("digits-cnn/model.onnx"), "PyTorch TorchScript export");
    assert_eq!(names("digits-cnn/variants/dynamo.onnx"), "PyTorch dynamo export");
    assert!(names("digits-cnn/variants/torchscript-training.onnx").contains("training mode"));
    assert!(names("edge/loss-in-graph.onnx").contains("loss in the graph"));
    assert!(names("edge/ir3-inputs.onnx").contains("IR version 3"));
}
