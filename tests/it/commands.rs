//! The smaller commands, as a user runs them: inspect, verify, audit.

use crate::flow::{Fixture, program};
use onnx_forget::{
    onnx::proto::{
        GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
        tensor_shape_proto::dimension, type_proto,
    },
    tensor::DType,
};
use prost::Message;
use serde_json::Value;
use std::{fs, path::PathBuf, process::Command};

fn edge(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fixtures", "edge", name].iter().collect()
}

/// Exit code, the one JSON value on stdout, and stderr.
fn run(command: &mut Command) -> (Option<i32>, Option<Value>, String) {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("panicked"), "{said}");
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(lines.lines().count() <= 1, "more than a line: {lines}");
    (output.status.code(), serde_json::from_str(&lines).ok(), said)
}

#[test]
fn verify_says_that_outputs_and_gradients_agree() {
    let fixture = Fixture::new("digits-cnn");
    let (code, found, said) = run(program().arg("verify").arg(fixture.path("model.onnx")).args(["--format", "json"]));
    let found = found.unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((&found["supported"], &found["passed"]), (&Value::Bool(true), &Value::Bool(true)));
    assert_eq!(found["forward"]["passed"], true);
    assert_eq!(found["gradient"]["directions"], 3);
}

#[test]
fn verify_takes_rows() {
    let fixture = Fixture::new("cancer-mlp");
    let mut command = program();
    command.arg("verify").arg(fixture.path("model.onnx")).arg("--data").arg(fixture.path("train.parquet"));
    let (code, found, said) = run(command.args(["--format", "json"]));
    assert_eq!(code, Some(0), "{said}");
    assert!(found.unwrap()["loss"].as_str().unwrap().contains("cross-entropy"));
}

#[test]
fn verify_fails_where_nothing_can_agree() {
    let fixture = Fixture::new("digits-cnn");
    let mut command = program();
    command.arg("verify").arg(fixture.path("model.onnx")).args(["--format", "json", "--atol", "0", "--rtol", "0"]);
    let (code, found, said) = run(&mut command);
    let found = found.unwrap();
    assert_eq!((code, &found["passed"]), (Some(5), &Value::Bool(false)));
    let first = &found["locate"]["first"];
    assert!(first["max_abs_diff"].as_f64().unwrap() > 0.0, "{found}");
    assert!(first["outputs"][0].as_array().unwrap().len() > 1, "{found}");
    assert!(said.contains(first["node"].as_str().unwrap()), "{said}");
}

#[test]
fn verify_goes_through_the_nodes() {
    let fixtures = ["digits-cnn", "cancer-mlp", "notes-transformer"].map(Fixture::new);
    for model in fixtures.iter().map(|f| f.path("model.onnx")).chain([
        edge("function.onnx"),
        edge("loss-in-graph.onnx"),
        edge("f16.onnx"),
    ]) {
        let (code, found, said) = run(program().arg("verify").arg(&model).args(["--locate", "--format", "json"]));
        let found = found.unwrap();
        assert_eq!((code, &found["locate"]["first"]), (Some(0), &Value::Null), "{}: {said}", model.display());
        assert!(found["locate"]["nodes"].as_u64().unwrap() > 0, "{}", model.display());
    }
    let said = program().arg("verify").arg(edge("function.onnx")).arg("--locate").output().unwrap().stdout;
    assert!(String::from_utf8(said).unwrap().contains("every node agrees"));
    let mut tract = program();
    tract.arg("verify").arg(edge("function.onnx")).args(["--locate", "--parity", "tract"]);
    assert_eq!(run(&mut tract).0, Some(2));
}

#[test]
fn verify_refuses_what_it_cannot_do() {
    let fixture = Fixture::new("digits-cnn");
    let model = fixture.path("model.onnx");
    for wrong in [["--dim", "batch=0"], ["--dim", "nothing=3"], ["--device", "cuda"]] {
        assert_eq!(run(program().arg("verify").arg(&model).args(wrong)).0, Some(2), "{wrong:?}");
    }
    let (code, found, said) = run(program().arg("verify").arg(edge("unsupported.onnx")).args(["--format", "json"]));
    assert_eq!((code, &found.unwrap()["supported"]), (Some(3), &Value::Bool(false)), "{said}");
}

#[test]
fn verify_lists_what_differs() {
    let fixture = Fixture::new("cancer-mlp");
    assert!(fixture.command(&[]).output().unwrap().status.success());
    let (old, new) = (fixture.path("model.onnx"), fixture.path("model.forgotten.onnx"));
    let (code, diff, _) = run(program().arg("verify").arg(&old).arg(new).args(["--format", "json"]));
    let diff = diff.unwrap();
    assert_eq!((code, diff["identical"].as_bool()), (Some(0), Some(false)));
    assert_eq!(diff["other"], Value::Array(vec![]));
    assert!(diff["changed"].as_array().unwrap().iter().all(|t| t["norm_difference"].as_f64().unwrap() > 0.0));
    let (_, same, _) = run(program().arg("verify").arg(&old).arg(&old).args(["--format", "json"]));
    assert_eq!(same.unwrap()["identical"], true);
}

#[test]
fn inspect_gives_every_float_tensor_a_reason() {
    let fixture = Fixture::new("digits-cnn");
    let (code, found, said) = run(program().arg("inspect").arg(fixture.path("model.onnx")).args(["--format", "json"]));
    assert_eq!(code, Some(0), "{said}");
    let found = found.unwrap();
    let tensors = found["initializers"].as_array().unwrap();
    assert!(tensors.iter().all(|t| !t["reason"].as_str().unwrap().is_empty()));
    assert!(tensors.iter().any(|t| t["trainable"] == true) && tensors.iter().any(|t| t["trainable"] == false));
    let (code, _, said) = run(program().arg("inspect").arg(edge("unsupported.onnx")).args(["--format", "json"]));
    assert_eq!(code, Some(3), "{said}");
}

#[test]
fn audit_changes_nothing() {
    let fixture = Fixture::new("notes-transformer");
    let before = fs::read_dir(fixture.path("")).unwrap().count();
    let mut command = program();
    command.arg("audit").arg(fixture.path("model.onnx")).arg("--forget").arg(fixture.path("forget.parquet"));
    let (code, found, said) = run(command.args(["--format", "json"]));
    assert_eq!(code, Some(0), "{said}");
    let found = found.unwrap();
    assert!(found["mia"]["loss"]["accuracy"].as_f64().unwrap() > 0.55);
    assert!(found["records"]["under_forgotten"]["share"].as_f64().unwrap() > 0.05, "{found}");
    let rows = |of: &str| -> u64 {
        let splits = found["splits"].as_array().unwrap().iter().filter(|s| s["of"] == of);
        splits.map(|s| s["rows"].as_u64().unwrap()).sum()
    };
    assert!(rows("test") > 0 && rows("validation") > 0 && rows("retain") > 0);
    assert_eq!(fs::read_dir(fixture.path("")).unwrap().count(), before);
}

#[test]
fn a_report_that_cannot_be_written_publishes_nothing() {
    let fixture = Fixture::new("cancer-mlp");
    fs::write(fixture.path("taken"), "a file, not a folder").unwrap();
    let output = fixture.command(&[]).arg("--report").arg(fixture.path("taken")).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!fixture.path("model.forgotten.onnx").exists());
}

/// Changes the fixture's model.
fn rewrite(fixture: &Fixture, change: impl FnOnce(&mut GraphProto)) {
    let path = fixture.path("model.onnx");
    let mut model = ModelProto::decode(fs::read(&path).unwrap().as_slice()).unwrap();
    change(model.graph.as_mut().unwrap());
    fs::write(path, model.encode_to_vec()).unwrap();
}

fn first_losses(fixture: &Fixture) -> Vec<f64> {
    let steps = fixture.report()["unlearn"]["trajectory"].as_array().unwrap().clone();
    steps.iter().take(10).flat_map(|s| [s["forget_loss"].as_f64().unwrap(), s["tau"].as_f64().unwrap()]).collect()
}

/// As exporters leave it without dynamic axes: inputs and outputs of 8 rows, and a Reshape that says 8.
#[test]
fn a_model_of_a_fixed_number_of_rows_forgets_like_a_free_one() {
    let free = Fixture::new("digits-cnn");
    assert!(free.command(&[]).output().unwrap().status.success());
    let fixed = Fixture::new("digits-cnn");
    rewrite(&fixed, |graph| {
        for port in graph.input.iter_mut().chain(&mut graph.output) {
            let Some(type_proto::Value::TensorType(tensor)) = &mut port.r#type.as_mut().unwrap().value else {
                panic!()
            };
            let rows = &mut tensor.shape.as_mut().unwrap().dim[0];
            rows.value = Some(dimension::Value::DimValue(8));
        }
        let flatten = graph.node.iter_mut().find(|n| n.op_type() == "Flatten").unwrap();
        flatten.op_type = Some("Reshape".into());
        flatten.attribute.clear();
        flatten.input.push("eight rows".into());
        graph.initializer.push(TensorProto {
            name: Some("eight rows".into()),
            dims: vec![2],
            data_type: Some(DType::I64 as i32),
            int64_data: vec![8, -1],
            ..Default::default()
        });
    });
    let output = fixed.command(&[]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (a, b) in first_losses(&free).iter().zip(first_losses(&fixed)) {
        assert!((a - b).abs() <= 1e-3 * a, "{a} and {b}");
    }
}

#[test]
fn extents_that_nobody_could_feed_are_refused() {
    for (axis, extent) in [(0, 1 << 50), (2, i64::MAX), (0, 1 << 17)] {
        let fixture = Fixture::new("digits-cnn");
        rewrite(&fixture, |graph| {
            let Some(type_proto::Value::TensorType(tensor)) = &mut graph.input[0].r#type.as_mut().unwrap().value else {
                panic!()
            };
            tensor.shape.as_mut().unwrap().dim[axis].value = Some(dimension::Value::DimValue(extent));
        });
        let (code, _, said) = run(program().arg("verify").arg(fixture.path("model.onnx")));
        assert!(code == Some(3) && said.contains("image"), "{code:?} {said}");
        let output = fixture.command(&[]).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let fixture = Fixture::new("digits-cnn");
    let mut command = program();
    command.arg("verify").arg(fixture.path("model.onnx")).args(["--dim", "batch=1000000000000"]);
    assert_eq!(run(&mut command).0, Some(2));
}

#[test]
fn what_the_loss_does_not_need_may_be_anything() {
    let fixture = Fixture::new("cancer-mlp");
    rewrite(&fixture, |graph| {
        let scores = graph.output[0].name().to_string();
        graph.node.push(NodeProto {
            op_type: Some("Twist".into()),
            domain: Some("some.vendor".into()),
            input: vec![scores],
            output: vec!["twisted".into()],
            ..Default::default()
        });
        graph.output.push(ValueInfoProto { name: Some("twisted".into()), ..Default::default() });
    });
    let path = fixture.path("model.onnx");
    let mut model = ModelProto::decode(fs::read(&path).unwrap().as_slice()).unwrap();
    model.opset_import.push(OperatorSetIdProto { domain: Some("some.vendor".into()), version: Some(1) });
    fs::write(path, model.encode_to_vec()).unwrap();
    let output = fixture.command(&[]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(fixture.report()["data"]["notes"].to_string().contains("`twisted` is not computed"));
}
