//! A model of more than 2 GiB, most of it in a sparse external file.

use crate::{
    mutation::peak,
    onnx_models::{node, open, tensor_attribute, write},
};
use onnx_forget::{
    onnx::{
        OnnxFile,
        proto::{GraphProto, ModelProto, StringStringEntryProto, TensorProto, tensor_proto::DataLocation},
    },
    tensor::HostTensor,
    writeback::{Change, splice},
};
use std::{fs, io::Write, path::Path};

/// Beyond what 32 bits hold with a sign, and not on any page's edge.
const OFFSET: u64 = (2 << 30) + 20;

fn external(name: &str, dims: &[i64], offset: u64) -> TensorProto {
    let entry = |k: &str, v: String| StringStringEntryProto { key: Some(k.into()), value: Some(v) };
    TensorProto {
        name: Some(name.into()),
        data_type: Some(1),
        dims: dims.to_vec(),
        data_location: Some(DataLocation::External as i32),
        external_data: vec![entry("location", "w.bin".into()), entry("offset", offset.to_string())],
        ..Default::default()
    }
}

/// One tensor at the start of a large file, and one at its end.
fn large(folder: &Path) -> OnnxFile {
    let graph = GraphProto {
        initializer: vec![external("small", &[5], OFFSET)],
        node: vec![node("Constant", &[], &["c"], vec![tensor_attribute("value", external("", &[1], 8))])],
        ..Default::default()
    };
    let model = ModelProto { ir_version: Some(8), graph: Some(graph), ..Default::default() };
    let file = fs::File::create(folder.join("w.bin")).unwrap();
    file.set_len(OFFSET).unwrap();
    let mut end = fs::OpenOptions::new().append(true).open(folder.join("w.bin")).unwrap();
    (1..=5).for_each(|i| end.write_all(&(i as f32).to_le_bytes()).unwrap());
    write(folder, "in.onnx", &model, "", &[])
}

#[test]
fn more_than_2_gib_are_mapped_and_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let (held, small) = peak(|| {
        let file = large(dir.path());
        file.tensor(&file.proto().graph.as_ref().unwrap().initializer[0]).unwrap()
    });
    assert_eq!(small, HostTensor::vector(vec![1f32, 2.0, 3.0, 4.0, 5.0]));
    assert!(held < 1 << 20, "{held} bytes of memory for 20 bytes of a file");
}

#[test]
fn more_than_2_gib_are_spliced_and_proven_without_copies_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let file = large(dir.path());
    let change = [Change { name: "small".into(), values: vec![5.0, 4.0, 3.0, 2.0, 1.0] }];
    let out = dir.path().join("out.onnx");
    let (held, proof) = peak(|| {
        let pending = splice(&file, &change, &out, false).unwrap();
        let proof = pending.verify().unwrap();
        pending.publish().unwrap();
        proof
    });
    assert!(held < 4 << 20, "{held} bytes of memory");
    assert!(proof.bytes_compared > OFFSET);
    let new = open(&out);
    let small = new.tensor(&new.proto().graph.as_ref().unwrap().initializer[0]).unwrap();
    assert_eq!(small.to_f32(), change[0].values);
}
