//! The smaller commands, as a user runs them: inspect, verify, audit.

use crate::flow::{Fixture, program};
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
    let (code, found, _) = run(&mut command);
    assert_eq!((code, &found.unwrap()["passed"]), (Some(5), &Value::Bool(false)));
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
    assert!(found.unwrap()["mia"]["loss"]["accuracy"].as_f64().unwrap() > 0.55);
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
