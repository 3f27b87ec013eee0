//! What the runs that need rows have in common: model, data and settings, opened and checked.

use super::{
    events::{Event, Observer, Stop, Watch},
    init,
    known::Known,
    options::Options,
    read::{self, Asked, Look, ReadModel},
    rows::runtime_batches,
};
use crate::{
    data::{self, Batch, Data, Note, Request},
    engine,
    error::{Error, Result},
    graph::{
        TrainableModel,
        build::supply::{self, Supply},
    },
    kernels::Backend,
    model::{BatchNorm, Halves, Model, ModelOptions},
    onnx::{OnnxFile, checkpoint::Checkpoint},
    ops,
    scope::Scope,
    unlearn::Schedule,
};
use dfdx::tensor::Cpu;
use indexmap::IndexMap;
use serde_json::json;
use std::path::Path;

/// Rows in a batch where no gradient is wanted.
pub(super) const EVALUATION_BATCH: usize = 256;

/// A checked request, ready to run on a device.
pub struct Job {
    /// What was asked for.
    pub options: Options,
    /// The trained model.
    pub model: TrainableModel,
    /// What decided its loss.
    pub(super) asked: Asked,
    /// The rows.
    pub data: Data,
    /// The method's settings.
    pub schedule: Schedule,
    /// What was found before the rows were read, and stops nothing.
    found: Vec<String>,
    /// The threads and limits of the run.
    pub(super) scope: Scope,
    /// Ends the run.
    pub(super) stop: Stop,
    /// Seconds of the stages of its preparation.
    pub(super) timings: IndexMap<String, f64>,
}

impl Job {
    /// Opens everything; the model first, since its errors need no data. `check` sees the file before data are read.
    ///
    /// # Errors
    /// Those of reading model and rows, and of `check`.
    pub fn prepare(
        options: Options,
        stop: &Stop,
        observer: &mut dyn Observer,
        check: impl FnOnce(&Options, &OnnxFile) -> Result<Vec<String>>,
    ) -> Result<Self> {
        let scope = options.scope()?;
        scope.enter(|| Self::opened(options, &scope, stop, observer, check))
    }

    fn opened(
        mut options: Options,
        scope: &Scope,
        stop: &Stop,
        observer: &mut dyn Observer,
        check: impl FnOnce(&Options, &OnnxFile) -> Result<Vec<String>>,
    ) -> Result<Self> {
        let mut watch = Watch::new(observer, stop);
        let (opened, found) = watch.stage("reading the model", |_| {
            let opened = read::open(&options)?;
            options.checkpoint = opened.0.checkpoint().map(|found| found.path().to_path_buf());
            let found = check(&options, &opened.0)?;
            Ok((opened, found))
        })?;
        let read = ReadModel::new(opened, &options, Look::Training)?;
        // What cannot be trained is said before the rows are read.
        read.decisions()?;
        let request = Request {
            forget: options.forget.clone(),
            forget_class: options.forget_class,
            missing_ids: options.missing_ids(),
            seed: options.seed,
        };
        let data = watch.stage("reading the data", |_| data::open(&options.data, &request, &read.signature()));
        let mut data = data.map_err(|e| match (e, read.without_labels(&options)) {
            (Error::Data(problem), Some(hint)) => Error::Data(format!("{problem}; {hint}")),
            (e, _) => e,
        })?;
        let made = supply::described(&read.graph);
        let note = |(what, how): (String, Supply)| Note { what, how: how.to_string(), inferred: false };
        data.notes.extend(made.into_iter().map(note));
        let asked = read.asked(data.target, &data.targets);
        let mut model = read.labeled(data.target, &data.targets)?;
        if let Some(by) = options.loss_asked_by.filter(|_| model.plan.why.ends_with("asked for")) {
            model.plan.why += by;
        }
        let schedule = Schedule::new(&options.unlearn, data.forget.len(), data.retain.len());
        let (scope, stop, timings) = (scope.clone(), stop.clone(), watch.timings().clone());
        let job = Self { options, model, asked, data, schedule, found, scope, stop, timings };
        watch.tell(Event::Prepared(&job))?;
        job.warnings().iter().try_for_each(|warning| watch.warn(warning))?;
        Ok(job)
    }

    /// Its further stages.
    pub(super) fn watch<'o>(&self, observer: &'o mut dyn Observer) -> Watch<'o> {
        Watch::resumed(observer, &self.stop, self.timings.clone())
    }

    /// Which checkpoint is taken, and what becomes of its momentums.
    pub fn checkpoint_note(&self) -> Option<String> {
        self.model.file.checkpoint().map(checkpoint_note)
    }

    /// All that the user should know, though it stops nothing.
    pub fn warnings(&self) -> Vec<String> {
        let model = self.uncomputed().chain(self.model.partly_trained());
        self.found.iter().cloned().chain(model).chain(self.data.warnings.iter().cloned()).collect()
    }

    /// A sentence for each output that takes no part in the checks.
    fn uncomputed(&self) -> impl Iterator<Item = String> + '_ {
        let computable = ops::computable_outputs(&self.model.graph);
        let left_out = self.model.graph.outputs.iter().filter(move |output| !computable.contains(output));
        left_out.map(|&output| {
            let name = self.model.graph.name(output);
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
        let checkpoint = self.checkpoint_note().map(|note| format!("parameters: {note}"));
        decided.chain(self.warnings()).chain(checkpoint).collect()
    }

    /// What would be done, once the model has shown that it knows the rows.
    ///
    /// # Errors
    /// [`Error::UnknownRows`] if it does not know them; those of building the model.
    pub fn dry_run(&self, observer: &mut dyn Observer) -> Result<serde_json::Value> {
        self.scope.enter(|| self.described(observer))
    }

    fn described(&self, observer: &mut dyn Observer) -> Result<serde_json::Value> {
        let mut watch = self.watch(observer);
        let model = self.model(Cpu::default(), self.frozen_options())?;
        let Known { known, reading } = self.require_known(&mut watch, &model)?;
        let trainable: Vec<_> = self.model.decisions.iter().filter(|d| d.trainable).map(|d| &d.name).collect();
        Ok(json!({
            "status": "dry-run",
            "config": self.options,
            "rows": self.data.counts,
            "notes": self.data.notes,
            "warnings": self.warnings(),
            "known": known,
            "reading": reading,
            "loss": self.model.plan.why,
            "configuration": self.configuration()?,
            "trainable": trainable,
            "method": self.options.method(),
            "settings": self.method::<Cpu>(self.options.method())?.described(),
        }))
    }

    /// A configuration file that says what was inferred, for the folder of the model.
    fn configuration(&self) -> Result<String> {
        let data = &self.data;
        let folder = self.options.model.parent().unwrap_or(Path::new(""));
        let read = (data.train.plan(), data.notes.as_slice());
        init::written(&self.options, read, data.target, &self.model.plan.why, folder)
    }

    /// The model on `device`; for comparison with runtimes, or to be unlearned.
    pub(super) fn model<D: Backend<f32>>(&self, device: D, options: ModelOptions) -> Result<Model<f32, D>> {
        // Each parameter, and the gradient of each that is trained.
        let least = 4 * (self.model.parameters(false) + self.model.parameters(true)) as u64;
        engine::require_memory(least).map_err(|problem| Error::Memory(format!("the parameters {problem}")))?;
        let mut model = build(&self.model, options, device)?;
        if let Some(rows) = self.parity_rows()?.first() {
            model.fit_rows(rows)?;
            model.require_independent_rows(rows)?;
        }
        Ok(model)
    }

    /// How the model is to run.
    pub(super) fn model_options(&self) -> ModelOptions {
        let c = &self.options;
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
    pub(super) fn chosen(&self) -> serde_json::Map<String, serde_json::Value> {
        let c = &self.options;
        let all = [
            ("bn", json!(c.bn), c.bn != BatchNorm::default()),
            ("dropout", json!(c.dropout), c.dropout),
            ("trainable", json!(c.trainable), !c.trainable.is_empty()),
            ("freeze", json!(c.freeze), !c.freeze.is_empty()),
        ];
        all.into_iter().filter(|(.., chosen)| *chosen).map(|(name, value, _)| (name.into(), value)).collect()
    }

    /// How the model is to run where it is compared with runtimes: at inference.
    pub(super) fn frozen_options(&self) -> ModelOptions {
        ModelOptions { bn: BatchNorm::Frozen, dropout: false, ..self.model_options() }
    }

    /// How the model is to run where its gradient is checked: at inference, as a function without steps.
    pub(super) fn checked_options(&self) -> ModelOptions {
        ModelOptions { halves: Halves::Nowhere, ..self.frozen_options() }
    }

    /// Seeded training rows for the parity checks, in batches that runtimes take.
    pub(super) fn parity_rows(&self) -> Result<Vec<Batch>> {
        let (samples, micro_batch) = (self.options.parity.samples, self.schedule.micro_batch);
        runtime_batches(&self.model.graph, micro_batch, &self.data.train, samples, self.options.seed)
    }
}

/// A model on a device.
pub(super) fn build<D: Backend<f32>>(
    model: &TrainableModel,
    options: ModelOptions,
    device: D,
) -> Result<Model<f32, D>> {
    Model::build(&model.graph, &model.plan, &model.decisions, options, device)
}

/// Which checkpoint is taken, and what becomes of its momentums.
fn checkpoint_note(checkpoint: &Checkpoint) -> String {
    let momentums = match checkpoint.momentums().len() {
        0 => String::new(),
        n => format!("; its {n} optimizer momentums hold gradients of the rows, and are zero in a new checkpoint"),
    };
    format!("{}{momentums}", checkpoint.path().display())
}
