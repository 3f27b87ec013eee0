//! Tests of reading, on files made for the purpose.

mod external;
mod span;
mod storage;

use super::{
    OnnxFile, ReadOptions,
    proto::{
        AttributeProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
        tensor_proto::DataLocation,
    },
    wire::write_varint,
};
use crate::{Error, Result, tensor::DType};
use prost::Message;
use std::{fs, path::Path};
use tempfile::TempDir;

/// A float tensor with its elements in `float_data`.
fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto { float_data: values.to_vec(), ..tensor(name, DType::F32 as i32, dims) }
}

/// A tensor without elements.
fn tensor(name: &str, data_type: i32, dims: &[i64]) -> TensorProto {
    TensorProto { name: Some(name.into()), data_type: Some(data_type), dims: dims.to_vec(), ..Default::default() }
}

fn raw(name: &str, dtype: DType, dims: &[i64], bytes: &[u8]) -> TensorProto {
    TensorProto { raw_data: Some(bytes.to_vec().into()), ..tensor(name, dtype as i32, dims) }
}

fn external(name: &str, dims: &[i64], entries: &[(&str, &str)]) -> TensorProto {
    let entry =
        |&(key, value): &(&str, &str)| StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) };
    TensorProto {
        data_location: Some(DataLocation::External as i32),
        external_data: entries.iter().map(entry).collect(),
        ..tensor(name, DType::F32 as i32, dims)
    }
}

fn constant(output: &str, attribute: AttributeProto) -> NodeProto {
    NodeProto {
        op_type: Some("Constant".into()),
        output: vec![output.into()],
        attribute: vec![attribute],
        ..Default::default()
    }
}

fn model(initializer: Vec<TensorProto>, node: Vec<NodeProto>) -> ModelProto {
    let graph = GraphProto { initializer, node, name: Some("g".into()), ..Default::default() };
    ModelProto { ir_version: Some(10), graph: Some(graph), ..Default::default() }
}

fn write(folder: &Path, bytes: &[u8]) -> Result<OnnxFile> {
    let path = folder.join("model.onnx");
    fs::write(&path, bytes).unwrap();
    OnnxFile::open(&path, &ReadOptions::default())
}

fn open(model: &ModelProto) -> (TempDir, OnnxFile) {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), &model.encode_to_vec()).unwrap();
    (folder, file)
}

/// A length-delimited field.
fn field(number: u32, body: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    write_varint(&mut out, u64::from(number << 3 | 2), 0);
    write_varint(&mut out, body.len() as u64, 0);
    out.extend(body);
    out
}

/// A varint field.
fn number(field: u32, value: u64) -> Vec<u8> {
    let mut out = vec![];
    write_varint(&mut out, u64::from(field << 3), 0);
    write_varint(&mut out, value, 0);
    out
}

/// Asserts the exit code and that the message has all `words`.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, words: &[&str]) {
    let error: Error = result.unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
}

#[test]
fn files_that_are_no_models_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    refused(write(folder.path(), b""), &["model.onnx", "empty"]);
    refused(write(folder.path(), b"version https://git-lfs.github.com/spec/v1\n"), &["git lfs pull"]);
    refused(write(folder.path(), &number(1, 8)), &["no graph"]);
    refused(write(folder.path(), &[0x3a, 0x7f, 0x00]), &["byte 0", "past the end"]);
    refused(OnnxFile::open(folder.path(), &ReadOptions::default()), &["folder"]);
    refused(OnnxFile::open(&folder.path().join("none.onnx"), &ReadOptions::default()), &["none.onnx"]);
}

#[test]
fn a_name_that_is_not_utf8_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    refused(write(folder.path(), &field(7, &field(2, b"\xff\xfe"))), &["UTF-8"]);
}

#[test]
fn a_file_over_2_gib_is_refused_without_reading_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.onnx");
    let file = fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut &file, &[0x08, 0x08]).unwrap();
    file.set_len(5 << 30).unwrap();
    refused(OnnxFile::open(&path, &ReadOptions::default()), &["2 GiB", "external data"]);
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_refused_without_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    refused(OnnxFile::open(&path, &ReadOptions::default()), &["regular file"]);
}

#[test]
fn raw_data_are_slices_of_the_mapping() {
    let (_folder, file) = open(&model(vec![raw("w", DType::F32, &[2], &[0; 8])], vec![]));
    let stored = file.proto().graph.as_ref().unwrap().initializer[0].raw_data.as_ref().unwrap().as_ptr();
    assert!(file.bytes().as_ptr_range().contains(&stored));
}

#[test]
fn a_change_of_the_input_is_noticed() {
    let (folder, file) = open(&model(vec![], vec![]));
    file.require_unchanged().unwrap();
    fs::write(folder.path().join("model.onnx"), b"other").unwrap();
    refused(file.require_unchanged(), &["changed while"]);
}

#[test]
fn the_folder_of_a_bare_name_is_never_empty() {
    assert_eq!(super::folder_of(Path::new("model.onnx")), Path::new("."));
    assert_eq!(super::folder_of(Path::new("a/model.onnx")), Path::new("a"));
    assert_eq!(super::folder_of(Path::new("/model.onnx")), Path::new("/"));
}
