//! What was typed and what the configuration file says, put together: flags beat the file.

use super::{
    args::{AuditDepth, DeviceChoice, ForgetArgs, Format, MissingIdsChoice, Precision, SourceArgs, TestArgs},
    config_file::{ParitySettings, read},
};
use crate::{
    audit::{Gates, limits},
    data::{DataConfig, Places},
    engine::KernelChoice,
    error::{Error, Result},
    graph::training::LossKind,
    model::BatchNorm,
    parity::Runtimes,
    unlearn::{MethodName, RecipeSettings, Settings},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

/// What a run means to do, all resolved: what `--dry-run` prints.
#[derive(Clone, Debug, Serialize)]
pub struct RunConfig {
    /// The trained model.
    pub model: PathBuf,
    /// The checkpoint that the model's parameters are from.
    pub checkpoint: Option<PathBuf>,
    /// The configuration file that was read.
    pub config: Option<PathBuf>,
    /// The lists of ids.
    pub forget: Vec<PathBuf>,
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
    /// Batch normalisation during the steps.
    pub bn: BatchNorm,
    /// Whether Dropout drops during the steps.
    pub dropout: bool,
    /// What the user set of the method.
    pub unlearn: Settings,
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
    /// The run's name.
    #[serde(skip)]
    pub name: Option<String>,
    /// How results are printed.
    #[serde(skip)]
    pub format: Format,
    /// The folder given for the report.
    #[serde(skip)]
    report: Option<PathBuf>,
}

fn as_text<S: serde::Serializer>(value: &impl std::fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

impl RunConfig {
    /// Reads the configuration file, if there is one, and lays the flags over it.
    ///
    /// # Errors
    /// [`Error::Config`] for a file that cannot be read or has an unknown key; [`Error::Usage`] for values out of range.
    pub fn new(model: &Path, args: &SourceArgs, tests: &TestArgs) -> Result<Self> {
        let (path, file) = read(model, args.config.as_deref())?;
        let base = path.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).to_path_buf();
        let mut data = DataConfig { data: file.data, inputs: file.inputs, target: file.target };
        data.resolve(&base);
        let override_path = |slot: &mut Option<Places>, flags: &[String]| {
            *slot = Places::of(flags).or(slot.take());
        };
        override_path(&mut data.data.train, &args.data);
        override_path(&mut data.data.validation, &args.validation);
        override_path(&mut data.data.test, &args.test);
        data.data.id = args.id.clone().or(data.data.id);
        data.data.forget_id = args.forget_id.clone().or(data.data.forget_id);
        data.data.split = args.split.clone().or(data.data.split);
        if let Some(column) = &args.target {
            data.target.column = Some(column.clone());
            data.target.columns = None;
        }
        data.target.output = args.output.clone().or(data.target.output);
        let or = |flag: &[String], file: Vec<String>| if flag.is_empty() { file } else { flag.to_vec() };
        let config = Self {
            model: model.to_path_buf(),
            checkpoint: args.checkpoint.clone().or(file.model.checkpoint.map(|c| base.join(c))),
            config: path,
            forget: args.forget.clone(),
            forget_class: args.forget_class,
            ignore_missing_ids: args.missing_ids == MissingIdsChoice::Ignore,
            accept_unknown_rows: args.accept_unknown_rows,
            unlearn_anyway: false,
            data,
            loss: args.loss.or(file.loss.kind),
            dims: file.model.dims.into_iter().chain(args.dim.iter().cloned()).collect(),
            loss_asked_by: match (args.loss, file.loss.kind) {
                (Some(_), _) => Some(" by --loss"),
                (None, Some(_)) => Some(" by the configuration"),
                _ => None,
            },
            trainable: or(&args.trainable, file.model.trainable),
            freeze: or(&args.freeze, file.model.freeze),
            bn: args.bn.or(file.model.bn).unwrap_or_default(),
            dropout: args.dropout || file.model.dropout,
            seed: args.seed.or(file.unlearn.seed).unwrap_or(0),
            unlearn: file.unlearn,
            train: file.train,
            parity: file.parity,
            runtime: Runtimes::default(),
            gates: file.gates,
            deep: tests.audit == AuditDepth::Deep,
            references: tests.reference.clone(),
            device: args.device,
            precision: Precision::default(),
            kernels: args.kernels,
            offline: args.offline,
            allow_symlink_inside: args.allow_symlink_inside,
            strict: false,
            name: None,
            format: args.format,
            report: file.report.folder.map(|f| below(&base, f)).transpose()?,
        };
        config.check()?;
        Ok(config)
    }

    /// Device and precision of the steps, in words.
    pub fn computed_on(&self) -> String {
        match self.precision {
            Precision::F32 => self.device.to_string(),
            Precision::Tf32 => format!("{}, TF32", self.device),
        }
    }

    /// The same for the main job, with its further flags.
    pub fn for_forgetting(model: &Path, args: &ForgetArgs) -> Result<Self> {
        let mut config = Self::new(model, &args.source, &args.tests)?;
        let (s, flags) = (&mut config.unlearn, &args.settings);
        s.method = flags.method.or(s.method);
        s.batch_size = flags.batch_size.map(Into::into).or(s.batch_size);
        s.micro_batch = flags.micro_batch.map(Into::into).or(s.micro_batch);
        s.epochs = flags.epochs.map(Into::into).or(s.epochs);
        s.alpha = flags.alpha.or(s.alpha);
        s.learning_rate = flags.learning_rate.or(s.learning_rate);
        s.weight_decay = flags.weight_decay.or(s.weight_decay);
        s.step_size = flags.step_size.or(s.step_size);
        config.runtime = args.parity;
        config.unlearn_anyway = args.unlearn_anyway;
        config.strict = args.strict;
        config.name = args.name.clone();
        config.precision = args.precision;
        if config.precision == Precision::Tf32 && config.device == DeviceChoice::Cpu {
            return Err(Error::Usage("--precision tf32 is for --device cuda; a CPU computes in 32 bits".into()));
        }
        config.report = args.report.clone().or(config.report);
        if config.forget.is_empty() && config.forget_class.is_none() {
            return Err(Error::Usage("what is to be forgotten? Give --forget IDS or --forget-class N".into()));
        }
        config.check()?;
        Ok(config)
    }

    /// The method of the main job.
    pub fn method(&self) -> MethodName {
        self.unlearn.method.unwrap_or_default()
    }

    pub(super) fn check(&self) -> Result<()> {
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

/// A folder of the configuration's choice, which it must not choose among those of others.
fn below(base: &Path, folder: PathBuf) -> Result<PathBuf> {
    if folder.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Ok(base.join(folder));
    }
    let folder = folder.display();
    Err(Error::Usage(format!(
        "[report] folder = {folder}: it has to lie below the configuration's folder; another place is given by --report"
    )))
}

/// The path of a neighbour of `path` with `ending` in place of its extension.
pub(super) fn sibling(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_os_string();
    name.push(ending);
    path.with_file_name(name)
}

/// The path with `ending` after its whole name, as names of checkpoints have no extension.
fn longer(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Gate;

    fn with_config(text: &str, args: &SourceArgs) -> Result<RunConfig> {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m.onnx");
        std::fs::write(folder.path().join("m.forget.toml"), text).unwrap();
        RunConfig::new(&model, args, &TestArgs::default())
    }

    #[test]
    fn flags_beat_the_file() {
        let text = "[data]\ntrain = 'a.parquet'\nid = 'x'\n[unlearn]\nseed = 3\n[model]\nfreeze = ['a*']";
        let args = SourceArgs { id: Some("y".into()), seed: Some(5), ..SourceArgs::default() };
        let config = with_config(text, &args).unwrap();
        assert_eq!(config.data.data.id.as_deref(), Some("y"));
        assert_eq!((config.seed, config.freeze.len()), (5, 1));
        assert!(config.data.data.train.unwrap().paths().iter().all(|path| path.is_absolute()));
    }

    #[test]
    fn names_what_is_wrong_in_the_file() {
        let error = with_config("[data]\ntrian = 'a'", &SourceArgs::default()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("trian"), "{error}");
        let error = with_config("[unlearn]\nalpha = 2.0", &SourceArgs::default()).unwrap_err();
        assert!(error.to_string().contains("alpha"), "{error}");
    }

    #[test]
    fn gates_keep_their_defaults_where_nothing_is_said() {
        let text =
            "[gates]\nmax_mia_distance = 0.02\nmax_retain_accuracy_drop = inf\n[gates.warn]\nmax_ks_distance = 1";
        let gates = with_config(text, &SourceArgs::default()).unwrap().gates;
        assert_eq!(gates.fail[&Gate::MaxMiaDistance], 0.02);
        assert_eq!(gates.fail[&Gate::MaxTestAccuracyDrop], 0.05);
        assert!(gates.fail[&Gate::MaxRetainAccuracyDrop].is_infinite());
        assert_eq!((gates.warn[&Gate::MaxKsDistance], gates.warn[&Gate::MaxMiaDistance]), (1.0, 0.05));
        for wrong in ["[gates]\nmax_mai_distance = 0.1", "[gates.warn]\nmax_mai_distance = 0.1"] {
            let error = with_config(wrong, &SourceArgs::default()).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("max_mai_distance"), "{error}");
        }
    }

    #[test]
    fn outputs_stand_beside_the_model() {
        let config = RunConfig::new(Path::new("d/m.onnx"), &SourceArgs::default(), &TestArgs::default()).unwrap();
        let out = config.out(None);
        assert_eq!(out, Path::new("d/m.forgotten.onnx"));
        assert_eq!(config.report_folder(&out), Path::new("d/m.forgotten.report"));
        let args = SourceArgs { checkpoint: Some("c/checkpoint".into()), ..SourceArgs::default() };
        let config = RunConfig::new(Path::new("d/eval_model.onnx"), &args, &TestArgs::default()).unwrap();
        let out = config.out(None);
        assert_eq!(out, Path::new("c/checkpoint.forgotten"));
        assert_eq!(config.report_folder(&out), Path::new("c/checkpoint.forgotten.report"));
    }
}
