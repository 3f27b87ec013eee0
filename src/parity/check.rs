//! The forward check before and after, and the gradient check, on a model and its file.

use super::{
    Comparison, GradientReport, Library, Movable, NotAvailable, Outputs, ParityReport, Runner, RuntimeReport, Runtimes,
    ScoreOutput, Settings, Subject, TractRunner, compare, gradient,
    gradient::{Moved, Moving},
    loss, ours,
    prepare::Prepared,
};
use crate::{
    data::{Batch, Targets},
    error::{Error, Result},
    graph::{
        Graph,
        training::{LossKind, LossPlan},
    },
    onnx::OnnxFile,
    tensor::HostTensor,
    writeback::{self, Change},
};
use std::{borrow::Cow, collections::BTreeMap, path::Path};

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
    /// How to check.
    pub settings: &'a Settings,
}

/// The runtimes that took the model: onnxruntime first.
struct Loaded {
    runners: Vec<Box<dyn Runner>>,
    not_available: Vec<NotAvailable>,
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
        self.outputs(self.file, subject, batches, Error::ParityBefore)
    }

    /// Compares the outputs of `subject`, whose parameters have changed, with the runtimes' for the `written` file.
    ///
    /// # Errors
    /// As [`before`](Parity::before), but [`Error::ParityAfter`], and those of opening `written`.
    pub fn after(&self, written: &Path, subject: &dyn Subject, batches: &[Batch]) -> Result<ParityReport> {
        let file = self.file.rewritten(written, self.file.options())?;
        self.outputs(&file, subject, batches, Error::ParityAfter)
    }

    fn outputs(
        &self,
        file: &OnnxFile,
        subject: &dyn Subject,
        batches: &[Batch],
        failed: fn(String) -> Error,
    ) -> Result<ParityReport> {
        let prepared = Prepared::new(file, self.graph, self.plan.scores, &subject.output_names())?;
        let Some(first) = batches.first() else { return Err(failed("there are no rows to compare on".into())) };
        let loaded = self.load(&prepared, &ours::feeds(self.graph, self.plan, first)?, failed)?;
        let scores = self.score_output(&prepared, first);
        let mut comparisons: Vec<Comparison> = vec![Comparison::default(); loaded.runners.len()];
        let mut losses: Vec<Option<f64>> = vec![Some(0.0); loaded.runners.len()];
        let mut between: Option<Comparison> = None;
        let mut our_loss = 0.0;
        let rows: usize = batches.iter().map(Batch::rows).sum();
        for batch in batches {
            let fed = ours::feeds(self.graph, self.plan, batch)?;
            // Outputs that only training has are not in the copy that runtimes are given.
            let mut ours = ours::as_declared(self.graph, subject.outputs(&fed)?);
            ours.retain(|(name, _)| prepared.outputs.contains(name));
            our_loss += subject.losses(batch)?.iter().map(|&l| f64::from(l)).sum::<f64>();
            let mut reference: Option<Outputs> = None;
            for ((runner, comparison), loss) in loaded.runners.iter().zip(&mut comparisons).zip(&mut losses) {
                let cannot = |why| failed(format!("{} cannot run the model: {why}", runner.name()));
                let mut theirs = runner.run(&fed).map_err(cannot)?;
                let shown = prepared.scores.as_ref().and_then(|n| theirs.iter().find(|(name, _)| name == n));
                let sum = shown.map(|(_, scores)| loss::rows(self.plan, scores, &batch.targets)).transpose();
                let sum = sum.ok().flatten().map(|rows| rows.iter().map(|r| r.loss).sum::<f64>());
                *loss = loss.zip(sum).map(|(all, sum)| all + sum);
                if !prepared.scores_are_public {
                    theirs.retain(|(name, _)| Some(name) != prepared.scores.as_ref());
                }
                comparison.merge(compare::compare(&theirs, &ours, self.settings.tolerance, scores.as_ref()));
                match &reference {
                    None => reference = Some(theirs),
                    Some(first) => between.get_or_insert_default().merge(compare::compare(
                        first,
                        &theirs,
                        self.settings.tolerance,
                        None,
                    )),
                }
            }
        }
        let reports = loaded.runners.iter().zip(comparisons).zip(losses).map(|((runner, comparison), loss)| {
            let difference = loss.map(|theirs| (our_loss - theirs) / rows.max(1) as f64);
            (RuntimeReport::new(runner.name(), runner.version(), &comparison, difference, rows), comparison)
        });
        Ok(ParityReport::judge(reports.collect(), loaded.not_available, between.as_ref(), self.settings.tolerance))
    }

    /// Compares the gradient of `subject` with differences of the deciding runtime's loss on `batch`.
    ///
    /// # Errors
    /// As [`gradient_over`](Parity::gradient_over).
    pub fn gradient(&self, subject: &mut dyn Subject, batch: &Batch) -> Result<GradientReport> {
        self.gradient_over(subject, std::slice::from_ref(batch))
    }

    /// Compares the gradient of `subject` with differences of the deciding runtime's loss on the first rows of
    /// `batches`, [`Settings::gradient_rows`] at most where batches can be cut. The parameters of `subject` are moved
    /// meanwhile, and put back.
    ///
    /// # Errors
    /// [`Error::RuntimeMissing`] without an onnxruntime; [`Error::ParityBefore`] if the runtime cannot load or run the
    /// model, or its scores lie where no output reaches.
    pub fn gradient_over(&self, subject: &mut dyn Subject, batches: &[Batch]) -> Result<GradientReport> {
        let prepared = Prepared::new(self.file, self.graph, self.plan.scores, &subject.output_names())?;
        let Some(scores) = prepared.scores.clone() else {
            let why = "the scores lie inside a local function, so that no runtime can show them; inline the model's \
                       functions (onnx.inliner) and try again";
            return Err(Error::ParityBefore(why.into()));
        };
        let batches = ours::first_rows(self.graph, batches, self.settings.gradient_rows);
        let fed = batches.iter().map(|b| ours::feeds(self.graph, self.plan, b)).collect::<Result<Vec<_>>>()?;
        if fed.is_empty() {
            return Err(Error::ParityBefore("there are no rows to check the gradient on".into()));
        }
        let parameters = subject.parameters()?;
        let folder = tempfile::Builder::new().prefix("onnx-forget-").tempdir().map_err(|e| Error::Write {
            path: std::env::temp_dir(),
            problem: format!("{e}; set TMPDIR to a folder with room for a copy of the model"),
        })?;
        let file = OnnxFile::open(&prepared.path, self.file.options())?;
        let mut moving = OnFile {
            parity: self,
            prepared: &prepared,
            file,
            folder: folder.path(),
            scores,
            parameters: &parameters,
            batches: &batches,
            fed,
            weights: Vec::new(),
            subject,
        };
        let outcome = gradient::check(&parameters, &mut moving, self.settings.gradient);
        let restored = moving.set(&Moved::new());
        let mut report = outcome?;
        restored?;
        report.runtime = if self.settings.runtimes == Runtimes::Tract { "tract" } else { "onnxruntime" }.into();
        report.rows = batches.iter().map(|b| b.rows()).sum();
        Ok(report)
    }

    /// The runtime that decides, for the file at `path`.
    fn deciding(
        &self,
        path: &Path,
        prepared: &Prepared,
        fed: &BTreeMap<String, HostTensor>,
    ) -> Result<Box<dyn Runner>> {
        let cannot = |name, why| Error::ParityBefore(format!("{name} cannot load the model: {why}"));
        Ok(match self.settings.runtimes {
            Runtimes::Both | Runtimes::Ort => {
                let library = Library::get(&self.settings.search)?;
                Box::new(library.session(path, self.settings.threads).map_err(|why| cannot("onnxruntime", why))?)
            }
            Runtimes::Tract => {
                let runner = TractRunner::open(path, prepared.outputs.clone(), fed);
                Box::new(runner.map_err(|why| cannot("tract", why))?)
            }
        })
    }

    /// What to do where it does not load the model.
    fn way_out(&self) -> String {
        match self.graph.opsets.get("") {
            Some(&version) if version < OLDEST_OPSET => format!(
                "onnxruntime takes opset {OLDEST_OPSET} and newer: convert the model with onnx.version_converter, or \
                 check against tract alone with --parity tract"
            ),
            _ => "--parity ort or --parity tract asks one runtime alone".into(),
        }
    }

    fn load(
        &self,
        prepared: &Prepared,
        fed: &BTreeMap<String, HostTensor>,
        failed: fn(String) -> Error,
    ) -> Result<Loaded> {
        let first = self.deciding(&prepared.path, prepared, fed).map_err(|e| match e {
            Error::ParityBefore(why) => failed(format!("{why}; {}", self.way_out())),
            other => other,
        })?;
        let mut loaded = Loaded { runners: vec![first], not_available: Vec::new() };
        if self.settings.runtimes == Runtimes::Both {
            let tract = TractRunner::open(&prepared.path, prepared.outputs.clone(), fed);
            // A model that loads may still not run, which must not stop what onnxruntime decides.
            match tract.and_then(|tract| tract.run(fed).map(|_| tract)) {
                Ok(tract) => loaded.runners.push(Box::new(tract)),
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

/// The gradient check's model: the runtime's loss by spliced copies of the file, ours in memory.
struct OnFile<'a> {
    parity: &'a Parity<'a>,
    prepared: &'a Prepared,
    file: OnnxFile,
    folder: &'a Path,
    scores: String,
    parameters: &'a [Movable],
    batches: &'a [Cow<'a, Batch>],
    fed: Vec<BTreeMap<String, HostTensor>>,
    /// What each batch counts for in the mean loss, which does not depend on the parameters.
    weights: Vec<f64>,
    subject: &'a mut dyn Subject,
}

impl OnFile<'_> {
    fn set(&mut self, moved: &Moved) -> Result<()> {
        let mut values: Vec<&[f32]> = Vec::with_capacity(self.parameters.len());
        for (at, p) in self.parameters.iter().enumerate() {
            values.push(moved.get(&at).unwrap_or(&p.values));
        }
        self.subject.set_parameters(&values)
    }
}

impl Moving for OnFile<'_> {
    fn loss(&mut self, moved: &Moved) -> Result<f64> {
        let change = |(at, values): (&usize, &Vec<f32>)| {
            Some(Change { name: self.parameters.get(*at)?.name.clone(), values: values.clone() })
        };
        let changes: Vec<Change> = moved.iter().filter_map(change).collect();
        let spliced = writeback::splice_to_temp(&self.file, &changes, self.folder)?;
        let missing = || Error::Internal("a gradient check without rows".into());
        let runner = self.parity.deciding(&spliced.path, self.prepared, self.fed.first().ok_or_else(missing)?)?;
        let cannot = |why| Error::ParityBefore(format!("{} cannot run the model: {why}", runner.name()));
        let (mut sum, mut weights) = (0.0, Vec::new());
        for (batch, fed) in self.batches.iter().zip(&self.fed) {
            let outputs = runner.run(fed).map_err(cannot)?;
            let shown = outputs.iter().find(|(name, _)| *name == self.scores);
            let (_, shown) = shown.ok_or_else(|| cannot(format!("it does not give output {}", self.scores)))?;
            let rows = loss::rows(self.parity.plan, shown, &batch.targets)?;
            sum += rows.iter().map(|r| r.weight * r.loss).sum::<f64>();
            weights.push(rows.iter().map(|r| r.weight).sum());
        }
        self.weights = weights;
        Ok(sum / self.weights.iter().sum::<f64>())
    }

    fn gradient(&mut self, moved: &Moved) -> Result<Vec<Vec<f32>>> {
        self.set(moved)?;
        let mut total: Vec<Vec<f32>> = self.parameters.iter().map(|p| vec![0.0; p.values.len()]).collect();
        let all: f64 = self.weights.iter().sum();
        for (batch, weight) in self.batches.iter().zip(&self.weights) {
            for (sum, part) in total.iter_mut().zip(self.subject.gradient(batch)?) {
                sum.iter_mut().zip(part).for_each(|(s, g)| *s += (weight / all) as f32 * g);
            }
        }
        Ok(total)
    }
}
