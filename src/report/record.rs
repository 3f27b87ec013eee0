//! The record of a run: `report.json`, schema `onnx-forget/report/v1` (`report.schema.json` in the project).

use crate::{
    audit::{Audit, Change, Comparison, Deep, Drift, Gate, Histogram, Judgment, Remembered, SplitDigest, Verdict},
    parity::{GradientReport, ParityReport},
    plausibility::{Examined, Reading},
    unlearn::{MethodName, MethodSettings, StepSize, Trajectory},
    writeback::{FileDigest, Proof},
};
use indexmap::IndexMap;
use serde::Serialize;
use std::path::PathBuf;

/// The schema's name, in every record.
pub const SCHEMA: &str = "onnx-forget/report/v1";

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The new model was written and every gate held.
    Published,
    /// Nothing was written.
    Rejected,
    /// The model did not remember the rows: nothing was written.
    NothingToForget,
    /// Nothing was to be written.
    DryRun,
}

/// Everything that is known of a run. Sections of stages that were not reached are null. Made from the stages' results by
/// [`Report::published`] and [`Report::rejected`] alone.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// How the run ended.
    pub(super) status: Status,
    /// The program's exit code.
    pub exit_code: u8,
    /// What was asked for.
    pub run: RunSection,
    /// Why nothing was published.
    pub error: Option<String>,
    /// The model files.
    pub model: ModelSection,
    /// The rows, in numbers.
    pub data: Option<DataSection>,
    /// Agreement with other runtimes.
    pub parity: ParitySection,
    /// The run of the method.
    pub unlearn: Option<UnlearnSection>,
    /// What was measured before and after.
    pub audit: AuditSection,
    /// What had to hold, and whether it did.
    pub gates: Vec<Verdict>,
    /// Gates that are checked unless the configuration says otherwise, and were not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gates_off: Vec<Gate>,
    /// What to try next.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
    /// What the audit does not show.
    pub limits: Vec<String>,
    /// Seconds a stage.
    pub timings: IndexMap<String, f64>,
    /// Where it ran.
    pub environment: Environment,
}

impl Report {
    /// How the run ended.
    pub fn status(&self) -> Status {
        self.status
    }
}

/// What was asked for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RunSection {
    /// The name that the user gave the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The command, without secrets in addresses.
    pub command: Vec<String>,
    /// Flags, configuration and defaults put together, as `--dry-run` shows them.
    pub configuration: serde_json::Value,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// A model file.
#[derive(Clone, Debug, Serialize)]
pub struct ModelFile {
    /// As given.
    pub path: PathBuf,
    /// Of the file (not of its external data).
    pub sha256: String,
}

/// The model before and after.
#[derive(Clone, Debug, Serialize)]
pub struct ModelSection {
    /// The trained model.
    pub input: ModelFile,
    /// The checkpoint that its parameters are from, of which the output is then a copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<ModelFile>,
    /// The new model; null unless it was published.
    pub output: Option<ModelFile>,
    /// Elements of all float initializers.
    pub parameters: usize,
    /// Elements of those that were trained.
    pub trainable_parameters: usize,
    /// Names of the initializers whose elements were rewritten.
    pub changed_initializers: Vec<String>,
    /// Whether every byte outside the rewritten elements is the input's; null before the output was checked.
    pub other_bytes_identical: Option<bool>,
    /// The task loss and why it was chosen.
    pub loss: Option<String>,
    /// The proof of the write-back.
    pub proof: Option<Proof>,
}

/// The rows, in numbers.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct DataSection {
    pub train_rows: usize,
    pub forget_rows: usize,
    pub retain_rows: usize,
    pub validation_rows: usize,
    pub test_rows: usize,
    /// Ids in the list, each counted once.
    pub forget_ids: usize,
    /// Ids in the list that are not in the training data.
    pub missing_ids: usize,
    /// Repeated ids in the list.
    pub duplicate_ids: usize,
    /// Salted digest of the ids that were forgotten. The salt is made of the data and not told.
    pub forget_ids_sha256: Option<String>,
    /// The data files, but for the list of ids.
    pub files: Vec<FileDigest>,
    /// What was inferred of columns, and what the user should know.
    pub notes: Vec<String>,
    /// How inputs and labels were made from the rows.
    pub reading: Option<Reading>,
    /// Whether the model knows the rows as they were read.
    pub known: Option<Examined>,
}

/// Agreement with other runtimes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ParitySection {
    /// Outputs of the trained model.
    pub before: Option<ParityReport>,
    /// Gradients of the trained model.
    pub gradient: Option<GradientReport>,
    /// Outputs of the new model's file against the model in memory.
    pub after: Option<ParityReport>,
}

/// The run of the method.
#[derive(Clone, Debug, Serialize)]
pub struct UnlearnSection {
    /// Name of the method.
    pub method: MethodName,
    /// Where it ran.
    pub device: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// α₀; null for methods other than ∇τ.
    pub alpha0: Option<f64>,
    /// Step size at the start; null for methods without steps.
    pub learning_rate: Option<f64>,
    /// Weight decay.
    pub weight_decay: f64,
    /// How large a step of ∇τ is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_size: Option<StepSize>,
    /// Rows in a batch.
    pub batch_size: usize,
    /// Rows of a batch that ran at once, if not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Passes over the set that the method counts passes over: ∇τ over the forget set.
    pub epochs: usize,
    /// What else the method sets, and what was chosen of the model beyond its defaults.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Steps done.
    pub steps: usize,
    /// Steps in which the forget term had a gradient.
    pub active_steps: usize,
    /// Each τ.
    pub tau: Vec<f64>,
    /// Each step.
    pub trajectory: Vec<crate::unlearn::StepRecord>,
    /// Wall time of the steps.
    pub seconds: f64,
    /// Steps a second.
    pub steps_per_second: f64,
}

impl UnlearnSection {
    /// From the method's settings and what happened.
    pub fn new(
        (method, settings): (MethodName, MethodSettings),
        micro_batch: Option<usize>,
        trajectory: &Trajectory,
        device: String,
        seed: u64,
    ) -> Self {
        let steps = trajectory.steps.len();
        Self {
            method,
            device,
            seed,
            alpha0: settings.alpha0,
            learning_rate: settings.learning_rate,
            weight_decay: settings.weight_decay,
            step_size: settings.step_size,
            batch_size: settings.batch_size,
            micro_batch,
            epochs: settings.epochs,
            settings: settings.further,
            steps,
            active_steps: trajectory.active_steps(),
            tau: trajectory.tau.clone(),
            trajectory: trajectory.steps.clone(),
            seconds: trajectory.seconds,
            steps_per_second: steps as f64 / trajectory.seconds.max(f64::MIN_POSITIVE),
        }
    }
}

/// What was measured before and after.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AuditSection {
    /// The trained model.
    pub before: Option<Audit>,
    /// Whether the trained model remembers the rows to forget; null where rows are too few to tell, or a class is forgotten whole.
    pub remembered: Option<Remembered>,
    /// The new model.
    pub after: Option<Audit>,
    /// What became of the retained rows.
    pub change: Option<Change>,
    /// What further training showed (`--audit deep`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deep: Option<Deep>,
    /// Beside reference models (`--reference`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceSection>,
    /// What became of outputs that no target names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drifts: Vec<Drift>,
    /// All gates together.
    pub verdict: Option<Judgment>,
    /// That the file is what it should be.
    pub integrity: Integrity,
    /// Which rows served what.
    pub splits: Vec<SplitDigest>,
    /// Losses of forgotten and of unseen rows, before and after, over common bins.
    pub losses: Option<Histogram>,
}

/// Beside models that were trained without the forgotten rows.
#[derive(Clone, Debug, Serialize)]
pub struct ReferenceSection {
    /// The reference models.
    pub models: Vec<ModelFile>,
    /// The model that was given.
    pub before: Comparison,
    /// The model that forgot.
    pub after: Comparison,
}

/// That the right rows were forgotten, and that the file is what it should be; null for what was not reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Integrity {
    /// Ids in the list that are training rows.
    pub ids_matched: usize,
    /// Ids in the list that are not.
    pub ids_unmatched: usize,
    /// Ids that the list repeats.
    pub ids_duplicated: usize,
    /// Whether the model computes what the runtime computes, before.
    pub parity_before: Option<bool>,
    /// Whether the gradients are those of the runtime's loss.
    pub gradient: Option<bool>,
    /// Whether every written weight is finite.
    pub weights_finite: Option<bool>,
    /// Tensors whose bytes changed; their digests are in `model.proof`.
    pub tensors_changed: Option<usize>,
    /// Tensors whose bytes did not.
    pub tensors_unchanged: Option<usize>,
    /// Whether every byte outside the changed tensors is the input's.
    pub other_bytes_identical: Option<bool>,
    /// Whether the written file computes what the model in memory computes.
    pub parity_after: Option<bool>,
}

/// Where it ran.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Environment {
    pub version: &'static str,
    pub os: &'static str,
    pub arch: &'static str,
    pub threads: usize,
    pub kernels: String,
}
