//! Attacks a model to find out which rows it was trained on, and changes nothing: `cargo run --release --example audit`.

use onnx_forget::{
    Audit, Result,
    data::{InputConfig, PerChannel},
};
use std::path::Path;

fn main() -> Result<()> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/digits-cnn");
    let pixels = InputConfig {
        scale: Some(1.0 / 255.0),
        mean: Some(PerChannel::One(0.2877)),
        std: Some(PerChannel::One(0.3549)),
        ..InputConfig::default()
    };
    let job = Audit::new(fixture.join("model.onnx"))
        .train(fixture.join("train.parquet"))
        .validation(fixture.join("validation.parquet"))
        .test(fixture.join("test.parquet"))
        .ids(fixture.join("forget.parquet"))
        .input("image", pixels)
        .prepare(&mut ())?;
    let found = job.run(&mut ())?;
    println!("{}", serde_json::to_string_pretty(&found.audit).unwrap_or_default());
    Ok(())
}
