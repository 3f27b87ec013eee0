//! Comparison with reference models, which were trained without the forgotten rows.

use super::{
    accuracy::SplitScore,
    record::{Audit, Measured},
    signals::Signals,
    statistics::{LowFpr, auc, sorted},
};
use serde::Serialize;

/// RMIA's coefficient a, which estimates the likelihood under all models from that under models without a row. The
/// value is the paper's for image models (arXiv 2312.03262, appendix B).
const RMIA_A: f64 = 0.3;

/// How far a model is from one reference model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gap {
    /// The reference's accuracy and loss on rows to forget.
    pub forget: SplitScore,
    /// On retained rows.
    pub retain: SplitScore,
    /// On test rows, of the classes that are kept.
    pub test: SplitScore,
    /// Accuracy of the attack on the reference's losses.
    pub mia: Option<f64>,
    /// Tug-of-war (arXiv 2406.01257): the product of 1 − |difference in accuracy| on the three sets; 1 is ideal.
    pub tug_of_war: Option<f64>,
    /// Mean of the absolute differences in the three accuracies and in the attack's accuracy; 0 is ideal.
    pub average_gap: Option<f64>,
}

/// How a row's loss differs from the mean of the references' losses of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LossGap {
    /// Mean absolute difference.
    pub mean: f64,
    /// Half of the rows differ by at most this.
    pub median: f64,
    /// Nine tenths of the rows differ by at most this.
    pub ninth_decile: f64,
}

/// RMIA (arXiv 2312.03262) in its offline form.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rmia {
    /// Probability that a forgotten row has a higher score than an unseen one; 0.5 is ideal.
    pub auc: f64,
    /// Its distance from 0.5 beyond what chance explains in 95 % of cases.
    pub beyond_chance: f64,
    /// Forgotten rows found at false positive rates of 1 % and 0.1 %; `below` is by high scores.
    pub low_fpr: [LowFpr; 2],
    /// Forgotten rows that were scored.
    pub forget_rows: usize,
    /// Unseen rows that they are compared with.
    pub unseen_rows: usize,
    /// Other unseen rows, to which the score of each row is relative.
    pub population_rows: usize,
}

/// One model compared with the references.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Each reference.
    pub gaps: Vec<Gap>,
    /// Mean over the references.
    pub tug_of_war: Option<f64>,
    /// Mean over the references.
    pub average_gap: Option<f64>,
    /// Single forgotten rows.
    pub forget_loss_gap: Option<LossGap>,
    /// Single unseen rows: how much two models differ on rows that neither has seen.
    pub unseen_loss_gap: Option<LossGap>,
    /// The attack with reference models; none for regression.
    pub rmia: Option<Rmia>,
}

/// Compares a model with the references. All must be measured on the same rows.
pub fn compare(audit: &Audit, measured: &Measured, references: &[(Audit, Measured)], seed: u64) -> Comparison {
    let gaps: Vec<Gap> = references.iter().map(|(reference, _)| gap(audit, reference)).collect();
    let mean = |of: fn(&Gap) -> Option<f64>| -> Option<f64> {
        let all = gaps.iter().map(of).collect::<Option<Vec<f64>>>()?;
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    };
    let losses = |of: fn(&Measured) -> &Signals| {
        let others: Vec<&[f64]> = references.iter().map(|(_, m)| of(m).losses.as_slice()).collect();
        loss_gap(&of(measured).losses, &others)
    };
    Comparison {
        tug_of_war: mean(|g| g.tug_of_war),
        average_gap: mean(|g| g.average_gap),
        forget_loss_gap: losses(|m| &m.forget),
        unseen_loss_gap: losses(|m| &m.test),
        rmia: rmia_of(measured, references, seed),
        gaps,
    }
}

fn gap(own: &Audit, other: &Audit) -> Gap {
    let accuracies = [(&own.forget, &other.forget), (&own.retain, &other.retain), (own.useful(), other.useful())];
    let differences: Option<Vec<f64>> =
        accuracies.into_iter().map(|(a, b)| Some((a.accuracy? - b.accuracy?).abs())).collect();
    let mia = other.mia.loss.accuracy;
    let attack = own.mia.loss.accuracy.zip(mia).map(|(a, b)| (a - b).abs());
    Gap {
        forget: other.forget.clone(),
        retain: other.retain.clone(),
        test: other.useful().clone(),
        mia,
        tug_of_war: differences.as_ref().map(|d| d.iter().map(|d| 1.0 - d).product()),
        average_gap: differences.zip(attack).map(|(d, attack)| (d.iter().sum::<f64>() + attack) / (d.len() + 1) as f64),
    }
}

/// Absolute differences from the mean of the others, in quantiles.
fn loss_gap(own: &[f64], others: &[&[f64]]) -> Option<LossGap> {
    if own.is_empty() || others.is_empty() || others.iter().any(|o| o.len() != own.len()) {
        return None;
    }
    let count = others.len() as f64;
    let expected = |i: usize| others.iter().filter_map(|o| o.get(i)).sum::<f64>() / count;
    let gaps = sorted(&own.iter().enumerate().map(|(i, l)| (l - expected(i)).abs()).collect::<Vec<_>>());
    let at = |share: f64| gaps.get(((gaps.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied();
    Some(LossGap { mean: gaps.iter().sum::<f64>() / gaps.len() as f64, median: at(0.5)?, ninth_decile: at(0.9)? })
}

fn rmia_of(measured: &Measured, references: &[(Audit, Measured)], seed: u64) -> Option<Rmia> {
    // Half of the unseen rows are the population to which scores are relative; the others are attacked.
    let (_, half) = measured.halves(seed);
    let (population, unseen) = half.cut(&measured.unseen());
    let cut: Vec<(Signals, Signals)> = references.iter().map(|(_, m)| half.cut(&m.unseen())).collect();
    let own = |s: &Signals| s.likelihoods.clone();
    let of = |s: Vec<&Signals>| s.into_iter().map(|s| s.likelihoods.clone()).collect::<Option<Vec<_>>>();
    let population = ratios(&own(&population)?, &of(cut.iter().map(|c| &c.0).collect())?)?;
    let score = |own: Vec<f64>, others: Vec<Vec<f64>>| Some(rmia_scores(&ratios(&own, &others)?, &population));
    let members = score(own(&measured.forget)?, of(references.iter().map(|(_, m)| &m.forget).collect())?)?;
    let others = score(own(&unseen)?, of(cut.iter().map(|c| &c.1).collect())?)?;
    rmia(&members, &others, population.len())
}

/// `p(x|θ) / p(x)` of each row, with `p(x) = ((1 + a)·mean of the references' p(x) + 1 − a) / 2`. The references have
/// not seen the row; if half of all models had, the mean likelihood would be higher.
pub fn ratios(own: &[f64], references: &[Vec<f64>]) -> Option<Vec<f64>> {
    if references.is_empty() || references.iter().any(|r| r.len() != own.len()) {
        return None;
    }
    let count = references.len() as f64;
    let mean = |i: usize| references.iter().filter_map(|r| r.get(i)).sum::<f64>() / count;
    let ratio = |(i, p): (usize, &f64)| p / (0.5 * ((1.0 + RMIA_A) * mean(i) + 1.0 - RMIA_A));
    Some(own.iter().enumerate().map(ratio).collect())
}

/// RMIA's score of each row: the share of the population whose ratio is lower (γ = 1).
pub fn rmia_scores(rows: &[f64], population: &[f64]) -> Vec<f64> {
    let population = sorted(population);
    let n = population.len().max(1) as f64;
    rows.iter().map(|x| population.partition_point(|z| z < x) as f64 / n).collect()
}

fn rmia(members: &[f64], others: &[f64], population_rows: usize) -> Option<Rmia> {
    let negated = |scores: &[f64]| scores.iter().map(|s| -s).collect::<Vec<_>>();
    let (low, high) = (negated(members), negated(others));
    let area = auc(&low, &high)?;
    let (n, m) = (members.len() as f64, others.len() as f64);
    // The variance of the Mann-Whitney statistic if both sides have the same distribution.
    let margin = 1.96 * ((n + m + 1.0) / (12.0 * n * m)).sqrt();
    (population_rows > 0).then(|| Rmia {
        auc: area,
        beyond_chance: ((area - 0.5).abs() - margin).max(0.0),
        low_fpr: [100, 1000].map(|one_in| LowFpr::at(&low, &high, one_in)),
        forget_rows: members.len(),
        unseen_rows: others.len(),
        population_rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Outcome, measure};
    use crate::data::{TargetKind, Targets};

    /// Rows of two classes that a model with this margin answers correctly, except every `wrong`-th.
    fn measured(margins: [f32; 3], wrong: usize) -> (Audit, Measured) {
        let targets = Targets::Classes((0..120).map(|i| i % 2).collect());
        let logits = |margin: f32| -> Vec<f32> {
            let row = |i: usize| {
                let right = if i.is_multiple_of(wrong) { -margin } else { margin + 0.01 * (i * 37 % 23) as f32 };
                if i.is_multiple_of(2) { [right, 0.0] } else { [0.0, right] }
            };
            (0..120).flat_map(row).collect()
        };
        let sets = margins.map(logits);
        let losses = |l: &[f32]| -> Vec<f32> {
            l.chunks(2).enumerate().map(|(i, r)| (1.0 + (r[1 - i % 2] - r[i % 2]).exp()).ln()).collect()
        };
        let all: Vec<Vec<f32>> = sets.iter().map(|s| losses(s)).collect();
        let outcome = |i: usize| Outcome {
            losses: &all[i],
            weights: &[],
            logits: &sets[i],
            width: 2,
            targets: &targets,
            kind: TargetKind::Class,
            answered: None,
            figures: None,
        };
        measure(&outcome(0), &outcome(1), &outcome(2), None, 1).unwrap()
    }

    #[test]
    fn a_model_is_no_distance_from_itself() {
        let (audit, own) = measured([1.0, 3.0, 1.0], 5);
        let found = compare(&audit, &own, &[(audit.clone(), own.clone()), (audit.clone(), own.clone())], 1);
        assert_eq!((found.tug_of_war, found.average_gap), (Some(1.0), Some(0.0)));
        assert!(found.forget_loss_gap.unwrap().ninth_decile < 1e-12);
        let rmia = found.rmia.unwrap();
        assert!((rmia.auc - 0.5).abs() < 0.1 && rmia.beyond_chance == 0.0, "{rmia:?}");
        assert_eq!(rmia.unseen_rows + rmia.population_rows, 120);
    }

    #[test]
    fn test_rows_of_a_class_that_is_forgotten_whole_do_not_count() {
        let (mut audit, own) = measured([1.0, 3.0, 1.0], 5);
        let (mut reference, other) = measured([1.0, 3.0, -1.0], 5);
        let gap = |a: &Audit, b: &Audit| compare(a, &own, &[(b.clone(), other.clone())], 1).tug_of_war.unwrap();
        assert!(gap(&audit, &reference) < 0.5);
        (audit.test_of_kept_classes, reference.test_of_kept_classes) =
            (Some(audit.retain.clone()), Some(audit.retain.clone()));
        assert_eq!(gap(&audit, &reference), 1.0);
    }

    #[test]
    fn a_model_that_still_knows_the_rows_is_seen() {
        let (reference, other) = measured([1.0, 3.0, 1.0], 5);
        let (audit, own) = measured([3.0, 3.0, 1.0], 1000);
        let found = compare(&audit, &own, &[(reference, other)], 1);
        assert!(found.average_gap.unwrap() > 0.1 && found.tug_of_war.unwrap() < 0.7, "{found:?}");
        let (forget, unseen) = (found.forget_loss_gap.unwrap(), found.unseen_loss_gap.unwrap());
        assert!(forget.mean > unseen.mean, "{found:?}");
        assert!(found.rmia.unwrap().auc > 0.6, "{found:?}");
        assert_eq!(ratios(&[0.5], &[]), None);
    }
}
