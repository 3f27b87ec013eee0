//! Which output, which branch, which inputs: models that need a word, on the files of `fixtures/heads`.

use crate::flow::program;
use dfdx::prelude::Cpu;
use onnx_forget::{
    graph::{
        Graph,
        build::{build, build_given},
        given::Given,
        testing::{Model, int, ints},
    },
    model::ModelOptions,
    onnx::{OnnxFile, ReadOptions},
    tensor::HostTensor,
};
use prost::Message;
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fixtures", "heads", name].iter().collect()
}

/// Exit code, and stdout and stderr together.
fn run(args: &[&str], name: &str) -> (i32, String) {
    let (command, rest) = args.split_first().unwrap();
    let mut program = program();
    if *command == "forget" {
        program.arg(fixture(name)).arg("--forget").arg(fixture("forget.parquet"));
        program.arg("--data").arg(fixture("train.parquet")).arg("--test").arg(fixture("heldout.parquet"));
        program.args(["--dry-run", "--offline", "--accept-unknown-rows"]);
    } else {
        program.arg(command).arg(fixture(name));
    }
    let output = program.args(rest).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(!text.contains("panicked"), "{text}");
    (output.status.code().unwrap(), text)
}

#[track_caller]
fn says(args: &[&str], name: &str, code: i32, words: &[&str]) {
    let (found, text) = run(args, name);
    assert_eq!(found, code, "{name} {args:?}: {text}");
    words.iter().for_each(|word| assert!(text.contains(word), "{name} {args:?}: {word:?} is not in:\n{text}"));
}

#[test]
fn probabilities_are_seen_through_or_refused() {
    says(
        &["inspect"],
        "clipped.onnx",
        0,
        &["binary cross-entropy on the logits `z`", "Clip (clip), Sigmoid (sigmoid)"],
    );
    says(&["forget", "--target", "label"], "ensemble.onnx", 3, &["made of probabilities", "logits as an output"]);
    says(&["inspect"], "ensemble.onnx", 0, &["mean squared error of `p`"]);
}

#[test]
fn labels_say_which_output_they_belong_to() {
    says(&["inspect"], "faces.onnx", 0, &["several outputs could take the labels", "--output NAME"]);
    says(&["inspect", "--output", "gender"], "faces.onnx", 0, &["`gender`: the output has 2 values a row"]);
    says(&["inspect", "--output", "genders"], "faces.onnx", 2, &["`gender` [batch, 2]"]);
    for twins in [&["forget", "--target", "mood"][..], &["forget", "--target", "years"]] {
        says(twins, "twins.onnx", 3, &["`left` [batch, 4], `right` [batch, 4]", "--output NAME"]);
    }
}

#[test]
fn one_label_a_row_is_not_one_for_each_position() {
    says(&["forget", "--target", "label"], "tags.onnx", 3, &["the labels hold one value a row", "kind = \"next\""]);
    says(&["inspect"], "tags.onnx", 0, &["`kind = \"class\"` under `[target]`", "train  w f32[6, 3]"]);
    says(&["verify", "--samples", "8"], "tags.onnx", 0, &["forward   onnxruntime agrees", "gradient  agrees"]);
}

#[test]
fn a_fixed_input_or_a_dimension_decides_a_branch() {
    says(&["inspect"], "rate.onnx", 3, &["If", "input `sr` decides it", "[inputs.sr]"]);
    says(&["forget", "--target", "mood"], "rate.onnx", 3, &["[inputs.sr]"]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    for (value, trained) in [("16000", "train  fc.b f32[4]"), ("8000", "keep   fc.b f32[4]")] {
        std::fs::write(&config, format!("[inputs.sr]\nvalue = {value}\n")).unwrap();
        let config = ["--config", config.to_str().unwrap()];
        says(&[&["inspect"][..], &config].concat(), "rate.onnx", 0, &[trained]);
        let verify = ["verify", "--samples", "8"];
        says(&[&verify[..], &config].concat(), "rate.onnx", 0, &["forward   onnxruntime agrees", "gradient  agrees"]);
    }
    says(&["inspect"], "width.onnx", 3, &["If", "--dim"]);
    says(&["inspect", "--dim", "x.1=6"], "width.onnx", 0, &["train  v f32[6, 4]", "keep   u f32[5, 4]"]);
    says(&["verify", "--samples", "8", "--dim", "x.1=6"], "width.onnx", 0, &["gradient  agrees"]);
    says(&["inspect", "--dim", "x.7=6"], "width.onnx", 2, &["open dimensions are batch, x.1"]);
}

#[test]
fn what_cannot_be_unlearned_is_said_before_rows_are_read() {
    for command in [&["inspect"][..], &["forget", "--target", "mood"]] {
        says(command, "alone.onnx", 3, &["batch axis"]);
    }
    for command in [&["inspect"][..], &["forget", "--target", "mood"]] {
        says(command, "integers.onnx", 0, &["stored as integers behind Cast", "give the float model"]);
    }
}

/// A model that takes (steps, rows, features): tags of each step along the same axes, and an answer to each row.
fn by_steps() -> (tempfile::TempDir, PathBuf) {
    let net = Model::new(17, &["x:f32[steps,batch,6]"], &["tags:f32[steps,batch,3]", "mood:f32[batch,4]"])
        .weight("w", &[6, 3])
        .weight("v", &[3, 4])
        .node("MatMul", "x w", "tags", &[])
        .node("Tanh", "tags", "h", &[])
        .node("ReduceMean", "h", "m", &[ints("axes", &[0]), int("keepdims", 0)])
        .node("MatMul", "m v", "mood", &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("steps.onnx");
    std::fs::write(&path, net.proto.encode_to_vec()).unwrap();
    (folder, path)
}

#[test]
fn rows_may_lie_along_another_axis() {
    let (folder, path) = by_steps();
    let config = folder.path().join("c.toml");
    let run = |table: &str, args: &[&str]| {
        std::fs::write(&config, table).unwrap();
        let output = program().args(args).arg(&path).arg("--config").arg(&config).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.code().unwrap(), text)
    };
    let axis = "[inputs.x]\nbatch_axis = 1\n";
    for (output, shape) in [("mood", "`mood`"), ("tags", "`tags`")] {
        let table = format!("{axis}[target]\noutput = \"{output}\"\n");
        let (code, text) = run(&table, &["verify", "--samples", "8", "--dim", "steps=5"]);
        assert!(code == 0 && text.contains("gradient  agrees") && text.contains(shape), "{text}");
    }
    let (code, text) = run(axis, &["inspect"]);
    assert!(
        code == 0 && text.contains("x f32 [batch, steps, 6]") && text.contains("tags f32 [batch, steps, 3]"),
        "{text}"
    );
    for (table, said) in
        [("[inputs.x]\nbatch_axis = 3\n", "3 declared axes"), ("[inputs.y]\nbatch_axis = 1\n", "no such input")]
    {
        let (code, text) = run(table, &["inspect"]);
        assert!(code == 2 && text.contains(said), "{text}");
    }
}

#[test]
fn turned_rows_have_the_answers_that_the_file_gives_them() {
    let (_folder, path) = by_steps();
    let file = OnnxFile::open(&path, &ReadOptions::default()).unwrap();
    let given = Given { batch_axes: [("x".to_string(), 1)].into(), ..Given::default() };
    let outputs = |graph: &Graph, x: HostTensor| {
        let model: onnx_forget::model::Model<f32, Cpu> =
            onnx_forget::model::Model::inference(graph, ModelOptions::default(), Cpu::default()).unwrap();
        model.outputs(&[("x".to_string(), x)].into()).unwrap()
    };
    let x = HostTensor::new(&[2, 5, 6], (0..60).map(|i| (i * 37 % 23) as f32 / 7.0 - 1.5).collect()).unwrap();
    let turned = outputs(&build_given(&file, &given).unwrap(), x.clone());
    let straight = outputs(&build(&file).unwrap(), x.with_axis_moved(0, 1));
    assert_eq!(turned[0].1, straight[0].1.with_axis_moved(1, 0));
    assert_eq!(turned[1], straight[1]);
}
