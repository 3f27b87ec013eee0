//! What `verify A B` finds between two models.

use crate::{
    onnx_models::{Form, mlp, open, write},
    writeback::change,
};
use onnx_forget::{
    tensor::DType,
    writeback::{diff, splice},
};
use std::fs;

#[test]
fn differences_are_told_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let (model, _) = mlp(DType::F32, Form::Raw, "");
    let a = write(dir.path(), "a.onnx", &model, "", &[]);
    let mut other = model.clone();
    other.metadata_props[0].value = Some("w".into());
    other.opset_import[0].version = Some(18);
    let graph = other.graph.as_mut().unwrap();
    graph.node[4].op_type = Some("Sigmoid".into());
    graph.initializer[1].name = Some("bias".into());
    graph.initializer[2].dims = vec![3, 8];
    graph.output[0].name = Some("z".into());
    let b = write(dir.path(), "b.onnx", &other, "", &[]);
    let lines = diff(&a, &b).unwrap().other.join("\n");
    for words in [
        "metadata_props `k`: Some(\"v\") → Some(\"w\")",
        "opset_import: {\"\": 17} → {\"\": 18}",
        "node 4 `Relu_r` (Relu) op_type: \"Relu\" → \"Sigmoid\"",
        "tensor `b` is only in the first model",
        "tensor `bias` is only in the second model",
        "tensor `v` shape: [8, 3] → [3, 8]",
        "graph outputs: [\"y\"] → [\"z\"]",
    ] {
        assert!(lines.contains(words), "{words:?} is not in:\n{lines}");
    }
    // Norms of what changed.
    let (c, out) = ([change("c", &[0.5, -1.0, 5.0])], dir.path().join("c.onnx"));
    splice(&a, &c, &out, false).unwrap().publish().unwrap();
    let found = diff(&a, &open(&out)).unwrap();
    let changed = &found.changed[0];
    assert_eq!((changed.name.as_str(), changed.elements, changed.dims.as_slice()), ("c", 1, &[3][..]));
    assert_eq!((changed.norm_difference, changed.max_abs_difference, changed.norm), (3.0, 3.0, 5.25f64.sqrt()));
    assert_eq!((found.unchanged, found.other.len()), (4, 0));
    // Bytes that no field explains.
    fs::write(dir.path().join("d.onnx"), [a.bytes(), &[0xc8, 0x3e, 0x05]].concat()).unwrap();
    let found = diff(&a, &open(&dir.path().join("d.onnx"))).unwrap();
    assert!(!found.identical && found.other[0].contains("no known field explains"), "{:?}", found.other);
}
