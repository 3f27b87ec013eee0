//! SCRUB and SCRUB+R (Kurmanji et al., arXiv 2302.09880): the trained model is a teacher. The new model moves away from
//! it on the rows to forget, and stays close to it on the others.
//!
//! An epoch is a pass over the rows to forget that minimizes −T²·KL(teacher ‖ model), in the first epochs only, and a
//! pass over the retained rows that minimizes γ·L + α·T²·KL. SCRUB+R returns to the end of the epoch after which the
//! error on the rows to forget was closest to the final model's error on validation rows of the same classes.
//!
//! The settings are those of the code of arXiv 2403.14339 for images: γ = 1, α = 0.5, T = 4, six epochs, the first
//! three of them with both passes; SGD with learning rate 5e-4, momentum 0.9, weight decay 5e-4; the rate falls to a
//! tenth after epochs 3 and 5 each.

use super::{distance, error, further};
use crate::{
    BatchIter,
    batch::{Batch, Targets},
    engine::{Float, Tensor},
    error::{Error, Result},
    kernels::Backend,
    method::{Method, MethodName, MethodSettings, Set, Sets, Wanted},
    model::Model,
    recorder::Recorder,
    sgd::Optimizer,
    trace::{Observer, Trajectory},
};
use std::collections::BTreeSet;

/// SCRUB's settings.
#[derive(Clone, Debug)]
pub struct Scrub {
    rewind: bool,
    batch_size: usize,
    epochs: usize,
    forget_batches: usize,
    retain_batches: usize,
    learning_rate: f64,
    weight_decay: f64,
}

/// Weight of the task loss.
const GAMMA: f64 = 1.0;
/// Weight of the distance from the teacher.
const ALPHA: f64 = 0.5;
const TEMPERATURE: f64 = 4.0;
/// Epochs with a pass over the rows to forget.
const ASCENTS: usize = 3;
/// Epochs after which the learning rate falls to a tenth.
const DECAYS: [usize; 2] = [3, 5];

/// The objective of a pass.
#[derive(Clone, Copy, PartialEq)]
enum Pass {
    Away,
    Along,
}

/// The parameters of a model.
type Weights<E, D> = Vec<Tensor<E, D>>;

impl Scrub {
    /// For these sizes; SCRUB+R with `rewind`.
    pub fn new(wanted: &Wanted, rewind: bool) -> Self {
        Self {
            rewind,
            batch_size: wanted.batch_size,
            epochs: wanted.epochs.unwrap_or(6),
            forget_batches: wanted.batches(wanted.forget),
            retain_batches: wanted.batches(wanted.retain),
            learning_rate: wanted.sgd_rate(5e-4),
            weight_decay: wanted.weight_decay.unwrap_or(5e-4),
        }
    }

    fn steps(&self) -> usize {
        self.epochs * self.retain_batches + self.epochs.min(ASCENTS) * self.forget_batches
    }

    /// The learning rate in an epoch, counted from 1.
    fn rate(&self, epoch: usize) -> f64 {
        let decays = DECAYS.iter().filter(|&&after| epoch > after).count();
        self.learning_rate * 0.1f64.powi(i32::try_from(decays).unwrap_or(0))
    }
}

impl<E: Float, D: Backend<E>> Method<E, D> for Scrub {
    fn name(&self) -> MethodName {
        if self.rewind { MethodName::ScrubR } else { MethodName::Scrub }
    }

    fn described(&self) -> MethodSettings {
        MethodSettings {
            batch_size: self.batch_size,
            epochs: self.epochs,
            steps: self.steps(),
            learning_rate: Some(self.learning_rate),
            weight_decay: self.weight_decay,
            further: further! {
                "optimizer": "SGD", "momentum": 0.9, "temperature": TEMPERATURE, "alpha": ALPHA, "gamma": GAMMA,
                "forget_epochs": self.epochs.min(ASCENTS), "rewind": self.rewind,
            },
            ..MethodSettings::default()
        }
    }

    fn run(&self, model: &mut Model<E, D>, sets: &mut dyn Sets, observer: &mut dyn Observer) -> Result<Trajectory> {
        let mut teacher = weights(model);
        let mut optimizer = Optimizer::sgd(model, 0.9, self.weight_decay)?;
        let mut recorder = Recorder::new(observer, self.steps(), self.epochs);
        let mut kept: Vec<(f64, Weights<E, D>)> = Vec::new();
        for epoch in 1..=self.epochs {
            let rate = self.rate(epoch);
            let passes = [(Set::Forget, Pass::Away), (Set::Retain, Pass::Along)];
            for (set, pass) in passes.into_iter().filter(|(_, pass)| *pass == Pass::Along || epoch <= ASCENTS) {
                for batch in sets.pass(set, epoch - 1, self.batch_size)? {
                    let batch = batch?;
                    let loss = step(model, &mut teacher, &mut optimizer, &batch, pass, rate, recorder.steps())?;
                    recorder.seen(rate, loss, Some(set))?;
                }
            }
            if self.rewind {
                kept.push((mean_error(model, sets.pass(Set::Forget, 0, self.batch_size)?, None)?, weights(model)));
            }
            recorder.epoch()?;
        }
        if self.rewind {
            let mut classes = BTreeSet::new();
            for batch in sets.pass(Set::Forget, 0, self.batch_size)? {
                if let Targets::Classes(found) = batch?.targets {
                    classes.extend(found);
                }
            }
            let unseen = mean_error(model, sets.validation()?, Some(&classes).filter(|c| !c.is_empty()))?;
            let nearest = kept.into_iter().min_by(|a, b| (a.0 - unseen).abs().total_cmp(&(b.0 - unseen).abs()));
            if let Some((_, mut weights)) = nearest {
                exchange(model, &mut weights);
            }
        }
        Ok(recorder.finish())
    }
}

/// Copies of the parameters, which share their elements until they are changed.
fn weights<E: Float, D: Backend<E>>(model: &Model<E, D>) -> Weights<E, D> {
    model.parameters().iter().map(|p| p.tensor.clone()).collect()
}

fn exchange<E: Float, D: Backend<E>>(model: &mut Model<E, D>, weights: &mut Weights<E, D>) {
    for (parameter, tensor) in model.parameters_mut().iter_mut().zip(weights) {
        std::mem::swap(&mut parameter.tensor, tensor);
    }
}

/// Makes one step. Returns the mean task loss of the batch before it.
fn step<E: Float, D: Backend<E>>(
    model: &mut Model<E, D>,
    teacher: &mut Weights<E, D>,
    optimizer: &mut Optimizer<E, D>,
    batch: &Batch,
    pass: Pass,
    rate: f64,
    number: usize,
) -> Result<f64> {
    exchange(model, teacher);
    let wanted = model.scores(batch);
    exchange(model, teacher);
    let wanted = wanted?;
    let forward = model.forward_with_logits(batch)?;
    let (loss, answer) = (forward.losses.mean(), model.answer(wanted.width));
    let (_, mut slopes) = distance(answer, &forward.logits, &wanted.logits, wanted.width, TEMPERATURE);
    let (task, distil) = if pass == Pass::Away { (0.0, -1.0) } else { (GAMMA, ALPHA) };
    slopes.iter_mut().for_each(|slope| *slope = E::of(slope.f64() * distil));
    let grads = forward.backward_with(task, &slopes)?;
    optimizer.step(model, grads, rate, number)?;
    Ok(loss)
}

/// Mean error of the rows, or of those of some classes if there are any.
fn mean_error<E: Float, D: Backend<E>>(
    model: &Model<E, D>,
    batches: BatchIter,
    classes: Option<&BTreeSet<i64>>,
) -> Result<f64> {
    let (mut of_classes, mut all) = (Vec::new(), Vec::new());
    for batch in batches {
        let batch = batch?;
        let scores = model.scores(&batch)?;
        let errors = error(model.answer(scores.width), &scores.logits, &scores.losses, scores.width, &batch.targets);
        if let (Targets::Classes(own), Some(classes)) = (&batch.targets, classes) {
            of_classes.extend(errors.iter().zip(own).filter(|(_, class)| classes.contains(class)).map(|(&e, _)| e));
        }
        all.extend(errors);
    }
    let counted = if of_classes.is_empty() { all } else { of_classes };
    if counted.is_empty() {
        return Err(Error::Data("a set of rows is empty".into()));
    }
    Ok(counted.iter().sum::<f64>() / counted.len() as f64)
}
