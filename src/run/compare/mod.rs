//! Methods beside each other, on the same rows, from the same weights, with the same seeds.

mod found;

use super::{
    destination::{check_folder, sibling},
    device::{Work, on_device},
    events::{Event, Observer, Stop, Watch},
    job::Job,
    options::Options,
    rows::RunBatches,
    staged::{COMPARISON, json, place_texts},
};
use crate::{
    data::Counts,
    error::{Error, Result},
    kernels::Backend,
    report::compare::{self, CompareReport},
    unlearn::MethodName,
};
use found::{MethodRun, MethodRuns, Results};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// What is compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The methods; all that make sense if there is none.
    pub methods: Vec<MethodName>,
    /// Seeds that each runs with: the options' own and those that follow it.
    pub seeds: usize,
    /// Where the report's files go; beside the model if not given.
    pub folder: Option<PathBuf>,
}

/// The work of a comparison.
struct Comparing<'o> {
    ready: Ready,
    observer: &'o mut dyn Observer,
}

/// Runs every method with every seed, and writes what they reach anew after each method. Returns the report and its folder.
///
/// # Errors
/// Those of [`Job::prepare`]; [`Error::Usage`] for a method that is asked for and cannot be used.
pub fn compare(
    options: Options,
    comparison: Comparison,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<(CompareReport, PathBuf)> {
    prepare(options, comparison, stop, observer)?.run(observer)
}

/// A comparison, once everything is read.
pub struct Ready {
    job: Job,
    methods: Vec<MethodName>,
    seeds: Vec<u64>,
    folder: PathBuf,
}

/// Opens everything that a comparison needs.
///
/// # Errors
/// Those of [`Job::prepare`]; [`Error::Usage`] for a method that is asked for and cannot be used; [`Error::Write`] for a folder
/// that cannot be written.
pub fn prepare(
    mut options: Options,
    comparison: Comparison,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> Result<Ready> {
    options.unlearn.method = None;
    options.check()?;
    options.require_forget()?;
    let given = !options.references.is_empty();
    let mut methods: Vec<MethodName> = match comparison.methods.as_slice() {
        [] => MethodName::all().iter().copied().filter(|m| *m != MethodName::Retrain || !given).collect(),
        asked => asked.to_vec(),
    };
    methods.sort();
    methods.dedup();
    let folder = comparison.folder.unwrap_or_else(|| sibling(&options.model, ".compare"));
    check_folder(&folder, &COMPARISON, false)?;
    let job = Job::prepare(options, stop, observer, |_, _| Ok(Vec::new()))?;
    if comparison.methods.contains(&MethodName::Retrain)
        && let Some(problem) = job.obstacle(MethodName::Retrain)?
    {
        return Err(Error::Usage(format!("--methods {problem}")));
    }
    let seed = job.options.seed;
    let seeds = (0..comparison.seeds as u64).map(|n| seed.wrapping_add(n)).collect();
    Ok(Ready { job, methods, seeds, folder })
}

impl Ready {
    /// How many rows there are of each set.
    pub fn counts(&self) -> &Counts {
        &self.job.data.counts
    }

    /// Runs every method with every seed, and writes what they reach anew after each method. Returns the report and its
    /// folder.
    ///
    /// # Errors
    /// [`Error::UnknownRows`] if the model does not know the rows; those of the device, and of writing the report.
    pub fn run(self, observer: &mut dyn Observer) -> Result<(CompareReport, PathBuf)> {
        let options = &self.job.options;
        let (device, seed, folder) = (options.device, options.seed, self.folder.clone());
        let scope = self.job.scope.clone();
        let report = scope.enter(|| on_device(device, seed, Comparing { ready: self, observer }))?;
        Ok((report, folder))
    }
}

impl Work for Comparing<'_> {
    type Output = CompareReport;

    fn on<D: Backend<f32>>(self, device: D) -> Result<CompareReport> {
        let Self { ready: Ready { job, methods, seeds, folder }, observer } = self;
        let (job, mut watch) = (&job, job.watch(observer));
        let references = job.open_references()?;
        let model = job.model(device.clone(), job.model_options())?;
        job.require_known(&mut watch, &model)?;
        let original = watch.stage("audit of the model", |_| job.audit(&model))?;
        drop(model);
        let given =
            watch.stage_if(!references.is_empty(), "reference models", |_| job.audit_references(&references))?;
        let mut found = Results { job, seeds: &seeds, references: &references, original, given, runs: Vec::new() };
        for (n, &name) in methods.iter().enumerate() {
            found.runs.push(runs_of(job, &mut watch, &device, name, &seeds)?);
            let left = methods.get(n + 1..).unwrap_or_default();
            place(&found.report(left), &folder, job.report_manner().mode)?;
        }
        Ok(found.report(&[]))
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
    watch: &mut Watch<'_>,
    device: &D,
    name: MethodName,
    seeds: &[u64],
) -> Result<MethodRuns> {
    let method = job.published_method::<D>(name)?;
    let obstacle = job.obstacle(name)?;
    let mut runs = MethodRuns { name, settings: method.described(), obstacle, made: Vec::new(), failed: Vec::new() };
    if runs.obstacle.is_some() {
        watch.tell(Event::NotApplicable(name))?;
        return Ok(runs);
    }
    for &seed in seeds {
        let one = watch.stage(&format!("{name}, seed {seed}"), |_| {
            let mut model = job.model(device.clone(), job.options_for(name, seed))?;
            let start = Instant::now();
            method.run(&mut model, &mut RunBatches::new(job, seed), &mut &job.stop)?;
            model.round_to_stored()?;
            let seconds = start.elapsed().as_secs_f64();
            Ok(MethodRun { seed, audited: job.audit(&model)?, seconds })
        });
        match one {
            Ok(made) => runs.made.push(made),
            Err(e @ (Error::Unlearning(_) | Error::Untrainable(_))) => {
                watch.tell(Event::MethodFailed { method: name, seed, error: &e })?;
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
