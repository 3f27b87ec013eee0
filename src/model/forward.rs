//! Losses and gradients of batches.

use super::{
    BatchNorm, Model,
    loss::{RowLosses, row_losses},
    program::Program,
};
use crate::{
    data::Batch,
    engine::{Context, Float, Grads, Tensor, Value},
    error::{Error, Result},
    graph::training::LossPlan,
    kernels::Backend,
    ops::{DropoutMode, Mode, Statistics},
    tensor::HostTensor,
};
use std::collections::BTreeMap;

/// What the rows of a batch score, in inference.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Loss of each row.
    pub losses: Vec<f32>,
    /// What each row counts for in the mean loss, Σ wᵢ·lᵢ / Σ wᵢ: 1 but for class weights, ignored labels, positions.
    pub weights: Vec<f32>,
    /// `rows × width` logits, row-major.
    pub logits: Vec<f32>,
    /// Logits a row.
    pub width: usize,
}

/// A recorded forward pass: losses to look at, and the gradient to be had from them.
pub struct Forward<E: Float, D: Backend<E>> {
    /// Mean loss, Σ wᵢ·lᵢ / Σ wᵢ.
    pub mean: f64,
    /// Loss of each row.
    pub losses: Vec<E>,
    /// What each row counts for in the mean.
    pub weights: Vec<f64>,
    cx: Context<E, D>,
    tensor: Tensor<E, D>,
    keep: Vec<Tensor<E, D>>,
    grads: Option<Grads<E, D>>,
}

impl<E: Float, D: Backend<E>> Forward<E, D> {
    /// The gradient of `coefficient · mean`, added to the gradients that the pass was given.
    ///
    /// # Errors
    /// If the device fails.
    pub fn backward(mut self, coefficient: f64) -> Result<Grads<E, D>> {
        let total: f64 = self.weights.iter().sum();
        let share = |&w: &f64| E::of(if total > 0.0 { coefficient * w / total } else { 0.0 });
        let weights = self.weights.iter().map(share).collect();
        if let Some(grads) = self.grads.take() {
            self.cx.accumulate(grads)?;
        }
        let keep: Vec<&Tensor<E, D>> = self.keep.iter().collect();
        self.cx.backward(&self.tensor, weights, &keep)
    }

    /// Gives back the gradients that the pass was given, where its own is not needed; what was recorded is dropped.
    pub fn release(self) -> Option<Grads<E, D>> {
        self.grads
    }
}

impl<E: Float, D: Backend<E>> Model<E, D> {
    fn scoring(&self) -> Result<(&LossPlan, &Program)> {
        let (plan, program) = self.plan.as_ref().ok_or_else(|| Error::Internal("a model without a loss".into()))?;
        Ok((plan, program))
    }

    fn score(&self, cx: &mut Context<E, D>, batch: &Batch, mode: Mode) -> Result<(Tensor<E, D>, RowLosses<E, D>)> {
        let (plan, program) = self.scoring()?;
        let mut values = self.run(cx, program, &batch.inputs, mode)?;
        match values.pop() {
            Some(Value::Float(scores)) => {
                let rows = row_losses(cx, plan, &scores, &batch.targets)?;
                Ok((scores, rows))
            }
            _ => Err(Error::Untrainable("the model's scores are integers: no loss can be taken of them".into())),
        }
    }

    /// Losses and logits of the rows of `batch`, in inference: running statistics, no dropout.
    ///
    /// # Errors
    /// [`Error::Data`] if the batch does not fit the model.
    pub fn scores(&self, batch: &Batch) -> Result<Scores> {
        let mut cx = Context::inference(self.dev.clone(), self.options.kernels);
        let (scores, rows) = self.score(&mut cx, batch, Mode::default())?;
        let narrow = |t: &Tensor<E, D>| t.to_vec().into_iter().map(|x| x.f64() as f32).collect::<Vec<_>>();
        let width = scores.len() / batch.rows().max(1);
        let weights = rows.weights.iter().map(|&w| w as f32).collect();
        Ok(Scores { losses: narrow(&rows.losses), weights, logits: narrow(&scores), width })
    }

    /// The value that the loss is computed from, in inference, without any labels.
    ///
    /// # Errors
    /// [`Error::Data`] if `inputs` does not fit the model.
    pub fn raw_scores(&self, inputs: &BTreeMap<String, HostTensor>) -> Result<HostTensor> {
        let mut cx = Context::inference(self.dev.clone(), self.options.kernels);
        match self.run(&mut cx, self.scoring()?.1, inputs, Mode::default())?.pop() {
            Some(Value::Float(scores)) => Ok(scores.to_host()),
            _ => Err(Error::Untrainable("the model's scores are integers: no loss can be taken of them".into())),
        }
    }

    /// A recorded forward pass over `batch`, whose gradient will be added to `grads`.
    ///
    /// # Errors
    /// [`Error::Data`] if the batch does not fit the model, [`Error::Untrainable`] if its loss depends on no parameter.
    pub fn forward(&self, batch: &Batch, grads: Option<Grads<E, D>>) -> Result<Forward<E, D>> {
        let mut cx = Context::recording(self.dev.clone(), self.options.kernels);
        let statistics = match self.options.bn {
            BatchNorm::Frozen => Statistics::Running,
            BatchNorm::Batch => Statistics::Batch,
        };
        let seed = self.next_seed();
        let dropout = if self.options.dropout { DropoutMode::On(seed) } else { DropoutMode::Off };
        let (_, rows) = self.score(&mut cx, batch, Mode { statistics, dropout })?;
        if !rows.losses.tracked() {
            return Err(Error::Untrainable("the loss of this batch depends on no trainable parameter".into()));
        }
        let losses = rows.losses.to_vec();
        let total: f64 = rows.weights.iter().sum();
        let sum: f64 = losses.iter().zip(&rows.weights).map(|(l, w)| l.f64() * w).sum();
        Ok(Forward {
            mean: if total > 0.0 { sum / total } else { 0.0 },
            losses,
            weights: rows.weights,
            cx,
            tensor: rows.losses,
            keep: self.parameters.iter().map(|p| p.tensor.clone()).collect(),
            grads,
        })
    }

    /// Mean loss of `batch` and its gradient, one row-major vector a parameter. BatchNormalization and Dropout are as in [`Model::forward`].
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn gradient_wrt_parameters(&self, batch: &Batch) -> Result<(f64, Vec<Vec<E>>)> {
        let forward = self.forward(batch, None)?;
        let mean = forward.mean;
        let mut grads = forward.backward(1.0)?;
        let vectors = self.parameters.iter().map(|p| grads.to_vec(&p.tensor)).collect::<Result<Vec<_>>>()?;
        Ok((mean, vectors))
    }
}
