//! An ordinary training, so that there is a model to compare with.

use super::{
    destination::{require_other, sibling},
    device::{Work, on_device},
    events::{Event, Observer, Stop, Watch},
    forget::changes,
    job::build,
    measure::{answered, scored},
    methods::{folded_warning, kept_by_choice, require_images},
    options::Options,
    read::{self, Look, ReadModel},
};
use crate::{
    audit::{SplitScore, score},
    data::{self, Augment, Dataset, Places, Rows, TrainingData, epoch_seed},
    error::{Error, Result},
    graph::TrainableModel,
    kernels::Backend,
    model::{BatchNorm, ModelOptions},
    unlearn::{
        BatchIter, Recipe, Schedule,
        fit::{self, initialize},
    },
    writeback,
};
use serde::Serialize;
use std::{path::PathBuf, sync::Arc};

/// What is trained, and where to.
#[derive(Clone, Debug, Default)]
pub struct Training {
    /// A list of ids of rows that are left out.
    pub exclude: Option<Places>,
    /// Whether the weights of the model are where it starts from.
    pub keep_weights: bool,
    /// Batch normalization during the steps; on batch statistics if not given, whatever the options say of unlearning.
    pub bn: Option<BatchNorm>,
    /// The trained model; beside the model if not given.
    pub out: Option<PathBuf>,
    /// Whether it may replace a file.
    pub force: bool,
}

/// Everything that a training needs.
struct Trainer<'o> {
    options: Options,
    model: TrainableModel,
    data: TrainingData,
    recipe: Recipe,
    bn: BatchNorm,
    keep_weights: bool,
    out: PathBuf,
    force: bool,
    stop: Stop,
    observer: &'o mut dyn Observer,
}

/// What came of it.
#[derive(Serialize)]
pub struct Trained {
    /// The new model.
    pub output: PathBuf,
    /// Its digest.
    pub sha256: String,
    /// Rows that it was trained on.
    pub rows: usize,
    /// Rows that were left out.
    pub excluded: usize,
    /// How it was trained.
    pub recipe: Recipe,
    /// Wall time of the steps.
    pub seconds: f64,
    /// Running statistics that were measured.
    pub statistics: usize,
    /// What it makes of the rows, by what they are called.
    pub scores: Vec<(&'static str, SplitScore)>,
}

/// Trains, and writes a new model.
///
/// # Errors
/// Those of reading model and rows, and of the steps; [`Error::Usage`] if weights are to be drawn that the options keep.
pub fn train(options: Options, training: Training, stop: &Stop, observer: &mut dyn Observer) -> Result<Trained> {
    options.scope()?.enter(|| trained(options, training, stop, observer))
}

fn trained(options: Options, training: Training, stop: &Stop, observer: &mut dyn Observer) -> Result<Trained> {
    options.check()?;
    let mut watch = Watch::new(observer, stop);
    let Training { exclude, keep_weights, bn, out, force } = training;
    let out = out.unwrap_or_else(|| sibling(&options.model, ".trained.onnx"));
    let files = &options.data.files;
    let rows = [&files.train, &files.validation, &files.test].into_iter().flatten().flat_map(Places::paths);
    let given: Vec<_> =
        rows.chain(&options.config).chain(&options.loss_graph).chain(exclude.iter().flat_map(Places::paths)).collect();
    require_other(out.clone(), &given)?;
    let opened = watch.stage("reading the model", |_| {
        let opened = read::open(&options)?;
        writeback::clear_leftovers(&out);
        writeback::check_destination(&opened.0, &out, force)?;
        Ok(opened)
    })?;
    let read = ReadModel::new(opened, &options, Look::Training)?;
    if !keep_weights && let Some(kept) = kept_by_choice(&read.graph, &read.first, &read.decisions()?)? {
        let problem = format!("train draws {kept}; leave the choice out, or train on with --keep-weights");
        return Err(Error::Usage(problem));
    }
    let data = watch.stage("reading the data", |_| {
        data::open_training(&options.data, exclude, options.missing_ids(), &read.signature())
    })?;
    let model = read.labeled(data.target, &data.targets)?;
    let batch_size = Schedule::new(&options.unlearn, 0, data.rows.len()).batch_size;
    let augment = Augment { images: data.train.image_inputs(), ..Augment::default() };
    let recipe = Recipe::new(&options.train, batch_size, augment);
    require_images(&recipe, &data.train)?;
    let (rows, of) = (data.rows.len(), data.train.len());
    watch.tell(Event::TrainingPrepared { loss: &model.plan.why, rows, of })?;
    data.warnings.iter().try_for_each(|w| watch.warn(w))?;
    if let Some(warning) = folded_warning(&model.graph).filter(|_| !keep_weights) {
        watch.warn(&warning)?;
    }
    let (device, seed) = (options.device, options.seed);
    // The configuration's choice is for unlearning, where the statistics are frozen.
    let (bn, stop) = (bn.unwrap_or(BatchNorm::Batch), stop.clone());
    let trainer = Trainer { options, model, data, recipe, bn, keep_weights, out, force, stop, observer };
    on_device(device, seed, trainer)
}

impl Work for Trainer<'_> {
    type Output = Trained;

    fn on<D: Backend<f32>>(self, device: D) -> Result<Trained> {
        let options = &self.options;
        let mut watch = Watch::new(self.observer, &self.stop);
        let run_as = ModelOptions {
            kernels: options.kernels,
            bn: self.bn,
            dropout: options.dropout,
            seed: options.seed,
            micro_batch: options.unlearn.micro_batch.filter(|_| self.bn == BatchNorm::Frozen),
            ..ModelOptions::default()
        };
        let mut model = build(&self.model, run_as, device)?;
        let sample: Vec<usize> = self.data.rows.iter().take(2).collect();
        let sample = self.data.train.batch(&sample)?;
        model.fit_rows(&sample)?;
        model.require_independent_rows(&sample)?;
        if !self.keep_weights {
            initialize(&mut model, options.seed)?;
        }
        let (rows, seed) = (self.data.rows.clone(), options.seed);
        let train_set = self.data.train.clone();
        let mut pass = |pass: usize, size: usize| -> Result<BatchIter> {
            Ok(Box::new(train_set.shuffled(&rows, size, epoch_seed(seed, "retain", pass))))
        };
        let recipe = &self.recipe;
        let trajectory = watch.stage("training", |watch| {
            watch.steps(recipe.steps(rows.len()), "train", |observer| {
                fit::train(&mut model, &mut pass, rows.len(), recipe, seed, observer)
            })
        })?;
        // What is measured from here on is the model that is written.
        model.round_to_stored()?;
        let mut scores = Vec::new();
        let mut sets: Vec<(&'static str, &Arc<Dataset>, Rows)> = vec![("train", &self.data.train, rows.clone())];
        let excluded = rows.complement();
        if !excluded.is_empty() {
            sets.push(("excluded", &self.data.train, excluded.clone()));
        }
        sets.extend(self.data.held_out.iter().map(|(name, set)| (*name, set, Rows::all(set.len()))));
        let kind = answered(&model, self.data.target);
        for (name, set, rows) in sets {
            let found = scored(&model, &self.stop, set, &rows)?;
            scores.push((name, score(&found.outcome(kind), name)?));
        }
        let changes = changes(&model);
        let pending =
            watch.stage("writing", |_| writeback::splice(&self.model.file, &changes, &self.out, self.force))?;
        let proof = pending.verify()?;
        pending.publish()?;
        Ok(Trained {
            output: self.out.clone(),
            sha256: proof.sha256,
            rows: rows.len(),
            excluded: excluded.len(),
            recipe: self.recipe.clone(),
            seconds: trajectory.seconds,
            statistics: model.measured_statistics().len(),
            scores,
        })
    }
}
