use super::*;
use crate::onnx::{external_data::components, span::Spans};
use crate::tensor::HostTensor;

/// A folder with `weights.bin` (the floats 0 to 7) and a model that refers to it by `entries`.
fn with(entries: &[(&str, &str)]) -> (TempDir, OnnxFile) {
    let (folder, file) = open(&model(vec![external("w", &[2], entries)], vec![]));
    let bytes: Vec<u8> = (0..8).flat_map(|i| (i as f32).to_le_bytes()).collect();
    fs::write(folder.path().join("weights.bin"), bytes).unwrap();
    (folder, file)
}

fn first(file: &OnnxFile) -> Result<HostTensor> {
    file.tensor(&file.proto().graph.as_ref().unwrap().initializer[0])
}

/// Both ways of reading refuse.
#[track_caller]
fn both(entries: &[(&str, &str)], words: &[&str]) {
    let (_folder, file) = with(entries);
    refused(first(&file), words);
    refused(Spans::scan(&file), words);
}

#[test]
fn offset_and_length() {
    let (_f, file) = with(&[("location", "weights.bin"), ("offset", "8"), ("length", "8")]);
    assert_eq!(first(&file).unwrap(), HostTensor::vector(vec![2f32, 3.0]));
    let (_f, file) = with(&[("location", "./weights.bin"), ("basepath", "/etc")]);
    assert_eq!(first(&file).unwrap(), HostTensor::vector(vec![0f32, 1.0]));
    let (_f, file) = with(&[("location", "weights.bin"), ("offset", "24")]);
    assert_eq!(first(&file).unwrap(), HostTensor::vector(vec![6f32, 7.0]));
}

#[test]
fn locations_that_leave_the_folder_or_name_nothing() {
    for (location, word) in [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("../secret", "`..`"),
        ("a/../../secret", "`..`"),
        ("a/../weights.bin", "`..`"),
        ("..", "`..`"),
        ("weights.bin\0.txt", "NUL"),
        ("..\\secret", "backslash"),
        ("C:\\secret", "backslash"),
        ("C:secret", "drive"),
        ("\\\\server\\share", "backslash"),
        ("weights/", "folder"),
        (".", "names no file"),
        ("*/_ORT_MEM_ADDR_/*", "memory of the program"),
    ] {
        let error = components(location).unwrap_err();
        assert!(error.contains(word), "{location:?}: {error}");
        both(&[("location", location)], &["tensor `w`", word]);
    }
    assert_eq!(components("a//./b.bin"), Ok(vec!["a", "b.bin"]));
    assert_eq!(components("..weights"), Ok(vec!["..weights"]));
}

#[test]
fn keys_are_known_and_appear_once() {
    both(&[("location", "weights.bin"), ("__class__", "x")], &["__class__", "not one of the format's"]);
    both(&[("location", "weights.bin"), ("offset", "0"), ("offset", "8")], &["`offset` appears twice"]);
    both(&[("offset", "0")], &["no `location`"]);
}

#[test]
fn numbers_are_whole_and_inside_the_file() {
    for text in ["-1", "", "1.0", "0x8", "+8", " 8", "99999999999999999999", "9223372036854775808"] {
        both(&[("location", "weights.bin"), ("offset", text)], &["`offset`", "whole number"]);
        both(&[("location", "weights.bin"), ("length", text)], &["`length`", "whole number"]);
    }
    both(&[("location", "weights.bin"), ("offset", "25")], &["32 bytes", "too few"]);
    both(&[("location", "weights.bin"), ("offset", "9223372036854775807")], &["too few"]);
    both(&[("location", "weights.bin"), ("length", "4")], &["4 bytes", "8"]);
    both(&[("location", "weights.bin"), ("length", "9223372036854775807")], &["take 8"]);
}

#[test]
fn a_huge_shape_allocates_nothing() {
    let entries = [("location", "weights.bin")];
    let (folder, file) = open(&model(vec![external("w", &[1 << 40], &entries)], vec![]));
    fs::write(folder.path().join("weights.bin"), [0; 8]).unwrap();
    refused(first(&file), &["too few for 4398046511104"]);
}

#[test]
fn files_that_are_no_regular_files() {
    let (folder, file) = with(&[("location", "sub")]);
    fs::create_dir(folder.path().join("sub")).unwrap();
    refused(first(&file), &["`sub`", "folder"]);
    let (_folder, file) = with(&[("location", "missing.bin")]);
    refused(first(&file), &["tensor `w`", "`missing.bin`", "no such file", "moved together"]);
    #[cfg(unix)]
    {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let (folder, file) = with(&[("location", "pipe")]);
        mknodat(CWD, folder.path().join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        refused(first(&file), &["regular file"]);
    }
}

#[cfg(unix)]
#[test]
fn links() {
    use std::os::unix::fs::symlink;
    let (folder, file) = with(&[("location", "link.bin")]);
    symlink("weights.bin", folder.path().join("link.bin")).unwrap();
    refused(first(&file), &["symbolic link", "--allow-symlink-inside"]);
    let path = folder.path().join("model.onnx");
    let allowed = OnnxFile::open(&path, &ReadOptions { allow_symlink_inside: true }).unwrap();
    assert_eq!(first(&allowed).unwrap(), HostTensor::vector(vec![0f32, 1.0]));

    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("secret"), [0; 32]).unwrap();
    let (folder, _) = with(&[("location", "link.bin")]);
    symlink(elsewhere.path().join("secret"), folder.path().join("link.bin")).unwrap();
    let path = folder.path().join("model.onnx");
    let outside = OnnxFile::open(&path, &ReadOptions { allow_symlink_inside: true }).unwrap();
    refused(first(&outside), &["out of the model's folder"]);

    let (folder, file) = with(&[("location", "weights.bin")]);
    fs::hard_link(folder.path().join("weights.bin"), folder.path().join("other")).unwrap();
    refused(first(&file), &["hard links"]);
    let path = folder.path().join("model.onnx");
    let file = OnnxFile::open(&path, &ReadOptions { allow_symlink_inside: true }).unwrap();
    refused(first(&file), &["hard links"]);
}

#[test]
fn a_checksum_is_verified() {
    use sha1::{Digest, Sha1};
    let bytes: Vec<u8> = (0..8).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let sum: String = Sha1::digest(&bytes).iter().map(|b| format!("{b:02X}")).collect();
    let (_f, file) = with(&[("location", "weights.bin"), ("checksum", &sum)]);
    first(&file).unwrap();
    both(&[("location", "weights.bin"), ("checksum", "0123")], &["checksum"]);
}

#[test]
fn external_data_of_a_bare_file_name_lie_in_the_current_folder() {
    // The containment rule must hold for `model.onnx` as for `./model.onnx`.
    let file = super::super::folder_of(Path::new("model.onnx"));
    let error = super::super::open_beneath::open(&file, &["no-such-file-in-this-folder"], false).unwrap_err();
    assert!(error.contains("no such file"), "{error}");
}
