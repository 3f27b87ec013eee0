//! Membership inference on one number a row: its loss (MIA_L), or the entropy of the model's answer (MIA_E).
//!
//! Members are the rows to forget, non-members rows that the model never saw. The protocol is that of the method's
//! paper: both sides cut to one size (the larger one shuffled before), a logistic regression on the number, ten
//! stratified shuffle splits with a tenth held out, the mean accuracy on what is held out. 0.5 is ideal, and below it is
//! no better than above.

use super::{accuracy::Outcome, logistic::Logistic};
use crate::data::TargetKind;
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Rows a side below which the accuracy of the attack says little: its standard error is then above 0.1.
pub const INFORMATIVE_ROWS: usize = 50;

/// Splits of the protocol.
const SPLITS: usize = 10;

/// What an attack on one number a row achieves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Attack {
    /// Mean accuracy over the splits; none with fewer than two rows a side, or where a fit does not converge.
    pub accuracy: Option<f64>,
    /// Probability that a member's number is below a non-member's, ties half.
    pub auc: Option<f64>,
    /// Share of members below a threshold that at most one in a hundred non-members is below.
    pub tpr_at_1pct_fpr: Option<f64>,
    /// Members and non-members that the accuracy is from, each.
    pub rows_a_side: usize,
    /// Whether there are enough of them to mean anything.
    pub informative: bool,
}

/// Runs the attack; the same seed chooses the same rows and splits.
pub fn attack(members: &[f64], others: &[f64], seed: u64) -> Attack {
    let rows_a_side = members.len().min(others.len());
    Attack {
        accuracy: accuracy(members, others, seed),
        auc: auc(members, others),
        tpr_at_1pct_fpr: tpr_at_fpr(members, others, 0.01),
        rows_a_side,
        informative: rows_a_side >= INFORMATIVE_ROWS,
    }
}

/// The protocol's mean accuracy.
fn accuracy(members: &[f64], others: &[f64], seed: u64) -> Option<f64> {
    let n = members.len().min(others.len());
    if n < 2 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut sides = [cut(members, n, &mut rng), cut(others, n, &mut rng)];
    let held_out = (2 * n).div_ceil(10);
    let mut sum = 0.0;
    for _ in 0..SPLITS {
        // Where the rows held out are odd in number, one side chosen at random gives one more.
        let more = usize::from(held_out % 2 == 1 && rng.random_range(0..2u8) == 1);
        let counts = [held_out / 2 + more, held_out - held_out / 2 - more];
        let mut train = Vec::with_capacity(2 * n);
        let mut test = Vec::with_capacity(held_out);
        for ((side, count), member) in sides.iter_mut().zip(counts).zip([true, false]) {
            side.shuffle(&mut rng);
            let (out, rest) = side.split_at(count.min(side.len()));
            test.extend(out.iter().map(|&x| (x, member)));
            train.extend(rest.iter().map(|&x| (x, member)));
        }
        sum += Logistic::fit(&train)?.accuracy(&test);
    }
    Some(sum / SPLITS as f64)
}

fn cut(values: &[f64], n: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut values = values.to_vec();
    if values.len() > n {
        values.shuffle(rng);
        values.truncate(n);
    }
    values
}

/// Probability that a member's number is below a non-member's, ties half: the area under the ROC curve of the score
/// "minus the number". None without rows on both sides.
pub fn auc(members: &[f64], others: &[f64]) -> Option<f64> {
    if members.is_empty() || others.is_empty() {
        return None;
    }
    let mut others = others.to_vec();
    others.sort_unstable_by(f64::total_cmp);
    let mut won = 0.0;
    for m in members {
        let below_or_equal = others.partition_point(|o| o <= m);
        let below = others.partition_point(|o| o < m);
        won += (others.len() - below_or_equal) as f64 + 0.5 * (below_or_equal - below) as f64;
    }
    Some(won / (members.len() as f64 * others.len() as f64))
}

/// The largest share of members at or below a threshold that at most `fpr` of the non-members are at or below.
pub fn tpr_at_fpr(members: &[f64], others: &[f64], fpr: f64) -> Option<f64> {
    if members.is_empty() || others.is_empty() {
        return None;
    }
    let mut others = others.to_vec();
    others.sort_unstable_by(f64::total_cmp);
    let n = others.len();
    let allowed = (0..n).rev().find(|&k| k as f64 / n as f64 <= fpr).unwrap_or(0);
    // The threshold stays below the first non-member too many.
    let limit = others.get(allowed).copied()?;
    Some(members.iter().filter(|&&m| m < limit).count() as f64 / members.len() as f64)
}

/// The number that MIA_L reads: a row's loss, summed over labels where the model's loss is their mean.
pub(super) fn losses(outcome: &Outcome) -> Vec<f64> {
    let labels = if outcome.kind == TargetKind::MultiLabel { outcome.width.max(1) as f64 } else { 1.0 };
    let counted = outcome.losses.iter().enumerate().filter(|(i, _)| outcome.weight(*i) != 0.0);
    counted.map(|(_, &l)| f64::from(l) * labels).collect()
}

/// The number that MIA_E reads: the entropy (in nats) of a row's softmax, or of its sigmoids, summed over labels.
/// `p·ln p` is 0 at `p = 0`. None for regression.
pub fn entropies(outcome: &Outcome) -> Option<Vec<f64>> {
    let of: fn(&[f32]) -> f64 = match (outcome.kind, outcome.width) {
        (_, 0) | (TargetKind::Value, _) => return None,
        (TargetKind::Class, 2..) => softmax_entropy,
        _ => sigmoid_entropy,
    };
    let counted = outcome.rows().enumerate().filter(|(i, _)| outcome.weight(*i) != 0.0);
    Some(counted.map(|(_, row)| of(row)).collect())
}

/// `ln(1 + eˣ)` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `1 / (1 + e⁻ˣ)` without overflow.
fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// `ln Σ eᶻ − Σ p·z`, with z measured from its largest.
fn softmax_entropy(row: &[f32]) -> f64 {
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
    use crate::data::Targets;

    fn outcome<'a>(logits: &'a [f32], width: usize, targets: &'a Targets, kind: TargetKind) -> Outcome<'a> {
        Outcome { losses: &[], weights: &[], logits, width, targets, kind }
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
    fn ranks_count_ties_half_and_thresholds_whole() {
        assert_eq!(auc(&[1., 2.], &[2., 3.]), Some(0.875));
        assert_eq!(auc(&[], &[1.]), None);
        let others: Vec<f64> = (0..200).map(f64::from).collect();
        assert_eq!(tpr_at_fpr(&[-1., 0.5, 1.5, 2., 50.], &others, 0.01), Some(0.6));
        assert_eq!(tpr_at_fpr(&[5., 5.], &[5., 5., 7.], 0.01), Some(0.0));
    }

    #[test]
    fn an_attack_is_repeatable_and_knows_when_it_means_nothing() {
        let members: Vec<f64> = (0..80).map(|i| f64::from(i) * 0.01).collect();
        let others: Vec<f64> = (0..300).map(|i| f64::from(i) * 0.01).collect();
        let one = attack(&members, &others, 3);
        assert_eq!(one, attack(&members, &others, 3));
        assert!(one.informative && one.rows_a_side == 80 && one.accuracy.unwrap() > 0.7);
        let few = attack(&members[..10], &others, 3);
        assert!(!few.informative && few.accuracy.is_some());
        let none = attack(&members[..1], &others, 3);
        assert_eq!((none.accuracy, none.auc.is_some()), (None, true));
    }

    #[test]
    fn losses_are_summed_over_labels_and_ignored_rows_left_out() {
        let targets = Targets::Values { width: 4, values: vec![0.0; 8] };
        let labels = Outcome { losses: &[0.5, 2.0], ..outcome(&[0.0; 8], 4, &targets, TargetKind::MultiLabel) };
        assert_eq!(losses(&labels), [2.0, 8.0]);
        assert_eq!(losses(&Outcome { weights: &[0.0, 1.0], ..labels }), [8.0]);
    }
}
