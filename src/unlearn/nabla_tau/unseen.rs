//! What unseen rows lose: the goal of forgetting.

use super::BatchIter;
use crate::{data::Targets, engine::Float, error::Result, kernels::Backend, model::Model};
use std::collections::{BTreeMap, BTreeSet};

/// Unseen rows of a class, below which their mean says too little.
const ENOUGH: usize = 20;

/// Losses of rows without a gradient: of unseen ones, mostly.
#[derive(Clone, Debug, PartialEq)]
pub struct Unseen {
    /// The mean of all: τ.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
    /// How many rows there are.
    pub rows: usize,
    /// What share of these losses is aimed at.
    aim: f64,
    /// The mean of each class over that of all, where there are enough rows of it.
    classes: BTreeMap<i64, f64>,
    /// The classes of retained rows, and what rows of other classes are to lose.
    kept: Option<(BTreeSet<i64>, f64)>,
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

    fn get(self) -> f64 {
        self.sum / self.weight
    }
}

impl Unseen {
    /// By the model as it is. Each row weighs what the loss gives it.
    ///
    /// # Errors
    /// If a batch cannot be had, or does not fit the model.
    pub fn measure<E: Float, D: Backend<E>>(model: &Model<E, D>, batches: BatchIter) -> Result<Self> {
        let (mut all, mut squares, mut rows) = (Mean::default(), Mean::default(), 0);
        let mut classes = BTreeMap::<i64, Mean>::new();
        for batch in batches {
            let batch = batch?;
            let scores = model.scores(&batch)?;
            rows += batch.rows();
            let each = || scores.losses.iter().zip(&scores.weights).map(|(&l, &w)| (f64::from(l), f64::from(w)));
            each().for_each(|(loss, weight)| {
                all.add(loss, weight);
                squares.add(loss * loss, weight);
            });
            if let Some(labels) = classes_of_rows(&batch.targets, scores.losses.len()) {
                labels.iter().zip(each()).for_each(|(&class, (loss, weight))| {
                    classes.entry(class).or_default().add(loss, weight);
                });
            }
        }
        let enough = classes.into_iter().filter(|(_, mean)| mean.count >= ENOUGH);
        let mean = all.get();
        let classes = enough.filter(|_| mean > 0.0).map(|(class, of)| (class, of.get() / mean)).collect();
        let deviation = (squares.get() - mean * mean).max(0.0).sqrt();
        Ok(Self { mean, deviation, rows, aim: 1.0, classes, kept: None })
    }

    /// Aims below these losses, by what the run has done to them and by what may be chance.
    ///
    /// `damage` is what retained rows lose more than before the run, as far as it is to be left out. Unseen rows lose that, too: a goal
    /// that rises with it makes forgetting push on, which does more damage, which raises the goal. With small batches that runs
    /// away; with large ones, retained rows win back what they lost before the run ends, and unseen rows do not. The goal stays
    /// above `lowest`, the least that τ has been. And a mean over `forgotten` rows that is one standard error `e` below this mean
    /// `m` cannot be told apart from it: aimed at is `m / (1 + e/m)`, which is `m − e` where there are many rows.
    #[must_use]
    pub fn aimed(mut self, damage: f64, lowest: f64, forgotten: usize) -> Self {
        if self.mean > 0.0 {
            let undamaged = (self.mean - damage.max(0.0)).max(lowest.min(self.mean));
            let share = |rows: usize| 1.0 / rows.max(1) as f64;
            let error = self.deviation * (share(self.rows) + share(forgotten)).sqrt();
            self.aim = undamaged * undamaged / (undamaged + error) / self.mean;
        }
        self
    }

    /// Aims at another loss for rows of classes other than `kept`: two standard deviations above the mean of `before` the run, as
    /// rows lose that a model takes for something else. What unseen rows of such a class lose now is no goal, for they
    /// lose as much as the forgotten ones, whatever that is: it would run away.
    #[must_use]
    pub fn keeping(self, kept: BTreeSet<i64>, before: &Self) -> Self {
        Self { kept: Some((kept, before.mean + 2.0 * before.deviation)), ..self }
    }

    /// The mean loss that is aimed at.
    pub fn goal(&self) -> f64 {
        self.mean * self.aim
    }

    /// The same for unseen rows of the classes of these rows of a batch, which weigh so much: rows of a rare class, or
    /// without one class each, are put beside all unseen rows.
    pub fn goal_beside(&self, targets: &Targets, weights: &[f64]) -> f64 {
        let Some(labels) = classes_of_rows(targets, weights.len()) else { return self.goal() };
        let goal = |class: &i64| match &self.kept {
            Some((kept, other)) if !kept.contains(class) => *other,
            _ => self.classes.get(class).unwrap_or(&1.0) * self.goal(),
        };
        let mut found = Mean::default();
        labels.iter().zip(weights).for_each(|(class, &weight)| found.add(goal(class), weight));
        if found.weight > 0.0 { found.get() } else { self.goal() }
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

    fn unseen() -> Unseen {
        Unseen {
            mean: 1.0,
            deviation: 0.0,
            rows: 90,
            aim: 1.0,
            classes: BTreeMap::from([(0, 0.5), (3, 2.0)]),
            kept: None,
        }
    }

    #[test]
    fn damage_and_chance_lower_the_aim() {
        let many = usize::MAX;
        let goal = |damage, lowest| unseen().aimed(damage, lowest, many).goal();
        assert_eq!([goal(0.25, 0.5), goal(0.9, 0.5), goal(-3.0, 1.0), goal(9.0, 2.0)], [0.75, 0.5, 1.0, 1.0]);
        assert_eq!(unseen().aimed(0.25, 0.5, many).goal_beside(&Targets::Classes(vec![3]), &[1.0]), 1.5);
        let few = |forgotten| Unseen { deviation: 2.0, rows: 400, ..unseen() }.aimed(0.0, 1.0, forgotten).goal();
        assert!((few(many) - 1.0 / 1.1).abs() < 1e-12 && (few(133) - 1.0 / 1.2).abs() < 1e-3 && few(1) > 0.3);
        let before = Unseen { deviation: 2.0, ..unseen() };
        let keeping = unseen().keeping(BTreeSet::from([0]), &before);
        assert_eq!(keeping.goal_beside(&Targets::Classes(vec![0, 3]), &[1.0; 2]), 2.75, "0.5 and 1 + 2 · 2");
        let nothing = Unseen { mean: 0.0, ..unseen() };
        assert_eq!(nothing.aimed(0.1, 0.0, many).goal(), 0.0);
    }

    #[test]
    fn rows_are_put_beside_their_classes() {
        let unseen = unseen();
        let beside = |labels: &[i64], weights: &[f64]| unseen.goal_beside(&Targets::Classes(labels.to_vec()), weights);
        assert_eq!(beside(&[0, 3, 3, 3], &[1.0; 4]), 1.625);
        assert_eq!(beside(&[0, 3], &[3.0, 1.0]), 0.875, "weights count");
        assert_eq!(beside(&[0, 7], &[1.0; 2]), 0.75, "a rare class is all rows");
        assert_eq!(beside(&[0, 3], &[0.0; 2]), 1.0, "no row that counts");
        let values = Targets::Values { width: 1, values: vec![0.0, 1.0] };
        assert_eq!(unseen.goal_beside(&values, &[1.0; 2]), 1.0);
        assert_eq!(beside(&[0, 3, 3, 3], &[1.0; 2]), 1.0, "two positions a row");
    }
}
