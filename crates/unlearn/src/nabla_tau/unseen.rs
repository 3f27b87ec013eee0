//! The loss of unseen rows: the goal of forgetting.

use crate::{BatchIter, batch::Targets, engine::Float, error::Result, kernels::Backend, model::Model};
use std::collections::{BTreeMap, BTreeSet};

/// The least number of unseen rows of a class whose mean is used.
const ENOUGH: usize = 20;

/// Losses computed without a gradient, mostly of unseen rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Unseen {
    /// Of all rows. Its mean is τ.
    pub all: Spread,
    /// The goal as a share of these losses.
    aim: f64,
    /// Of each class with enough rows.
    classes: BTreeMap<i64, Spread>,
    /// Known after a whole pass over the retain set.
    gone: Option<Gone>,
}

/// The losses of some rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
    /// How many rows there are.
    pub rows: usize,
}

impl Spread {
    /// The lowest mean of `forgotten` rows that cannot be distinguished from `mean`: `m / (1 + e/m)`, where `m` is the
    /// mean and `e` the standard error of the difference. With many rows this is about `m − e`.
    fn least(self, mean: f64, forgotten: usize) -> f64 {
        let share = |rows: usize| 1.0 / rows.max(1) as f64;
        let error = self.deviation * (share(self.rows) + share(forgotten)).sqrt();
        mean * mean / (mean + error)
    }
}

/// The goal for rows of classes without retained rows.
#[derive(Clone, Debug, PartialEq)]
struct Gone {
    /// The classes of retained rows.
    kept: BTreeSet<i64>,
    /// The least goal for rows of other classes.
    least: f64,
    /// Number of rows to forget.
    forgotten: usize,
}

/// A weighted mean that is being accumulated.
#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    squares: f64,
    weight: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, loss: f64, weight: f64) {
        self.sum += loss * weight;
        self.squares += loss * loss * weight;
        self.weight += weight;
        self.count += usize::from(weight > 0.0);
    }

    fn get(self) -> f64 {
        self.sum / self.weight
    }

    fn spread(self, rows: usize) -> Spread {
        let mean = self.get();
        Spread { mean, deviation: (self.squares / self.weight - mean * mean).max(0.0).sqrt(), rows }
    }
}

impl Unseen {
    /// Computes the losses with the current model. Each row has the weight that the loss gives it.
    ///
    /// # Errors
    /// If a batch cannot be read, or does not fit the model.
    pub fn measure<E: Float, D: Backend<E>>(model: &Model<E, D>, batches: BatchIter) -> Result<Self> {
        let (mut all, mut rows) = (Mean::default(), 0);
        let mut classes = BTreeMap::<i64, Mean>::new();
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
        let classes = enough.map(|(class, mean)| (class, mean.spread(mean.count))).collect();
        Ok(Self { all: all.spread(rows), aim: 1.0, classes, gone: None })
    }

    /// Sets the goal below these losses, by the damage of the run and by what may be chance.
    ///
    /// `damage` is the rise in retain loss since the start that is subtracted from the goal. The loss of unseen rows
    /// rises that much, too. A goal that rises with it makes the method push harder, which does more damage, which
    /// raises the goal. With small batches this runs away. With large batches the retain set recovers before the run
    /// ends, and unseen rows do not. The goal never falls below `lowest`, the lowest τ so far. Then one standard error
    /// is subtracted: a loss that cannot be distinguished from the goal is good enough.
    #[must_use]
    pub fn aimed(mut self, damage: f64, lowest: f64, forgotten: usize) -> Self {
        let mean = self.all.mean;
        if mean > 0.0 {
            let undamaged = (mean - damage.max(0.0)).max(lowest.min(mean));
            self.aim = self.all.least(undamaged, forgotten) / mean;
        }
        self
    }

    /// Sets another goal for rows of classes other than `kept`: the current loss of unseen rows of the class, but at
    /// least two standard deviations above the mean `before` the run, which is about the loss of rows that a model
    /// takes for something else. Without retained rows of the class, nothing bounds these losses.
    #[must_use]
    pub fn keeping(self, kept: BTreeSet<i64>, before: &Self, forgotten: usize) -> Self {
        let least = before.all.mean + 2.0 * before.all.deviation;
        Self { gone: Some(Gone { kept, least, forgotten }), ..self }
    }

    /// The goal: a mean loss.
    pub fn goal(&self) -> f64 {
        self.all.mean * self.aim
    }

    /// The goal for these rows of a batch with these weights: the loss of unseen rows of their classes. Rows of a rare
    /// class, or without a single class, are compared with all unseen rows.
    pub fn goal_beside(&self, targets: &Targets, weights: &[f64]) -> f64 {
        let Some(labels) = classes_of_rows(targets, weights.len()) else { return self.goal() };
        let goal = |class: &i64| match (self.classes.get(class), &self.gone) {
            (now, Some(gone)) if !gone.kept.contains(class) => {
                now.map_or(gone.least, |now| now.least(now.mean, gone.forgotten).max(gone.least))
            }
            (Some(now), _) if self.all.mean > 0.0 => now.mean / self.all.mean * self.goal(),
            _ => self.goal(),
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

    fn spread(mean: f64) -> Spread {
        Spread { mean, deviation: 0.0, rows: 90 }
    }

    impl Unseen {
        /// Of so many rows, with a mean of 1.
        pub(in crate::nabla_tau) fn of_rows(rows: usize) -> Self {
            Self { all: Spread { rows, ..spread(1.0) }, ..unseen() }
        }
    }

    fn unseen() -> Unseen {
        Unseen { all: spread(1.0), aim: 1.0, classes: BTreeMap::from([(0, spread(0.5)), (3, spread(2.0))]), gone: None }
    }

    #[test]
    fn damage_and_chance_lower_the_aim() {
        let many = usize::MAX;
        let goal = |damage, lowest| unseen().aimed(damage, lowest, many).goal();
        assert_eq!([goal(0.25, 0.5), goal(0.9, 0.5), goal(-3.0, 1.0), goal(9.0, 2.0)], [0.75, 0.5, 1.0, 1.0]);
        assert_eq!(unseen().aimed(0.25, 0.5, many).goal_beside(&Targets::Classes(vec![3]), &[1.0]), 1.5);
        let wide = Spread { mean: 1.0, deviation: 2.0, rows: 400 };
        let few = |forgotten| Unseen { all: wide, ..unseen() }.aimed(0.0, 1.0, forgotten).goal();
        assert!((few(many) - 1.0 / 1.1).abs() < 1e-12 && (few(133) - 1.0 / 1.2).abs() < 1e-3 && few(1) > 0.3);
        let nothing = Unseen { all: spread(0.0), ..unseen() };
        assert_eq!(nothing.aimed(0.1, 0.0, many).goal(), 0.0);
    }

    #[test]
    fn a_class_that_is_gone_loses_what_unseen_rows_of_it_lose() {
        let goal = |deviation: f64, class: Spread| {
            let before = Unseen { all: Spread { deviation, ..spread(1.0) }, ..unseen() };
            let now = Unseen { classes: BTreeMap::from([(0, spread(0.5)), (3, class)]), ..unseen() };
            now.keeping(BTreeSet::from([0]), &before, usize::MAX).goal_beside(&Targets::Classes(vec![0, 3]), &[1.0; 2])
        };
        assert_eq!(goal(2.0, spread(2.0)), 2.75, "0.5 and 1 + 2 · 2");
        assert_eq!(goal(2.0, spread(9.0)), 4.75, "0.5 and 9");
        let wide = Spread { mean: 9.0, deviation: 30.0, rows: 100 };
        assert!((goal(2.0, wide) - (0.5 + 81.0 / 12.0) / 2.0).abs() < 1e-12, "9 less what may be chance");
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
