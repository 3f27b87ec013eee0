//! A model's answers to rows: how good they are, compared with answers that ignore the rows' inputs.

use crate::{
    audit::{Outcome, argmax, at_positions, softplus},
    data::{TargetKind, Targets},
    graph::loss::{LossKind, LossPlan},
    model::Scores,
};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// What the scores of a row are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// One class: the largest of several scores.
    Class,
    /// Yes or no for one score.
    Binary,
    /// Yes or no for each score.
    MultiLabel,
    /// A number for each score.
    Value,
}

/// Scores and labels of rows, in `f64`.
#[derive(Clone, Debug)]
pub struct Answers {
    /// What they are.
    pub task: Task,
    /// Whether scores are logarithms of probabilities already.
    log_probs: bool,
    /// Scores a row.
    pub width: usize,
    /// `rows × width` scores, row-major.
    pub scores: Vec<f64>,
    /// Labels a row: one class, one 0 or 1, or as many numbers as scores.
    pub labels_a_row: usize,
    /// `rows × labels_a_row` labels, row-major.
    pub labels: Vec<f64>,
    /// What each row counts for.
    pub weights: Vec<f64>,
}

impl Answers {
    /// None for answers that are not one classification, one set of labels or one list of numbers a row.
    pub fn of(outcome: &Outcome, plan: &LossPlan) -> Option<Self> {
        let width = outcome.width;
        let (task, labels_a_row, labels): (_, _, Vec<f64>) = match (plan.kind, outcome.kind, outcome.targets) {
            (LossKind::Mse, _, Targets::Classes(all)) if width == 1 => {
                (Task::Value, 1, all.iter().map(|&c| c as f64).collect())
            }
            (LossKind::Mse, _, Targets::Values { width: w, values }) if *w == width => {
                (Task::Value, width, values.iter().map(|&v| v.into()).collect())
            }
            (LossKind::Mse, ..) => return None,
            (_, _, Targets::Classes(all)) => {
                let task = if width == 1 && !plan.scores_are_log_probs { Task::Binary } else { Task::Class };
                (task, 1, all.iter().map(|&c| c as f64).collect())
            }
            (LossKind::Bce, TargetKind::MultiLabel | TargetKind::Value, Targets::Values { width: w, values })
                if *w == width =>
            {
                (Task::MultiLabel, width, values.iter().map(|&v| v.into()).collect())
            }
            _ => return None,
        };
        let counts = |i: usize| outcome.weights.get(i).map_or(1.0, |&w| f64::from(w));
        let all = Self {
            task,
            log_probs: plan.scores_are_log_probs,
            width,
            scores: outcome.logits.iter().map(|&x| x.into()).collect(),
            labels_a_row,
            weights: (0..outcome.losses.len()).map(counts).collect(),
            labels,
        };
        if width == 0 || all.scores.len() != all.rows() * width {
            return None;
        }
        let counted: Vec<usize> = (0..all.rows()).filter(|&i| counts(i) > 0.0).collect();
        Some(all.select(&counted))
    }

    /// Of rows that have several positions: each position that counts is an answer of its own. `None` where no position counts.
    pub fn of_positions(scores: &Scores, targets: &Targets, plan: &LossPlan) -> Option<Self> {
        let width = scores.classes.0;
        let mut all = Self {
            task: Task::Class,
            log_probs: plan.scores_are_log_probs,
            width,
            scores: Vec::new(),
            labels_a_row: 1,
            labels: Vec::new(),
            weights: Vec::new(),
        };
        for (logits, labels) in scores.logits.chunks_exact(scores.width.max(1)).zip(targets.positions()) {
            at_positions(scores.classes, logits, labels, |class, own| {
                all.scores.extend(own.iter().map(|&x| f64::from(x)));
                all.labels.push(class as f64);
                all.weights.push(1.0);
            });
        }
        (width > 0 && !all.labels.is_empty()).then_some(all)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.labels.len().checked_div(self.labels_a_row).unwrap_or(0)
    }

    /// Scores of each row.
    pub fn score_rows(&self) -> impl Iterator<Item = &[f64]> {
        self.scores.chunks_exact(self.width.max(1))
    }

    /// Labels of each row.
    pub fn label_rows(&self) -> impl Iterator<Item = &[f64]> {
        self.labels.chunks_exact(self.labels_a_row.max(1))
    }

    /// The class of each row.
    pub fn classes(&self) -> Vec<usize> {
        self.labels.iter().map(|&c| c as usize).collect()
    }

    /// These rows, in this order.
    pub fn select(&self, rows: &[usize]) -> Self {
        let cut = |all: &[f64], n: usize| -> Vec<f64> {
            rows.iter().filter_map(|&r| all.get(r * n..(r + 1) * n)).flatten().copied().collect()
        };
        Self {
            scores: cut(&self.scores, self.width),
            labels: cut(&self.labels, self.labels_a_row),
            weights: cut(&self.weights, 1),
            ..*self
        }
    }

    /// These rows and `more` of the same kind.
    pub fn joined(mut self, more: Self) -> Self {
        self.scores.extend(more.scores);
        self.labels.extend(more.labels);
        self.weights.extend(more.weights);
        self
    }

    /// The same scores beside other labels.
    pub fn labeled(&self, labels: Vec<f64>) -> Self {
        Self { labels, ..self.clone() }
    }

    /// The same scores beside other rows' labels.
    pub fn permuted(&self, seed: u64) -> Self {
        let mut order: Vec<usize> = (0..self.rows()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        self.labeled(self.select(&order).labels)
    }

    /// Loss of each row, times what the row counts for relative to the mean row.
    pub fn losses(&self) -> Vec<f64> {
        let each = self.score_rows().zip(self.label_rows());
        self.weighed(each.map(|(scores, labels)| self.loss(scores, labels)).collect())
    }

    /// How good each row's answer is: the share of right answers, or for numbers `1 − (y − ŷ)² / variance`, so that the mean is R².
    pub fn right(&self) -> Vec<f64> {
        let each = self.score_rows().zip(self.label_rows());
        match self.task {
            Task::Value => {
                let spread = self.variances();
                let row = |(scores, labels): (&[f64], &[f64])| {
                    let terms = scores.iter().zip(labels).zip(&spread).filter(|(_, v)| **v > 0.0);
                    mean(terms.map(|((p, y), v)| 1.0 - (y - p).powi(2) / v))
                };
                each.map(row).collect()
            }
            _ => each.map(|(scores, labels)| self.share_right(scores, labels)).collect(),
        }
    }

    /// The best answers that ignore the inputs: the classes' shares, the labels' base rates, the means. As scores for every row.
    pub fn constant(&self) -> Self {
        let total: f64 = self.weights.iter().sum();
        let share = |label: &dyn Fn(&[f64]) -> f64| {
            self.label_rows().zip(&self.weights).map(|(row, w)| w * label(row)).sum::<f64>() / total
        };
        let column = |k: usize| share(&|row| row.get(k).copied().unwrap_or(0.0));
        let logit = |p: f64| (p.clamp(1e-6, 1.0 - 1e-6) / (1.0 - p.clamp(1e-6, 1.0 - 1e-6))).ln();
        let row: Vec<f64> = match self.task {
            Task::Class => {
                let mut shares = vec![0.0; self.width];
                for (class, w) in self.classes().into_iter().zip(&self.weights) {
                    if let Some(share) = shares.get_mut(class) {
                        *share += w / total;
                    }
                }
                shares.into_iter().map(|p: f64| p.max(1e-12).ln()).collect()
            }
            Task::Binary | Task::MultiLabel => (0..self.width).map(|k| logit(column(k))).collect(),
            Task::Value => (0..self.width).map(column).collect(),
        };
        Self { scores: row.iter().copied().cycle().take(self.rows() * self.width).collect(), ..self.clone() }
    }

    /// Whether no two rows have other labels: then nothing tells good answers from bad ones.
    pub fn all_alike(&self) -> bool {
        let first = self.label_rows().next().map(<[f64]>::to_vec).unwrap_or_default();
        self.label_rows().all(|row| row == first)
    }

    /// Variance of each label column.
    fn variances(&self) -> Vec<f64> {
        let n = self.rows() as f64;
        let column = |k: usize| {
            let values = || self.label_rows().filter_map(move |row| row.get(k).copied());
            let center = values().sum::<f64>() / n;
            values().map(|y| (y - center).powi(2)).sum::<f64>() / n
        };
        (0..self.labels_a_row).map(column).collect()
    }

    fn weighed(&self, values: Vec<f64>) -> Vec<f64> {
        let middle = self.weights.iter().sum::<f64>() / self.rows().max(1) as f64;
        values.into_iter().zip(&self.weights).map(|(x, w)| x * w / middle).collect()
    }

    fn loss(&self, scores: &[f64], labels: &[f64]) -> f64 {
        let binary = |(x, y): (&f64, &f64)| softplus(*x) - x * y;
        match self.task {
            Task::Class => {
                let class = labels.first().map_or(usize::MAX, |&c| c as usize);
                let own = scores.get(class).copied().unwrap_or(f64::NEG_INFINITY);
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let norm = most + scores.iter().map(|x| (x - most).exp()).sum::<f64>().ln();
                // Bounded, so that one hopeless row does not hide the others.
                (if self.log_probs { -own } else { norm - own }).min(100.0)
            }
            Task::Binary | Task::MultiLabel => mean(scores.iter().zip(labels).map(binary)).min(100.0),
            Task::Value => mean(scores.iter().zip(labels).map(|(p, y)| (y - p).powi(2))),
        }
    }

    fn share_right(&self, scores: &[f64], labels: &[f64]) -> f64 {
        match self.task {
            Task::Class => {
                f64::from(argmax(scores).zip(labels.first()).is_some_and(|(best, &class)| class == best as f64))
            }
            _ => mean(scores.iter().zip(labels).map(|(x, y)| f64::from((*x > 0.0) == (*y > 0.5)))),
        }
    }
}

/// The mean; 0 of nothing.
pub fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), x| (sum + x, n + 1));
    if n == 0 { 0.0 } else { sum / n as f64 }
}
