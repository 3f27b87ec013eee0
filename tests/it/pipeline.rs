//! The program as one step of many: signals, what is left behind, what is printed where, exit codes.

use crate::flow::{Fixture, follows_schema, json, program, text};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

/// Runs, and expects an exit code.
fn ends(command: &mut Command, code: i32) -> Output {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    assert!(!text(&output).contains("panicked"), "{}", text(&output));
    output
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn names(fixture: &Fixture) -> Vec<String> {
    let names = fs::read_dir(fixture.path("")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// What the program has in the folder for temporary files. (onnxruntime has a file of its own there.)
fn copies(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("onnx-forget")).count()
}

/// Adds to the fixture's configuration.
fn configure(fixture: &Fixture, more: &str) {
    let path = fixture.path("model.forget.toml");
    fs::write(&path, fs::read_to_string(&path).unwrap() + "\n" + more).unwrap();
}

#[cfg(unix)]
#[test]
fn signals_that_ask_to_end_leave_everything_as_it_was() {
    // A program started by nohup leaves SIGHUP ignored.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    let signals = if ignored.unwrap_or(0) & 1 == 0 { &["TERM", "HUP", "QUIT"][..] } else { &["TERM", "QUIT"] };
    for signal in signals {
        let f = Fixture::new("cancer-mlp");
        let (before, temporary) = (names(&f), tempfile::tempdir().unwrap());
        let mut command = f.command(&["--epochs", "100000"]);
        let (mut child, lines) = crate::processes::begun(command.env("TMPDIR", temporary.path()).stderr(Stdio::null()));
        crate::processes::signal(&child, signal);
        let last: Value = serde_json::from_str(&lines.last().unwrap().unwrap()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        assert_eq!((&last["event"], &last["exit_code"]), (&"error".into(), &130.into()));
        assert_eq!(names(&f), before, "{signal}");
        assert_eq!(copies(temporary.path()), 0, "{signal}");
    }
}

#[cfg(unix)]
#[test]
fn what_killed_runs_left_is_removed() {
    let f = Fixture::new("cancer-mlp");
    let temporary = tempfile::tempdir().unwrap();
    let partial = f.path(".model.forgotten.onnx.onnx-forget-Ab3dEf6h1jKl.partial");
    let others = f.path(".somebody.partial");
    let stale = temporary.path().join("onnx-forget-Ab3dEf6h1jKl");
    for folder in [&partial, &others, &stale] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("weights"), "old").unwrap();
    }
    let output = ends(f.command(&[]).env("TMPDIR", temporary.path()), 0);
    assert!(!partial.exists() && others.exists(), "{}", text(&output));
    assert_eq!(copies(temporary.path()), 0);
    assert!(text(&output).contains("which a killed run had left"), "{}", text(&output));
}

#[test]
fn nothing_that_the_job_reads_is_replaced() {
    let f = Fixture::new("cancer-mlp");
    for name in ["train.parquet", "forget.parquet", "model.forget.toml", "test.parquet", "model.onnx"] {
        let before = fs::read(f.path(name)).unwrap();
        let output = ends(f.command(&["--force", "-o"]).arg(f.path(".").join(name)), 2);
        assert!(text(&output).contains(name), "{}", text(&output));
        assert!(fs::read(f.path(name)).unwrap() == before, "{name} was changed");
    }
    assert!(!f.path("model.forgotten.report").exists());
    let mut train = program();
    train.arg("train").arg(f.path("model.onnx")).args(["--force", "-o"]).arg(f.path("train.parquet"));
    ends(&mut train, 2);
    // The configuration may lie beside a model of somebody else.
    configure(&f, "[report]\nfolder = \"../elsewhere\"\n");
    ends(&mut f.command(&[]), 2);
}

#[test]
fn what_stands_in_the_way_is_said_before_the_data_are_read() {
    let f = Fixture::new("cancer-mlp");
    fs::write(f.path("taken"), "a file").unwrap();
    fs::create_dir(f.path("others")).unwrap();
    fs::write(f.path("others/report.json"), "{\"of\": \"another program\"}").unwrap();
    // The data would be refused with code 4.
    for (flag, value) in
        [("--report", "taken"), ("--report", "others"), ("-o", "nowhere/m.onnx"), ("-o", "taken/m.onnx")]
    {
        for more in [&[][..], &["--dry-run"][..]] {
            let mut command = f.command(more);
            ends(command.args(["--data", "nowhere.parquet", flag]).arg(f.path(value)), 2);
        }
    }
    assert!(fs::read_to_string(f.path("others/report.json")).unwrap().contains("another program"));
    fs::write(f.path("model.forgotten.onnx"), "mine").unwrap();
    ends(f.command(&["--data", "nowhere.parquet"]).arg("--offline"), 2);
    let output = ends(&mut f.command(&["--dry-run", "--format", "json"]), 0);
    assert!(lines(&output)[0]["warnings"][0].as_str().unwrap().contains("--force"), "{}", text(&output));
}

#[test]
fn a_rejected_run_leaves_the_model_and_its_report_as_they_were() {
    let f = Fixture::new("cancer-mlp");
    ends(&mut f.command(&["--name", "first <run>"]), 0);
    let report = json(&f.path("model.forgotten.report/report.json"));
    assert_eq!(report["run"]["name"], "first <run>");
    assert!(report["run"]["command"].as_array().unwrap().contains(&"--forget".into()));
    let html = fs::read_to_string(f.path("model.forgotten.report/report.html")).unwrap();
    assert!(html.contains("first &lt;run&gt;") && html.contains("--forget"));
    let files = ["model.forgotten.onnx", "model.forgotten.report/report.json", "model.forgotten.report/report.html"]
        .into_iter()
        .chain(["model.forgotten.report/attestation.intoto.json", "model.forgotten.report/tags.json"]);
    let state = || files.clone().map(|name| fs::read(f.path(name)).unwrap()).collect::<Vec<_>>();
    let before = state();
    configure(&f, "[gates]\nmax_test_accuracy_drop = -1.0\n");
    let output = ends(&mut f.command(&["--force"]), 6);
    assert!(state() == before, "the published run's files were changed");
    assert!(
        text(&output).contains("model.forgotten.rejected.report") && text(&output).contains("try next"),
        "{}",
        text(&output)
    );
    let rejected = json(&f.path("model.forgotten.rejected.report/report.json"));
    follows_schema(&rejected);
    assert_eq!(rejected["status"], "rejected");
    assert!(rejected["advice"][0].as_str().unwrap().contains("max_test_accuracy_drop"));
    // And once more, over its own report.
    ends(&mut f.command(&["--force"]), 6);
    assert!(!names(&f).iter().any(|name| name.contains("partial")), "{:?}", names(&f));
}

#[cfg(unix)]
#[test]
fn a_report_is_as_private_as_the_data() {
    use std::os::unix::fs::PermissionsExt;
    let f = Fixture::new("cancer-mlp");
    let mode = |name: &str| fs::metadata(f.path(name)).unwrap().permissions().mode() & 0o777;
    fs::set_permissions(f.path("train.parquet"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(f.path("test.parquet"), fs::Permissions::from_mode(0o604)).unwrap();
    ends(&mut f.command(&[]), 0);
    for name in ["report.json", "report.html", "tags.json", "attestation.intoto.json"] {
        assert_eq!(mode(&format!("model.forgotten.report/{name}")), 0o600, "{name}");
    }
}

#[test]
fn limits_that_are_none_are_refused_and_gates_that_are_off_are_told() {
    for limit in ["nan", "-inf", "5", "5.0"] {
        let f = Fixture::new("cancer-mlp");
        configure(&f, &format!("[gates]\nmax_test_accuracy_drop = {limit}\n"));
        let said = text(&ends(&mut f.command(&[]), 2));
        assert!(said.contains("max_test_accuracy_drop"), "{said}");
    }
    let f = Fixture::new("cancer-mlp");
    configure(&f, "[gates]\nmax_test_accuracy_drop = inf\n");
    let output = ends(&mut f.command(&["--strict"]), 6);
    assert!(text(&output).contains("--strict") && !f.path("model.forgotten.onnx").exists(), "{}", text(&output));
    let output = ends(&mut f.command(&[]), 0);
    assert!(text(&output).contains("max_test_accuracy_drop: switched off"), "{}", text(&output));
    let report = f.report();
    follows_schema(&report);
    assert_eq!(report["gates_off"], Value::from(vec!["max_test_accuracy_drop"]));
    assert_ne!(report["audit"]["verdict"], "pass");
}

#[test]
fn json_tells_stages_warnings_and_errors() {
    let f = Fixture::new("cancer-mlp");
    let events = lines(&ends(&mut f.command(&["--format", "json"]), 0));
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    let ended = of("stage").into_iter().filter(|event| event["state"] == "end" && event["seconds"].is_number()).count();
    assert_eq!(of("stage").len(), 2 * ended);
    assert!(ended > 5 && of("plan").len() == 1, "{events:?}");
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["record"]["status"]), (&"report".into(), &"published".into()));
    let quiet = lines(&ends(&mut f.command(&["--format", "json", "--force", "-q"]), 0));
    assert_eq!(quiet.len(), 1);
    for (more, code) in
        [(&["--no-such-flag"][..], 2), (&["--data", "nowhere.parquet", "--force"], 4), (&["--alpha", "2"], 2)]
    {
        let output = ends(f.command(&["--format", "json"]).args(more), code);
        let last = lines(&output).pop().unwrap();
        assert_eq!((&last["event"], &last["exit_code"]), (&"error".into(), &code.into()));
        assert!(!last["message"].as_str().unwrap().is_empty());
    }
    // A command that prints one value prints no event beside it.
    let output =
        ends(program().arg("audit").arg(f.path("none.onnx")).args(["--forget-class", "1", "--format=json"]), 3);
    assert_eq!(lines(&output).len(), 1);
}

#[test]
fn results_go_to_stdout_and_progress_to_stderr() {
    let f = Fixture::new("cancer-mlp");
    let output = ends(&mut f.command(&["-v"]), 0);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("PUBLISHED (exit code 0)") && out.contains("verdict") && out.contains("report.html"), "{out}");
    assert!(err.contains("unlearning ...") && err.contains("epoch 1/") && !err.contains("verdict"), "{err}");
    assert!(!text(&output).contains('\u{1b}'), "colors in a pipe");
    let output = ends(&mut f.command(&["-q", "--force"]), 0);
    assert_eq!(text(&output), "");
    let output = ends(&mut f.command(&["-q"]), 2);
    assert!(text(&output).starts_with("error: ") && output.stdout.is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn full_and_closed_streams_end_with_a_word_and_never_with_a_panic() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let f = Fixture::new("cancer-mlp");
    for more in [&[][..], &["--format", "json"], &["--dry-run"]] {
        let output = ends(f.command(more).stdout(full()), 2);
        assert!(text(&output).contains("standard output"), "{}", text(&output));
        assert!(!f.path("model.forgotten.onnx").exists() && !f.path("model.forgotten.report").exists());
    }
    ends(program().arg("inspect").arg(f.path("model.onnx")).stdout(full()), 2);
    ends(f.command(&["-v"]).stderr(full()), 0);
    for arguments in [&["--dry-run", "--force"][..], &["--force"]] {
        let mut child = f.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }
}

#[test]
fn what_a_package_installs_is_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&ends(program().args(["completions", shell]), 0));
        assert!(script.contains("onnx-forget") && script.contains("forget-class"), "{shell}");
    }
    let page = text(&ends(program().arg("man"), 0));
    for word in [".TH onnx-forget 1", "forget\\-class", "COMMAND AUDIT", "130 interrupted"] {
        assert!(page.contains(word), "no {word} in the manual page");
    }
    let short = text(&ends(program().arg("-V"), 0));
    assert_eq!(short.lines().count(), 1);
    let long = text(&ends(program().arg("--version"), 0));
    for word in ["commit ", "features ", "target ", "onnxruntime "] {
        assert!(long.lines().any(|line| line.starts_with(word)), "{long}");
    }
    for arguments in [&["--help"][..], &["compare", "--help"], &["train", "--help"], &["verify", "--help"]] {
        let help = text(&ends(program().args(arguments), 0));
        assert!(!help.contains("[`") && !help.contains("::"), "{help}");
    }
}

#[test]
fn words_that_are_nearly_right_are_recognized() {
    let f = Fixture::new("cancer-mlp");
    for (word, meant) in [("hlep", "help"), ("inspct", "inspect"), ("Audit", "audit")] {
        let said = text(&ends(program().current_dir(f.path("")).arg(word), 2));
        assert!(said.contains(&format!("did you mean the command `{meant}`")), "{said}");
    }
    configure(&f, "[inputs.featurs]\nscale = 2.0\n");
    let said = text(&ends(&mut f.command(&[]), 2));
    assert!(said.contains("did you mean `[inputs.features]`"), "{said}");
    let f = Fixture::new("cancer-mlp");
    configure(&f, "[unlern]\nseed = 1\n");
    let said = text(&ends(&mut f.command(&[]), 2));
    assert!(said.contains("line ") && said.contains("did you mean `unlearn`"), "{said}");
    let said = text(&ends(&mut f.command(&["--threads", "9999"]), 2));
    assert!(said.contains("--threads"), "{said}");
    let long = "{a,b}".repeat(20_000);
    ends(f.command(&["--freeze", &long]).env("RUST_BACKTRACE", "0"), 2);
}

#[test]
fn secrets_in_addresses_are_not_told() {
    let f = Fixture::new("cancer-mlp");
    for more in [&[][..], &["--format", "json"], &["-v", "-v"], &["--no-such-flag"]] {
        for address in ["https://user:hunter2@host/train.parquet", "s3://bucket/t.parquet?X-Amz-Signature=hunter2"] {
            let output = f.command(&["--data", address]).args(more).output().unwrap();
            assert_ne!(output.status.code(), Some(0));
            assert!(!text(&output).contains("hunter2"), "{}", text(&output));
        }
        let output = f.command(more).arg("https://user:hunter2@host/x").output().unwrap();
        assert!(output.status.code() == Some(2) && !text(&output).contains("hunter2"), "{}", text(&output));
    }
}
