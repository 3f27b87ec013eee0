//! Methods that teach the model something wrong about the rows to forget.

use super::{Plan, further};
use crate::{
    batch::{Batch, Targets, epoch_seed},
    engine::{Context, Float, Grads, Tensor},
    error::{Error, Result},
    kernels::Backend,
    method::{Method, MethodName, MethodSettings, Set, Sets, Wanted},
    model::Model,
    recorder::Recorder,
    sgd::{Optimizer, Sgd},
    trace::{Observer, Trajectory},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A class that is not `class`, by a number from 0 to `classes` − 2.
fn other_class(class: i64, drawn: i64) -> i64 {
    drawn + i64::from(drawn >= class)
}

/// Classes that the model's answer chooses from.
fn classes<E: Float, D: Backend<E>>(model: &Model<E, D>, batch: &Batch, name: MethodName) -> Result<i64> {
    let Targets::Classes(_) = &batch.targets else {
        let problem = "gives rows a wrong class, which takes labels of one class a row";
        return Err(Error::Usage(format!("{name} {problem}; use another --method")));
    };
    let width = model.scores(batch)?.width;
    Ok(if width == 1 { 2 } else { i64::try_from(width).unwrap_or(i64::MAX) })
}

fn first_forget_batch(sets: &mut dyn Sets, size: usize) -> Result<Batch> {
    sets.pass(Set::Forget, 0, size)?.next().unwrap_or_else(|| Err(Error::Data("the forget set is empty".into())))
}

/// Amnesiac unlearning (Graves et al., arXiv 2010.10981) as in the code of arXiv 2403.14339: each row to forget gets
/// one wrong class, and the model is trained on all rows, mixed, for three epochs, with Adam at 1e-4 and batches of at
/// most 128.
#[derive(Clone, Debug)]
pub struct Amnesiac {
    plan: Plan,
}

impl Amnesiac {
    /// For these sizes.
    pub fn new(wanted: &Wanted) -> Self {
        let wanted = Wanted { batch_size: wanted.batch_size.min(128), ..wanted.clone() };
        let epochs = wanted.epochs.unwrap_or(3);
        let plan = Plan {
            batch_size: wanted.batch_size,
            epochs,
            steps: epochs * wanted.batches(wanted.forget + wanted.retain),
            learning_rate: wanted.learning_rate.unwrap_or(1e-4),
            weight_decay: wanted.weight_decay.unwrap_or(0.0),
        };
        Self { plan }
    }
}

impl<E: Float, D: Backend<E>> Method<E, D> for Amnesiac {
    fn name(&self) -> MethodName {
        MethodName::Amnesiac
    }

    fn described(&self) -> MethodSettings {
        self.plan.described(further! { "optimizer": "Adam" })
    }

    fn run(&self, model: &mut Model<E, D>, sets: &mut dyn Sets, observer: &mut dyn Observer) -> Result<Trajectory> {
        let Plan { batch_size, epochs, steps, learning_rate, weight_decay } = self.plan;
        let classes = classes(model, &first_forget_batch(sets, batch_size)?, MethodName::Amnesiac)?;
        let mut rng = ChaCha8Rng::seed_from_u64(epoch_seed(sets.seed(), "wrong classes", 0));
        let drawn: Vec<i64> = (0..sets.count(Set::Forget)).map(|_| rng.random_range(0..(classes - 1).max(1))).collect();
        let mut optimizer = Optimizer::adamw(model, weight_decay)?;
        let mut recorder = Recorder::new(observer, steps, epochs);
        for epoch in 0..epochs {
            for mixed in sets.mixed(epoch, batch_size)? {
                let (mut batch, forget) = mixed?;
                if let Targets::Classes(labels) = &mut batch.targets {
                    for (label, place) in labels.iter_mut().zip(&forget) {
                        if let Some(&drawn) = place.and_then(|place| drawn.get(place)) {
                            *label = other_class(*label, drawn);
                        }
                    }
                }
                // The loss of a mixed batch with wrong classes says nothing about either set.
                optimizer.descend(model, &batch, 1.0, learning_rate, None, &mut recorder)?;
            }
            recorder.epoch()?;
        }
        Ok(recorder.finish())
    }
}

/// Random labels, and SalUn (Fan et al., arXiv 2310.12508), which changes only half of the weights: those with the
/// largest gradient of the loss of the rows to forget, over all parameters together. The settings are those of that
/// paper's code for CIFAR-10: an epoch is a pass over the rows to forget with newly drawn wrong classes, and a pass
/// over the retained rows; ten epochs of SGD with learning rate 0.013, momentum 0.9, weight decay 5e-4. A class is
/// drawn among the other classes, as in the paper.
#[derive(Clone, Debug)]
pub struct RandomLabels {
    salient: bool,
    plan: Plan,
}

/// The share of the weights that SalUn changes.
const SALIENT: f64 = 0.5;

impl RandomLabels {
    /// For these sizes; SalUn if only the salient weights change.
    pub fn new(wanted: &Wanted, salient: bool) -> Self {
        let epochs = wanted.epochs.unwrap_or(10);
        let plan = Plan {
            batch_size: wanted.batch_size,
            epochs,
            steps: epochs * (wanted.batches(wanted.forget) + wanted.batches(wanted.retain)),
            learning_rate: wanted.sgd_rate(0.013),
            weight_decay: wanted.weight_decay.unwrap_or(5e-4),
        };
        Self { salient, plan }
    }

    fn called(&self) -> MethodName {
        if self.salient { MethodName::SalUn } else { MethodName::RandomLabels }
    }
}

impl<E: Float, D: Backend<E>> Method<E, D> for RandomLabels {
    fn name(&self) -> MethodName {
        self.called()
    }

    fn described(&self) -> MethodSettings {
        let share = if self.salient { SALIENT } else { 1.0 };
        self.plan.described(further! { "optimizer": "SGD", "momentum": 0.9, "share_of_weights": share })
    }

    fn run(&self, model: &mut Model<E, D>, sets: &mut dyn Sets, observer: &mut dyn Observer) -> Result<Trajectory> {
        let Plan { batch_size, epochs, steps, learning_rate, weight_decay } = self.plan;
        let classes = classes(model, &first_forget_batch(sets, batch_size)?, self.called())?;
        let mut recorder = Recorder::new(observer, steps, epochs);
        let sgd = Sgd::new(model, 0.9, weight_decay)?;
        let sgd = if self.salient { sgd.masked(masks(model, sets, batch_size)?) } else { sgd };
        let mut optimizer = Optimizer::Sgd(sgd);
        for epoch in 0..epochs {
            let mut rng = ChaCha8Rng::seed_from_u64(epoch_seed(sets.seed(), "random classes", epoch));
            for set in [Set::Forget, Set::Retain] {
                for batch in sets.pass(set, epoch, batch_size)? {
                    let mut batch = batch?;
                    if let (Set::Forget, Targets::Classes(labels)) = (set, &mut batch.targets) {
                        labels.iter_mut().for_each(|l| *l = other_class(*l, rng.random_range(0..(classes - 1).max(1))));
                    }
                    // The loss on wrong classes says nothing about what is forgotten.
                    let seen = Some(set).filter(|&set| set == Set::Retain);
                    optimizer.descend(model, &batch, 1.0, learning_rate, seen, &mut recorder)?;
                }
            }
            recorder.epoch()?;
        }
        Ok(recorder.finish())
    }
}

/// Which of `values` are among the `count` largest; of equal values the first ones.
pub fn salient(values: &[f32], count: usize) -> Vec<bool> {
    let mut places: Vec<usize> = (0..values.len()).collect();
    let value = |place: &usize| values.get(*place).copied().unwrap_or(0.0);
    if count > 0 && count < places.len() {
        places.select_nth_unstable_by(count - 1, |a, b| value(b).total_cmp(&value(a)).then(a.cmp(b)));
    }
    let mut chosen = vec![false; values.len()];
    for place in places.into_iter().take(count) {
        if let Some(mark) = chosen.get_mut(place) {
            *mark = true;
        }
    }
    chosen
}

/// 1 for the weights with the largest gradient of the loss of the rows to forget, 0 for the others.
fn masks<E: Float, D: Backend<E>>(
    model: &Model<E, D>,
    sets: &mut dyn Sets,
    batch_size: usize,
) -> Result<Vec<Tensor<E, D>>> {
    let mut grads: Option<Grads<E, D>> = None;
    for batch in sets.pass(Set::Forget, 0, batch_size)? {
        let batch = batch?;
        grads = Some(model.forward(&batch, grads.take())?.backward(1.0)?);
    }
    let mut grads = grads.ok_or_else(|| Error::Data("the forget set is empty".into()))?;
    let mut sizes = Vec::new();
    for parameter in model.parameters() {
        sizes.extend(grads.to_vec(&parameter.tensor)?.into_iter().map(|g| g.f64().abs() as f32));
    }
    let chosen = salient(&sizes, (sizes.len() as f64 * SALIENT) as usize);
    let cx = Context::inference(model.device().clone(), model.kernels());
    let mut rest = chosen.as_slice();
    let mask = |parameter: &crate::model::Parameter<E, D>| {
        let (own, others) = rest.split_at(parameter.tensor.len().min(rest.len()));
        rest = others;
        let values = own.iter().map(|&chosen| E::of(f64::from(u8::from(chosen)))).collect();
        cx.upload(parameter.tensor.dims().to_vec(), values)
    };
    model.parameters().iter().map(mask).collect()
}
