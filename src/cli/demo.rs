//! `onnx-forget demo`: the main job on a model and data that the program carries.

use super::args::{DemoArgs, ForgetArgs, SettingArgs, SourceArgs, TestArgs};
use crate::{
    error::{Error, Result},
    run::{Precision, REPORT, cannot_write, require_ours},
};
use std::path::Path;

/// The fixture `digits-cnn`: a residual CNN on scikit-learn's digits, and 135 of its 900 rows to forget.
const FILES: [(&str, &[u8]); 6] = [
    ("model.onnx", include_bytes!("../../fixtures/digits-cnn/model.onnx")),
    ("model.forget.toml", include_bytes!("../../fixtures/digits-cnn/model.forget.toml")),
    ("train.parquet", include_bytes!("../../fixtures/digits-cnn/train.parquet")),
    ("validation.parquet", include_bytes!("../../fixtures/digits-cnn/validation.parquet")),
    ("test.parquet", include_bytes!("../../fixtures/digits-cnn/test.parquet")),
    ("forget.parquet", include_bytes!("../../fixtures/digits-cnn/forget.parquet")),
];

/// Unpacks the model and the data into the folder and runs the main job there.
pub fn run(args: DemoArgs) -> Result<()> {
    let folder = &args.dir;
    std::fs::create_dir_all(folder).map_err(|e| cannot_write(folder, &e))?;
    require_ours(folder, &REPORT)?;
    for (name, bytes) in FILES {
        unpack(&folder.join(name), bytes)?;
    }
    super::forget::run(ForgetArgs {
        model: Some(folder.join("model.onnx")),
        source: SourceArgs {
            forget: vec![folder.join("forget.parquet")],
            offline: args.offline,
            format: args.format,
            ..SourceArgs::default()
        },
        out: Some(folder.join("model.forgotten.onnx")),
        report: Some(folder.clone()),
        force: true,
        name: None,
        strict: false,
        dry_run: false,
        parity: args.parity,
        precision: Precision::default(),
        unlearn_anyway: false,
        tests: TestArgs::default(),
        settings: SettingArgs::default(),
    })
}

/// Writes a carried file, but never over a different one that stands there already.
fn unpack(path: &Path, bytes: &[u8]) -> Result<()> {
    match std::fs::read(path) {
        Ok(there) if there == bytes => Ok(()),
        Ok(_) => Err(Error::Write {
            path: path.to_path_buf(),
            problem: "another file of this name is there; give the demo a folder of its own".into(),
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            std::fs::write(path, bytes).map_err(|e| cannot_write(path, &e))
        }
        Err(e) => Err(cannot_write(path, &e)),
    }
}
