//! Methods beside each other, and models trained from the beginning, as a user runs them.

use crate::flow::{Fixture, json, program};
use onnx_forget::unlearn::MethodName;
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Exit code, stdout, stderr.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), said)
}

fn compare(fixture: &Fixture, more: &[&str]) -> Command {
    let mut command = program();
    command
        .arg("compare")
        .arg(fixture.path("model.onnx"))
        .arg("--forget")
        .arg(fixture.path("forget.parquet"))
        .args(more);
    command
}

fn train(fixture: &Fixture, more: &[&str]) -> Command {
    let mut command = program();
    command.arg("train").arg(fixture.path("model.onnx")).args(more);
    command
}

fn row<'a>(report: &'a Value, method: &str) -> &'a Value {
    report["methods"].as_array().unwrap().iter().find(|row| row["method"] == method).unwrap()
}

fn mean(row: &Value, figure: &str) -> f64 {
    row["figures"][figure]["mean"].as_f64().unwrap_or_else(|| panic!("no {figure} in {row}"))
}

/// The report without what depends on the clock.
fn timeless(mut report: Value) -> Value {
    for row in report["methods"].as_array_mut().unwrap() {
        row.as_object_mut().unwrap().remove("seconds");
    }
    report["environment"].as_object_mut().unwrap().remove("threads");
    report
}

#[test]
fn every_method_runs_on_every_fixture() {
    for name in ["cancer-mlp", "digits-cnn", "notes-transformer"] {
        let fixture = Fixture::new(name);
        let (code, table, said) = run(&mut compare(&fixture, &["--seeds", "1", "--epochs", "4", "--batch-size", "32"]));
        assert_eq!(code, Some(0), "{name}: {said}");
        let report = json(&fixture.path("model.compare/compare.json"));
        assert_eq!(report["schema"], "onnx-forget/compare/v1");
        assert_eq!(report["methods"].as_array().unwrap().len(), MethodName::all().len() + 1);
        assert_eq!((&report["finished"], &report["left"]), (&true.into(), &Value::Null));
        let attack = &report["attack"];
        assert!(attack["informative"] == true && attack["rows_a_side"].as_u64().unwrap() >= 50, "{attack}");
        assert!(attack["coin_margin"].as_f64().unwrap() > 0.05 && table.contains("in 19 of 20 cases"), "{table}");
        for method in MethodName::all() {
            let row = row(&report, method.as_str());
            assert_eq!(row["outcome"], "measured", "{name}: {row}");
            assert!((0.0..=1.0).contains(&mean(row, "test_accuracy")), "{name}: {row}");
            assert!(mean(row, "mia_loss") > 0.2 && mean(row, "test_loss") > 0.0, "{name}: {row}");
            assert!(row["seconds"]["mean"].as_f64().unwrap() > 0.0);
            assert!(table.contains(&format!("| {} ", method.title())), "{name}: {table}");
            assert_eq!(row["figures"]["average_gap"].is_null(), *method == MethodName::Retrain, "{name}: {row}");
        }
        // A model that never saw the rows cannot be told what it forgot.
        assert!(mean(row(&report, "retrain"), "mia_loss") < mean(row(&report, "original"), "mia_loss"), "{name}");
        let html = fs::read_to_string(fixture.path("model.compare/compare.html")).unwrap();
        assert!(
            html.ends_with("</html>") && html.contains("<svg") && !html.contains("<script") && !html.contains("http")
        );
        let csv = fs::read_to_string(fixture.path("model.compare/compare.csv")).unwrap();
        let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(columns.len(), MethodName::all().len() + 2);
        assert!(columns.iter().all(|n| *n == columns[0]), "{csv}");
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let methods = "fine-tune,neggrad,neggrad+,scrub,scrub+r,ssd,amnesiac,salun,random-labels,retrain";
    for name in ["digits-cnn", "notes-transformer"] {
        let fixture = Fixture::new(name);
        let with = |threads: &str| {
            let common = ["--seeds", "1", "--epochs", "1", "--batch-size", "32", "--methods", methods];
            let arguments = [common.as_slice(), &["--threads", threads]].concat();
            let (code, _, said) = run(&mut compare(&fixture, &arguments));
            assert_eq!(code, Some(0), "{said}");
            timeless(json(&fixture.path("model.compare/compare.json")))
        };
        assert_eq!(with("1"), with("2"), "{name}");
    }
}

#[test]
fn seeds_are_summed_up() {
    let fixture = Fixture::new("cancer-mlp");
    let arguments = ["--seeds", "3", "--methods", "amnesiac,nabla-tau", "--format", "json"];
    let (code, said, _) = run(&mut compare(&fixture, &arguments));
    assert_eq!(code, Some(0));
    let report: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(report["seeds"], serde_json::json!([0, 1, 2]));
    let losses: Vec<f64> = row(&report, "amnesiac")["figures"]["forget_loss"]["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect();
    assert_eq!(losses.len(), 3);
    assert!(losses[0] != losses[1] && losses[1] != losses[2]);
    assert_eq!(row(&report, "amnesiac")["seeds"], report["seeds"]);
    assert!(row(&report, "original")["seeds"].is_null());
    assert!((losses.iter().sum::<f64>() / 3.0 - mean(row(&report, "amnesiac"), "forget_loss")).abs() < 1e-12);
    assert_eq!(row(&report, "original")["figures"]["forget_loss"]["values"].as_array().unwrap().len(), 1);
    assert_eq!(report["reference"], Value::Null);
}

/// Labels as numbers, for which a mean squared error is taken.
fn as_regression(fixture: &Fixture) {
    let path = fixture.path("model.forget.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("\"binary\"", "\"value\"").replace("\"bce\"", "\"mse\"")).unwrap();
}

#[test]
fn methods_that_need_classes_are_not_applicable_to_numbers() {
    let fixture = Fixture::new("cancer-mlp");
    as_regression(&fixture);
    let methods = "nabla-tau,scrub,ssd,amnesiac,salun,random-labels";
    let (code, table, said) =
        run(&mut compare(&fixture, &["--seeds", "1", "--methods", methods, "--accept-unknown-rows"]));
    assert_eq!(code, Some(0), "{said}");
    let report = json(&fixture.path("model.compare/compare.json"));
    for method in ["amnesiac", "salun", "random-labels"] {
        let row = row(&report, method);
        assert_eq!(row["outcome"], "not-applicable");
        assert!(row["reason"].as_str().unwrap().contains("one class a row"));
    }
    for method in ["nabla-tau", "scrub", "ssd"] {
        assert_eq!(row(&report, method)["outcome"], "measured");
    }
    assert!(table.contains("Amnesiac: not applicable") && !table.contains("test acc."), "{table}");
    let (code, _, said) = run(&mut fixture.command(&["--method", "amnesiac"]));
    assert!(code == Some(2) && said.contains("amnesiac") && said.contains("one class a row"), "{said}");
}

#[test]
fn a_method_that_diverges_is_listed_and_the_others_go_on() {
    let fixture = Fixture::new("cancer-mlp");
    let arguments = ["--seeds", "1", "--methods", "retrain,ssd", "--optimizer", "sgd", "--learning-rate", "1000"];
    let (code, table, said) = run(&mut compare(&fixture, &arguments));
    assert_eq!(code, Some(0), "{said}");
    let report = json(&fixture.path("model.compare/compare.json"));
    assert_eq!(row(&report, "retrain")["outcome"], "failed");
    assert!(row(&report, "retrain")["reason"].as_str().unwrap().starts_with("seed 0: "), "{report}");
    assert_eq!(row(&report, "ssd")["outcome"], "measured");
    assert!(table.contains("retrain: failed"), "{table}");
}

/// Answers that say nothing tell forgotten rows from unseen ones least of all: every attack passes.
#[test]
fn a_ruined_model_of_numbers_is_not_published() {
    let fixture = Fixture::new("cancer-mlp");
    as_regression(&fixture);
    let (trained, out) = (fixture.path("trained.onnx"), fixture.path("model.forgotten.onnx"));
    let (code, _, said) = run(train(&fixture, &["--keep-weights", "--epochs", "20"]).arg("-o").arg(&trained));
    assert_eq!(code, Some(0), "{said}");
    fs::rename(trained, fixture.path("model.onnx")).unwrap();
    let ruinous = ["--method", "fine-tune", "--epochs", "2", "--learning-rate", "0.1"];
    let (code, _, said) = run(&mut fixture.command(&ruinous));
    assert!(code == Some(6) && said.contains("max_test_accuracy_drop") && !out.exists(), "{code:?} {said}");
    let report = fixture.report();
    let outcome = |gate: &str| report["gates"].as_array().unwrap().iter().find(|g| g["gate"] == gate).unwrap();
    assert_eq!(outcome("max_retain_accuracy_drop")["outcome"], "fail");
    assert_eq!(outcome("max_mia_distance (loss)")["outcome"], "pass");
    let (code, shown, said) = run(&mut fixture.command(&[]));
    assert!(code == Some(0) && out.exists() && shown.contains("test R²"), "{said}");
    let (before, after) =
        (&fixture.report()["audit"]["before"]["retain"], &fixture.report()["audit"]["after"]["retain"]);
    assert!(before["r2"].as_f64().unwrap() > 0.5 && after["r2"].as_f64().unwrap() > 0.5, "{before} {after}");
}

#[test]
fn the_main_job_takes_any_method() {
    let fixture = Fixture::new("cancer-mlp");
    let out = |method: &str| fixture.path(&format!("{}.onnx", method.replace('+', "-plus")));
    for method in ["scrub", "retrain", "amnesiac"] {
        let mut command = fixture.command(&["--method", method, "--epochs", "2", "--format", "json"]);
        let (code, said, problem) = run(command.arg("-o").arg(out(method)));
        let last: Value = serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_default();
        // A gate may well not hold for these methods; that they run is what matters here.
        assert!([Some(0), Some(6)].contains(&code), "{method}: {problem}");
        let unlearn = &last["record"]["unlearn"];
        assert_eq!((unlearn["method"].as_str(), unlearn["epochs"].as_u64()), (Some(method), Some(2)), "{last}");
        assert_eq!(unlearn["alpha0"], Value::Null);
        assert!(unlearn["settings"]["optimizer"].is_string(), "{unlearn}");
        crate::flow::follows_schema(&last["record"]);
        if method == "amnesiac" {
            // Its batches are of both sets, with wrong classes: their loss is that of neither.
            let steps = unlearn["trajectory"].as_array().unwrap();
            assert!(
                !steps.is_empty() && steps.iter().all(|s| s["retain_loss"].is_null() && s["forget_loss"].is_null())
            );
        }
        if code == Some(0) {
            assert!(out(method).exists());
        }
    }
}

/// Adds to the fixture's configuration.
fn configured(fixture: &Fixture, more: &str) {
    let path = fixture.path("model.forget.toml");
    fs::write(&path, fs::read_to_string(&path).unwrap() + more).unwrap();
}

#[test]
fn nabla_tau_follows_the_configuration_and_the_report_says_so() {
    let fixture = Fixture::new("cancer-mlp");
    configured(&fixture, "\n[unlearn]\nalpha = 0.3\nepochs = 2\n");
    let methods = "nabla-tau,nabla-tau-paper,fine-tune";
    let (code, table, said) = run(&mut compare(&fixture, &["--seeds", "1", "--methods", methods]));
    assert_eq!(code, Some(0), "{said}");
    let report = json(&fixture.path("model.compare/compare.json"));
    for method in ["nabla-tau", "nabla-tau-paper"] {
        let settings = &row(&report, method)["settings"];
        assert_eq!((settings["alpha0"].as_f64(), settings["epochs"].as_u64()), (Some(0.3), Some(2)), "{settings}");
    }
    assert_ne!(row(&report, "fine-tune")["settings"]["epochs"], 2);
    assert!(report["notes"].to_string().contains("[unlearn]") && table.contains("epochs 2, alpha 0.3"), "{table}");
}

#[test]
fn weights_that_are_kept_by_choice_leave_no_retraining() {
    let fixture = Fixture::new("cancer-mlp");
    let refused = |command: &mut Command, word: &str| {
        let (code, _, said) = run(command);
        assert!(code == Some(2) && said.contains(word) && said.contains("as they are"), "{code:?} {said}");
    };
    let freeze = ["--freeze", "fc1.*"];
    refused(&mut train(&fixture, &freeze), "--keep-weights");
    refused(fixture.command(&freeze).args(["--method", "retrain"]), "--reference");
    refused(&mut compare(&fixture, &["--methods", "ssd,retrain", "--trainable", "fc2.*"]), "--reference");
    // A choice of all weights is none.
    let all = ["--trainable", "*.weight", "--trainable", "*.bias", "--epochs", "1", "-o"];
    let (code, _, said) = run(train(&fixture, &all).arg(fixture.path("all.onnx")));
    assert_eq!(code, Some(0), "{said}");
    let further = ["--keep-weights", "--epochs", "1", "-o"];
    let (code, _, said) = run(train(&fixture, &freeze).args(further).arg(fixture.path("further.onnx")));
    assert_eq!(code, Some(0), "{said}");
    configured(&fixture, "\n[model]\nfreeze = ['fc1.*']\n");
    refused(&mut train(&fixture, &[]), "--keep-weights");
    // The others run; without a retrained model, nothing is held against one.
    let (code, table, said) = run(&mut compare(&fixture, &["--seeds", "1", "--batch-size", "32"]));
    assert_eq!(code, Some(0), "{said}");
    let report = json(&fixture.path("model.compare/compare.json"));
    assert_eq!((&report["finished"], &report["reference"]), (&true.into(), &Value::Null));
    for method in MethodName::all() {
        let expected = if *method == MethodName::Retrain { "not-applicable" } else { "measured" };
        assert_eq!(row(&report, method.as_str())["outcome"], expected, "{method}");
    }
    assert!(row(&report, "retrain")["reason"].as_str().unwrap().contains("--reference"), "{report}");
    assert!(table.contains("retrain: not applicable"), "{table}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_comparison_leaves_what_was_finished() {
    let fixture = Fixture::new("cancer-mlp");
    let arguments = ["--seeds", "1", "--methods", "ssd,retrain", "--epochs", "100000"];
    let mut child = compare(&fixture, &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (written, start) = (fixture.path("model.compare/compare.json"), Instant::now());
    while !written.exists() {
        assert!(
            child.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(300),
            "nothing is written"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    crate::processes::signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let report = json(&written);
    assert_eq!((&report["finished"], &report["left"]), (&false.into(), &serde_json::json!(["retrain"])));
    assert_eq!((report["methods"].as_array().unwrap().len(), &row(&report, "ssd")["outcome"]), (2, &"measured".into()));
    let html = fs::read_to_string(fixture.path("model.compare/compare.html")).unwrap();
    assert!(html.contains("Not finished") && html.contains("without retrain"), "{html}");
}

#[test]
fn wrong_requests_are_refused() {
    let fixture = Fixture::new("cancer-mlp");
    let refused = |command: &mut Command, exit: i32, word: &str| {
        let (code, _, said) = run(command);
        assert!(code == Some(exit) && said.contains(word), "{code:?} {said}");
    };
    refused(&mut compare(&fixture, &["--methods", "scrubb"]), 2, "scrubb");
    refused(&mut compare(&fixture, &["--seeds", "0"]), 2, "seeds");
    refused(&mut compare(&fixture, &["--flip"]), 2, "--flip");
    refused(&mut compare(&fixture, &["--momentum", "3"]), 2, "momentum");
    refused(&mut compare(&fixture, &["--reference", "nowhere.onnx"]), 3, "nowhere.onnx");
    refused(program().arg("compare").arg(fixture.path("model.onnx")), 2, "--forget");
    refused(&mut fixture.command(&["--method", "nonsense"]), 2, "nonsense");
    refused(&mut fixture.command(&["--method", "ssd", "--alpha", "0.5"]), 2, "alpha");
    let mut none = program();
    none.arg("compare").arg(fixture.path("model.onnx")).arg("--forget").arg(fixture.path("train.parquet"));
    refused(&mut none, 4, "every training row");
    refused(&mut train(&fixture, &["--forget", "x.parquet"]), 2, "--exclude");
    refused(&mut train(&fixture, &["--epochs", "0"]), 2, "epochs");
    refused(train(&fixture, &[]).arg("--exclude").arg(fixture.path("train.parquet")), 4, "every training row");
    refused(&mut train(&fixture, &["--crop", "2"]), 2, "--crop");
    refused(train(&fixture, &[]).arg("-o").arg(fixture.path("model.onnx")), 2, "input");
    assert!(!fixture.path("model.compare").exists() && !fixture.path("model.trained.onnx").exists());
}

fn figure(said: &str, set: &str, figure: &str) -> f64 {
    let found: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let scores = found["scores"].as_array().unwrap();
    scores.iter().find(|s| s[0] == set).unwrap()[1][figure].as_f64().unwrap()
}

/// Output and gradient checks of a written model; what it answers has to be what was measured in training.
fn verified(model: &Path) {
    let (code, _, said) = run(program().arg("verify").arg(model).args(["--parity", "tract"]));
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_model_is_trained_from_the_beginning_without_some_rows() {
    let fixture = Fixture::new("digits-cnn");
    let arguments = ["--epochs", "12", "--learning-rate", "3e-3", "--crop", "1", "--format", "json", "--exclude"];
    let (code, said, problem) = run(train(&fixture, &arguments).arg(fixture.path("forget.parquet")));
    assert_eq!(code, Some(0), "{problem}");
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!((last["rows"].as_u64(), last["excluded"].as_u64()), (Some(765), Some(135)));
    // Running means and variances are measured and written, so that inference does as well as training.
    assert!(last["statistics"].as_u64().unwrap() > 0);
    // A fifth of the labels is wrong.
    assert!(figure(&said, "train", "accuracy") > 0.65, "{last}");
    assert!(figure(&said, "test", "accuracy") > 0.5, "{last}");
    assert!((figure(&said, "excluded", "accuracy") - figure(&said, "test", "accuracy")).abs() < 0.15, "{last}");
    let out = fixture.path("model.trained.onnx");
    verified(&out);
    // Another start, the same file again.
    let (code, _, problem) = run(train(&fixture, &arguments).arg(fixture.path("forget.parquet")));
    assert!(code == Some(2) && problem.contains("--force"), "{problem}");
    let first = fs::read(&out).unwrap();
    let again =
        train(&fixture, &arguments).arg(fixture.path("forget.parquet")).args(["--force", "--threads", "1"]).status();
    assert!(again.unwrap().success());
    assert_eq!(fs::read(&out).unwrap(), first);
    // It is a reference for the original.
    let arguments = ["--seeds", "1", "--methods", "fine-tune", "--reference"];
    let (code, _, problem) = run(compare(&fixture, &arguments).arg(&out));
    assert_eq!(code, Some(0), "{problem}");
    let report = json(&fixture.path("model.compare/compare.json"));
    assert!(mean(row(&report, "original"), "average_gap") > 0.0);
    assert!(mean(row(&report, "reference"), "mia_loss") < mean(row(&report, "original"), "mia_loss"));
}

#[test]
fn training_goes_on_from_the_weights_that_are_there() {
    let fixture = Fixture::new("notes-transformer");
    let arguments = ["--keep-weights", "--epochs", "1", "--learning-rate", "1e-5", "--format", "json"];
    let (code, said, problem) = run(&mut train(&fixture, &arguments));
    assert_eq!(code, Some(0), "{problem}");
    assert!(figure(&said, "train", "accuracy") > 0.9, "{said}");
    for recipe in [["--optimizer", "sgd", "--schedule", "step"], ["--optimizer", "adamw", "--schedule", "one-cycle"]] {
        let (code, said, problem) =
            run(train(&fixture, &["--epochs", "6", "--format", "json", "--force"]).args(recipe));
        assert_eq!(code, Some(0), "{problem}");
        assert!(figure(&said, "train", "loss") < 1.4, "{recipe:?}: {said}");
    }
}

#[test]
fn training_warns_where_batch_normalization_was_folded() {
    let fixture = Fixture::new("digits-cnn");
    let folded = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/digits-cnn/variants/torchscript-folded.onnx");
    fs::copy(folded, fixture.path("model.onnx")).unwrap();
    let (code, _, said) = run(&mut train(&fixture, &["--epochs", "1", "--learning-rate", "1e-4"]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warning") && said.contains("nothing that normalizes"), "{said}");
}
