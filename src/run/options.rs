//! What a run means to do, all resolved.

use super::{
    destination::{longer, sibling},
    device::DeviceChoice,
};
use crate::{
    audit::{Gates, limits},
    data::{DataConfig, InputConfig, MissingIds, Places},
    engine::{self, KernelChoice, Precision},
    error::{Error, Result},
    graph::{given::Given, loss::LossKind},
    limits::Limits,
    model::BatchNorm,
    onnx::ReadOptions,
    parity::{Guard, Runtimes, Tolerance},
    scope::Scope,
    unlearn::{MethodName, RecipeSettings, Settings, own::Own},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The `[parity]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ParitySettings {
    /// Allowed absolute difference.
    pub atol: f64,
    /// Allowed difference relative to the runtime's value.
    pub rtol: f64,
    /// Training rows to compare on.
    pub samples: usize,
}

impl Default for ParitySettings {
    fn default() -> Self {
        Self { atol: 1e-4, rtol: 1e-3, samples: 256 }
    }
}

impl ParitySettings {
    /// As the comparison takes it.
    pub fn tolerance(&self) -> Tolerance {
        Tolerance { atol: self.atol, rtol: self.rtol }
    }
}

/// What a run means to do, all resolved: what `--dry-run` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Options {
    /// The trained model.
    pub model: PathBuf,
    /// The checkpoint that the model's parameters are from.
    pub checkpoint: Option<PathBuf>,
    /// The configuration file that was read.
    pub config: Option<PathBuf>,
    /// The lists of ids.
    pub forget: Vec<Places>,
    /// The class to forget.
    pub forget_class: Option<i64>,
    /// Whether ids that are not in the training data are passed over.
    pub ignore_missing_ids: bool,
    /// Whether the run goes on where the model does not know the rows as they were read.
    pub accept_unknown_rows: bool,
    /// Whether the method runs where the model does not remember the rows to forget.
    pub unlearn_anyway: bool,
    /// Files, columns and decoding.
    #[serde(flatten)]
    pub data: DataConfig,
    /// Task loss, if asked for.
    pub loss: Option<LossKind>,
    /// The ONNX graph that computes the loss of each row from outputs of the model and label columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_graph: Option<PathBuf>,
    /// Extents of open dimensions of the inputs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dims: BTreeMap<String, usize>,
    /// Where it was asked for, in words.
    #[serde(skip)]
    pub loss_asked_by: Option<&'static str>,
    /// Globs of initializers to train.
    pub trainable: Vec<String>,
    /// Globs of initializers not to train.
    pub freeze: Vec<String>,
    /// Batch normalization during the steps.
    pub bn: BatchNorm,
    /// Whether Dropout drops during the steps.
    pub dropout: bool,
    /// What the user set of the method.
    pub unlearn: Settings,
    /// The user's own method, where that is the method.
    #[serde(skip)]
    pub own: Own,
    /// What the user set of a training from the beginning.
    pub train: RecipeSettings,
    /// Tolerance and rows of the parity check.
    pub parity: ParitySettings,
    /// Runtime that the model must agree with.
    pub runtime: Runtimes,
    /// What must hold to publish.
    pub gates: Gates,
    /// Whether the audit also trains a copy of the model on.
    pub deep: bool,
    /// Models that were trained without the rows to forget.
    pub references: Vec<PathBuf>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Where to compute.
    #[serde(serialize_with = "as_text")]
    pub device: DeviceChoice,
    /// How the steps' matrix products are computed there.
    pub precision: Precision,
    /// Kernels.
    pub kernels: KernelChoice,
    /// Whether nothing may be fetched.
    pub offline: bool,
    /// Whether symbolic links that stay inside the model's folder are followed.
    pub allow_symlink_inside: bool,
    /// Whether nothing is published but with a pass.
    pub strict: bool,
    /// Threads to compute on: those of the [`Scope`] that the run begins in, else as many as there are processors, if not
    /// given. The result is the same for any number.
    #[serde(skip)]
    pub threads: Option<usize>,
    /// What model files may take: the scope's limits if not given.
    #[serde(skip)]
    pub limits: Option<Limits>,
    /// The run's name.
    #[serde(skip)]
    pub name: Option<String>,
    /// The folder given for the report.
    #[serde(skip)]
    pub report: Option<PathBuf>,
    /// The command that the report tells, without secrets.
    #[serde(skip)]
    pub command: Vec<String>,
    /// A program that tries models out before onnxruntime runs them in this process: its `main` asks [`crate::parity::guard::child`] first.
    #[serde(skip)]
    pub trier: Option<PathBuf>,
}

fn as_text<S: serde::Serializer>(value: &impl std::fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

impl Options {
    /// The defaults, for the model at `model`.
    pub fn new(model: &Path) -> Self {
        Self {
            model: model.to_path_buf(),
            checkpoint: None,
            config: None,
            forget: Vec::new(),
            forget_class: None,
            ignore_missing_ids: false,
            accept_unknown_rows: false,
            unlearn_anyway: false,
            data: DataConfig::default(),
            loss: None,
            loss_graph: None,
            dims: BTreeMap::new(),
            loss_asked_by: None,
            trainable: Vec::new(),
            freeze: Vec::new(),
            bn: BatchNorm::default(),
            dropout: false,
            unlearn: Settings::default(),
            own: Own::default(),
            train: RecipeSettings::default(),
            parity: ParitySettings::default(),
            runtime: Runtimes::default(),
            gates: Gates::default(),
            deep: false,
            references: Vec::new(),
            seed: 0,
            device: DeviceChoice::default(),
            precision: Precision::default(),
            kernels: KernelChoice::default(),
            offline: false,
            allow_symlink_inside: false,
            strict: false,
            threads: None,
            limits: None,
            name: None,
            report: None,
            command: Vec::new(),
            trier: None,
        }
    }

    /// What is given of the model's inputs.
    pub fn given(&self) -> Given {
        let fixed = |(name, input): (&String, &InputConfig)| Some((name.clone(), input.value.as_ref()?.elements()));
        let inputs = &self.data.inputs;
        let turned = |(name, input): (&String, &InputConfig)| Some((name.clone(), input.batch_axis?));
        Given {
            dims: self.dims.clone(),
            inputs: inputs.iter().filter_map(fixed).collect(),
            batch_axes: inputs.iter().filter_map(turned).collect(),
            fed: None,
        }
    }

    /// The threads and limits of a run.
    ///
    /// # Errors
    /// [`Error::Memory`] if the system gives no more threads.
    pub(super) fn scope(&self) -> Result<Scope> {
        let current = Scope::current();
        match current {
            Some(current) if self.threads.is_none() && self.limits.is_none() => Ok(current),
            current => {
                let threads = self.threads.or(current.as_ref().map(Scope::threads));
                let limits = self.limits.or(current.as_ref().map(Scope::limits));
                engine::scope(threads, limits.unwrap_or_default())
            }
        }
    }

    /// What to do with ids that are not in the training data.
    pub(super) fn missing_ids(&self) -> MissingIds {
        if self.ignore_missing_ids { MissingIds::Ignore } else { MissingIds::Stop }
    }

    /// How model files are read.
    pub(super) fn reading(&self) -> ReadOptions {
        ReadOptions { allow_symlink_inside: self.allow_symlink_inside }
    }

    /// Tries one model out.
    pub(super) fn guard(&self) -> Guard {
        self.trier.clone().map_or_else(Guard::default, Guard::with)
    }

    /// # Errors
    /// [`Error::Usage`] if nothing is to be forgotten.
    pub fn require_forget(&self) -> Result<()> {
        if self.forget.is_empty() && self.forget_class.is_none() {
            return Err(Error::Usage("what is to be forgotten? Give --forget IDS or --forget-class N".into()));
        }
        Ok(())
    }

    /// Several ways to say what the loss is exclude each other.
    fn check_loss(&self) -> Result<()> {
        let (one, several) = (&self.data.target, !self.data.targets.is_empty());
        let labeled = one.column.is_some() || one.columns.is_some() || one.kind.is_some() || one.output.is_some();
        let clash = match &self.loss_graph {
            Some(_) if self.loss.is_some() => "--loss, or `kind` under `[loss]`, and a loss graph",
            Some(_) if labeled || several => {
                "`[target]` (--target, --output), whose labels belong to a loss that the program knows, and a loss graph, whose inputs name the label columns,"
            }
            None if several && self.loss.is_some() => {
                "--loss, or `kind` under `[loss]`, and several `[[target]]`, of which each has its own loss,"
            }
            None if several && labeled => {
                "--target or --output, and several `[[target]]`, which name their columns and outputs,"
            }
            _ => return Ok(()),
        };
        Err(Error::Usage(format!("{clash} exclude each other: leave one out")))
    }

    /// # Errors
    /// [`Error::Usage`] for a `command` that runs on the CPU alone, if another device is asked for.
    pub(super) fn require_cpu(&self, command: &str) -> Result<()> {
        match self.device {
            DeviceChoice::Cpu => Ok(()),
            _ => Err(Error::Usage(format!("{command} runs on the CPU; leave out --device"))),
        }
    }

    /// Device and precision of the steps, in words.
    pub fn computed_on(&self) -> String {
        match self.precision {
            Precision::F32 => self.device.to_string(),
            Precision::Tf32 => format!("{}, TF32", self.device),
        }
    }

    /// The method of the main job.
    pub fn method(&self) -> MethodName {
        self.unlearn.method.unwrap_or_default()
    }

    /// # Errors
    /// [`Error::Usage`] for settings that are out of range, or exclude each other.
    pub fn check(&self) -> Result<()> {
        let s = &self.unlearn;
        let method = self.method();
        let both = [MethodName::NablaTau, MethodName::NablaTauPaper].contains(&method);
        let foreign = [
            ("alpha", s.alpha.is_some() && !both),
            ("step_size", s.step_size.is_some() && method != MethodName::NablaTau),
        ];
        if let Some((setting, _)) = foreign.into_iter().find(|(_, given)| *given) {
            let problem = format!("{setting} is a setting of nabla-tau, and method is {method}: leave it out");
            return Err(Error::Usage(problem));
        }
        let range = |name: &str, value: Option<f64>, low: f64, high: f64| match value {
            Some(v) if !(low..=high).contains(&v) => {
                Err(Error::Usage(format!("{name} is {v}; it must be between {low} and {high}")))
            }
            _ => Ok(()),
        };
        limits::check(&self.gates).map_err(Error::Usage)?;
        range("alpha", s.alpha, 0.0, 1.0)?;
        range("learning rate", s.learning_rate, 0.0, 1e3)?;
        range("weight decay", s.weight_decay, 0.0, 1e3)?;
        let t = &self.train;
        range("the recipe's learning rate", t.learning_rate, 0.0, 1e3)?;
        range("the recipe's weight decay", t.weight_decay, 0.0, 1e3)?;
        range("momentum", t.momentum, 0.0, 1.0)?;
        range("parity.atol", Some(self.parity.atol), 0.0, 1e3)?;
        range("parity.rtol", Some(self.parity.rtol), 0.0, 1e3)?;
        if [s.batch_size, s.micro_batch, s.epochs, t.batch_size, t.epochs, Some(self.parity.samples)].contains(&Some(0))
        {
            return Err(Error::Usage("batch_size, micro_batch, epochs and parity.samples must be at least 1".into()));
        }
        self.check_loss()?;
        if s.micro_batch.is_some() && self.bn == BatchNorm::Batch {
            let problem = "BatchNormalization would take the statistics of each micro-batch in place of the batch's";
            return Err(Error::Usage(format!(
                "--micro-batch and --bn batch exclude each other: {problem}. Leave one out"
            )));
        }
        Ok(())
    }

    /// Where the new model goes, or the new checkpoint.
    pub fn out(&self, asked: Option<&Path>) -> PathBuf {
        let own = || match &self.checkpoint {
            Some(checkpoint) => longer(checkpoint, ".forgotten"),
            None => sibling(&self.model, ".forgotten.onnx"),
        };
        asked.map_or_else(own, Path::to_path_buf)
    }

    /// Where the report goes.
    pub fn report_folder(&self, out: &Path) -> PathBuf {
        let own = || match &self.checkpoint {
            Some(_) => longer(out, ".report"),
            None => sibling(out, ".report"),
        };
        self.report.clone().unwrap_or_else(own)
    }
}
