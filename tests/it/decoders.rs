//! Language models that continue a text word by word: inputs that whole rows do not have are made, and onnxruntime is given the same.

use crate::{
    data::{Table, id_list},
    flow::{program, text},
    parity::models::{Net, Value},
};
use arrow_array::{
    Int64Array,
    builder::{Int64Builder, ListBuilder},
};
use onnx_forget::tensor::DType;
use std::process::Command;
use tempfile::TempDir;

/// A decoder of one layer with the attention of onnxruntime, whose attributes and further inputs are given.
fn grouped(attributes: &[(&str, Value)], more: &[&str]) -> Net {
    cached(attributes, more, "past")
}

/// The same, with caches of this extent.
fn cached(attributes: &[(&str, Value)], more: &[&str], past: &str) -> Net {
    let mut net = Net::new(17);
    net.input("input_ids", DType::I64, &["batch", "sequence"]);
    net.input("seqlens_k", DType::I32, &["batch"]);
    net.input("total_sequence_length", DType::I32, &[]);
    for cache in ["past_key_values.0.key", "past_key_values.0.value"] {
        net.input(cache, DType::F32, &["batch", "1", past, "16"]);
    }
    net.weight("words", &[30, 16]);
    net.weight("qkv", &[16, 64]);
    net.weight("out", &[32, 30]);
    net.weight("cos", &[12, 8]);
    net.weight("sin", &[12, 8]);
    net.weight("norm", &[16]);
    net.node("Gather", &["words", "input_ids"], &["x"], &[]);
    net.node("MatMul", &["x", "qkv"], &["all"], &[]);
    let inputs =
        ["all", "", "", "past_key_values.0.key", "past_key_values.0.value", "seqlens_k", "total_sequence_length"];
    let inputs = [&inputs[..], &["cos", "sin"], more].concat();
    let outputs = ["a", "present.0.key", "present.0.value"];
    net.node("com.microsoft:GroupQueryAttention", &inputs, &outputs, attributes);
    net.node("MatMul", &["a", "out"], &["logits"], &[]);
    net.output("logits", DType::F32, &["batch", "sequence", "30"]);
    net.output("present.0.key", DType::F32, &["batch", "1", "total", "16"]);
    net
}

fn usual() -> Vec<(&'static str, Value)> {
    vec![("num_heads", Value::Int(2)), ("kv_num_heads", Value::Int(1)), ("do_rotary", Value::Int(1))]
}

/// Rows of words of different lengths for `net`, a configuration, and the command of a run.
fn rows(folder: &TempDir, net: &Net) -> Command {
    net.write(folder.path());
    for (name, ids) in [("train", 0..24), ("validation", 100..116), ("test", 200..216)] {
        let mut words = ListBuilder::new(Int64Builder::new());
        for id in ids.clone() {
            words.append_value((0..4 + id % 5).map(|at| Some((7 * id + 3 * at * at) % 29 + 1)));
        }
        let table = Table::new().with("id", Int64Array::from_iter_values(ids)).with("input_ids", words.finish());
        table.write(folder, &format!("{name}.parquet"));
    }
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("net.forget.toml"), "[target]\nkind = \"next\"\n").unwrap();
    let mut command = program();
    command.arg(path("net.onnx")).arg("--forget").arg(id_list(&[1, 4, 9]).write(folder, "forget.parquet"));
    command.arg("--data").arg(path("train.parquet")).arg("--validation").arg(path("validation.parquet"));
    command.arg("--test").arg(path("test.parquet")).args(["--offline", "--accept-unknown-rows"]);
    command
}

/// Exit code, and stdout and stderr together.
fn run(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let said = text(&output);
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code().unwrap(), said)
}

fn verifies(command: &mut Command) {
    let (code, said) = run(command);
    assert_eq!(code, 0, "{said}");
    for words in ["forward   onnxruntime agrees", "gradient  agrees along 3 directions"] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
}

#[test]
fn a_decoder_with_caches_is_verified_planned_and_changed() {
    let folder = TempDir::new().unwrap();
    let net = grouped(&[usual(), vec![("local_window_size", Value::Int(3))]].concat(), &[]);
    let mut forget = rows(&folder, &net);
    let path = |name: &str| folder.path().join(name);
    verifies(program().arg("verify").arg(path("net.onnx")));
    verifies(program().arg("verify").arg(path("net.onnx")).arg("--data").arg(path("train.parquet")));
    let (code, said) = run(program().arg("inspect").arg(path("net.onnx")));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("made      input past_key_values.0.key and 1 more: an empty cache"), "{said}");
    assert!(!said.contains("ConstantOfShape"), "{said}");
    let (code, said) = run(forget.arg("--dry-run"));
    assert_eq!(code, 0, "{said}");
    for words in
        ["past_key_values.0.key and 1 more", "an empty cache", "input seqlens_k", "input total_sequence_length"]
    {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    let (code, said) = run(&mut rows(&folder, &net));
    assert_eq!(code, 0, "{said}");
    // The new file takes what the old one takes, and passes alone.
    let mut again = program();
    again.arg("verify").arg(path("net.forgotten.onnx")).arg("--data").arg(path("train.parquet"));
    verifies(again.arg("--config").arg(path("net.forget.toml")));
}

#[test]
fn what_grouped_attention_does_not_take_is_named() {
    let with = |name: &'static str, value| [usual(), vec![(name, Value::Int(value))]].concat();
    for (attributes, more, problem) in [
        (with("sliding_window_cache", 1), &[][..], "sliding_window_cache is 1"),
        (with("kv_cache_bit_width", 8), &[], "kv_cache_bit_width is 8"),
        (with("local_window_size", 0), &[], "local_window_size is 0"),
        (with("some_new_attribute", 1), &[], "attribute some_new_attribute is not known"),
        (usual(), &["", "", "", "", "", "norm", "norm"], "q_norm_weight"),
    ] {
        let folder = TempDir::new().unwrap();
        let model = grouped(&attributes, more).write(folder.path());
        let (code, said) = run(program().arg("verify").arg(model));
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("GroupQueryAttention of a") && said.contains(problem), "{problem}: {said}");
    }
}

#[test]
fn a_cache_of_a_fixed_length_is_refused() {
    let folder = TempDir::new().unwrap();
    let (code, said) = run(&mut rows(&folder, &cached(&usual(), &[], "8")));
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("input `past_key_values.0.key`") && said.contains("a cache of earlier tokens"), "{said}");
}
