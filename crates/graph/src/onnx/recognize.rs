//! What a file is that is no ONNX model, and what to do about it.

/// Start of a file, offset of the mark, the mark, and what to say.
const MARKS: [(usize, &[u8], &str); 14] = [
    (4, b"ORTM", "this is an onnxruntime format (.ort) file; give the .onnx model that it was converted from"),
    (
        4,
        b"ODTC",
        "this is an onnxruntime training checkpoint; give the training or eval model (.onnx) beside it, and this file with --checkpoint",
    ),
    (4, b"TFL3", "this is a TensorFlow Lite model; export the original model to ONNX"),
    (
        0,
        b"PK\x03\x04",
        "this is a zip archive, as TorchScript, torch.save and Keras write them; export the model with torch.onnx.export or tf2onnx",
    ),
    (0, b"\x89HDF\r\n\x1a\n", "this is an HDF5 file, as Keras writes them; export the model with tf2onnx"),
    (0, b"GGUF", "this is a GGUF file; export the original model to ONNX"),
    (0, b"\x1f\x8b", "this file is compressed; decompress it with gunzip"),
    (0, b"\x28\xb5\x2f\xfd", "this file is compressed; decompress it with unzstd"),
    (
        0,
        b"version https://git-lfs.github.com/spec/",
        "this is a Git LFS pointer, not the model itself; run `git lfs pull`",
    ),
    (0, b"PAR1", "this is a Parquet file; the model comes first on the command line, data after --data"),
    (0, b"\x80\x02", "this is a Python pickle; export the model with torch.onnx.export"),
    (0, b"\x80\x04", "this is a Python pickle; export the model with torch.onnx.export"),
    (0, b"\x80\x05", "this is a Python pickle; export the model with torch.onnx.export"),
    (0, b"\x93NUMPY", "this is a NumPy array; give the ONNX model"),
];

/// What to say of a file that starts with `head`, if it is known not to be an ONNX model.
pub fn foreign(head: &[u8]) -> Option<&'static str> {
    if head.is_empty() {
        return Some("the file is empty");
    }
    let mark = MARKS.iter().find(|(at, mark, _)| head.get(*at..).is_some_and(|tail| tail.starts_with(mark)));
    if let Some((_, _, say)) = mark {
        return Some(say);
    }
    if head.get(8) == Some(&b'{') && head.get(1..8).is_some_and(|high| high.iter().skip(3).all(|&b| b == 0)) {
        return Some("this is a safetensors file; export the model to ONNX");
    }
    let start = head.get(..head.len().min(512)).unwrap_or(head);
    let text = start.iter().all(|&b| b >= 0x20 || matches!(b, b'\t' | b'\n' | b'\r')) && start.len() >= 4;
    text.then_some("this is a text file, not an ONNX model in protobuf form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_files_are_named() {
        let cases: [(&[u8], &str); 9] = [
            (b"", "empty"),
            (b"\x18\0\0\0ORTM\0\0", ".ort"),
            (b"\x18\0\0\0ODTC\0\0", "checkpoint"),
            (b"PK\x03\x04\0\0", "TorchScript"),
            (b"\x89HDF\r\n\x1a\n\0", "HDF5"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
            (b"ir_version: 8\nproducer_name: \"x\"\n", "text"),
            (b"{\"irVersion\": 8}", "text"),
            (b"\x40\x01\0\0\0\0\0\0{\"w\":", "safetensors"),
        ];
        for (head, word) in cases {
            assert!(foreign(head).is_some_and(|say| say.contains(word)), "{head:?}");
        }
        assert_eq!(foreign(b"\x08\x07\x12\x07pytorch"), None);
    }
}
