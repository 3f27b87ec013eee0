//! What write-back refuses to write, and that nothing is left of what is not published.

use crate::{
    onnx_models::{Form, mlp, open, write},
    writeback::{change, changes, names, refused, snapshot, stored, two_files},
};
use onnx_forget::{Error, tensor::DType, writeback::splice};
use std::{collections::BTreeSet, fs};

#[test]
fn what_may_not_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let (model, data) = mlp(DType::F32, Form::External, "w.bin");
    let file = write(dir.path(), "in.onnx", &model, "w.bin", &data);
    let at = |name: &str| dir.path().join(name);
    fs::write(at("exists.onnx"), b"old").unwrap();
    fs::create_dir(at("folder")).unwrap();
    std::os::unix::fs::symlink("exists.onnx", at("link.onnx")).unwrap();
    std::os::unix::fs::symlink("nowhere", at("dangling.onnx")).unwrap();
    std::os::unix::fs::symlink(".", at("alias")).unwrap();
    fs::write(at("a.onnx"), b"two names").unwrap();
    fs::hard_link(at("a.onnx"), at("b.onnx")).unwrap();
    let changes = changes();
    let before = snapshot(dir.path());
    for (name, force, words) in [
        ("in.onnx", true, &["input", "never touched"][..]),
        ("alias/in.onnx", true, &["input", "never touched"]),
        ("w.bin", true, &["external data of the input"]),
        ("exists.onnx", false, &["exists", "--force"]),
        ("link.onnx", true, &["symbolic link"]),
        ("dangling.onnx", true, &["symbolic link"]),
        ("b.onnx", true, &["hard links"]),
        ("folder", true, &["folder"]),
        ("none/out.onnx", true, &["no folder", "create it"]),
        ("exists.onnx/out.onnx", true, &["folder"]),
        ("..", true, &["names no file"]),
    ] {
        let error = refused(splice(&file, &changes, &at(name), force).map(|_| ()), 2, words);
        assert!(matches!(error, Error::Write { .. }));
        assert_eq!(snapshot(dir.path()), before, "{name}");
    }
}

#[test]
fn force_replaces_out_and_its_own_external_data_only() {
    let dir = tempfile::tempdir().unwrap();
    let (model, data) = mlp(DType::F32, Form::External, "w.bin");
    let file = write(dir.path(), "in.onnx", &model, "w.bin", &data);
    let (out, changes) = (dir.path().join("out.onnx"), changes());
    splice(&file, &changes, &out, false).unwrap().publish().unwrap();
    refused(splice(&file, &changes, &out, false).map(|_| ()), 2, &["out.onnx", "exists"]);
    let again = [change("w", &[0.5; 32])];
    splice(&file, &again, &out, true).unwrap().publish().unwrap();
    assert_eq!(stored(&open(&out), "w"), again[0].values);
    assert_eq!(names(dir.path()), BTreeSet::from(["in.onnx", "w.bin", "out.onnx", "out.onnx.data"].map(String::from)));

    // A file of that name which OUT does not refer to is somebody else's.
    fs::write(dir.path().join("mine.onnx.data"), b"mine").unwrap();
    for force in [false, true] {
        let result = splice(&file, &changes, &dir.path().join("mine.onnx"), force).map(|_| ());
        refused(result, 2, &["mine.onnx.data", "exists"]);
    }
    assert_eq!(fs::read(dir.path().join("mine.onnx.data")).unwrap(), b"mine");
    // Nor is external data written through a link.
    std::os::unix::fs::symlink("mine.onnx.data", dir.path().join("l.onnx.data")).unwrap();
    refused(splice(&file, &changes, &dir.path().join("l.onnx"), true).map(|_| ()), 2, &["symbolic link"]);
    let other = tempfile::tempdir().unwrap();
    let sub = two_files(other.path());
    let target = other.path().join("target");
    fs::create_dir(&target).unwrap();
    std::os::unix::fs::symlink(dir.path(), target.join("sub")).unwrap();
    refused(splice(&sub, &changes, &target.join("out.onnx"), true).map(|_| ()), 2, &["is a link"]);
    // External data in another folder cannot have the model's name.
    refused(splice(&file, &changes, &target.join("w.bin"), true).map(|_| ()), 2, &["have this name"]);
}

#[test]
fn nothing_is_left_of_what_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    let (model, data) = mlp(DType::F32, Form::External, "w.bin");
    let file = write(dir.path(), "in.onnx", &model, "w.bin", &data);
    let (out, changes) = (dir.path().join("out.onnx"), changes());
    let before = snapshot(dir.path());
    let pending = splice(&file, &changes, &out, false).unwrap();
    assert!(snapshot(dir.path()).len() > before.len());
    drop(pending);
    assert_eq!(snapshot(dir.path()), before);

    // Somebody takes the name meanwhile: theirs stays, ours goes.
    let pending = splice(&file, &changes, &out, false).unwrap();
    fs::write(&out, b"theirs").unwrap();
    refused(pending.publish(), 2, &["out.onnx", "exists"]);
    assert_eq!(fs::read(&out).unwrap(), b"theirs");
    fs::remove_file(&out).unwrap();
    assert_eq!(snapshot(dir.path()), before);

    // A weight that is no number is never written.
    for bad in [f32::NAN, f32::INFINITY] {
        let mut values = vec![0.0; 32];
        values[7] = bad;
        refused(splice(&file, &[change("w", &values)], &out, false).map(|_| ()), 6, &["tensor `w`", "element 7"]);
    }
    assert_eq!(snapshot(dir.path()), before);
}

#[test]
fn a_half_that_would_overflow_is_refused() {
    for form in [Form::Raw, Form::Typed] {
        let dir = tempfile::tempdir().unwrap();
        let (model, _) = mlp(DType::F16, form, "");
        let file = write(dir.path(), "in.onnx", &model, "", &[]);
        let mut values = vec![0.0; 8];
        values[3] = 65520.0;
        let result = splice(&file, &[change("b", &values)], &dir.path().join("out.onnx"), false).map(|_| ());
        refused(result, 6, &["tensor `b`", "element 3", "f16"]);
    }
}

#[test]
fn the_proof_notices_every_wrong_byte() {
    let dir = tempfile::tempdir().unwrap();
    let (model, data) = mlp(DType::F32, Form::External, "w.bin");
    let file = write(dir.path(), "in.onnx", &model, "w.bin", &data);
    let (out, changes) = (dir.path().join("out.onnx"), changes());
    let pending = splice(&file, &changes, &out, false).unwrap();
    pending.verify().unwrap();
    let staged = pending.model_path();
    let bytes = fs::read(&staged).unwrap();
    for at in (0..bytes.len()).chain([bytes.len()]) {
        let mut wrong = bytes.clone();
        if at == bytes.len() {
            wrong.push(0x08)
        } else {
            wrong[at] ^= 0x10
        }
        fs::write(&staged, wrong).unwrap();
        refused(pending.verify(), 7, &["nothing is published"]);
    }
    fs::write(&staged, &bytes).unwrap();
    pending.verify().unwrap();
    let staged_data = staged.with_file_name("out.onnx.data");
    let external = fs::read(&staged_data).unwrap();
    for at in 0..=external.len() {
        let mut wrong = external.clone();
        if at == external.len() {
            wrong.push(0)
        } else {
            wrong[at] ^= 1
        }
        fs::write(&staged_data, wrong).unwrap();
        refused(pending.verify(), 7, &["nothing is published"]);
    }
    drop(pending);
    assert!(!out.exists());
}

#[test]
fn an_input_that_changes_meanwhile_stops_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let (model, data) = mlp(DType::F32, Form::External, "w.bin");
    let (changes, out) = (changes(), dir.path().join("out.onnx"));
    for name in ["in.onnx", "w.bin"] {
        let file = write(dir.path(), "in.onnx", &model, "w.bin", &data);
        let pending = splice(&file, &changes, &out, false).unwrap();
        pending.verify().unwrap();
        // Replaced, as a downloader would; the mapping still shows the old bytes.
        fs::write(dir.path().join("new"), b"new").unwrap();
        fs::rename(dir.path().join("new"), dir.path().join(name)).unwrap();
        refused(pending.publish(), 3, &["changed while"]);
        assert!(!out.exists());
    }
}
