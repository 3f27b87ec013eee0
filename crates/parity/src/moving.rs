//! The gradient check on a model and its file: the runtime's loss by spliced copies of the file, ours in memory.

use super::{
    GradientOptions, GradientReport, Movable, Parity, Runtimes, Subject,
    check::refused,
    gradient,
    gradient::{Moved, MovedExactly, Moving},
    guard::private_folder,
    loss, ort, ours,
    prepare::Prepared,
    work::Work,
};
use crate::{
    batch::Batch,
    engine::KernelChoice,
    error::{Error, Result},
    graph::halves,
    model::{Halves, Model, ModelOptions},
    onnx::OnnxFile,
    tensor::HostTensor,
    writeback::{self, Change, ExternalData},
};
use dfdx::prelude::Cpu;
use std::{borrow::Cow, collections::BTreeMap, path::Path};

impl Parity<'_> {
    /// Compares the gradient of `subject` with differences of the deciding runtime's loss on `batch`.
    ///
    /// # Errors
    /// As [`gradient_over`](Parity::gradient_over).
    pub fn gradient(&self, subject: &mut dyn Subject, batch: &Batch) -> Result<GradientReport> {
        self.gradient_over(subject, std::slice::from_ref(batch))
    }

    /// Compares the gradient of `subject` with the slopes of the deciding runtime's loss on the first rows of `batches`,
    /// [`Settings::gradient_rows`](super::Settings::gradient_rows) at most where batches can be cut. The parameters of
    /// `subject` are moved meanwhile, and put back.
    ///
    /// # Errors
    /// [`Error::RuntimeMissing`] without an onnxruntime; [`Error::ParityBefore`] if the runtime cannot load or run the
    /// model, or its scores lie where no output reaches.
    pub fn gradient_over(&self, subject: &mut dyn Subject, batches: &[Batch]) -> Result<GradientReport> {
        let prepared = Prepared::taken_apart(self.file, self.graph, self.plan, &subject.output_names())?;
        let output = self.plan.output.filter(|_| self.plan.head.sigmoid).map(|output| self.graph.name(output));
        let output = output.filter(|name| prepared.outputs.iter().any(|shown| shown == name));
        // What no output reaches is told by the probability that is made of it.
        let (scores, by_probability) = match (&prepared.scores, output) {
            (Some(scores), _) => (scores.clone(), false),
            (None, Some(output)) => (output.to_string(), true),
            (None, None) => {
                let why = "the scores lie inside a local function or a branch, so that no runtime can show them; inline \
                           the model's functions (onnx.inliner) and try again";
                return Err(Error::ParityBefore(why.into()));
            }
        };
        let options = ModelOptions {
            kernels: KernelChoice::Definition,
            halves: Halves::Nowhere,
            constants_in_file: true,
            ..ModelOptions::default()
        };
        let exact = Model::build(self.graph, self.plan, self.decisions, options, Cpu::default())?;
        let batches = self.few_rows(&exact, batches)?;
        let fed = batches.iter().map(|b| ours::feeds(self.graph, self.plan, b)).collect::<Result<Vec<_>>>()?;
        if fed.is_empty() {
            return Err(Error::ParityBefore("there are no rows to check the gradient on".into()));
        }
        let parameters = subject.parameters()?;
        let folder = private_folder()?;
        let copy = prepared.open(self.file)?;
        let file = copy.as_ref().unwrap_or(self.file);
        let mut moving = OnFile {
            parity: self,
            prepared: &prepared,
            file,
            folder: folder.path(),
            scores,
            by_probability,
            parameters: &parameters,
            batches: &batches,
            fed,
            subject,
            exact,
        };
        let half = halves::coarsest(&halves::computed(self.graph));
        let options = GradientOptions { half, ..self.settings.gradient };
        let outcome = gradient::check(&parameters, &mut moving, options);
        let restored = moving.set(&Moved::new());
        let mut report = self.settled(outcome, |report| report.passed)?;
        restored?;
        report.runtime = if self.runtimes() == Runtimes::Tract { "tract" } else { "onnxruntime" }.into();
        report.rows = batches.iter().map(|b| b.rows()).sum();
        Ok(report)
    }

    /// The rows that the gradient is checked on, in batches that fit into memory: as many as are asked for, or fewer where
    /// a pass is much work.
    fn few_rows<'b>(&self, exact: &Model<f64, Cpu>, batches: &'b [Batch]) -> Result<Vec<Cow<'b, Batch>>> {
        let one = ours::first_rows(self.graph, batches, 1);
        let Some(one) = one.first() else { return Ok(Vec::new()) };
        let work = Work::count(exact, self.graph, &ours::feeds(self.graph, self.plan, one)?, one.rows())?;
        let rows = work.rows(self.settings.gradient_rows);
        tracing::debug!("gradient check: {work:?} a row, {rows} rows, {} at once", work.at_once());
        let taken = ours::first_rows(self.graph, batches, rows);
        if !ours::may_cut(self.graph) {
            return Ok(taken);
        }
        let cut = |batch: Cow<'b, Batch>| match batch.parts(work.at_once()) {
            Some(parts) if parts.len() > 1 => parts.into_iter().map(|(part, _)| Cow::Owned(part)).collect(),
            _ => vec![batch],
        };
        Ok(taken.into_iter().flat_map(cut).collect())
    }
}

struct OnFile<'a> {
    parity: &'a Parity<'a>,
    prepared: &'a Prepared,
    file: &'a OnnxFile,
    folder: &'a Path,
    /// The output that shows the scores, or the probabilities that are made of them.
    scores: String,
    by_probability: bool,
    parameters: &'a [Movable],
    batches: &'a [Cow<'a, Batch>],
    fed: Vec<BTreeMap<String, HostTensor>>,
    subject: &'a mut dyn Subject,
    exact: Model<f64, Cpu>,
}

impl OnFile<'_> {
    fn set(&mut self, moved: &Moved) -> Result<()> {
        let mut values: Vec<&[f32]> = Vec::with_capacity(self.parameters.len());
        for (at, p) in self.parameters.iter().enumerate() {
            values.push(moved.get(&at).unwrap_or(&p.values));
        }
        self.subject.set_parameters(&values)
    }

    /// Mean loss of the scores that `score` gives for what is fed, which are so many rows.
    fn mean(&self, score: impl Fn(&BTreeMap<String, HostTensor>, usize) -> Result<HostTensor>) -> Result<f64> {
        let (mut sum, mut weight) = (0.0, 0.0);
        for (batch, fed) in self.batches.iter().zip(&self.fed) {
            for row in loss::rows(self.parity.plan, &score(fed, batch.rows())?, &batch.targets)? {
                sum += row.weight * row.loss;
                weight += row.weight;
            }
        }
        Ok(sum / weight)
    }

    /// What each batch counts for in the mean loss, which does not depend on the parameters.
    fn shares(&self) -> Result<Vec<f64>> {
        let mut weights = Vec::new();
        for (batch, fed) in self.batches.iter().zip(&self.fed) {
            let rows = loss::rows(self.parity.plan, &self.exact.raw_scores(fed)?, &batch.targets)?;
            weights.push(rows.iter().map(|r| r.weight).sum::<f64>());
        }
        let all: f64 = weights.iter().sum();
        Ok(weights.into_iter().map(|w| w / all).collect())
    }
}

impl Moving for OnFile<'_> {
    fn loss(&mut self, moved: &Moved) -> Result<f64> {
        let change = |(at, values): (&usize, &Vec<f32>)| {
            Some(Change { name: self.parameters.get(*at)?.name.clone(), values: values.clone() })
        };
        let changes: Vec<Change> = moved.iter().filter_map(change).collect();
        let in_place = self.parity.runtimes() != Runtimes::Tract && ort::named(self.file.folder()).is_some();
        let data = if in_place { ExternalData::InPlace } else { ExternalData::Beside };
        let spliced = writeback::splice_to_temp(self.file, &changes, self.folder, data)?;
        let source = (spliced.path.as_path(), spliced.data.as_deref());
        let missing = || Error::Internal("a gradient check without rows".into());
        let runner = self.parity.deciding(source, self.prepared, self.fed.first().ok_or_else(missing)?)?;
        let cannot = |why| refused(runner.name(), "run", why, Error::ParityBefore);
        self.mean(|fed, rows| {
            let shown = runner.run(fed).map_err(cannot)?.into_iter().find(|(name, _)| *name == self.scores);
            let shown = shown.ok_or_else(|| cannot(format!("it does not give output {}", self.scores)))?.1;
            match self.by_probability {
                true => loss::logits(&shown, rows, self.parity.plan.head.width),
                false => Ok(shown),
            }
        })
    }

    fn exact(&mut self, moved: &MovedExactly) -> Result<f64> {
        for (&at, values) in moved {
            self.exact.set_parameter(at, values)?;
        }
        let loss = self.mean(|fed, _| self.exact.raw_scores(fed));
        for (at, p) in self.parameters.iter().enumerate().filter(|(at, _)| moved.contains_key(at)) {
            self.exact.set_parameter(at, &p.values.iter().map(|&x| x.into()).collect::<Vec<f64>>())?;
        }
        loss
    }

    fn watch(&mut self, done: usize, of: usize) -> Result<()> {
        (self.parity.watch)(done, of)
    }

    fn gradient(&mut self, moved: &Moved) -> Result<Vec<Vec<f32>>> {
        self.set(moved)?;
        let mut total: Vec<Vec<f32>> = self.parameters.iter().map(|p| vec![0.0; p.values.len()]).collect();
        for (batch, share) in self.batches.iter().zip(self.shares()?) {
            for (sum, part) in total.iter_mut().zip(self.subject.gradient(batch)?) {
                sum.iter_mut().zip(part).for_each(|(s, g)| *s += share as f32 * g);
            }
        }
        Ok(total)
    }
}
