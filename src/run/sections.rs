//! What a report says of a job before the job runs.

use super::{
    job::Job,
    staged::{Manner, mode_of},
};
use crate::{
    data::Places,
    engine::KernelChoice,
    report::{DataSection, Environment, ModelFile, RunSection, Start, TrainedSection},
    scope,
    writeback::FileDigest,
};
use indexmap::IndexMap;
use serde_json::json;
use std::path::Path;

impl Job {
    /// What is known before the first stage of the run.
    pub(super) fn start(&self, timings: &IndexMap<String, f64>) -> Start {
        let (data, counts) = (&self.data, self.data.counts);
        let model = &self.model;
        Start {
            run: RunSection {
                name: self.options.name.clone(),
                command: self.options.command.clone(),
                configuration: json!(self.options),
                warnings: self.warnings(),
            },
            model: TrainedSection {
                input: self.input(),
                checkpoint: model
                    .file
                    .checkpoint()
                    .map(|c| ModelFile { path: c.path().to_path_buf(), sha256: c.sha256().to_string() }),
                parameters: model.parameters(false),
                trainable_parameters: model.parameters(true),
                loss: model.plan.why.clone(),
            },
            data: DataSection {
                train_rows: counts.train_rows,
                forget_rows: counts.forget_rows,
                retain_rows: counts.retain_rows,
                validation_rows: counts.validation_rows,
                test_rows: counts.test_rows,
                forget_ids: counts.forget_ids,
                missing_ids: counts.missing_ids,
                duplicate_ids: counts.duplicate_ids,
                files: data.files.iter().map(|(path, sha256)| file_digest(path, sha256)).collect(),
                forget_ids_sha256: data.forget_ids_sha256.clone(),
                notes: self.notes(None),
                reading: None,
                known: None,
            },
            timings: timings.clone(),
            environment: environment(self.options.kernels),
        }
    }

    /// The file of the trained model.
    pub(super) fn input(&self) -> ModelFile {
        ModelFile { path: self.options.model.clone(), sha256: self.model.file.sha256().to_string() }
    }

    /// How the report is to be written: for those who may read all of the data.
    pub(super) fn report_manner(&self) -> Manner {
        let lists = self.options.forget.iter().flat_map(Places::paths);
        let data = self.data.files.iter().map(|(path, _)| path).chain(lists);
        Manner { mode: mode_of(data.map(|path| path.as_path())), force: false }
    }
}

fn file_digest(path: &Path, sha256: &str) -> FileDigest {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    FileDigest { name, sha256: sha256.to_owned() }
}

/// Where this runs.
pub(super) fn environment(kernels: KernelChoice) -> Environment {
    Environment {
        version: env!("CARGO_PKG_VERSION"),
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
        threads: scope::threads(),
        kernels: format!("{kernels:?}").to_lowercase(),
    }
}
