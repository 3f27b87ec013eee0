//! `onnx-forget compare MODEL`: methods beside each other, on the same rows, from the same weights, with the same seeds.

mod found;

use super::{
    args::{AuditDepth, Format, SourceArgs, TestArgs},
    check_interrupt,
    config::{RunConfig, sibling},
    device::{Work, on_device},
    job::Job,
    out,
    preflight::check_folder,
    progress::{Stages, json_line},
    recipe_args::RecipeArgs,
    rows::RunBatches,
    staged::{COMPARISON, json, place_texts},
};
use crate::{
    error::{Error, Result},
    kernels::Backend,
    report::compare::{self, CompareReport},
    unlearn::{EpochRecord, MethodName, Observer, StepRecord},
};
use clap::Args;
use found::{Found, Made, Runs};
use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Instant,
};

/// `compare`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every method starts from MODEL's weights, with the settings that its paper or its authors' code has for images, whatever \
    the rows are; neggrad's settings are this project's own. nabla-tau and nabla-tau-paper follow epochs, alpha, learning_rate, and \
    weight_decay under [unlearn] in the configuration (nabla-tau also step_size); the other methods do not. Prints Markdown tables, and \
    rewrites compare.csv, compare.json, and compare.html after each method.\n\nMethods:\n  \
    nabla-tau        raises the loss of the rows to forget to that of unseen rows\n  \
    nabla-tau-paper  the same as published for images (arXiv 2403.14339); for text, that code has other settings\n  \
    fine-tune        trains on the retained rows only\n  \
    neggrad          raises the loss of the rows to forget, with nothing to stop it (arXiv 1911.04933)\n  \
    neggrad+         the same, and keeps the loss of the retained rows low (arXiv 2302.09880)\n  \
    scrub            moves away from MODEL's answers on the rows to forget, stays close on the others (arXiv 2302.09880)\n  \
    scrub+r          the same, then returns to the epoch in which rows to forget are answered as well as unseen rows\n  \
    ssd              shrinks the weights that matter more for the rows to forget than for all rows (arXiv 2308.07707)\n  \
    amnesiac         trains on all rows, with one wrong class for each row to forget (arXiv 2010.10981)\n  \
    random-labels    trains in turn on the rows to forget with random classes and on the retained rows (arXiv 2310.12508)\n  \
    salun            the same, on the half of the weights that matters most for the rows to forget (arXiv 2310.12508)\n  \
    retrain          trains from the beginning on the retained rows: the result that the others approximate"
)]
pub struct CompareArgs {
    /// The trained model
    pub model: PathBuf,
    /// Methods, separated by commas; all if not given
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "NAMES",
        hide_possible_values = true,
        help_heading = "Comparison"
    )]
    pub methods: Vec<MethodName>,
    /// Number of seeds: how often each method runs
    #[arg(long, default_value = "5", value_name = "N", help_heading = "Comparison")]
    pub seeds: NonZeroUsize,
    /// Models that were trained without the rows to forget, instead of retrain
    #[arg(long, num_args = 1.., value_name = "MODEL", help_heading = "Comparison")]
    pub reference: Vec<PathBuf>,
    /// Rows in a batch, for every method (amnesiac: at most 128)
    #[arg(long, value_name = "N", help_heading = "Comparison")]
    pub batch_size: Option<NonZeroUsize>,
    /// Folder for compare.csv, compare.json, and compare.html; <stem>.compare next to MODEL if not given
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Rows and model.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Recipe of retrain.
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

/// Runs every method with every seed, and writes what they reach.
pub fn run(args: CompareArgs) -> Result<()> {
    let tests = TestArgs { audit: AuditDepth::Standard, reference: args.reference };
    let mut config = RunConfig::new(&args.model, &args.source, &tests)?;
    args.recipe.over(&mut config.train);
    config.unlearn.batch_size = args.batch_size.map(Into::into).or(config.unlearn.batch_size);
    config.unlearn.method = None;
    config.check()?;
    if config.forget.is_empty() && config.forget_class.is_none() {
        return Err(Error::Usage("what is to be forgotten? Give --forget IDS or --forget-class N".into()));
    }
    let given = !config.references.is_empty();
    let mut methods: Vec<MethodName> = match args.methods.as_slice() {
        [] => MethodName::all().iter().copied().filter(|m| *m != MethodName::Retrain || !given).collect(),
        asked => asked.to_vec(),
    };
    methods.sort();
    methods.dedup();
    let folder = args.out.unwrap_or_else(|| sibling(&args.model, ".compare"));
    let mut stages = Stages::new(config.format);
    check_folder(&folder, &COMPARISON, false)?;
    let job = Job::prepare(config, &mut stages, |_, _| Ok(Vec::new()))?;
    if args.methods.contains(&MethodName::Retrain)
        && let Some(problem) = job.obstacle(MethodName::Retrain)?
    {
        return Err(Error::Usage(format!("--methods {problem}")));
    }
    let (device, seed) = (job.config.device, job.config.seed);
    let seeds = (0..args.seeds.get() as u64).map(|n| seed.wrapping_add(n)).collect();
    on_device(device, seed, Comparing { job, stages, methods, seeds, folder })
}

/// A comparison, once everything is read.
struct Comparing {
    job: Job,
    stages: Stages,
    methods: Vec<MethodName>,
    seeds: Vec<u64>,
    folder: PathBuf,
}

impl Work for Comparing {
    fn on<D: Backend<f32>>(mut self, device: D) -> Result<()> {
        let job = &self.job;
        let references = job.open_references()?;
        let model = job.model(device.clone(), job.model_options())?;
        job.require_known(&mut self.stages, &model)?;
        let original = self.stages.run("audit of the model", || job.audit(&model))?;
        drop(model);
        let given =
            self.stages.run_if(!references.is_empty(), "reference models", || job.audit_references(&references))?;
        let mut found = Found { job, seeds: &self.seeds, references: &references, original, given, runs: Vec::new() };
        for (n, &name) in self.methods.iter().enumerate() {
            found.runs.push(runs_of(job, &mut self.stages, &device, name, &self.seeds)?);
            let left = self.methods.get(n + 1..).unwrap_or_default();
            let report = found.report(left);
            place(&report, &self.folder, job.report_manner().mode)?;
            if left.is_empty() {
                match job.config.format {
                    Format::Json => json_line(&report),
                    Format::Pretty => out::result(&compare::markdown(&report)),
                }
            }
        }
        self.stages.say(&format!("\nwritten    {}", self.folder.join("compare.html").display()));
        Ok(())
    }
}

/// Writes a report's files, in the place of those that are there.
fn place(report: &CompareReport, folder: &Path, mode: u32) -> Result<()> {
    let json = json(report)?;
    let texts =
        vec![("compare.csv", compare::csv(report)), ("compare.json", json), ("compare.html", compare::html(report))];
    place_texts(folder, texts, mode)
}

/// Runs a method with every seed. An error of the method itself is a result; others end the comparison.
fn runs_of<D: Backend<f32>>(
    job: &Job,
    stages: &mut Stages,
    device: &D,
    name: MethodName,
    seeds: &[u64],
) -> Result<Runs> {
    let method = job.published_method::<D>(name)?;
    let obstacle = job.obstacle(name)?;
    let mut runs = Runs { name, settings: method.described(), obstacle, made: Vec::new(), failed: Vec::new() };
    if runs.obstacle.is_some() {
        stages.say(&format!("{name}: not applicable"));
        return Ok(runs);
    }
    for &seed in seeds {
        let one = stages.run(&format!("{name}, seed {seed}"), || {
            let mut model = job.model(device.clone(), job.options_for(name, seed))?;
            let start = Instant::now();
            method.run(&mut model, &mut RunBatches::new(job, seed), &mut Watch)?;
            model.round_to_stored()?;
            let seconds = start.elapsed().as_secs_f64();
            Ok(Made { seed, audited: job.audit(&model)?, seconds })
        });
        match one {
            Ok(made) => runs.made.push(made),
            Err(e @ (Error::Unlearning(_) | Error::Untrainable(_))) => {
                stages.say(&format!("{name}, seed {seed}: {e}"));
                runs.failed.push((seed, e.to_string()));
                // What cannot be trained cannot be with another seed.
                if matches!(e, Error::Untrainable(_)) {
                    break;
                }
            }
            Err(e) => return Err(e),
        }
    }
    Ok(runs)
}

/// Only looks whether the run is to end.
struct Watch;

impl Observer for Watch {
    fn step(&mut self, _: &StepRecord, _: usize) -> Result<()> {
        check_interrupt()
    }

    fn epoch(&mut self, _: &EpochRecord) -> Result<()> {
        Ok(())
    }
}
