//! Intervals, ranks, and tests. The distributions are those of statrs.

use serde::Serialize;
use statrs::{
    distribution::{Beta, ContinuousCDF},
    stats_tests::{
        NaNPolicy,
        ks_test::{KSTwoSampleAlternativeMethod as Method, ks_twosample},
    },
};

/// Confidence of every interval.
pub const CONFIDENCE: f64 = 0.95;
/// Probability that chance exceeds the part of a Kolmogorov-Smirnov distance that is not `beyond_chance`.
pub const KS_LEVEL: f64 = 0.01;

/// The mean; 0 of no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The unbiased variance; 0 of fewer than two values.
pub fn variance(values: &[f64]) -> f64 {
    let middle = mean(values);
    values.iter().map(|x| (x - middle).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0).max(1.0)
}

/// The paired difference of two figures of the same rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// Mean of the differences.
    pub mean: f64,
    /// Its standard error; at least `|mean| / rows`, even if all rows differ by the same amount.
    pub error: f64,
}

impl Paired {
    /// Of `a − b`, row by row.
    pub fn of(a: &[f64], b: &[f64]) -> Self {
        let each: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let (mean, n) = (mean(&each), each.len().max(1) as f64);
        Self { mean, error: (variance(&each) / n).sqrt().max(mean.abs() / n) }
    }

    /// Number of standard errors between the mean and 0.
    pub fn z(self) -> f64 {
        if self.error > 0.0 { self.mean / self.error } else { 0.0 }
    }
}

/// A share, with its Clopper-Pearson interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// The share.
    pub rate: f64,
    /// Lower end of the interval at [`CONFIDENCE`].
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Rate {
    /// `hits` of `n` rows; none without rows.
    pub fn of(hits: usize, n: usize) -> Option<Self> {
        if n == 0 || hits > n {
            return None;
        }
        let tail = (1.0 - CONFIDENCE) / 2.0;
        let quantile = |a: usize, b: usize, p: f64| Some(Beta::new(a as f64, b as f64).ok()?.inverse_cdf(p));
        let low = if hits == 0 { 0.0 } else { quantile(hits, n - hits + 1, tail)? };
        let high = if hits == n { 1.0 } else { quantile(hits + 1, n - hits, 1.0 - tail)? };
        Some(Self { rate: hits as f64 / n as f64, low, high })
    }
}

/// The two-sample Kolmogorov-Smirnov test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct KolmogorovSmirnov {
    /// Largest distance of the two distribution functions, 0 to 1.
    pub statistic: f64,
    /// Probability of at least this distance if both samples have the same distribution (Kolmogorov's limit).
    pub p_value: f64,
    /// The part of the distance that exceeds what chance explains in 99 of 100 cases.
    pub beyond_chance: f64,
}

impl KolmogorovSmirnov {
    /// None without finite numbers on both sides. `tests` is the number of such tests that are judged together.
    pub fn of(a: &[f64], b: &[f64], tests: usize) -> Option<Self> {
        if a.iter().chain(b).any(|x| !x.is_finite()) {
            return None;
        }
        let test = |method| ks_twosample(a.to_vec(), b.to_vec(), method, NaNPolicy::Error).ok();
        let (below, above) = (test(Method::LessAsymptotic)?.0, test(Method::GreaterAsymptotic)?.0);
        let statistic = below.max(above);
        let (n, m) = (a.len() as f64, b.len() as f64);
        // statrs sums Kolmogorov's series until its terms are small, which never happens at 0. Below this value the sum
        // is 1 to all digits.
        let scaled = statistic * (n * m / (n + m)).sqrt();
        let p_value = if scaled < 0.2 { 1.0 } else { test(Method::TwoSidedAsymptotic)?.1.clamp(0.0, 1.0) };
        // Massart's form of the Dvoretzky-Kiefer-Wolfowitz inequality, for two samples.
        let level = KS_LEVEL / tests.max(1) as f64;
        let chance = (-(level / 2.0).ln() / 2.0).sqrt() * ((n + m) / (n * m)).sqrt();
        Some(Self { statistic, p_value, beyond_chance: (statistic - chance).max(0.0) })
    }
}

/// Probability that a member's number is below a non-member's, ties half: the area under the ROC curve of the score
/// "minus the number". None without rows on both sides.
pub fn auc(members: &[f64], others: &[f64]) -> Option<f64> {
    if members.is_empty() || others.is_empty() {
        return None;
    }
    let others = sorted(others);
    let mut won = 0.0;
    for m in members {
        let (below, tied, above) = around(&others, *m);
        debug_assert_eq!(below + tied + above, others.len());
        won += above as f64 + 0.5 * tied as f64;
    }
    Some(won / (members.len() as f64 * others.len() as f64))
}

/// In ascending order.
pub(super) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Number of the ascending `values` below, equal to, and above `x`.
pub(super) fn around(values: &[f64], x: f64) -> (usize, usize, usize) {
    let below = values.partition_point(|v| *v < x);
    let up_to = values.partition_point(|v| *v <= x);
    (below, up_to - below, values.len() - up_to)
}

/// The members that can be found at a low false positive rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LowFpr {
    /// The false positive rate: share of non-members that may be taken for members.
    pub fpr: f64,
    /// Share of members whose number is below that of all but a share `fpr` of the non-members: under-forgotten.
    pub below: Option<Rate>,
    /// Share of members whose number is above that of all but a share `fpr` of the non-members: over-forgotten.
    pub above: Option<Rate>,
    /// Number of non-members needed, so that one of them is this share.
    pub unseen_needed: usize,
    /// Whether there are enough.
    pub sufficient: bool,
}

impl LowFpr {
    /// At the false positive rate 1 / `one_in`.
    pub fn at(members: &[f64], others: &[f64], one_in: usize) -> Self {
        let fpr = 1.0 / one_in as f64;
        let negated = |values: &[f64]| values.iter().map(|x| -x).collect::<Vec<_>>();
        let rate = |members: &[f64], others: &[f64]| Rate::of(hits(members, others, fpr)?, members.len());
        Self {
            fpr,
            below: rate(members, others),
            above: rate(&negated(members), &negated(others)),
            unseen_needed: one_in,
            sufficient: others.len() >= one_in,
        }
    }

    /// The larger one of the lower confidence bounds of both shares.
    pub fn lower_bound(&self) -> Option<f64> {
        Some(self.below?.low.max(self.above?.low))
    }
}

/// Members below a threshold that at most a share `fpr` of the others is below.
fn hits(members: &[f64], others: &[f64], fpr: f64) -> Option<usize> {
    let others = sorted(others);
    let n = others.len();
    let allowed = (0..n).rev().find(|&k| k as f64 / n as f64 <= fpr)?;
    // The threshold stays below the first non-member too many.
    let limit = others.get(allowed)?;
    Some(members.iter().filter(|m| *m < limit).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_ties_half_and_thresholds_whole() {
        assert_eq!(auc(&[1., 2.], &[2., 3.]), Some(0.875));
        assert_eq!(auc(&[], &[1.]), None);
        let others: Vec<f64> = (0..200).map(f64::from).collect();
        let found = LowFpr::at(&[-1., 0.5, 1.5, 2., 500.], &others, 100);
        assert_eq!((found.below.unwrap().rate, found.above.unwrap().rate), (0.6, 0.2));
        assert!(found.sufficient && !LowFpr::at(&[1.], &others, 1000).sufficient);
        assert_eq!(LowFpr::at(&[5., 5.], &[5., 5., 7.], 100).below.unwrap().rate, 0.0);
        assert_eq!(LowFpr::at(&[], &others, 100).below, None);
    }

    #[test]
    fn intervals_hold_the_share_and_end_at_0_and_1() {
        for (hits, n) in [(0, 10), (3, 10), (10, 10), (1, 5000)] {
            let rate = Rate::of(hits, n).unwrap();
            assert!(0.0 <= rate.low && rate.low <= rate.rate && rate.rate <= rate.high && rate.high <= 1.0, "{rate:?}");
        }
        assert_eq!((Rate::of(0, 10).unwrap().low, Rate::of(10, 10).unwrap().high), (0.0, 1.0));
        assert_eq!((Rate::of(0, 0), Rate::of(2, 1)), (None, None));
    }

    #[test]
    fn a_distance_is_beyond_chance_only_if_it_is_large_for_the_rows() {
        let a: Vec<f64> = (0..400).map(f64::from).collect();
        let b: Vec<f64> = (0..400).map(|i| f64::from(i) + 120.0).collect();
        let far = KolmogorovSmirnov::of(&a, &b, 1).unwrap();
        assert!((far.statistic - 0.3).abs() < 1e-9 && far.beyond_chance > 0.15 && far.p_value < 1e-6, "{far:?}");
        let few = KolmogorovSmirnov::of(&a[..9], &[4.0, 9.0], 1).unwrap();
        assert_eq!(few.beyond_chance, 0.0);
        assert!(KolmogorovSmirnov::of(&a, &b, 100).unwrap().beyond_chance < far.beyond_chance);
        let same = KolmogorovSmirnov::of(&a, &a, 1).unwrap();
        assert_eq!((same.statistic, same.p_value, same.beyond_chance), (0.0, 1.0, 0.0));
        assert_eq!(KolmogorovSmirnov::of(&[f64::NAN], &[1.0], 1), None);
        assert_eq!(KolmogorovSmirnov::of(&[], &[1.0], 1), None);
    }
}
