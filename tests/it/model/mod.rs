//! The model against PyTorch, on the fixtures: logits, losses and gradients of real rows.

mod edge;
mod folded;
mod micro;
mod small;
mod units;

use dfdx::prelude::Cpu;
use onnx_forget::{
    data::{self, Batch, DataConfig},
    engine::KernelChoice,
    graph::{
        self, Graph,
        loss::{LabelKind, LossPlan},
        parameters,
    },
    model::{BatchNorm, Model, ModelOptions},
    onnx::{OnnxFile, ReadOptions},
};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

/// Losses and logits of f32 sums taken in another order than PyTorch's.
const FIGURES: f64 = 1e-4;
/// Norms of gradients, relative.
const GRADIENTS: f64 = 1e-3;

struct Fixture {
    folder: PathBuf,
    graph: Graph,
    plan: LossPlan,
    expected: Json,
    config: DataConfig,
}

fn fixture(name: &str, model: &str) -> Fixture {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let file = OnnxFile::open(&folder.join(model), &ReadOptions::default()).unwrap();
    let graph = graph::build::build(&file).unwrap();
    let text = std::fs::read_to_string(folder.join("model.forget.toml")).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    table.retain(|key, _| ["data", "inputs", "target"].contains(&key));
    let mut config: DataConfig = table.try_into().unwrap();
    config.resolve(&folder);
    let label = match text.contains("kind = \"binary\"") {
        true => LabelKind::Binary,
        false => LabelKind::Class,
    };
    let plan = crate::fidelity::planned(&graph, &config, label);
    let expected = serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    Fixture { folder, graph, plan, expected, config }
}

impl Fixture {
    fn batch(&self, file: &str, rows: &Json) -> Batch {
        let signature = onnx_forget::run::signature(&self.graph, &self.plan);
        let dataset = data::open_rows(&self.config, &self.folder.join(file).into(), &signature).unwrap().rows;
        let rows: Vec<usize> = rows.as_array().unwrap().iter().map(|r| r.as_u64().unwrap() as usize).collect();
        dataset.batch(&rows).unwrap()
    }

    fn model(&self, options: ModelOptions) -> Model<f32, Cpu> {
        let decisions = parameters::decide(&self.graph, &self.plan, &[], &[]).unwrap();
        Model::build(&self.graph, &self.plan, &decisions, options, Cpu::default()).unwrap()
    }
}

fn numbers(json: &Json) -> Vec<f64> {
    match json {
        Json::Array(list) => list.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

fn agrees_with_pytorch(name: &str, model: &str, names_kept: bool) {
    let fixture = fixture(name, model);
    let expected = &fixture.expected;
    for kernels in [KernelChoice::Fast, KernelChoice::Definition] {
        let model = fixture.model(ModelOptions { kernels, ..ModelOptions::default() });
        let scores = model.scores(&fixture.batch("test.parquet", &expected["test_logits"]["rows"])).unwrap();
        let logits = numbers(&expected["test_logits"]["values"]);
        assert_eq!(scores.logits.len(), logits.len());
        for (ours, theirs) in scores.logits.iter().zip(&logits) {
            assert!((f64::from(*ours) - theirs).abs() <= FIGURES * (1.0 + theirs.abs()), "{name}: {ours} for {theirs}");
        }
        let (mean, gradients) =
            model.gradient_wrt_parameters(&fixture.batch("train.parquet", &expected["gradient"]["rows"])).unwrap();
        let theirs = expected["gradient"]["mean_loss"].as_f64().unwrap();
        assert!((mean - theirs).abs() <= FIGURES * (1.0 + theirs), "{name}: mean loss {mean} for {theirs}");
        if !names_kept {
            continue;
        }
        let norms = expected["gradient"]["l2"].as_object().unwrap();
        let ours: Vec<&str> = model.parameters().iter().map(|p| p.name.as_str()).collect();
        assert_eq!(ours.len(), norms.len(), "{name}: parameters {ours:?}");
        for (parameter, gradient) in model.parameters().iter().zip(&gradients) {
            let norm = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            let theirs = norms[&parameter.name].as_f64().unwrap();
            assert!(
                (norm - theirs).abs() <= GRADIENTS * theirs + 1e-6,
                "{name}: {}: {norm} for {theirs}",
                parameter.name
            );
        }
    }
}

#[test]
fn cnn_agrees_with_pytorch() {
    agrees_with_pytorch("digits-cnn", "model.onnx", true);
}

#[test]
fn other_exports_of_the_cnn_agree_with_pytorch() {
    for (variant, names_kept) in [
        ("torchscript-training.onnx", true),
        ("torchscript-folded.onnx", false),
        ("dynamo.onnx", false),
        ("dynamo-external.onnx", false),
    ] {
        agrees_with_pytorch("digits-cnn", &format!("variants/{variant}"), names_kept);
    }
}

#[test]
fn mlp_agrees_with_pytorch() {
    agrees_with_pytorch("cancer-mlp", "model.onnx", true);
    agrees_with_pytorch("cancer-mlp", "variants/dynamo.onnx", false);
}

#[test]
fn transformer_agrees_with_pytorch() {
    agrees_with_pytorch("notes-transformer", "model.onnx", true);
    for variant in ["dynamo.onnx", "torchscript-opset14.onnx"] {
        agrees_with_pytorch("notes-transformer", &format!("variants/{variant}"), false);
    }
}

#[test]
fn models_with_answers_at_each_position_agree_with_pytorch() {
    agrees_with_pytorch("tags-lstm", "model.onnx", true);
    agrees_with_pytorch("words-decoder", "model.onnx", true);
    agrees_with_pytorch("words-decoder", "variants/dynamo.onnx", false);
}

#[test]
fn gradients_accumulate_and_are_handed_back() {
    let fixture = fixture("digits-cnn", "model.onnx");
    let model = fixture.model(ModelOptions::default());
    let rows = |r: std::ops::Range<usize>| Json::from(r.collect::<Vec<_>>());
    let (a, b) = (fixture.batch("train.parquet", &rows(0..8)), fixture.batch("train.parquet", &rows(8..14)));
    let (_, of_a) = model.gradient_wrt_parameters(&a).unwrap();
    let (_, of_b) = model.gradient_wrt_parameters(&b).unwrap();

    let grads = model.forward(&a, None).unwrap().backward(0.25).unwrap();
    let grads = model.forward(&b, Some(grads)).unwrap().release().expect("the gradients that were given");
    let mut grads = model.forward(&b, Some(grads)).unwrap().backward(0.75).unwrap();
    for (parameter, (a, b)) in model.parameters().iter().zip(of_a.iter().zip(&of_b)) {
        let sum = grads.to_vec(&parameter.tensor).unwrap();
        for (sum, (a, b)) in sum.iter().zip(a.iter().zip(b)) {
            assert!((sum - (0.25 * a + 0.75 * b)).abs() <= 1e-5, "{}", parameter.name);
        }
    }
    assert!(model.forward(&b, None).unwrap().release().is_none());
}

#[test]
fn batch_statistics_are_used_only_where_asked_for() {
    let fixture = fixture("digits-cnn", "model.onnx");
    let batch = fixture.batch("train.parquet", &Json::from((0..16).collect::<Vec<_>>()));
    // Node by node, or the one is rounded otherwise than the other: frozen statistics become part of the weights.
    let alone = ModelOptions { node_by_node: true, ..ModelOptions::default() };
    let frozen = fixture.model(alone);
    let training = fixture.model(ModelOptions { bn: BatchNorm::Batch, ..alone });
    let mean = |model: &Model<f32, Cpu>| model.forward(&batch, None).unwrap().losses.mean();
    assert!((mean(&frozen) - mean(&training)).abs() > 1e-3);
    assert_eq!(frozen.scores(&batch).unwrap(), training.scores(&batch).unwrap(), "inference never uses the batch's");
}

#[test]
fn a_parameter_can_be_set_and_keeps_its_gradient() {
    let fixture = fixture("digits-cnn", "model.onnx");
    let batch = fixture.batch("train.parquet", &Json::from((0..4).collect::<Vec<_>>()));
    let mut model = fixture.model(ModelOptions::default());
    let before = model.gradient_wrt_parameters(&batch).unwrap();
    let kept = model.parameters()[0].tensor.to_vec();
    model.set_parameter(0, &vec![0.0; kept.len()]).unwrap();
    assert_ne!(model.gradient_wrt_parameters(&batch).unwrap(), before);
    model.set_parameter(0, &kept).unwrap();
    assert_eq!(model.gradient_wrt_parameters(&batch).unwrap(), before);
    assert!(model.set_parameter(0, &[1.0]).is_err());
    assert!(model.set_parameter(1000, &[]).is_err());
}
