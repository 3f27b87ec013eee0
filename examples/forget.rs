//! Forgets rows of a model and publishes the new one: `cargo run --release --example forget [FOLDER]`.
//!
//! FOLDER, a new temporary one unless given, receives the model and its report.

use onnx_forget::{
    Error, Forget, Result,
    data::{InputConfig, PerChannel},
    run::{Event, Observer},
};
use std::path::{Path, PathBuf};

/// Prints each stage.
struct Stages;

impl Observer for Stages {
    fn event(&mut self, event: Event<'_>) -> Result<()> {
        if let Event::StageEnded { name, seconds, .. } = event {
            println!("{name}: {seconds:.1} s");
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/digits-cnn");
    let temporary = std::env::temp_dir().join(format!("onnx-forget-example-{}", std::process::id()));
    let folder = std::env::args_os().nth(1).map_or(temporary, PathBuf::from);
    std::fs::create_dir_all(&folder).map_err(|e| Error::Usage(format!("{}: {e}", folder.display())))?;

    // How the images were prepared when the model was trained.
    let image = InputConfig {
        scale: Some(1.0 / 255.0),
        mean: Some(PerChannel::One(0.2877)),
        std: Some(PerChannel::One(0.3549)),
        ..InputConfig::default()
    };
    let job = Forget::new(fixture.join("model.onnx"))
        .train(fixture.join("train.parquet"))
        .validation(fixture.join("validation.parquet"))
        .test(fixture.join("test.parquet"))
        .ids(fixture.join("forget.parquet"))
        .input("image", image)
        .prepare(&mut Stages)?;
    println!("{} of {} rows are to be forgotten", job.counts().forget_rows, job.counts().train_rows);
    let forgotten = job.run(&mut Stages)?;
    let out = folder.join("model.forgotten.onnx");
    let report = forgotten.publish(&out, &mut Stages)?;
    println!("{:?}: {}", report.status(), out.display());
    Ok(())
}
