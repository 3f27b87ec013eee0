//! The whole command on the fixtures: what it must reach, what it leaves, and that it leaves nothing when it fails.

use onnx_forget::data::digest;
use serde_json::Value;
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// A copy of a fixture in a folder of its own, so that every path is new.
pub struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
            }
        }
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `onnx-forget model.onnx --forget forget.parquet` and more arguments.
    pub fn command(&self, more: &[&str]) -> Command {
        let mut command = program();
        command.arg(self.path("model.onnx")).arg("--forget").arg(self.path("forget.parquet")).args(more);
        command
    }

    pub fn report(&self) -> Value {
        json(&self.path("model.forgotten.report/report.json"))
    }

    /// Names of all files, and the bytes of the model.
    fn state(&self) -> (Vec<String>, Vec<u8>) {
        let mut names: Vec<_> =
            fs::read_dir(self.folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        (names, fs::read(self.path("model.onnx")).unwrap())
    }
}

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onnx-forget"));
    command.stdin(Stdio::null());
    command
}

pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no number at {pointer}"))
}

/// Leaves a report where continuous integration holds all of them against the schema. (A validator among the
/// dependencies would have most others compiled anew for the tests.)
pub fn follows_schema(report: &Value) {
    assert_eq!(report["schema"], "onnx-forget/report/v1");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reports");
    fs::create_dir_all(&folder).unwrap();
    tempfile::Builder::new()
        .prefix("report-")
        .suffix(".json")
        .disable_cleanup(true)
        .tempfile_in(&folder)
        .and_then(|mut file| file.write_all(report.to_string().as_bytes()))
        .unwrap();
}

/// What the README promises of every fixture.
fn holds(report: &Value) {
    follows_schema(report);
    assert_eq!(report["status"], "published");
    for check in ["/parity/before/passed", "/parity/gradient/passed", "/parity/after/passed"] {
        assert_eq!(report.pointer(check), Some(&Value::Bool(true)), "{check}");
    }
    assert_eq!(report.pointer("/model/other_bytes_identical"), Some(&Value::Bool(true)));
    let distance = |when| (number(report, &format!("/audit/{when}/mia/loss/accuracy")) - 0.5).abs();
    assert!(number(report, "/audit/before/mia/loss/accuracy") > 0.55);
    assert!(distance("after") <= 0.05, "MIA_L is {} from 0.5", distance("after"));
    assert!(distance("before") - distance("after") >= 0.05, "{} to {}", distance("before"), distance("after"));
    for set in ["test", "retain"] {
        let accuracy = |when| number(report, &format!("/audit/{when}/{set}/accuracy"));
        assert!(
            accuracy("before") - accuracy("after") <= 0.02,
            "{set}: {} to {}",
            accuracy("before"),
            accuracy("after")
        );
    }
}

/// A class is forgotten whole: no row of it is answered right, and accuracy counts on the classes that are kept.
#[test]
fn a_whole_class_is_forgotten() {
    let fixture = Fixture::new("digits-cnn");
    let output = program().arg(fixture.path("model.onnx")).args(["--forget-class", "3", "--offline"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let report = fixture.report();
    follows_schema(&report);
    let accuracy = |of: &str| number(&report, &format!("/audit/{of}/accuracy"));
    assert!(accuracy("after/forget") <= 0.03, "{}", accuracy("after/forget"));
    assert!(accuracy("before/test_of_kept_classes") - accuracy("after/test_of_kept_classes") <= 0.02);
    assert!(accuracy("before/test") - accuracy("after/test") > 0.04, "rows of the class count there");
    let tags = json(&fixture.path("model.forgotten.report/tags.json"));
    assert_eq!(tags["onnx_forget.test_accuracy_after"], format!("{:.4}", accuracy("after/test_of_kept_classes")));
}

fn forgets(name: &str) {
    let fixture = Fixture::new(name);
    let (_, model) = fixture.state();
    let output = fixture.command(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let report = fixture.report();
    holds(&report);
    assert_eq!(fixture.state().1, model, "the input was touched");
    assert_eq!(model.len(), fs::read(fixture.path("model.forgotten.onnx")).unwrap().len());
    let html = fs::read_to_string(fixture.path("model.forgotten.report/report.html")).unwrap();
    assert!(html.contains("</html>") && !html.contains("<script") && !html.contains("http"), "not self-contained");
    accompanies(&fixture, &report);
}

/// The statement and the tags say what the report says, of the file that was published.
fn accompanies(fixture: &Fixture, report: &Value) {
    let statement = json(&fixture.path("model.forgotten.report/attestation.intoto.json"));
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://in-toto.io/attestation/test-result/v0.1");
    let sha256 = digest::file(&fixture.path("model.forgotten.onnx")).unwrap();
    assert_eq!(statement["subject"][0]["digest"]["sha256"], *sha256);
    let configuration = statement["predicate"]["configuration"].as_array().unwrap();
    let of = |name: &str| configuration.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    for name in ["model.onnx", "train.parquet", "validation.parquet", "test.parquet"] {
        assert_eq!(of(name)["digest"]["sha256"], *digest::file(&fixture.path(name)).unwrap(), "{name}");
    }
    let settings = &of("settings")["annotations"];
    for key in ["weight_decay", "step_size", "learning_rate", "device"] {
        assert!(!settings[key].is_null() && settings[key] == report["unlearn"][key], "{key}: {settings}");
    }
    for key in ["loss", "trainable_parameters"] {
        assert_eq!(settings[key], report["model"][key], "{key}");
    }
    let tests = |which: &str| statement["predicate"][which].as_array().unwrap().len();
    let outcomes = |which: &str| report["gates"].as_array().unwrap().iter().filter(|g| g["outcome"] == which).count();
    assert_eq!(tests("passedTests"), outcomes("pass") + 5);
    assert_eq!(tests("warnedTests"), outcomes("warn") + outcomes("insufficient"));
    assert_eq!(tests("failedTests"), 0);
    let result = if report["audit"]["verdict"] == "pass" { "PASSED" } else { "WARNED" };
    assert_eq!(statement["predicate"]["result"], result);
    let tags = json(&fixture.path("model.forgotten.report/tags.json"));
    let tags = tags.as_object().unwrap();
    assert!(tags.iter().all(|(key, value)| key.len() <= 250 && value.as_str().unwrap().len() <= 256), "{tags:?}");
    assert_eq!(tags["onnx_forget.model_sha256"], *sha256);
    let written = digest::file(&fixture.path("model.forgotten.report/report.json")).unwrap();
    assert_eq!(tags["onnx_forget.report_sha256"], *written);
    assert_eq!(tags["onnx_forget.verdict"], report["audit"]["verdict"]);
}

#[test]
fn forgets_images() {
    forgets("digits-cnn");
}

#[test]
fn forgets_table_rows() {
    forgets("cancer-mlp");
}

#[test]
fn forgets_texts() {
    forgets("notes-transformer");
}

#[test]
fn demo_carries_all_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let output = program().arg("demo").arg(folder.path().join("out")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    holds(&json(&folder.path().join("out/report.json")));
}

#[test]
fn same_bytes_for_any_number_of_threads() {
    let bytes = |threads: &str| {
        let fixture = Fixture::new("digits-cnn");
        let output = fixture.command(&["--threads", threads]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        // The statement, too: it holds salted digests, and no time.
        ["model.forgotten.onnx", "model.forgotten.report/attestation.intoto.json"]
            .map(|f| fs::read(fixture.path(f)).unwrap())
    };
    let one = bytes("1");
    assert!(one == bytes("2"), "another model with 2 threads");
    assert!(one == bytes("3"), "another model with 3 threads");
}

#[test]
fn micro_batches_are_taken_from_the_flag_and_the_file() {
    let run = |fixture: &Fixture, more: &[&str]| {
        let output = fixture.command(more).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let report = fixture.report();
        holds(&report);
        report["unlearn"].clone()
    };
    let plain = Fixture::new("cancer-mlp");
    let whole = run(&plain, &[]);
    assert!(whole["micro_batch"].is_null());
    let configured = Fixture::new("cancer-mlp");
    let config = configured.path("model.forget.toml");
    fs::write(&config, fs::read_to_string(&config).unwrap() + "\n[unlearn]\nmicro_batch = 3\n").unwrap();
    for (more, size) in [(&[][..], 3), (&["--micro-batch", "2", "--force"], 2)] {
        let parts = run(&configured, more);
        assert_eq!(parts["micro_batch"], size);
        assert_eq!(parts["steps"], whole["steps"]);
        for key in ["forget_loss", "retain_loss", "tau"] {
            let of = |run: &Value| number(run, &format!("/trajectory/30/{key}"));
            assert!((of(&parts) - of(&whole)).abs() <= 1e-4 * of(&whole), "{key}: {} and {}", of(&parts), of(&whole));
        }
    }
}

/// Runs with wrong arguments: the exit code, a word of the message, and nothing left behind.
fn refuses(fixture: &Fixture, command: &mut Command, code: i32, word: &str) {
    let before = fixture.state();
    let output = command.output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(word), "no \"{word}\" in: {said}");
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(fixture.state(), before, "something was left behind or changed");
}

#[test]
fn refuses_what_cannot_be_right() {
    let f = Fixture::new("digits-cnn");
    let model = f.path("model.onnx");
    refuses(&f, program().arg(&model), 2, "--forget");
    refuses(&f, program().arg(f.path("none.onnx")).args(["--forget-class", "1"]), 3, "none.onnx");
    refuses(&f, &mut f.command(&["--no-such-flag"]), 2, "--no-such-flag");
    refuses(&f, &mut f.command(&["--alpha", "1.5"]), 2, "alpha");
    refuses(&f, &mut f.command(&["--micro-batch", "0"]), 2, "--micro-batch");
    refuses(&f, &mut f.command(&["--micro-batch", "2", "--bn", "batch"]), 2, "--bn batch");
    refuses(&f, &mut f.command(&["--data", "nowhere.parquet"]), 4, "nowhere.parquet");
    refuses(&f, &mut f.command(&["--target", "nothing"]), 4, "nothing");
    refuses(&f, &mut f.command(&["--freeze", "*"]), 3, "trainable");
    refuses(&f, &mut f.command(&["--trainable", "no.such.*"]), 2, "no.such.*");
    refuses(&f, &mut f.command(&["--device", "tpu"]), 2, "cuda");
    // Without a GPU, or built without CUDA, or with fewer GPUs than that.
    refuses(&f, &mut f.command(&["--device", "cuda:99"]), 2, "--device cuda:99: ");
    refuses(&f, program().arg(f.path("train.parquet")).args(["--forget-class", "1"]), 3, "train.parquet");
    refuses(&f, program().arg(&model).args(["--forget-class", "11"]), 4, "class");
    let train = f.path("train.parquet");
    refuses(
        &f,
        program().arg(&model).arg("--forget").arg(&train).args(["--data"]).arg(f.path("test.parquet")),
        4,
        "trained",
    );
}

#[test]
fn needs_validation_rows() {
    let f = Fixture::new("digits-cnn");
    let config = f.path("model.forget.toml");
    let kept: Vec<String> = fs::read_to_string(&config)
        .unwrap()
        .lines()
        .filter(|l| !l.starts_with("validation") && !l.starts_with("test"))
        .map(String::from)
        .collect();
    fs::write(&config, kept.join("\n")).unwrap();
    refuses(&f, &mut f.command(&[]), 4, "validation");
}

#[test]
fn overwrites_only_if_told() {
    let f = Fixture::new("cancer-mlp");
    fs::write(f.path("model.forgotten.onnx"), "mine").unwrap();
    refuses(&f, &mut f.command(&[]), 2, "--force");
    let output = f.command(&["--force"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let model = f.path("model.onnx");
    refuses(&f, f.command(&["--force", "-o"]).arg(&model), 2, "model.onnx");
}

#[test]
fn a_gate_that_fails_publishes_nothing() {
    let f = Fixture::new("cancer-mlp");
    let config = f.path("model.forget.toml");
    let text_of = fs::read_to_string(&config).unwrap();
    fs::write(&config, text_of + "\n[gates]\nmax_test_accuracy_drop = -1.0\n").unwrap();
    let output = f.command(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", text(&output));
    assert!(!f.path("model.forgotten.onnx").exists());
    let report = f.report();
    assert_eq!((&report["status"], &report["exit_code"]), (&"rejected".into(), &6.into()));
    assert!(report["model"]["output"].is_null());
    assert_eq!(report["audit"]["verdict"], "fail");
    follows_schema(&report);
    assert!(!f.path("model.forgotten.report/attestation.intoto.json").exists());
}

#[test]
fn divergence_publishes_nothing() {
    let f = Fixture::new("digits-cnn");
    let output = f.command(&["--learning-rate", "1000", "--epochs", "30"]).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", text(&output));
    assert!(!f.path("model.forgotten.onnx").exists());
}

#[test]
fn dry_run_writes_nothing() {
    let f = Fixture::new("notes-transformer");
    refuses(&f, &mut f.command(&["--dry-run"]), 0, "batch_size");
    let output = f.command(&["--dry-run", "--format", "json"]).output().unwrap();
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["status"], "dry-run");
}

#[test]
fn json_is_one_value_a_line() {
    let f = Fixture::new("cancer-mlp");
    let output = f.command(&["--format", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let lines: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(lines.iter().filter(|l| l["event"] == "epoch").count() >= 1);
    assert_eq!(lines.last().unwrap()["record"]["status"], "published");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_everything_as_it_was() {
    let f = Fixture::new("digits-cnn");
    let before = f.state();
    let (mut child, _lines) = crate::processes::begun(f.command(&["--epochs", "100000"]).stderr(Stdio::null()));
    crate::processes::signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(f.state(), before);
}

#[test]
fn no_id_or_value_of_a_row_is_written_or_said() {
    let f = Fixture::new("cancer-mlp");
    let output = f.command(&["-v", "-v"]).output().unwrap();
    let mut said = text(&output);
    for name in ["report.json", "report.html", "attestation.intoto.json", "tags.json"] {
        said += &fs::read_to_string(f.path("model.forgotten.report").join(name)).unwrap();
    }
    assert!(!said.contains("patient-"), "an id");
    for claim in ["erased", "compliant", "GDPR"] {
        assert!(!said.contains(claim), "the report claims {claim}");
    }
}

#[test]
fn further_tests_change_nothing_of_the_model() {
    let f = Fixture::new("cancer-mlp");
    let plain = f.command(&[]).output().unwrap();
    assert_eq!(plain.status.code(), Some(0), "{}", text(&plain));
    let model = fs::read(f.path("model.forgotten.onnx")).unwrap();
    let reference = f.path("reference.onnx");
    fs::rename(f.path("model.forgotten.onnx"), &reference).unwrap();
    let output = f.command(&["--audit", "deep", "--reference"]).arg(&reference).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(fs::read(f.path("model.forgotten.onnx")).unwrap(), model, "the tests changed the model");
    let report = f.report();
    follows_schema(&report);
    // The statement names the reference, by which gates were judged.
    let statement = json(&f.path("model.forgotten.report/attestation.intoto.json"));
    let configuration = statement["predicate"]["configuration"].as_array().unwrap();
    let named = configuration.iter().find(|c| c["name"] == "reference.onnx").unwrap();
    assert_eq!(named["digest"]["sha256"], *digest::file(&reference).unwrap());
    // The reference is the very result: nothing is between them.
    let after = &report["audit"]["reference"]["after"];
    assert!((number(after, "/tug_of_war") - 1.0).abs() < 1e-12 && number(after, "/average_gap") < 1e-12, "{after}");
    assert!(number(&report, "/audit/reference/before/tug_of_war") < 1.0);
    let deep = &report["audit"]["deep"];
    let points = deep["relearning"].as_array().unwrap();
    assert!(points.len() > 3 && points[0]["step"] == 0, "{deep}");
    let last = points.last().unwrap();
    assert!(last["forget_loss"].as_f64() < points[0]["forget_loss"].as_f64(), "nothing was learned: {deep}");
    let gates = report["gates"].to_string();
    for gate in ["max_relearn_advantage", "max_recovery", "max_average_gap", "max_rmia_distance"] {
        assert!(gates.contains(gate), "no {gate} in {gates}");
    }
    let refused = f.command(&["--force", "--reference"]).arg(f.path("model.onnx")).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
}
