//! The input of the attacks: numbers, one per row, and each row's class.

use super::accuracy::Outcome;
use crate::data::{TargetKind, Targets};
use std::collections::BTreeSet;

/// The numbers that the attacks use, for the rows that the loss counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signals {
    /// Positions in the set that was scored.
    pub rows: Vec<usize>,
    /// Loss; summed over labels if the model's loss is their mean.
    pub losses: Vec<f64>,
    /// Entropy of the answer; none for regression.
    pub entropies: Option<Vec<f64>>,
    /// Mean loss of the hardest positions (Min-K%); of language models alone.
    pub min_k: Option<Vec<f64>>,
    /// Probability that the model gives the right answer; none for regression.
    pub likelihoods: Option<Vec<f64>>,
    /// Share of right answers of each row; none for regression.
    pub right: Option<Vec<f64>>,
    /// Class; none unless every row has one.
    pub classes: Option<Vec<i64>>,
}

impl Signals {
    /// From a model's losses and logits on a set of rows. Rows of weight 0 are left out.
    pub fn of(outcome: &Outcome) -> Self {
        let rows: Vec<usize> = (0..outcome.losses.len()).filter(|&i| outcome.weight(i) != 0.0).collect();
        let labels = if outcome.kind == TargetKind::MultiLabel { outcome.width.max(1) as f64 } else { 1.0 };
        let losses = |i: &usize| outcome.losses.get(*i).map(|&l| f64::from(l) * labels);
        Self {
            losses: rows.iter().filter_map(losses).collect(),
            entropies: match outcome.answered {
                Some(answered) => Some(rows.iter().filter_map(|&i| answered.entropies().get(i).copied()).collect()),
                None => entropies(outcome),
            },
            min_k: outcome
                .answered
                .filter(|_| matches!(outcome.kind, TargetKind::Next | TargetKind::Masked))
                .map(|answered| rows.iter().filter_map(|&i| answered.min_k().get(i).copied()).collect()),
            likelihoods: match outcome.answered {
                // The geometric mean over the positions.
                Some(answered) => {
                    let losses = answered.mean_losses(outcome.losses);
                    Some(rows.iter().filter_map(|&i| losses.get(i)).map(|loss| (-loss).exp()).collect())
                }
                None => likelihoods(outcome),
            },
            right: outcome.right().map(|right| rows.iter().filter_map(|&i| right.get(i).copied()).collect()),
            classes: match (outcome.kind, outcome.targets) {
                (TargetKind::Class | TargetKind::Binary, Targets::Classes(all)) => {
                    Some(rows.iter().filter_map(|&i| all.get(i).copied()).collect())
                }
                _ => None,
            },
            rows,
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows for which `keep` holds, given their position.
    pub fn filter(&self, keep: impl Fn(usize) -> bool) -> Self {
        fn take<T: Copy>(all: &[T], keep: &impl Fn(usize) -> bool) -> Vec<T> {
            all.iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, &x)| x).collect()
        }
        Self {
            rows: take(&self.rows, &keep),
            losses: take(&self.losses, &keep),
            entropies: self.entropies.as_deref().map(|e| take(e, &keep)),
            min_k: self.min_k.as_deref().map(|k| take(k, &keep)),
            likelihoods: self.likelihoods.as_deref().map(|l| take(l, &keep)),
            right: self.right.as_deref().map(|r| take(r, &keep)),
            classes: self.classes.as_deref().map(|c| take(c, &keep)),
        }
    }

    /// The rows of the classes that `others` also has: if a whole class is forgotten, unseen rows of other classes say
    /// nothing about it. All rows if there are no classes.
    pub fn of_classes_in(&self, others: &Self) -> Self {
        let (Some(own), Some(theirs)) = (&self.classes, &others.classes) else { return self.clone() };
        let present: BTreeSet<i64> = theirs.iter().copied().collect();
        self.filter(|i| own.get(i).is_some_and(|class| present.contains(class)))
    }

    /// Class of the row at `i`; the same for all rows if there are no classes.
    pub(super) fn class(&self, i: usize) -> Option<i64> {
        self.classes.as_ref().and_then(|c| c.get(i).copied())
    }
}

/// The number that MIA_E uses: the entropy (in nats) of a row's softmax, or of its sigmoids, summed over labels.
/// `p·ln p` is 0 at `p = 0`. None for regression.
pub fn entropies(outcome: &Outcome) -> Option<Vec<f64>> {
    let of: fn(&[f32]) -> f64 = match (outcome.kind, outcome.width) {
        (_, 0) | (TargetKind::Value | TargetKind::LossGraph, _) => return None,
        (TargetKind::Class, 2..) => softmax_entropy,
        _ => sigmoid_entropy,
    };
    let counted = outcome.rows().enumerate().filter(|(i, _)| outcome.weight(*i) != 0.0);
    Some(counted.map(|(_, row)| of(row)).collect())
}

/// The probability of the right answer, by softmax or sigmoid; of all labels together if a row has several.
fn likelihoods(outcome: &Outcome) -> Option<Vec<f64>> {
    let of: Box<dyn Fn(usize, &[f32]) -> Option<f64>> = match (outcome.kind, outcome.width, outcome.targets) {
        (TargetKind::Class, 2.., Targets::Classes(classes)) => Box::new(|i, row| {
            let right = *row.get(usize::try_from(*classes.get(i)?).ok()?)?;
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|&x| (f64::from(x) - f64::from(max)).exp()).sum();
            Some((f64::from(right) - f64::from(max)).exp() / sum)
        }),
        (TargetKind::Class | TargetKind::Binary, 1, Targets::Classes(classes)) => Box::new(|i, row| {
            let z = f64::from(*row.first()?);
            Some(sigmoid(if *classes.get(i)? == 1 { z } else { -z }))
        }),
        (TargetKind::MultiLabel, _, Targets::Values { width, values }) if *width == outcome.width => {
            Box::new(move |i, row| {
                let labels = values.get(i * width..(i + 1) * width)?;
                let cost = |(&x, &y): (&f32, &f32)| softplus(if y > 0.5 { -f64::from(x) } else { f64::from(x) });
                Some((-row.iter().zip(labels).map(cost).sum::<f64>()).exp())
            })
        }
        _ => return None,
    };
    let counted = outcome.rows().enumerate().filter(|(i, _)| outcome.weight(*i) != 0.0);
    counted.map(|(i, row)| of(i, row)).collect()
}

/// `ln(1 + eˣ)` without overflow.
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `1 / (1 + e⁻ˣ)` without overflow.
pub(super) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// `ln Σ eᶻ − Σ p·z`, with z relative to its largest value.
pub(super) fn softmax_entropy(row: &[f32]) -> f64 {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for &x in row {
        let z = f64::from(x) - f64::from(max);
        let e = z.exp();
        sum += e;
        // e·z is 0 where e is, even for z = −∞.
        weighted += if e == 0.0 { 0.0 } else { e * z };
    }
    (sum.ln() - weighted / sum).max(0.0)
}

/// `Σ p·softplus(−z) + (1 − p)·softplus(z)`: −ln p is softplus(−z).
fn sigmoid_entropy(row: &[f32]) -> f64 {
    let term = |p: f64, cost: f64| if p == 0.0 { 0.0 } else { p * cost };
    let of = |&x: &f32| {
        let z = f64::from(x);
        term(sigmoid(z), softplus(-z)) + term(sigmoid(-z), softplus(z))
    };
    row.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome<'a>(logits: &'a [f32], width: usize, targets: &'a Targets, kind: TargetKind) -> Outcome<'a> {
        Outcome { losses: &[], weights: &[], logits, width, targets, kind, answered: None, figures: None }
    }

    #[test]
    fn entropy_is_that_of_the_answer() {
        let targets = Targets::Classes(vec![]);
        let rows = [0., 0., 0., 0., 1000., 0., 0., 0., f32::NEG_INFINITY, 1., 1., f32::NEG_INFINITY];
        let found = entropies(&outcome(&rows, 4, &targets, TargetKind::Class)).unwrap();
        for (found, expected) in found.iter().zip([4f64.ln(), 0.0, 2f64.ln()]) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        let found = entropies(&outcome(&[0., 800., -800.], 1, &targets, TargetKind::Binary)).unwrap();
        assert!((found[0] - 2f64.ln()).abs() < 1e-12 && found[1] == 0.0 && found[2] == 0.0, "{found:?}");
        let found = entropies(&outcome(&[0., 0., 1., -1.], 2, &targets, TargetKind::MultiLabel)).unwrap();
        let p = 1.0 / (1.0 + (-1f64).exp());
        let expected = -2.0 * (p * p.ln() + (1.0 - p) * (1.0 - p).ln());
        assert!((found[0] - 4f64.ln()).abs() < 1e-12 && (found[1] - expected).abs() < 1e-12, "{found:?}");
        assert_eq!(entropies(&outcome(&[1.], 1, &targets, TargetKind::Value)), None);
    }

    #[test]
    fn losses_are_summed_over_labels_and_ignored_rows_left_out() {
        let targets = Targets::Values { width: 4, values: vec![0.0; 8] };
        let labels = Outcome { losses: &[0.5, 2.0], ..outcome(&[0.0; 8], 4, &targets, TargetKind::MultiLabel) };
        assert_eq!(Signals::of(&labels).losses, [2.0, 8.0]);
        let one = Signals::of(&Outcome { weights: &[0.0, 1.0], ..labels });
        assert_eq!((one.losses.as_slice(), one.rows.as_slice()), ([8.0].as_slice(), [1].as_slice()));
    }

    #[test]
    fn likelihood_is_the_exponential_of_minus_the_loss() {
        let close = |found: Option<Vec<f64>>, expected: f64| {
            let found = found.unwrap()[0];
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        };
        let class = Targets::Classes(vec![1]);
        let of = |logits: &[f32], width, targets, kind| likelihoods(&outcome(logits, width, targets, kind));
        close(of(&[0.0, 2.0, 0.0], 3, &class, TargetKind::Class), 1.0 / (1.0 + 2.0 * (-2f64).exp()));
        close(of(&[2.0], 1, &class, TargetKind::Binary), 1.0 / (1.0 + (-2f64).exp()));
        let labels = Targets::Values { width: 2, values: vec![1.0, 0.0] };
        close(of(&[2.0, 2.0], 2, &labels, TargetKind::MultiLabel), sigmoid(2.0) * sigmoid(-2.0));
        assert_eq!(of(&[2.0], 1, &class, TargetKind::Value), None);
    }

    #[test]
    fn unseen_rows_are_of_the_classes_that_are_forgotten() {
        let with = |classes: Option<Vec<i64>>| Signals {
            rows: vec![0, 1, 2],
            losses: vec![0.1, 0.2, 0.3],
            classes,
            ..Signals::default()
        };
        let kept = with(Some(vec![4, 5, 4])).of_classes_in(&with(Some(vec![4, 4, 4])));
        assert_eq!((kept.rows, kept.losses), (vec![0, 2], vec![0.1, 0.3]));
        assert_eq!(with(None).of_classes_in(&with(None)).len(), 3);
    }
}
