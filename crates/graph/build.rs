//! Generates the types of `onnx/onnx.proto`. `protox` compiles it in Rust, so no `protoc` is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=onnx.proto");
    println!("cargo::rerun-if-changed=build.rs");
    let files = protox::compile(["onnx.proto"], ["."])?;
    prost_build::Config::new()
        // Raw tensor data is a slice of the mapped file, not a copy.
        .bytes([".onnx.TensorProto.raw_data"])
        // Keeps the size of an attribute small: files hold many, of which few have a tensor or a graph.
        .boxed(".onnx.AttributeProto.t")
        .boxed(".onnx.AttributeProto.g")
        .boxed(".onnx.AttributeProto.sparse_tensor")
        .boxed(".onnx.AttributeProto.tp")
        .compile_fds(files)?;
    Ok(())
}
