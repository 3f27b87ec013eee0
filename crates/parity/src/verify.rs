//! `verify`: the forward and the gradient check alone, on given rows or on seeded random ones.

use super::{GradientReport, Located, Parity, ParityReport, Settings, inputs};
use crate::{
    batch::Batch,
    error::{Error, Result},
    graph::{Graph, loss::LossPlan, parameters::Decision},
    kernels::Backend,
    model::{Halves, Model, ModelOptions},
    onnx::OnnxFile,
};
use serde::Serialize;
use std::{collections::BTreeMap, path::PathBuf};

/// What `verify` found.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// Whether the model can be unlearned with: all operators are there, a loss and trainable parameters.
    pub supported: bool,
    /// If not, why.
    pub reasons: Vec<String>,
    /// The checkpoint that the parameters are from, if they are not in the model file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<PathBuf>,
    /// Which loss, and why.
    pub loss: Option<String>,
    /// Trainable tensors.
    pub trainable: usize,
    /// Outputs beside the runtimes'.
    pub forward: Option<ParityReport>,
    /// Gradient beside differences of the runtime's loss.
    pub gradient: Option<GradientReport>,
    /// The first node that differs, if it was asked for or outputs differ.
    pub locate: Option<Located>,
    /// Whether both checks agree: a gradient of which nothing could be shown does not.
    pub passed: bool,
}

impl Verification {
    /// For a model that cannot be used.
    pub fn unsupported(error: &Error) -> Self {
        Self {
            supported: false,
            reasons: error.to_string().lines().map(|l| l.trim().to_string()).collect(),
            checkpoint: None,
            loss: None,
            trainable: 0,
            forward: None,
            gradient: None,
            locate: None,
            passed: false,
        }
    }

    /// Nothing, if every check passed.
    ///
    /// # Errors
    /// [`Error::ParityBefore`] if a check failed or could show nothing.
    pub fn require(&self) -> Result<()> {
        let forward = self.forward.iter().filter(|f| !f.passed).map(|f| format!("outputs: {}", f.verdict));
        let gradient = self.gradient.iter().filter(|g| !g.passed).map(|g| format!("gradient: {}", g.verdict()));
        let node = self.locate.iter().filter(|l| l.first.is_some()).map(Located::verdict);
        let failed: Vec<String> = forward.chain(gradient).chain(node).collect();
        if failed.is_empty() { Ok(()) } else { Err(Error::ParityBefore(failed.join("; "))) }
    }
}

/// Random rows to verify on.
#[derive(Clone, Debug)]
pub struct RandomRows {
    /// Extents of named dimensions; others are 2.
    pub dims: BTreeMap<String, usize>,
    /// Rows, at least: whole batches are made.
    pub rows: usize,
    /// Seed of inputs and labels.
    pub seed: u64,
}

/// A model to verify.
pub struct Candidate<'a> {
    /// The file.
    pub file: &'a OnnxFile,
    /// Its graph.
    pub graph: &'a Graph,
    /// Its loss.
    pub plan: &'a LossPlan,
    /// What is trainable.
    pub decisions: &'a [Decision],
    /// How to compute.
    pub options: ModelOptions,
    /// Whether to go through the nodes also where the outputs agree.
    pub locate: bool,
    /// Told how far the gradient check is, so many of so many; an error ends it.
    pub watch: &'a dyn Fn(usize, usize) -> Result<()>,
}

impl Candidate<'_> {
    /// The model on `device`.
    ///
    /// # Errors
    /// Those of [`Model::build`]: the model is not supported.
    pub fn model<D: Backend<f32>>(&self, device: D) -> Result<Model<f32, D>> {
        Model::build(self.graph, self.plan, self.decisions, self.options, device)
    }

    /// The same model with every node by itself.
    fn node_by_node<D: Backend<f32>>(&self, model: &Model<f32, D>) -> Result<Model<f32, D>> {
        let options = ModelOptions { node_by_node: true, ..self.options };
        model.another(self.graph, self.plan, self.decisions, options)
    }

    /// Seeded random batches for `model`, as many as it takes for the rows that are asked for.
    ///
    /// # Errors
    /// [`Error::Usage`] if the file does not tell what the inputs are; those of running the model.
    pub fn random_batches<D: Backend<f32>>(&self, model: &Model<f32, D>, random: &RandomRows) -> Result<Vec<Batch>> {
        inputs::require_known(self.graph, &random.dims)?;
        let (mut batches, mut rows) = (Vec::new(), 0);
        while rows < random.rows.max(1) {
            let number = batches.len() as u64;
            let fed = inputs::random(self.graph, self.plan.label_input, &random.dims, random.seed, number)?;
            let dims = model.raw_scores(&fed)?.dims().to_vec();
            let targets = inputs::labels(self.plan, &dims, random.seed, number)?;
            if targets.rows() == 0 {
                return Err(Error::Usage("the model's scores have no rows: give --dim NAME=N a larger N".into()));
            }
            rows += targets.rows();
            batches.push(Batch { inputs: fed, targets });
        }
        Ok(batches)
    }

    /// Runs both checks on `batches`, and goes through the nodes on the first if outputs differ or it is asked for.
    ///
    /// # Errors
    /// Those of [`Parity::before`], [`Parity::gradient_over`] and, if asked for, [`Parity::locate`]; a check that ran and failed is in the result.
    pub fn verify<D: Backend<f32>>(
        &self,
        model: &Model<f32, D>,
        batches: &[Batch],
        settings: &Settings,
    ) -> Result<Verification> {
        let Self { file, graph, plan, decisions, watch, .. } = *self;
        let parity = Parity { file, graph, plan, decisions, settings, watch };
        let forward = parity.before(model, batches)?;
        let locate = match batches.first() {
            Some(batch) if self.locate => Some(parity.locate(&self.node_by_node(model)?, batch)?),
            // The differing outputs are to be told, whatever keeps the runtime from showing where.
            Some(batch) if !forward.passed => {
                self.node_by_node(model).and_then(|model| parity.locate(&model, batch)).ok()
            }
            _ => None,
        };
        // Without rounding the loss is a function that has derivatives.
        let options = ModelOptions { halves: Halves::Nowhere, ..self.options };
        let mut exact = model.another(graph, plan, decisions, options)?;
        let gradient = parity.gradient_over(&mut exact, batches)?;
        Ok(Verification {
            supported: true,
            reasons: Vec::new(),
            checkpoint: self.file.checkpoint().map(|c| c.path().to_path_buf()),
            loss: Some(self.plan.why.clone()),
            trainable: model.parameters().len(),
            passed: forward.passed && gradient.passed && locate.iter().all(|l| l.first.is_none()),
            locate,
            forward: Some(forward),
            gradient: Some(gradient),
        })
    }
}
