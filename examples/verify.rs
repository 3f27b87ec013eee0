//! Compares a model's outputs and gradients with onnxruntime's, on random rows: `cargo run --release --example verify [MODEL]`.

use onnx_forget::{Result, Verify};
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cancer-mlp/model.onnx");
    let model = std::env::args_os().nth(1).map_or(fixture, PathBuf::from);
    let found = Verify::new(model).samples(64).run(&mut ())?;
    println!("passed: {}", found.passed);
    found.require()
}
