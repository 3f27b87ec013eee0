//! Models whose rows meet, and models without rows, through the program.

use super::Net;
use crate::flow::{Fixture, program};
use onnx_forget::tensor::DType;

/// What the command says against the model, with exit code 3.
fn refusal(mut command: std::process::Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{text}");
    text
}

#[test]
fn a_sequence_in_the_place_of_the_batch_is_refused() {
    let fixture = Fixture::new("cancer-mlp");
    let mut net = Net::new(17);
    net.input("features", DType::F32, &["time", "30"]);
    net.weight("w", &[30, 8]);
    net.weight("v", &[8, 1]);
    net.long("axis", 0);
    net.node("MatMul", &["features", "w"], &["h"], &[]);
    net.node("CumSum", &["h", "axis"], &["state"], &[]);
    net.node("MatMul", &["state", "v"], &["logit"], &[]);
    net.output("logit", DType::F32, &["time", "1"]);
    std::fs::rename(net.write(fixture.path("").as_path()), fixture.path("model.onnx")).unwrap();
    let mut verify = program();
    verify.arg("verify").arg(fixture.path("model.onnx")).arg("--data").arg(fixture.path("train.parquet"));
    let mut audit = program();
    audit.arg("audit").arg(fixture.path("model.onnx")).arg("--forget").arg(fixture.path("forget.parquet"));
    for command in [fixture.command(&[]), verify, audit] {
        let text = refusal(command);
        assert!(text.contains("one sequence") && text.contains("CumSum"), "{text}");
    }
    assert!(!fixture.path("model.forgotten.onnx").exists());
}

#[test]
fn a_single_row_without_a_batch_axis_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut net = Net::new(17);
    net.input("x", DType::F32, &["16"]);
    net.weight("w", &[16, 3]);
    net.node("MatMul", &["x", "w"], &["logits"], &[]);
    net.output("logits", DType::F32, &["3"]);
    let mut verify = program();
    verify.arg("verify").arg(net.write(folder.path()));
    let text = refusal(verify);
    assert!(text.contains("no batch axis") && text.contains("`x` [16]") && text.contains("`logits` [3]"), "{text}");
}
