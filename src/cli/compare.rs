//! `onnx-forget compare MODEL`: methods beside each other, on the same rows, from the same weights, with the same seeds.

use super::{
    args::{AuditDepth, Format, SourceArgs, TestArgs},
    check_interrupt,
    config::{RunConfig, sibling},
    device::{Work, on_device},
    job::{Job, environment},
    measuring::Reference,
    progress::{Stages, json_line},
    recipe_args::RecipeArgs,
    rows::RunBatches,
    staged::place_texts,
};
use crate::{
    audit::{self, Audit, Measured, Spread},
    error::{Error, Result},
    kernels::Backend,
    report::compare::{self, COMPARE_SCHEMA, CompareReport, MethodOutcome, MethodRow},
    unlearn::{Described, EpochRecord, MethodName, Observer, StepRecord},
};
use clap::Args;
use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf, time::Instant};

/// `compare`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every method starts from MODEL's weights and is set as its paper and its authors' code set it. Prints \
    Markdown tables, and writes compare.csv, compare.json and compare.html.\n\nMethods:\n  \
    nabla-tau      raises the loss of the rows to forget up to that of unseen rows\n  \
    nabla-tau-paper  the same as published (arXiv 2403.14339)\n  \
    fine-tune      trains on, on the retained rows alone\n  \
    neggrad        raises the loss of the rows to forget, with nothing to hold it back (arXiv 1911.04933)\n  \
    neggrad+       the same, and keeps the loss of the retained rows low (arXiv 2302.09880)\n  \
    scrub          moves away from what MODEL says of the rows to forget, stays with what it says of others (arXiv 2302.09880)\n  \
    scrub+r        the same, rewound to where rows to forget are answered as unseen rows are\n  \
    ssd            dampens the weights that matter more for the rows to forget than for all (arXiv 2308.07707)\n  \
    amnesiac       trains on all rows, those to forget with one wrong class each (arXiv 2010.10981)\n  \
    random-labels  trains on the rows to forget with random classes, then on the retained ones, in turn\n  \
    salun          the same, on the half of the weights that matters most for the rows to forget (arXiv 2310.12508)\n  \
    retrain        trains from the beginning on the retained rows: what the others try to come near"
)]
pub struct CompareArgs {
    /// The trained model
    pub model: PathBuf,
    /// Methods, parted by commas; all if not given
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "NAMES",
        hide_possible_values = true,
        help_heading = "Comparison"
    )]
    pub methods: Vec<MethodName>,
    /// Seeds: each method runs so often
    #[arg(long, default_value = "5", value_name = "N", help_heading = "Comparison")]
    pub seeds: NonZeroUsize,
    /// Models that were trained without the rows to forget, in place of retrain
    #[arg(long, num_args = 1.., value_name = "MODEL", help_heading = "Comparison")]
    pub reference: Vec<PathBuf>,
    /// Rows in a batch, of every method (amnesiac takes 128 at most)
    #[arg(long, value_name = "N", help_heading = "Comparison")]
    pub batch_size: Option<NonZeroUsize>,
    /// Folder for compare.csv, compare.json and compare.html; <stem>.compare beside MODEL if not given
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
    if config.forget.is_none() && config.forget_class.is_none() {
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
    let job = Job::prepare(config, &mut stages, |_, _| Ok(()))?;
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

/// What one method made of the model with one seed.
struct Made {
    audit: Audit,
    measured: Measured,
    seconds: f64,
}

/// The runs of a method, or why there are none.
type Runs = std::result::Result<Vec<Made>, MethodOutcome>;

impl Work for Comparing {
    fn on<D: Backend<f32>>(mut self, device: D) -> Result<()> {
        let job = &self.job;
        let references = job.open_references()?;
        let model = job.model(device.clone(), job.model_options())?;
        let original = self.stages.run("audit of the model", || job.audit(&model))?;
        drop(model);
        let given =
            self.stages.run_if(!references.is_empty(), "reference models", || job.audit_references(&references))?;
        let mut runs: BTreeMap<MethodName, Runs> = BTreeMap::new();
        let mut settings: BTreeMap<MethodName, Described> = BTreeMap::new();
        for &name in &self.methods {
            settings.insert(name, job.published_method::<D>(name)?.described());
            runs.insert(name, runs_of(job, &mut self.stages, &device, name, &self.seeds)?);
        }
        // What others are held against: the given models, else the retrained ones.
        let retrained = runs.get(&MethodName::Retrain).and_then(|runs| runs.as_ref().ok());
        let own = || -> Vec<(Audit, Measured)> {
            retrained.into_iter().flatten().map(|made| (made.audit.clone(), made.measured.clone())).collect()
        };
        let others = given.clone().unwrap_or_else(own);
        let figures = |audit: &Audit, measured: &Measured, reference: bool| {
            let compared =
                (reference && !others.is_empty()).then(|| audit::compare(audit, measured, &others, job.config.seed));
            audit::figures(audit, compared.as_ref())
        };
        let row = |method: &str, title: &str, made: Vec<(&Audit, &Measured)>, compared: bool| {
            let all: Vec<_> = made.into_iter().map(|(audit, measured)| figures(audit, measured, compared)).collect();
            let keys = all.first().into_iter().flatten().enumerate();
            let spread = |i: usize| Spread::of(all.iter().map(|f| f.get(i).and_then(|f| f.1)));
            MethodRow {
                method: method.into(),
                title: title.into(),
                outcome: MethodOutcome::Measured,
                settings: None,
                figures: keys.filter_map(|(i, (key, _))| Some((*key, spread(i)?))).collect(),
                seconds: None,
            }
        };
        let mut rows = vec![row("original", "original", vec![(&original.0, &original.1)], true)];
        if let Some(given) = &given {
            rows.push(row("reference", "reference", given.iter().map(|(a, m)| (a, m)).collect(), false));
        }
        for (name, runs) in &runs {
            // Of a retrained model, the distance from itself says nothing.
            let compared = *name != MethodName::Retrain || given.is_some();
            let mut row = match runs {
                Ok(made) => {
                    let pairs = made.iter().map(|m| (&m.audit, &m.measured)).collect();
                    row(name.as_str(), name.title(), pairs, compared)
                }
                Err(outcome) => {
                    MethodRow { outcome: outcome.clone(), ..row(name.as_str(), name.title(), Vec::new(), false) }
                }
            };
            row.settings = settings.remove(name);
            row.seconds = runs.as_ref().ok().and_then(|made| Spread::of(made.iter().map(|m| Some(m.seconds))));
            rows.push(row);
        }
        let report = record(job, &self.seeds, &references, retrained.is_some(), rows);
        let json = serde_json::to_string_pretty(&report).map_err(|e| Error::Internal(e.to_string()))? + "\n";
        place_texts(
            &self.folder,
            vec![
                ("compare.csv", compare::csv(&report)),
                ("compare.json", json),
                ("compare.html", compare::html(&report)),
            ],
        )?;
        match job.config.format {
            Format::Json => json_line(&report),
            Format::Pretty => print!("{}", compare::markdown(&report)),
        }
        self.stages.say(&format!("\nwritten    {}", self.folder.join("compare.html").display()));
        Ok(())
    }
}

/// Runs a method with every seed. An error of the method itself is a result; others end the comparison.
fn runs_of<D: Backend<f32>>(
    job: &Job,
    stages: &mut Stages,
    device: &D,
    name: MethodName,
    seeds: &[u64],
) -> Result<Runs> {
    if let Some(reason) = job.obstacle(name)? {
        stages.say(&format!("{name}: not applicable"));
        return Ok(Err(MethodOutcome::NotApplicable { reason }));
    }
    let method = job.published_method::<D>(name)?;
    let mut all = Vec::new();
    for &seed in seeds {
        let one = stages.run(&format!("{name}, seed {seed}"), || {
            let mut model = job.model(device.clone(), job.options_for(name, seed))?;
            let start = Instant::now();
            method.run(&mut model, &mut RunBatches::new(job, seed), &mut Watch)?;
            let seconds = start.elapsed().as_secs_f64();
            let (audit, measured) = job.audit(&model)?;
            Ok(Made { audit, measured, seconds })
        });
        match one {
            Ok(made) => all.push(made),
            Err(e @ (Error::Unlearning(_) | Error::Untrainable(_))) => {
                return Ok(Err(MethodOutcome::Failed { reason: e.to_string() }));
            }
            Err(e) => return Err(e),
        }
    }
    Ok(Ok(all))
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

fn record(
    job: &Job,
    seeds: &[u64],
    references: &[Reference],
    retrained: bool,
    methods: Vec<MethodRow>,
) -> CompareReport {
    let data = &job.data;
    let input = job.report().model.input;
    let reference = match (references.len(), retrained) {
        (0, false) => None,
        (0, true) => Some("retrain, over all seeds".to_string()),
        (n, _) => Some(format!("{n} given by --reference")),
    };
    let mut notes = Vec::new();
    notes.extend(job.folded_warning().filter(|_| retrained));
    CompareReport {
        schema: COMPARE_SCHEMA,
        model: input,
        forget_rows: data.forget.len(),
        retain_rows: data.retain.len(),
        validation_rows: data.validation.len(),
        test_rows: data.test.len(),
        loss: job.plan.why.clone(),
        seeds: seeds.to_vec(),
        reference,
        reference_models: references.iter().map(Reference::described).collect(),
        methods,
        notes,
        device: job.config.device.to_string(),
        environment: environment(job.config.kernels),
    }
}
