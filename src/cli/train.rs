//! `onnx-forget train MODEL`: an ordinary training, so that there is a model to compare with.

use super::{
    args::{Format, SourceArgs, TestArgs},
    config::{RunConfig, sibling},
    device::{Work, on_device},
    job::{changes, signature},
    measuring::{answered, scored},
    methods::{kept_by_choice, require_images},
    plan::Decided,
    preflight::require_other,
    progress::{Progress, Stages, json_line},
    recipe_args::RecipeArgs,
};
use crate::{
    audit::{SplitScore, score},
    data::{self, Augment, Dataset, MissingIds, Places, Rows, TrainingData, epoch_seed},
    error::{Error, Result},
    graph::{
        Graph,
        trainable::{self, Decision},
        training::{self, LossPlan},
    },
    kernels::Backend,
    model::{BatchNorm, Model, ModelOptions},
    onnx::{OnnxFile, ReadOptions, artifacts},
    unlearn::{
        Recipe, Schedule,
        training::{initialise, train},
    },
    writeback,
};
use clap::Args;
use serde::Serialize;
use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

/// Convolutions that nothing normalises, from which on a training from the beginning is warned of.
const FOLDED: usize = 4;

/// `train`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --keep-weights, every parameter is drawn anew by PyTorch's rule for its role, and --freeze and --trainable are \
    refused: kept weights would hold what they learned from rows that are left out. BatchNormalization uses batch statistics in training; \
    its running statistics are measured at the end and written, too. If an exporter has folded it into the convolutions, training from the \
    beginning goes badly: export the model with BatchNormalization kept."
)]
pub struct TrainArgs {
    /// Model whose graph is trained; its weights are used with --keep-weights only
    pub model: PathBuf,
    /// Ids of training rows to leave out, in the formats of --forget
    #[arg(long, value_name = "IDS", help_heading = "Data")]
    pub exclude: Option<PathBuf>,
    /// Start from the weights in MODEL
    #[arg(long, help_heading = "Training from the beginning")]
    pub keep_weights: bool,
    /// Rows in a batch; 256 if not given, fewer if there are few rows
    #[arg(long, value_name = "N", help_heading = "Training from the beginning")]
    pub batch_size: Option<NonZeroUsize>,
    /// Recipe.
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// The trained model; <stem>.trained.onnx next to MODEL if not given
    #[arg(short, long, value_name = "OUT", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Overwrite OUT
    #[arg(long, help_heading = "Output")]
    pub force: bool,
    /// Rows and model.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Everything that a training needs.
struct Trainer {
    config: RunConfig,
    stages: Stages,
    file: OnnxFile,
    graph: Graph,
    plan: LossPlan,
    decisions: Vec<Decision>,
    data: TrainingData,
    recipe: Recipe,
    bn: BatchNorm,
    keep_weights: bool,
    out: PathBuf,
    force: bool,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Trained {
    output: PathBuf,
    sha256: String,
    rows: usize,
    excluded: usize,
    recipe: Recipe,
    seconds: f64,
    /// Running statistics that were measured.
    statistics: usize,
    scores: Vec<(&'static str, SplitScore)>,
}

/// Trains, and writes a new model.
pub fn run(args: TrainArgs) -> Result<()> {
    if !args.source.forget.is_empty() || args.source.forget_class.is_some() {
        return Err(Error::Usage("train forgets nothing: leave rows out by --exclude IDS".into()));
    }
    let mut config = RunConfig::new(&args.model, &args.source, &TestArgs::default())?;
    args.recipe.over(&mut config.train);
    config.train.batch_size = args.batch_size.map(Into::into).or(config.train.batch_size);
    config.check()?;
    let mut stages = Stages::new(config.format);
    let options = ReadOptions { allow_symlink_inside: config.allow_symlink_inside };
    let out = args.out.unwrap_or_else(|| sibling(&args.model, ".trained.onnx"));
    let files = &config.data.data;
    let rows = [&files.train, &files.validation, &files.test].into_iter().flatten().flat_map(Places::paths);
    let given: Vec<_> = rows.chain(&config.config).chain(&args.exclude).collect();
    require_other(out.clone(), &given)?;
    let (file, graph) = stages.run("reading the model", || {
        let file = artifacts::open(&config.model, config.checkpoint.as_deref(), &options)?;
        let graph = crate::graph::build::build_given(&file, &config.given())?;
        writeback::clear_leftovers(&out);
        writeback::check_destination(&file, &out, args.force)?;
        Ok((file, graph))
    })?;
    let decided = Decided::new(&graph, &config, None)?;
    let first = &decided.first;
    let graph = training::narrowed(graph, first);
    if !args.keep_weights {
        let decisions = trainable::decide(&graph, first, &config.trainable, &config.freeze)?;
        if let Some(kept) = kept_by_choice(&graph, first, &decisions)? {
            let problem = format!("train draws {kept}; leave the choice out, or train on with --keep-weights");
            return Err(Error::Usage(problem));
        }
    }
    let missing = if config.ignore_missing_ids { MissingIds::Ignore } else { MissingIds::Stop };
    let data = stages.run("reading the data", || {
        data::open_training(&config.data, args.exclude.clone(), missing, &signature(&graph, first))
    })?;
    let plan = decided.with_labels(&graph, data.target)?;
    let decisions = trainable::decide(&graph, &plan, &config.trainable, &config.freeze)?;
    let batch_size = Schedule::new(&config.unlearn, 0, data.rows.len()).batch_size;
    let augment = Augment { images: data.train.image_inputs(), ..Augment::default() };
    let recipe = Recipe::new(&config.train, batch_size, augment);
    require_images(&recipe)?;
    stages.say(&format!("loss       {}\nrows       {} of {}", plan.why, data.rows.len(), data.train.len()));
    data.warnings.iter().for_each(|w| stages.warn(w));
    if let Some(warning) = folded_warning(&graph).filter(|_| !args.keep_weights) {
        stages.warn(&warning);
    }
    let (device, seed) = (config.device, config.seed);
    let (keep_weights, force) = (args.keep_weights, args.force);
    // The configuration's choice is for unlearning, where the statistics are frozen.
    let bn = args.source.bn.unwrap_or(BatchNorm::Batch);
    let trainer = Trainer { config, stages, file, graph, plan, decisions, data, recipe, bn, keep_weights, out, force };
    on_device(device, seed, trainer)
}

/// What to say of a graph in which BatchNormalization was folded into convolutions, or seems to have been.
pub fn folded_warning(graph: &Graph) -> Option<String> {
    let convolutions =
        graph.nodes.iter().filter(|node| ["Conv", "FusedConv", "ConvTranspose"].iter().any(|op| node.is(op))).count();
    let normalised = graph.nodes.iter().any(|node| node.op_type.ends_with("Normalization"));
    (convolutions >= FOLDED && !normalised).then(|| {
        format!(
            "{convolutions} convolutions, and nothing that normalises: if BatchNormalization was folded into them at export, a training \
             from the beginning goes badly; export the model with it (torch.onnx.export in training mode, without constant folding)"
        )
    })
}

impl super::job::Job {
    /// See [`folded_warning`].
    pub fn folded_warning(&self) -> Option<String> {
        folded_warning(&self.graph)
    }
}

impl Work for Trainer {
    fn on<D: Backend<f32>>(mut self, device: D) -> Result<()> {
        let config = &self.config;
        let options = ModelOptions {
            kernels: config.kernels,
            bn: self.bn,
            dropout: config.dropout,
            seed: config.seed,
            micro_batch: config.unlearn.micro_batch.filter(|_| self.bn == BatchNorm::Frozen),
            ..ModelOptions::default()
        };
        let mut model = Model::build(&self.graph, &self.plan, &self.decisions, options, device)?;
        let sample: Vec<usize> = self.data.rows.iter().take(2).collect();
        let sample = self.data.train.batch(&sample)?;
        model.fit_rows(&sample)?;
        model.require_independent_rows(&sample)?;
        if !self.keep_weights {
            initialise(&mut model, config.seed)?;
        }
        let (rows, seed) = (self.data.rows.clone(), config.seed);
        let train_set = self.data.train.clone();
        let mut pass = |pass: usize, size: usize| -> Result<crate::unlearn::nabla_tau::BatchIter> {
            Ok(Box::new(train_set.shuffled(&rows, size, epoch_seed(seed, "retain", pass))))
        };
        let mut progress = Progress::training(config.format, self.recipe.steps(rows.len()));
        let recipe = &self.recipe;
        let trajectory =
            self.stages.run("training", || train(&mut model, &mut pass, rows.len(), recipe, seed, &mut progress));
        progress.finish();
        let trajectory = trajectory?;
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
            let found = scored(&model, set, &rows)?;
            scores.push((name, score(&found.outcome(kind), name)?));
        }
        let changes = changes(&model);
        let pending = self.stages.run("writing", || writeback::splice(&self.file, &changes, &self.out, self.force))?;
        let proof = pending.verify()?;
        pending.publish()?;
        let trained = Trained {
            output: self.out.clone(),
            sha256: proof.sha256,
            rows: rows.len(),
            excluded: excluded.len(),
            recipe: self.recipe.clone(),
            seconds: trajectory.seconds,
            statistics: model.measured_statistics().len(),
            scores,
        };
        match self.config.format {
            Format::Json => json_line(&trained),
            Format::Pretty => self.stages.result(&words(&trained)),
        }
        Ok(())
    }
}

fn words(trained: &Trained) -> String {
    let mut lines = vec![format!("trained    {:.1} s", trained.seconds)];
    for (name, score) in &trained.scores {
        let accuracy = score.accuracy.map_or(String::new(), |a| format!("  accuracy {:.2} %", 100.0 * a));
        lines.push(format!("{name:<10} loss {:.4}{accuracy}  ({} rows)", score.loss, score.rows));
    }
    if trained.statistics > 0 {
        lines.push(format!("statistics {} running means and variances measured", trained.statistics));
    }
    lines.push(format!("new model  {}", trained.output.display()));
    lines.join("\n")
}
