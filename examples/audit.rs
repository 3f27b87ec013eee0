//! Attacks a model to find out which rows it was trained on, and changes nothing: `cargo run --release --example audit`.

use onnx_forget::{
    Result,
    data::{InputConfig, PerChannel},
    run::{Options, Stop, audit::audit},
};
use std::path::Path;

fn main() -> Result<()> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/digits-cnn");
    let mut options = Options::new(&fixture.join("model.onnx"));
    options.data.files.train = Some(fixture.join("train.parquet").into());
    options.data.files.validation = Some(fixture.join("validation.parquet").into());
    options.data.files.test = Some(fixture.join("test.parquet").into());
    options.forget.push(fixture.join("forget.parquet"));
    let image = InputConfig {
        scale: Some(1.0 / 255.0),
        mean: Some(PerChannel::One(0.2877)),
        std: Some(PerChannel::One(0.3549)),
        ..InputConfig::default()
    };
    options.data.inputs.insert("image".into(), image);
    let found = audit(options, &Stop::default(), &mut ())?;
    println!("{}", serde_json::to_string_pretty(&found.audit).unwrap_or_default());
    Ok(())
}
