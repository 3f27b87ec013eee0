//! Models that runtimes compute in half precision.

use super::{Mistaken, Net, Opened, models::Value, require_passed};
use crate::flow::{Fixture, json};
use onnx_forget::{
    model::{Halves, Model, ModelOptions},
    onnx::proto::{ModelProto, NodeProto},
    tensor::DType,
};
use prost::Message;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn cast(net: &mut Net, from: &str, to: &str, dtype: DType) {
    net.node("Cast", &[from], &[to], &[("to", Value::Int(dtype as i64))]);
}

/// Weights and arithmetic in f16 between two casts.
fn half_arithmetic(folder: &Path) -> PathBuf {
    let mut net = Net::new(17);
    net.input("x", DType::F32, &["batch", "6"]);
    for (name, dims) in [("w1", vec![6, 16]), ("b1", vec![16]), ("w2", vec![16, 3]), ("b2", vec![3])] {
        let values = net.numbers(dims.iter().product::<i64>() as usize).into_iter().map(|x| 3.0 * x).collect();
        net.tensor(name, &dims, DType::F16, values);
    }
    cast(&mut net, "x", "x16", DType::F16);
    net.node("MatMul", &["x16", "w1"], &["m"], &[]);
    net.node("Add", &["m", "b1"], &["h"], &[]);
    net.node("Relu", &["h"], &["r"], &[]);
    net.node("MatMul", &["r", "w2"], &["n"], &[]);
    net.node("Add", &["n", "b2"], &["l"], &[]);
    cast(&mut net, "l", "logits", DType::F32);
    net.output("logits", DType::F32, &["batch", "3"]);
    net.write(folder)
}

/// Weights in f32, and a value in between that is rounded to `dtype`.
fn rounded_between(folder: &Path, dtype: DType) -> PathBuf {
    let mut net = Net::new(17);
    net.input("x", DType::F32, &["batch", "6"]);
    net.weight("w1", &[6, 16]);
    net.weight("w2", &[16, 3]);
    net.node("MatMul", &["x", "w1"], &["h"], &[]);
    net.node("Tanh", &["h"], &["t"], &[]);
    cast(&mut net, "t", "half", dtype);
    cast(&mut net, "half", "back", DType::F32);
    net.node("MatMul", &["back", "w2"], &["logits"], &[]);
    net.output("logits", DType::F32, &["batch", "3"]);
    net.write(folder)
}

#[test]
fn arithmetic_in_halves_agrees_within_its_rounding() {
    let folder = tempfile::tempdir().unwrap();
    let found = Opened::new(&half_arithmetic(folder.path())).verify();
    let (forward, gradient) = (found.forward.as_ref().unwrap(), found.gradient.as_ref().unwrap());
    assert!(found.passed, "{} {}", forward.verdict, gradient.verdict());
    let rounding = forward.rounding.as_ref().unwrap();
    assert_eq!(rounding.dtype, DType::F16);
    assert!(forward.verdict.contains("f16"), "{}", forward.verdict);
    let logits = rounding.outputs["logits"];
    assert!(logits.measured > 0.0 && logits.atol < 0.04 * logits.largest, "{logits:?}");
    assert!(forward.runtimes[0].max_abs_diff < logits.atol);
}

#[test]
fn a_cast_inside_leaves_the_gradient_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let found = Opened::new(&rounded_between(folder.path(), DType::F16)).verify();
    assert!(found.passed, "{:?}", found.gradient);
    // The loss of a runtime that rounds to eight bits may be too coarse to tell; a right gradient is not called wrong.
    let found = Opened::new(&rounded_between(folder.path(), DType::BF16)).verify();
    let (forward, gradient) = (found.forward.unwrap(), found.gradient.unwrap());
    assert!(forward.passed, "{}", forward.verdict);
    assert!(!gradient.failed(), "{}", gradient.verdict());
    assert!(gradient.checks.iter().all(|c| c.derivative.rel_error < 1e-3), "{gradient:?}");
}

#[test]
fn a_wrong_gradient_is_found_through_halves() {
    let folder = tempfile::tempdir().unwrap();
    for path in [half_arithmetic(folder.path()), rounded_between(folder.path(), DType::F16)] {
        let mut opened = Opened::new(&path);
        let options = ModelOptions { halves: Halves::Nowhere, ..ModelOptions::default() };
        let (parity, model, batches) = opened.split();
        let mut exact =
            Model::build(parity.graph, parity.plan, parity.decisions, options, model.device().clone()).unwrap();
        for (at, name) in model.parameters().iter().map(|p| p.name.clone()).enumerate() {
            let mut wrong = Mistaken { model: &mut exact, gradient_of: Some(at), outputs: |o| o };
            let report = parity.gradient_over(&mut wrong, batches).unwrap();
            assert!(report.failed(), "{name}: {report:?}");
            assert_eq!(report.failing[0].name, name);
        }
        let report = parity.gradient_over(&mut exact, batches).unwrap();
        assert!(report.passed, "{}", report.verdict());
    }
}

#[test]
fn wrong_outputs_are_found_through_halves() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(&half_arithmetic(folder.path()));
    let (parity, model, batches) = opened.split();
    let outputs = |o: onnx_forget::parity::Outputs| o.into_iter().map(|(n, t)| (n, super::scaled(&t, 1.05))).collect();
    let wrong = Mistaken { model, gradient_of: None, outputs };
    assert_eq!(parity.before(&wrong, batches).unwrap().require_before().unwrap_err().exit_code(), 5);
}

#[test]
fn parameters_are_rounded_to_what_the_file_holds() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(&half_arithmetic(folder.path()));
    let model = &mut opened.model;
    let values = vec![0.1f32; 96];
    model.set_parameter(0, &values).unwrap();
    model.round_to_stored().unwrap();
    assert_eq!(model.parameters()[0].tensor.to_vec(), vec![half::f16::from_f32(0.1).to_f32(); 96]);
    model.set_parameter(0, &vec![1e5; 96]).unwrap();
    let error = model.round_to_stored().unwrap_err();
    assert_eq!(error.exit_code(), 6);
    assert!(error.to_string().contains("w1") && error.to_string().contains("f16"), "{error}");
    require_passed(&Opened::new(&super::models::classifier(folder.path(), DType::F16)).verify(), 2);
}

/// The same model with weights in f16, and all that is computed of them in f16.
fn halved(path: &Path) {
    let mut proto = ModelProto::decode(fs::read(path).unwrap().as_slice()).unwrap();
    let graph = proto.graph.as_mut().unwrap();
    for tensor in &mut graph.initializer {
        assert_eq!(tensor.data_type(), DType::F32 as i32);
        let raw = tensor.raw_data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        let raw: Vec<u8> = raw.flat_map(|x| half::f16::from_f32(x).to_le_bytes()).collect();
        (tensor.raw_data, tensor.data_type) = (Some(raw.into()), Some(DType::F16 as i32));
    }
    let (input, output) = (graph.input[0].name().to_string(), graph.output[0].name().to_string());
    let renamed = BTreeMap::from([(input.clone(), "input_half".to_string()), (output.clone(), "output_half".into())]);
    for name in graph.node.iter_mut().flat_map(|n| n.input.iter_mut().chain(&mut n.output)) {
        if let Some(new) = renamed.get(name) {
            name.clone_from(new);
        }
    }
    let mut net = Net::new(17);
    cast(&mut net, &input, "input_half", DType::F16);
    cast(&mut net, "output_half", &output, DType::F32);
    let casts: Vec<NodeProto> = net.nodes();
    graph.node.insert(0, casts[0].clone());
    graph.node.push(casts[1].clone());
    fs::write(path, proto.encode_to_vec()).unwrap();
}

#[test]
fn a_half_model_forgets_and_is_written() {
    let fixture = Fixture::new("cancer-mlp");
    halved(&fixture.path("model.onnx"));
    let output = fixture.command(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report = fixture.report();
    for at in ["before", "after"] {
        assert_eq!(report["parity"][at]["passed"], true);
        assert_eq!(report["parity"][at]["rounding"]["dtype"], "f16");
    }
    assert!(report["parity"]["gradient"]["checks"].as_array().unwrap().len() >= 3);
    crate::flow::follows_schema(&json(&fixture.path("model.forgotten.report/report.json")));
}
