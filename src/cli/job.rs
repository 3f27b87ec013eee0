//! What the commands that need rows have in common: model, graph, loss, data and settings, opened and checked.

use super::{
    config::RunConfig,
    out,
    plan::Decided,
    progress::{Stages, json_line},
    rows::runtime_batches,
};
use crate::{
    data::{self, Batch, Data, InputSpec, MissingIds, Request, Signature, TargetKind},
    engine::{self, KernelChoice},
    error::{Error, Result},
    graph::{
        Dim, Graph, ValueId, tables,
        trainable::{self, Decision, Totals},
        training::{self, LabelKind, LossKind, LossPlan},
    },
    kernels::Backend,
    model::{BatchNorm, Halves, Model, ModelOptions},
    onnx::{OnnxFile, ReadOptions, artifacts, checkpoint::Checkpoint},
    ops,
    report::{AuditSection, DataSection, Environment, ModelFile, ModelSection, ParitySection, Report, SCHEMA, Status},
    unlearn::Schedule,
    writeback::{Change, FileDigest},
};
use serde_json::json;

/// Rows in a batch where no gradient is wanted.
pub const EVALUATION_BATCH: usize = 256;

/// A checked request, ready to run on a device.
pub struct Job {
    /// What was asked for.
    pub config: RunConfig,
    /// The trained model's file.
    pub file: OnnxFile,
    /// The trained model.
    pub graph: Graph,
    /// Its task loss.
    pub plan: LossPlan,
    /// What decided it.
    pub decided: Decided,
    /// What is trainable, and why.
    pub decisions: Vec<Decision>,
    /// The rows.
    pub data: Data,
    /// The method's settings.
    pub schedule: Schedule,
    /// What was found before the rows were read, and stops nothing.
    found: Vec<String>,
}

impl Job {
    /// Opens everything; the model first, since its errors need no data. `check` sees the file before data are read.
    pub fn prepare(
        mut config: RunConfig,
        stages: &mut Stages,
        check: impl FnOnce(&RunConfig, &OnnxFile) -> Result<Vec<String>>,
    ) -> Result<Self> {
        let options = ReadOptions { allow_symlink_inside: config.allow_symlink_inside };
        let (file, graph, found) = stages.run("reading the model", || {
            let file = artifacts::open(&config.model, config.checkpoint.as_deref(), &options)?;
            let graph = crate::graph::build::build_given(&file, &config.given())?;
            config.checkpoint = file.checkpoint().map(|found| found.path().to_path_buf());
            let found = check(&config, &file)?;
            Ok((file, graph, found))
        })?;
        let decided = Decided::new(&graph, &config, None)?;
        let first = &decided.first;
        let graph = training::narrowed(graph, first);
        trainable::decide(&graph, first, &config.trainable, &config.freeze)?;
        let request = Request {
            forget: config.forget.clone(),
            forget_class: config.forget_class,
            missing_ids: if config.ignore_missing_ids { MissingIds::Ignore } else { MissingIds::Stop },
            seed: config.seed,
        };
        let data = stages.run("reading the data", || data::open(&config.data, &request, &signature(&graph, first)));
        let data = data.map_err(|e| match (e, decided.without_labels(&graph, &config)) {
            (Error::Data(problem), Some(hint)) => Error::Data(format!("{problem}; {hint}")),
            (e, _) => e,
        })?;
        let mut plan = decided.with_labels(&graph, data.target)?;
        if let Some(by) = config.loss_asked_by.filter(|_| plan.why.ends_with("asked for")) {
            plan.why += by;
        }
        let decisions = trainable::decide(&graph, &plan, &config.trainable, &config.freeze)?;
        let schedule = Schedule::new(&config.unlearn, data.forget.len(), data.retain.len());
        let job = Self { config, file, graph, plan, decided, decisions, data, schedule, found };
        job.introduction().iter().for_each(|line| stages.say(line));
        stages.event(json!({ "event": "plan", "loss": job.plan.why, "rows": job.data.counts }));
        job.warnings().iter().for_each(|warning| stages.warn(warning));
        Ok(job)
    }

    fn introduction(&self) -> Vec<String> {
        let (data, plan) = (&self.data, &self.plan);
        let mut lines: Vec<String> =
            self.file.checkpoint().map(|c| format!("checkpoint {}", checkpoint_note(c))).into_iter().collect();
        lines.extend([
            format!("loss       {}", plan.why),
            format!("trainable  {} of {} parameters", self.parameters(true), self.parameters(false)),
            format!(
                "rows       forget {}  retain {}  validation {}  test {}",
                data.forget.len(),
                data.retain.len(),
                data.validation.len(),
                data.test.len()
            ),
        ]);
        lines
    }

    /// All that the user should know, though it stops nothing.
    pub fn warnings(&self) -> Vec<String> {
        let model = self.uncomputed().chain(self.partly_trained());
        self.found.iter().cloned().chain(model).chain(self.data.warnings.iter().cloned()).collect()
    }

    /// A sentence for each output that takes no part in the checks.
    fn uncomputed(&self) -> impl Iterator<Item = String> + '_ {
        let computable = ops::computable_outputs(&self.graph);
        let left_out = self.graph.outputs.iter().filter(move |output| !computable.contains(output));
        left_out.map(|&output| {
            let name = self.graph.name(output);
            format!("output `{name}` is not computed and not compared: what it is made of is not supported, and the loss does not need it")
        })
    }

    /// What was decided about rows and model, and what the user should know. What was inferred is a warning until the model's answers have
    /// confirmed it (`None`: they were not asked yet).
    pub fn notes(&self, confirmed: Option<bool>) -> Vec<String> {
        let data = &self.data;
        let decided = data.notes.iter().map(|note| match (note.inferred, confirmed) {
            (true, Some(true)) => format!("{}: {} (inferred, confirmed by the model's answers)", note.what, note.how),
            (true, Some(false)) => format!("{}: {} (warning: inferred, not confirmed)", note.what, note.how),
            _ => format!("{}: {}", note.what, note.how),
        });
        let checkpoint = self.file.checkpoint().map(|c| format!("parameters: {}", checkpoint_note(c)));
        decided.chain(self.warnings()).chain(checkpoint).collect()
    }

    /// What to say if much of the model is not trained.
    fn partly_trained(&self) -> impl Iterator<Item = String> + '_ {
        let integers = trainable::stored_as_integers(&self.graph, &self.plan);
        Totals::of(&self.decisions).warning().into_iter().chain(integers)
    }

    /// Elements of all float initializers, or of those that are trained.
    fn parameters(&self, trained: bool) -> usize {
        let counted = self.decisions.iter().filter(|d| d.trainable || !trained);
        counted.map(|d| d.dims.iter().product::<usize>()).sum()
    }

    /// Prints what would be done, once the model has shown that it knows the rows.
    pub fn describe(&self, stages: &mut Stages) -> Result<()> {
        let model = self.model(dfdx::tensor::Cpu::default(), self.frozen_options())?;
        let (known, reading) = self.require_known(stages, &model)?;
        let trainable: Vec<_> = self.decisions.iter().filter(|d| d.trainable).map(|d| &d.name).collect();
        let plan = serde_json::json!({
            "status": "dry-run",
            "config": self.config,
            "rows": self.data.counts,
            "notes": self.data.notes,
            "warnings": self.warnings(),
            "known": known,
            "reading": reading,
            "loss": self.plan.why,
            "trainable": trainable,
            "method": self.config.method(),
            "settings": self.method::<dfdx::tensor::Cpu>(self.config.method())?.described(),
        });
        match self.config.format {
            super::args::Format::Json => json_line(&plan),
            super::args::Format::Pretty => {
                let text = toml::to_string_pretty(&for_toml(plan)).map_err(|e| Error::Internal(e.to_string()))?;
                out::result(&(text + "\n"));
            }
        }
        Ok(())
    }

    /// The model on `device`; for comparison with runtimes, or to be unlearned.
    pub fn model<D: Backend<f32>>(&self, device: D, options: ModelOptions) -> Result<Model<f32, D>> {
        // Each parameter, and the gradient of each that is trained.
        let least = 4 * (self.parameters(false) + self.parameters(true)) as u64;
        engine::require_memory(least).map_err(|problem| Error::Memory(format!("the parameters {problem}")))?;
        let mut model = Model::build(&self.graph, &self.plan, &self.decisions, options, device)?;
        if let Some(rows) = self.parity_rows()?.first() {
            model.fit_rows(rows)?;
            model.require_independent_rows(rows)?;
        }
        Ok(model)
    }

    /// How the model is to run.
    pub fn model_options(&self) -> ModelOptions {
        let c = &self.config;
        let micro_batch = self.schedule.micro_batch;
        ModelOptions {
            kernels: c.kernels,
            bn: c.bn,
            dropout: c.dropout,
            seed: c.seed,
            micro_batch,
            ..ModelOptions::default()
        }
    }

    /// What was chosen of the model beyond its defaults, for the report's settings.
    pub fn chosen(&self) -> serde_json::Map<String, serde_json::Value> {
        let c = &self.config;
        let all = [
            ("bn", json!(c.bn), c.bn != BatchNorm::default()),
            ("dropout", json!(c.dropout), c.dropout),
            ("trainable", json!(c.trainable), !c.trainable.is_empty()),
            ("freeze", json!(c.freeze), !c.freeze.is_empty()),
        ];
        all.into_iter().filter(|(.., chosen)| *chosen).map(|(name, value, _)| (name.into(), value)).collect()
    }

    /// How the model is to run where it is compared with runtimes: at inference.
    pub fn frozen_options(&self) -> ModelOptions {
        ModelOptions { bn: BatchNorm::Frozen, dropout: false, ..self.model_options() }
    }

    /// How the model is to run where its gradient is checked: at inference, as a function without steps.
    pub fn checked_options(&self) -> ModelOptions {
        ModelOptions { halves: Halves::Nowhere, ..self.frozen_options() }
    }

    /// Seeded training rows for the parity checks, in batches that runtimes take.
    pub fn parity_rows(&self) -> Result<Vec<Batch>> {
        let (samples, micro_batch) = (self.config.parity.samples, self.schedule.micro_batch);
        runtime_batches(&self.graph, micro_batch, &self.data.train, samples, self.config.seed)
    }

    /// The trained parameters as the write-back takes them.
    pub fn changes<D: Backend<f32>>(&self, model: &Model<f32, D>) -> Vec<Change> {
        changes(model)
    }

    /// A report that knows what is known so far.
    pub fn report(&self) -> Report {
        let (config, data) = (&self.config, &self.data);
        let counts = data.counts;
        Report {
            schema: SCHEMA,
            status: Status::Rejected,
            exit_code: 0,
            run: self.run_section(),
            error: None,
            model: ModelSection {
                input: ModelFile { path: config.model.clone(), sha256: self.file.sha256().to_string() },
                checkpoint: self
                    .file
                    .checkpoint()
                    .map(|c| ModelFile { path: c.path().to_path_buf(), sha256: c.sha256().to_string() }),
                output: None,
                parameters: self.parameters(false),
                trainable_parameters: self.parameters(true),
                changed_initializers: Vec::new(),
                other_bytes_identical: None,
                loss: Some(self.plan.why.clone()),
                proof: None,
            },
            data: Some(DataSection {
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
            }),
            parity: ParitySection::default(),
            unlearn: None,
            audit: AuditSection::default(),
            gates: Vec::new(),
            gates_off: Vec::new(),
            advice: Vec::new(),
            limits: limits(),
            timings: indexmap::IndexMap::new(),
            environment: environment(config.kernels),
        }
    }
}

/// The trained parameters, and running statistics that were measured anew, as the write-back takes them.
pub fn changes<D: Backend<f32>>(model: &Model<f32, D>) -> Vec<Change> {
    let parameters = model.parameters().iter().map(|p| Change { name: p.name.clone(), values: p.tensor.to_vec() });
    let statistics = model.measured_statistics().iter();
    parameters.chain(statistics.map(|(name, values)| Change { name: name.clone(), values: values.clone() })).collect()
}

fn file_digest(path: &std::path::Path, sha256: &str) -> FileDigest {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    FileDigest { name, sha256: sha256.to_owned() }
}

/// Where this runs.
pub fn environment(kernels: KernelChoice) -> Environment {
    Environment {
        version: env!("CARGO_PKG_VERSION"),
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
        threads: rayon::current_num_threads(),
        kernels: format!("{kernels:?}").to_lowercase(),
    }
}

/// Which checkpoint is taken, and what becomes of its momentums.
fn checkpoint_note(checkpoint: &Checkpoint) -> String {
    let momentums = match checkpoint.momentums().len() {
        0 => String::new(),
        n => format!("; its {n} optimizer momentums hold gradients of the rows, and are zero in a new checkpoint"),
    };
    format!("{}{momentums}", checkpoint.path().display())
}

/// What no figure in the report shows.
fn limits() -> Vec<String> {
    [
        "Weights cannot prove that rows were never learnt (arXiv 2110.11891), and an operator who wants to pass these tests can (arXiv 2408.00929). The tests look for traces of the rows, and say how many they find.",
        "τ is chosen so that the mean loss of forgotten rows becomes that of unseen ones, which flatters the attacks that look at one mean or one threshold. The ranks of single rows and the distance of the distributions are the harder tests.",
        "The attacks here know the loss and the entropy of the answer. One that knows models trained without the rows, or that looks at the weights, may see more.",
        "A model may pass and still learn forgotten rows again faster than others, or show them after it is trained further.",
        "Other copies are not touched: older versions in a registry, checkpoints, optimizer states, caches, and models distilled from or fine-tuned on the old one.",
        "Whoever holds the old and the new model can learn from their difference what was forgotten: withdraw the old file.",
    ]
    .map(String::from)
    .to_vec()
}

/// The kind of label that decides the loss.
pub fn label_kind(target: TargetKind) -> LabelKind {
    match target {
        TargetKind::Class => LabelKind::Class,
        TargetKind::Binary => LabelKind::Binary,
        TargetKind::MultiLabel => LabelKind::MultiLabel,
        TargetKind::Value => LabelKind::Value,
    }
}

/// What the model asks of the rows.
pub fn signature(graph: &Graph, plan: &LossPlan) -> Signature {
    let links = graph.links();
    let spec = |id: ValueId| -> Option<InputSpec> {
        let info = graph.values.get(id.0)?;
        let ty = info.ty.as_ref();
        let dims = ty
            .and_then(|t| t.dims.as_ref())
            .map(|dims| dims.iter().map(|d| if let Dim::Fixed(n) = d { Some(*n) } else { None }).collect());
        let dtype = ty.and_then(|t| t.dtype).unwrap_or(crate::tensor::DType::F32);
        Some(InputSpec { name: info.name.clone(), dtype, dims, table: tables::rows(graph, &links, id) })
    };
    let fed = graph.inputs.iter().filter(|id| Some(**id) != plan.label_input);
    Signature {
        inputs: fed.filter_map(|id| spec(*id)).collect(),
        scores: spec(plan.scores).map(|spec| with_width(spec, plan)),
        label: plan.label_input.and_then(spec),
        independent: plan.kind == LossKind::Bce,
        values: plan.kind == LossKind::Mse,
        classes: plan.head.classes.clone(),
    }
}

/// Scores whose shape the file does not declare, as they often lie behind a Softmax, with the width that the graph tells.
fn with_width(spec: InputSpec, plan: &LossPlan) -> InputSpec {
    match plan.head.width.filter(|_| spec.row_len().is_none()) {
        Some(width) => InputSpec { dims: Some(vec![None, Some(width)]), ..spec },
        None => spec,
    }
}

fn for_toml(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, for_toml(v))).collect(),
        Value::Array(items) => items.into_iter().map(for_toml).collect(),
        // For people: a name that holds a line end cannot pass for a line of the text.
        Value::String(text) => text.replace('\n', "\n  ").into(),
        other => other,
    }
}
