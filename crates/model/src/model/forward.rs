//! Losses and gradients of batches.

use super::{
    BatchNorm, Model,
    loss::{RowLosses, row_losses},
    program::Program,
    to_host,
};
use crate::{
    batch::{Batch, Reduction},
    engine::{Context, Float, Grads, Tensor, Value},
    error::{Error, Result},
    graph::loss::LossPlan,
    kernels::{Backend, Unary},
    limits,
    ops::{DropoutMode, Mode, Statistics},
    tensor::HostTensor,
};
use std::{borrow::Cow, collections::BTreeMap};

/// What the rows of a batch score, in inference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Loss of each row.
    pub losses: Vec<f32>,
    /// What each row counts for in the mean loss, Σ wᵢ·lᵢ / Σ wᵢ: 1 but for class weights, ignored labels, positions.
    pub weights: Vec<f32>,
    /// `rows × width` logits, row-major.
    pub logits: Vec<f32>,
    /// Logits a row.
    pub width: usize,
    /// Classes, and positions that follow each of them, where a row has a classification for each of several positions: a row's logits lie
    /// as positions before, classes, positions after.
    pub classes: (usize, usize),
    /// Whether the loss of a row is the sum over its positions, instead of the mean.
    pub summed: bool,
    /// `rows × figures` numbers, row-major: the further outputs of a loss graph.
    pub figures: Vec<f32>,
}

/// A recorded forward pass: losses to look at, and the gradient to be had from them.
pub struct Forward<'m, E: Float, D: Backend<E>> {
    /// Loss of each row.
    pub losses: Losses<E, D>,
    /// `rows × width` logits, row-major, if they were asked for.
    pub logits: Vec<E>,
    model: &'m Model<E, D>,
    pieces: Vec<Piece<'m, E, D>>,
    grads: Option<Grads<E, D>>,
}

/// The losses of a pass, on the device: it need not have computed them until somebody asks.
#[derive(Clone)]
pub struct Losses<E: Float, D: Backend<E>> {
    /// What each row counts for in the mean.
    pub weights: Vec<f64>,
    /// Each with the number of rows that count, the first ones.
    parts: Vec<(Tensor<E, D>, usize)>,
}

impl<E: Float, D: Backend<E>> Losses<E, D> {
    /// Loss of each row. Waits for the device.
    pub fn to_vec(&self) -> Vec<E> {
        self.parts.iter().flat_map(|(losses, rows)| losses.to_vec().into_iter().take(*rows)).collect()
    }

    /// Mean loss, Σ wᵢ·lᵢ / Σ wᵢ. Waits for the device.
    pub fn mean(&self) -> f64 {
        let total: f64 = self.weights.iter().sum();
        let sum: f64 = self.to_vec().iter().zip(&self.weights).map(|(l, w)| l.f64() * w).sum();
        if total > 0.0 { sum / total } else { 0.0 }
    }
}

/// The pass over some rows.
struct Piece<'m, E: Float, D: Backend<E>> {
    batch: Cow<'m, Batch>,
    /// Rows that count; those behind them fill the piece up.
    rows: usize,
    mode: Mode,
    /// Unless it was dropped to save memory; then the pass is run again.
    recorded: Option<Recorded<E, D>>,
}

/// A tape, and the scores and losses (n) at its end.
struct Recorded<E: Float, D: Backend<E>> {
    cx: Context<E, D>,
    scores: Tensor<E, D>,
    losses: Tensor<E, D>,
}

impl<E: Float, D: Backend<E>> Forward<'_, E, D> {
    /// The gradient of `coefficient · mean`, added to the gradients that the pass was given.
    ///
    /// # Errors
    /// If the device fails.
    pub fn backward(self, coefficient: f64) -> Result<Grads<E, D>> {
        self.backward_with(coefficient, &[])
    }

    /// The gradient of `coefficient · mean + Σ slopes[i] · logits[i]`, added to the gradients that the pass was given: so any
    /// function of the logits is differentiated, by its slopes. Without slopes, that of the first term.
    ///
    /// # Errors
    /// If the device fails, or there are not as many slopes as logits.
    pub fn backward_with(self, coefficient: f64, slopes: &[E]) -> Result<Grads<E, D>> {
        let weights = self.losses.weights;
        let width = slopes.len().checked_div(weights.len()).unwrap_or(0);
        if width * weights.len() != slopes.len() {
            return Err(Error::Internal(format!("{} slopes for {} rows", slopes.len(), weights.len())));
        }
        let total: f64 = weights.iter().sum();
        let share = |&w: &f64| E::of(if total > 0.0 { coefficient * w / total } else { 0.0 });
        let parameters: Vec<Tensor<E, D>> = self.model.parameters.iter().map(|p| p.tensor.clone()).collect();
        let keep: Vec<&Tensor<E, D>> = parameters.iter().collect();
        let (mut grads, mut weights, mut rest) = (self.grads, weights.iter().rev(), slopes);
        // The last piece first: its tape may be the only one there is.
        for piece in self.pieces.into_iter().rev() {
            let mut shares: Vec<E> = weights.by_ref().take(piece.rows).map(share).collect();
            shares.reverse();
            let Recorded { mut cx, scores, losses } = match piece.recorded {
                Some(recorded) => recorded,
                None => self.model.record(&piece.batch, piece.mode)?.0,
            };
            shares.resize(losses.len(), E::of(0.0));
            if let Some(grads) = grads.take() {
                cx.accumulate(grads)?;
            }
            let end = if width == 0 {
                losses
            } else {
                let (before, own) = rest.split_at(rest.len() - piece.rows * width);
                rest = before;
                shares.extend(own);
                shares.resize(losses.len() + scores.len(), E::of(0.0));
                D::concat(&mut cx, &[&losses, &scores.reshaped(vec![scores.len()])?], 0)?
            };
            grads = Some(cx.backward(&end, shares, &keep)?);
        }
        grads.ok_or_else(|| Error::Internal("a pass over no rows".into()))
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
        let values = self.run(cx, self.scoring()?.1, &batch.inputs, mode)?;
        self.judged(cx, batch, values.into_iter().next())
    }

    /// The losses of what was computed from `batch` as its scores.
    fn judged(
        &self,
        cx: &mut Context<E, D>,
        batch: &Batch,
        scores: Option<Value<E, D>>,
    ) -> Result<(Tensor<E, D>, RowLosses<E, D>)> {
        let (plan, _) = self.scoring()?;
        match scores {
            Some(Value::Float(mut scores)) => {
                if plan.sigmoid_shares {
                    // ln σ(z) = −ln(1 + e⁻ᶻ)
                    for step in [Unary::Neg, Unary::Softplus, Unary::Neg] {
                        scores = D::unary(cx, step, &scores)?;
                    }
                }
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
        let mut all = Scores::default();
        for (piece, count) in self.pieces(batch) {
            let mut cx = Context::inference(self.dev.clone(), self.options.kernels);
            let program = self.figures.as_ref().map_or(self.scoring()?.1, |(program, _)| program);
            let mut values = self.run(&mut cx, program, &piece.inputs, Mode::default())?.into_iter();
            let (scores, rows) = self.judged(&mut cx, &piece, values.next())?;
            let narrow =
                |t: &Tensor<E, D>, n| t.to_vec().into_iter().take(n).map(|x| x.f64() as f32).collect::<Vec<_>>();
            all.width = scores.len() / piece.rows().max(1);
            all.summed = self.plan().is_some_and(|plan| plan.reduction == Reduction::Sum);
            if let Some(axis) = self.plan().and_then(|plan| plan.class_axis) {
                let behind = scores.dims().get(axis + 1..).unwrap_or(&[]);
                all.classes = (scores.dims().get(axis).copied().unwrap_or(0), behind.iter().product());
            }
            all.losses.extend(narrow(&rows.losses, count));
            all.logits.extend(narrow(&scores, count * all.width));
            all.weights.extend(rows.weights.iter().take(count).map(|&w| w as f32));
            all.figures.extend(self.columns(values, piece.rows(), count)?);
        }
        Ok(all)
    }

    /// What a loss graph says of the first `count` of `rows` rows beyond their losses, row by row.
    fn columns(&self, values: impl Iterator<Item = Value<E, D>>, rows: usize, count: usize) -> Result<Vec<f32>> {
        let mut columns = Vec::new();
        for (value, name) in values.zip(self.figure_names()) {
            let column = to_host(value).to_f32();
            if column.len() != rows {
                let problem = format!("{} numbers for {rows} rows: it needs one a row", column.len());
                return Err(Error::Untrainable(format!("the output `{name}` of the loss graph has {problem}")));
            }
            columns.push(column);
        }
        let row = |row: usize| columns.iter().filter_map(move |column: &Vec<f32>| column.get(row).copied());
        Ok((0..count).flat_map(row).collect())
    }

    /// The batch, or parts of it, and how many rows of each count: of as many rows as the graph computes where that is fixed,
    /// else of at most a micro-batch.
    pub fn pieces<'b>(&self, batch: &'b Batch) -> Vec<(Cow<'b, Batch>, usize)> {
        let rows = batch.rows();
        limits::fed(rows);
        let pieces = match (self.rows_at_once, self.options.micro_batch) {
            (Some(size), _) if size != rows => batch.pieces(size),
            (None, Some(size)) if size < rows => batch.parts(size),
            _ => None,
        };
        match pieces {
            Some(pieces) => pieces.into_iter().map(|(piece, rows)| (Cow::Owned(piece), rows)).collect(),
            None => vec![(Cow::Borrowed(batch), rows)],
        }
    }

    /// A recorded pass over rows that run at once, and what each counts for.
    fn record(&self, batch: &Batch, mode: Mode) -> Result<(Recorded<E, D>, Vec<f64>)> {
        let mut cx = Context::recording(self.dev.clone(), self.options.kernels);
        let (scores, RowLosses { losses, weights }) = self.score(&mut cx, batch, mode)?;
        if !losses.tracked() {
            return Err(Error::Untrainable("the loss of this batch depends on no trainable parameter".into()));
        }
        Ok((Recorded { cx, scores, losses }, weights))
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
    /// With micro-batches, the tape of the last one alone is kept; the backward pass records those of the others anew, one
    /// after the other.
    ///
    /// # Errors
    /// [`Error::Data`] if the batch does not fit the model, [`Error::Untrainable`] if its loss depends on no parameter.
    pub fn forward<'m>(&'m self, batch: &'m Batch, grads: Option<Grads<E, D>>) -> Result<Forward<'m, E, D>> {
        self.pass(batch, grads, false)
    }

    /// The same, with the logits to be looked at.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn forward_with_logits<'m>(&'m self, batch: &'m Batch) -> Result<Forward<'m, E, D>> {
        self.pass(batch, None, true)
    }

    fn pass<'m>(&'m self, batch: &'m Batch, grads: Option<Grads<E, D>>, look: bool) -> Result<Forward<'m, E, D>> {
        let statistics = match self.options.bn {
            BatchNorm::Frozen => Statistics::Running,
            BatchNorm::Batch => Statistics::Batch,
        };
        let seed = self.next_seed();
        let (mut parts, mut weights, mut logits, mut pieces) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let cut = self.pieces(batch);
        // Rows that fill a piece up do not count.
        let mut seen = |scores: &Tensor<E, D>, of: usize, rows: usize| {
            if look {
                logits.extend(scores.to_vec().into_iter().take(scores.len() / of.max(1) * rows));
            }
        };
        let dropped = if self.options.micro_batch.is_some() { cut.len().saturating_sub(1) } else { 0 };
        for (n, (batch, rows)) in cut.into_iter().enumerate() {
            let seed = seed.wrapping_add(n as u64);
            let dropout = if self.options.dropout { DropoutMode::On(seed) } else { DropoutMode::Off };
            let mode = Mode { statistics, dropout };
            let (each, counts, recorded) = if n < dropped {
                let mut cx = Context::inference(self.dev.clone(), self.options.kernels);
                let (scores, found) = self.score(&mut cx, &batch, mode)?;
                seen(&scores, batch.rows(), rows);
                (found.losses, found.weights, None)
            } else {
                let (recorded, counts) = self.record(&batch, mode)?;
                seen(&recorded.scores, batch.rows(), rows);
                (recorded.losses.detached(), counts, Some(recorded))
            };
            parts.push((each, rows));
            weights.extend(counts.into_iter().take(rows));
            pieces.push(Piece { batch, rows, mode, recorded });
        }
        Ok(Forward { losses: Losses { weights, parts }, logits, model: self, pieces, grads })
    }

    /// Mean loss of `batch` and its gradient, one row-major vector a parameter. BatchNormalization and Dropout are as in [`Model::forward`].
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn gradient_wrt_parameters(&self, batch: &Batch) -> Result<(f64, Vec<Vec<E>>)> {
        let forward = self.forward(batch, None)?;
        let mean = forward.losses.mean();
        let mut grads = forward.backward(1.0)?;
        let vectors = self.parameters.iter().map(|p| grads.to_vec(&p.tensor)).collect::<Result<Vec<_>>>()?;
        Ok((mean, vectors))
    }
}
