//! Lists the operators of a model, its loss, and what is trained: `cargo run --release --example inspect [MODEL]`.

use onnx_forget::{Inspect, Result};
use std::path::{Path, PathBuf};

fn main() -> Result<()> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/digits-cnn/model.onnx");
    let model = std::env::args_os().nth(1).map_or(fixture, PathBuf::from);
    let (found, usable) = Inspect::new(model).run()?;
    println!("{}", serde_json::to_string_pretty(&found).unwrap_or_default());
    usable
}
