//! The forward check before and after, on a model and its file.

use super::{
    Comparison, Library, NotAvailable, Outputs, ParityReport, Rounding, Runner, RuntimeReport, Runtimes, ScoreOutput,
    Settings, Subject, TractRunner, chained, compare, conditioning, loss, ours, prepare::Prepared,
};
use crate::{
    batch::{Batch, Targets},
    error::{Error, Result},
    graph::{
        Graph, halves,
        loss::{LossGraph, LossKind, LossPlan},
        parameters::Decision,
    },
    onnx::OnnxFile,
    tensor::{DType, HostTensor},
};
use std::{collections::BTreeMap, path::Path};

/// The oldest operator set that onnxruntime has kernels of.
const OLDEST_OPSET: i64 = 7;

/// A model under test and the file that it was built from.
pub struct Parity<'a> {
    /// The file, unchanged.
    pub file: &'a OnnxFile,
    /// Its graph.
    pub graph: &'a Graph,
    /// Its loss.
    pub plan: &'a LossPlan,
    /// What is trainable.
    pub decisions: &'a [Decision],
    /// How to check.
    pub settings: &'a Settings,
    /// Told how far the gradient check is, so many of so many; an error ends it.
    pub watch: &'a dyn Fn(usize, usize) -> Result<()>,
}

/// The runtimes that took the model: onnxruntime first.
struct Loaded {
    runners: Vec<Box<dyn Runner>>,
    not_available: Vec<NotAvailable>,
}

/// What a runtime says against a model that it cannot load or run: for want of memory nothing is wrong with the model.
pub(super) fn refused(runtime: &str, verb: &str, why: String, failed: fn(String) -> Error) -> Error {
    let memory = ["bad_alloc", "Failed to allocate memory", "memory allocation of"];
    let kind = if memory.iter().any(|sign| why.contains(sign)) { Error::Memory } else { failed };
    kind(format!("{runtime} cannot {verb} the model: {why}"))
}

impl Parity<'_> {
    /// Compares the outputs of `subject` with the runtimes' on `batches`.
    ///
    /// The report says whether they agree; see [`ParityReport::require_before`].
    ///
    /// # Errors
    /// [`Error::RuntimeMissing`] without an onnxruntime; [`Error::ParityBefore`] if the runtime that decides cannot
    /// load or run the model.
    pub fn before(&self, subject: &dyn Subject, batches: &[Batch]) -> Result<ParityReport> {
        self.settled(self.outputs(self.file, subject, batches, Error::ParityBefore), |report| report.passed)
    }

    /// Compares the outputs of `subject`, whose parameters have changed, with the runtimes' for the `written` file.
    ///
    /// # Errors
    /// As [`before`](Parity::before), but [`Error::ParityAfter`], and those of opening `written`.
    pub fn after(&self, written: &Path, subject: &dyn Subject, batches: &[Batch]) -> Result<ParityReport> {
        let file = self.file.rewritten(written, self.file.options())?;
        self.settled(self.outputs(&file, subject, batches, Error::ParityAfter), |report| report.passed)
    }

    /// The outcome of a check, unless it failed on files that have changed: runtimes open them once more.
    pub(super) fn settled<T>(&self, outcome: Result<T>, passed: impl Fn(&T) -> bool) -> Result<T> {
        if !outcome.as_ref().is_ok_and(passed) {
            self.file.require_unchanged()?;
        }
        outcome
    }

    fn outputs(
        &self,
        file: &OnnxFile,
        subject: &dyn Subject,
        batches: &[Batch],
        failed: fn(String) -> Error,
    ) -> Result<ParityReport> {
        let prepared = Prepared::new(file, self.graph, self.plan, &subject.output_names())?;
        let Some(first) = batches.first() else { return Err(failed("there are no rows to compare on".into())) };
        self.try_out(&prepared, batches)?;
        let loaded = self.load(file, &prepared, &ours::feeds(self.graph, self.plan, first)?, failed)?;
        let scores = self.score_output(&prepared, first);
        let mut comparisons: Vec<Comparison> = vec![Comparison::default(); loaded.runners.len()];
        let mut losses: Vec<Option<f64>> = vec![Some(0.0); loaded.runners.len()];
        let mut between: Option<Comparison> = None;
        let rounding = Rounding::measure(self, subject, batches)?;
        let tolerance = |output: &str| match &rounding {
            Some(rounding) => rounding.widened(output, self.settings.tolerance),
            None => self.settings.tolerance,
        };
        let mut our_loss = 0.0;
        let rows: usize = batches.iter().map(Batch::rows).sum();
        for batch in batches {
            let fed = ours::feeds(self.graph, self.plan, batch)?;
            // Outputs that only training has are not in the copy that runtimes are given.
            let mut ours = ours::as_declared(self.graph, subject.outputs(&fed)?);
            ours.retain(|(name, _)| prepared.outputs.contains(name));
            let each = subject.losses(batch)?;
            our_loss += each.iter().map(|&l| f64::from(l)).sum::<f64>();
            if self.plan.loss_graph.is_some() {
                ours.extend(prepared.scores.clone().zip(HostTensor::new(&[each.len()], each)));
            }
            let mut reference: Option<Outputs> = None;
            for ((runner, comparison), loss) in loaded.runners.iter().zip(&mut comparisons).zip(&mut losses) {
                let cannot = |why| refused(runner.name(), "run", why, failed);
                let mut theirs = runner.run(&fed).map_err(cannot)?;
                let shown = prepared.scores.as_ref().and_then(|n| theirs.iter().find(|(name, _)| name == n));
                let sum = shown.map(|(_, scores)| loss::rows(self.plan, scores, &batch.targets)).transpose();
                let sum = sum.ok().flatten().map(|rows| rows.iter().map(|r| r.loss).sum::<f64>());
                *loss = loss.zip(sum).map(|(all, sum)| all + sum);
                theirs.retain(|(name, _)| !prepared.hidden.contains(name));
                comparison.merge(compare::compare_within(&theirs, &ours, &tolerance, scores.as_ref()));
                match &reference {
                    None => reference = Some(theirs),
                    Some(first) => {
                        between.get_or_insert_default().merge(compare::compare_within(first, &theirs, &tolerance, None))
                    }
                }
            }
        }
        let reports = loaded.runners.iter().zip(comparisons).zip(losses).map(|((runner, comparison), loss)| {
            let difference = loss.map(|theirs| (our_loss - theirs) / rows.max(1) as f64);
            (RuntimeReport::new(runner.name(), runner.version(), &comparison, difference, rows), comparison)
        });
        let allowed = (self.settings.tolerance, rounding);
        let mut report = ParityReport::judge(reports.collect(), loaded.not_available, between.as_ref(), allowed);
        if let (Runtimes::Both | Runtimes::Ort, Some(crash)) =
            (self.settings.runtimes, self.settings.guard.found().crash)
        {
            report.verdict.push_str(&match self.runtimes() {
                Runtimes::Tract => format!("; onnxruntime crashes on this model ({crash}) and took no part"),
                _ => format!(
                    "; onnxruntime's graph optimizations are off, with which it crashes on this model ({crash})"
                ),
            });
        }
        if prepared.leaves_out
            && file.checkpoint().is_none()
            && matches!(self.runtimes(), Runtimes::Both | Runtimes::Ort)
        {
            let library = Library::get(&self.settings.search)?;
            if let Some(why) = self.settings.guard.refusal(library, file.path())? {
                report.verdict.push_str(&format!(
                    "; onnxruntime does not open the file as it is, but a copy without what is not compared: {why}"
                ));
            }
        }
        let apart = report.runtimes.first().filter(|r| r.problems.is_empty()).map(|r| r.max_abs_diff);
        if let (false, Some(apart)) = (report.passed, apart)
            && let Some(moved) = conditioning::moved(self, subject, batches, apart)?
        {
            report.verdict.push_str(&format!(
                "; the model is ill-conditioned on these rows: one rounding error of f32 in each weight moves its outputs by {moved:.1e}"
            ));
        }
        Ok(report)
    }

    /// Has onnxruntime run the model in a process of its own, on rows of some megabytes.
    fn try_out(&self, prepared: &Prepared, batches: &[Batch]) -> Result<()> {
        const BYTES: usize = 1 << 24;
        if self.settings.runtimes == Runtimes::Tract {
            return Ok(());
        }
        let library = Library::get(&self.settings.search)?;
        let bytes = |b: &Batch| b.inputs.values().map(|t| t.len() * t.dtype().size()).sum::<usize>() / b.rows().max(1);
        let limit = BYTES / batches.first().map_or(1, bytes).max(1);
        let Some(rows) = ours::first_rows(self.graph, batches, limit).into_iter().next() else { return Ok(()) };
        let fed = ours::feeds(self.graph, self.plan, &rows)?;
        let fed = chained::of_model((self.graph, self.plan), &fed).map_err(Error::Internal)?;
        self.settings.guard.try_out(library, prepared.source(), &fed, self.settings.threads)
    }

    /// The runtimes that are asked: where onnxruntime crashes, and another one is not forbidden, that one.
    pub(super) fn runtimes(&self) -> Runtimes {
        match (self.settings.runtimes, self.settings.guard.found().runs) {
            (Runtimes::Both, None) => Runtimes::Tract,
            (asked, _) => asked,
        }
    }

    /// The runtime that decides, for a file and the folder of its external data, if that is another one; tract looks for
    /// them beside the file.
    pub(super) fn deciding(
        &self,
        source: (&Path, Option<&Path>),
        prepared: &Prepared,
        fed: &BTreeMap<String, HostTensor>,
    ) -> Result<Box<dyn Runner>> {
        let cannot = |name, why| refused(name, "load", why, Error::ParityBefore);
        Ok(match self.runtimes() {
            Runtimes::Both | Runtimes::Ort => {
                let library = Library::get(&self.settings.search)?;
                let tried = self.settings.guard.found();
                let crash = || cannot("onnxruntime", format!("it crashes on it ({})", tried.crash.unwrap_or_default()));
                let (threads, level) = (self.settings.threads, tried.runs.ok_or_else(crash)?);
                let runner = library.session(source, threads, level).map_err(|why| cannot("onnxruntime", why))?;
                let open = |path: &Path, _: &LossGraph, _: &BTreeMap<String, HostTensor>| {
                    Ok(Box::new(library.session((path, None), threads, level)?) as Box<dyn Runner>)
                };
                chained::with_loss(Box::new(runner), (self.graph, self.plan), fed, open)
                    .map_err(|why| cannot("onnxruntime", why))?
            }
            Runtimes::Tract => self.in_tract(source.0, prepared, fed).map_err(|why| cannot("tract", why))?,
        })
    }

    /// The model at `path` in tract.
    fn in_tract(
        &self,
        path: &Path,
        prepared: &Prepared,
        fed: &BTreeMap<String, HostTensor>,
    ) -> Result<Box<dyn Runner>, String> {
        let of_model = chained::of_model((self.graph, self.plan), fed)?;
        let runner = TractRunner::open(path, prepared.outputs.clone(), &of_model)?;
        let open = |path: &Path, own: &LossGraph, fed: &BTreeMap<String, HostTensor>| {
            Ok(Box::new(TractRunner::open(path, own.outputs(), fed)?) as Box<dyn Runner>)
        };
        chained::with_loss(Box::new(runner), (self.graph, self.plan), fed, open)
    }

    /// What to do where it does not load the model.
    fn way_out(&self) -> String {
        match self.graph.opsets.get("") {
            Some(&version) if version < OLDEST_OPSET => format!(
                "onnxruntime takes opset {OLDEST_OPSET} and newer: convert the model with onnx.version_converter, or \
                 check against tract alone with --parity tract"
            ),
            _ if halves::coarsest(&halves::computed(self.graph)) == Some(DType::BF16) => {
                "it has few kernels for bf16 on CPUs: export the model in f32 or f16, or try --parity tract".into()
            }
            _ if self.runtimes() != self.settings.runtimes => {
                let crash = self.settings.guard.found().crash.unwrap_or_default();
                format!(
                    "onnxruntime crashes on this model ({crash}): try another version of it, named by ORT_DYLIB_PATH"
                )
            }
            _ => "--parity ort or --parity tract asks one runtime alone".into(),
        }
    }

    fn load(
        &self,
        file: &OnnxFile,
        prepared: &Prepared,
        fed: &BTreeMap<String, HostTensor>,
        failed: fn(String) -> Error,
    ) -> Result<Loaded> {
        if self.runtimes() == Runtimes::Tract {
            prepared.with_data_beside(file)?;
        }
        let first = self.deciding(prepared.source(), prepared, fed).map_err(|e| match e {
            Error::ParityBefore(why) => failed(format!("{why}; {}", self.way_out())),
            other => other,
        })?;
        let mut loaded = Loaded { runners: vec![first], not_available: Vec::new() };
        if self.runtimes() != self.settings.runtimes {
            let why = format!("it crashes on this model ({})", self.settings.guard.found().crash.unwrap_or_default());
            loaded.not_available.push(NotAvailable { name: "onnxruntime".into(), why });
        }
        if self.runtimes() == Runtimes::Both {
            let size = self.graph.nodes.len() + self.graph.initializers.len();
            let bytes: usize = self.graph.initializers.values().map(|stored| stored.tensor.bytes()).sum();
            let not_asked = |has: String, why: &str, most: String| {
                Err(format!(
                    "it was not asked: the graph has {has}, and {why} (at most {most} are given to it; --parity tract asks it \
                     all the same)"
                ))
            };
            let tract = if size > TractRunner::MOST {
                let why = "its time grows with the square of them";
                not_asked(format!("{size} nodes and tensors"), why, TractRunner::MOST.to_string())
            } else if bytes > TractRunner::MOST_BYTES {
                let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
                not_asked(
                    format!("{} of tensors", mib(bytes)),
                    "it holds several copies of them",
                    mib(TractRunner::MOST_BYTES),
                )
            } else {
                self.in_tract(prepared.with_data_beside(file)?, prepared, fed)
            };
            // A model that loads may still not run, which must not stop what onnxruntime decides.
            match tract.and_then(|tract| tract.run(fed).map(|_| tract)) {
                Ok(tract) => loaded.runners.push(tract),
                Err(why) => loaded.not_available.push(NotAvailable { name: "tract".into(), why }),
            }
        }
        Ok(loaded)
    }

    /// The output of the graph that classes are read from, if the model classifies.
    fn score_output(&self, prepared: &Prepared, batch: &Batch) -> Option<ScoreOutput> {
        let classifies = self.plan.kind != LossKind::Mse && matches!(batch.targets, Targets::Classes(_));
        let name = self.plan.output.and_then(|id| self.graph.values.get(id.0)).map(|v| v.name.clone())?;
        // A probability above a half, where the logits are seen through a Sigmoid, is a logit above 0.
        let logits = Some(&name) == prepared.scores.as_ref();
        classifies.then_some(ScoreOutput { name, threshold: if logits { 0.0 } else { 0.5 } })
    }
}
