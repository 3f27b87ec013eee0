//! What unseen rows lose: the goal of forgetting.

use super::BatchIter;
use crate::{data::Targets, engine::Float, error::Result, kernels::Backend, model::Model};
use std::collections::BTreeMap;

/// Unseen rows of a class, below which their mean says too little.
const ENOUGH: usize = 20;

/// Mean losses of unseen rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Unseen {
    /// τ: of all of them.
    pub mean: f64,
    /// How many there are.
    pub rows: usize,
    /// Of those of each class, where there are enough of it.
    classes: BTreeMap<i64, f64>,
}

/// A weighted mean in the making.
#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    weight: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, loss: f64, weight: f64) {
        self.sum += loss * weight;
        self.weight += weight;
        self.count += usize::from(weight > 0.0);
    }
}

impl Unseen {
    /// By the model as it is. Each row weighs what the loss gives it.
    ///
    /// # Errors
    /// If a batch cannot be had, or does not fit the model.
    pub fn measure<E: Float, D: Backend<E>>(model: &Model<E, D>, batches: BatchIter) -> Result<Self> {
        let (mut all, mut rows, mut classes) = (Mean::default(), 0, BTreeMap::<i64, Mean>::new());
        for batch in batches {
            let batch = batch?;
            let scores = model.scores(&batch)?;
            rows += batch.rows();
            let each = || scores.losses.iter().zip(&scores.weights).map(|(&l, &w)| (f64::from(l), f64::from(w)));
            each().for_each(|(loss, weight)| all.add(loss, weight));
            if let Some(labels) = classes_of_rows(&batch.targets, scores.losses.len()) {
                labels.iter().zip(each()).for_each(|(&class, (loss, weight))| {
                    classes.entry(class).or_default().add(loss, weight);
                });
            }
        }
        let enough = classes.into_iter().filter(|(_, mean)| mean.count >= ENOUGH);
        let classes = enough.map(|(class, mean)| (class, mean.sum / mean.weight)).collect();
        Ok(Self { mean: all.sum / all.weight, rows, classes })
    }

    /// The mean loss of unseen rows of the same classes as these rows of a batch, which weigh so much: rows of a rare class,
    /// or without one class each, are put beside all unseen rows.
    pub fn beside(&self, targets: &Targets, weights: &[f64]) -> f64 {
        let Some(labels) = classes_of_rows(targets, weights.len()) else { return self.mean };
        let (mut sum, mut total) = (0.0, 0.0);
        for (class, weight) in labels.iter().zip(weights) {
            sum += self.classes.get(class).unwrap_or(&self.mean) * weight;
            total += weight;
        }
        if total > 0.0 { sum / total } else { self.mean }
    }
}

/// The class of each row, if each has one.
fn classes_of_rows(targets: &Targets, rows: usize) -> Option<&[i64]> {
    match targets {
        Targets::Classes(labels) if labels.len() == rows => Some(labels),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_put_beside_their_classes() {
        let unseen = Unseen { mean: 1.0, rows: 90, classes: BTreeMap::from([(0, 0.5), (3, 2.0)]) };
        let beside = |labels: &[i64], weights: &[f64]| unseen.beside(&Targets::Classes(labels.to_vec()), weights);
        assert_eq!(beside(&[0, 3, 3, 3], &[1.0; 4]), 1.625);
        assert_eq!(beside(&[0, 3], &[3.0, 1.0]), 0.875, "weights count");
        assert_eq!(beside(&[0, 7], &[1.0; 2]), 0.75, "a rare class is all rows");
        assert_eq!(beside(&[0, 3], &[0.0; 2]), 1.0, "no row that counts");
        let values = Targets::Values { width: 1, values: vec![0.0, 1.0] };
        assert_eq!(unseen.beside(&values, &[1.0; 2]), 1.0);
        assert_eq!(beside(&[0, 3, 3, 3], &[1.0; 2]), 1.0, "two positions a row");
    }
}
