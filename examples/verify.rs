//! Compares a model's outputs and gradients with onnxruntime's, on random rows: `cargo run --release --example verify [MODEL]`.

use onnx_forget::{
    Result,
    run::{
        Options, Stop,
        verify::{Checks, verify},
    },
};
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cancer-mlp/model.onnx");
    let model = std::env::args_os().nth(1).map_or(fixture, PathBuf::from);
    let checks = Checks { rows: None, samples: 64, locate: false };
    let found = verify(&Options::new(&model), &checks, &Stop::default(), &mut ())?;
    println!("passed: {}", found.passed);
    Ok(())
}
