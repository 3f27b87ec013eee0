//! A runtime that crashes, played by a script in the place of the process in which models are tried out.

use super::{Opened, models::classifier, require_passed};
use onnx_forget::{
    parity::{Guard, Runtimes},
    tensor::DType,
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// A guard that asks a shell script, whose sixth argument is the optimization.
fn guard(folder: &Path, script: &str) -> Guard {
    let path = folder.join("try-out");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Guard::with(path)
}

#[test]
fn a_crash_with_optimizations_is_told_and_gone_around() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(&classifier(folder.path(), DType::F32));
    opened.settings.guard = guard(folder.path(), "[ $6 = full ] && kill -SEGV $$\nprintf 'came back'");
    let found = opened.verify();
    require_passed(&found, 2);
    let verdict = found.forward.unwrap().verdict;
    assert!(verdict.starts_with("onnxruntime agrees") && verdict.contains("signal 11"), "{verdict}");
}

#[test]
fn where_onnxruntime_crashes_tract_decides_unless_it_may_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(&classifier(folder.path(), DType::F32));
    opened.settings.guard = guard(folder.path(), "kill -ABRT $$");
    let found = opened.verify();
    require_passed(&found, 1);
    let forward = found.forward.unwrap();
    assert_eq!((forward.runtimes[0].name.as_str(), forward.not_available[0].name.as_str()), ("tract", "onnxruntime"));
    assert!(forward.verdict.contains("signal 6") && forward.not_available[0].why.contains("signal 6"));
    assert_eq!(found.gradient.unwrap().runtime, "tract");

    opened.settings.runtimes = Runtimes::Ort;
    let (parity, model, batches) = opened.split();
    let error = parity.before(model, batches).unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert!(error.to_string().contains("signal 6") && error.to_string().contains("--parity tract"), "{error}");
}

#[test]
fn a_process_that_was_asked_to_end_ends_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(&classifier(folder.path(), DType::F32));
    opened.settings.guard = guard(folder.path(), "kill -TERM $$");
    let (parity, model, batches) = opened.split();
    assert_eq!(parity.before(model, batches).unwrap_err().exit_code(), 130);
}

#[test]
fn the_program_tries_out_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = Opened::new(&classifier(folder.path(), DType::F16));
    opened.settings.guard = Guard::with(env!("CARGO_BIN_EXE_onnx-forget").into());
    require_passed(&opened.verify(), 2);
    assert_eq!(opened.settings.guard.found().crash, None);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the model");
}
