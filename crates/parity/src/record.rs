//! What parity found, in the shape that the report gives it.

use super::{
    compare::{Comparison, Tolerance},
    halves::Rounding,
};
use crate::error::{Error, Result};
use serde::Serialize;

/// One runtime beside us.
#[derive(Clone, Debug, Serialize)]
pub struct RuntimeReport {
    /// `onnxruntime` or `tract`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Largest difference between its outputs and ours.
    pub max_abs_diff: f64,
    /// The same relative to its value, where that is larger than the absolute tolerance.
    pub max_rel_diff: f64,
    /// Share of rows to which both give the same class; `null` for models that do not classify.
    pub top1_agreement: Option<f64>,
    /// Our mean loss minus the mean loss computed from its scores; `null` if it does not show its scores.
    pub loss_difference: Option<f64>,
    /// Rows.
    pub samples: usize,
    /// Values compared, and those beyond the tolerance.
    pub values: usize,
    /// See `values`.
    pub beyond: usize,
    /// The tolerances that would have passed, each with the other as it is.
    pub atol_needed: Option<f64>,
    /// See `atol_needed`.
    pub rtol_needed: Option<f64>,
    /// What no tolerance mends.
    pub problems: Vec<String>,
    /// Whether all values are within the tolerance.
    pub passed: bool,
}

impl RuntimeReport {
    pub(super) fn new(
        name: &str,
        version: String,
        comparison: &Comparison,
        loss_difference: Option<f64>,
        samples: usize,
    ) -> Self {
        Self {
            name: name.into(),
            version,
            max_abs_diff: comparison.max_abs_diff,
            max_rel_diff: comparison.max_rel_diff,
            top1_agreement: comparison.top1_agreement(),
            loss_difference,
            samples,
            values: comparison.elements,
            beyond: comparison.beyond,
            atol_needed: comparison.atol_needed,
            rtol_needed: comparison.rtol_needed,
            problems: comparison.problems.clone(),
            passed: comparison.passed(),
        }
    }
}

/// A runtime that could not take part.
#[derive(Clone, Debug, Serialize)]
pub struct NotAvailable {
    /// `onnxruntime` or `tract`.
    pub name: String,
    /// In its own words.
    pub why: String,
}

/// How far two runtimes are from each other on the same rows: the measure for how far we are from one.
#[derive(Clone, Debug, Serialize)]
pub struct BetweenRuntimes {
    /// Largest difference between onnxruntime's outputs and tract's.
    pub max_abs_diff: f64,
    /// The same relative to onnxruntime's value.
    pub max_rel_diff: f64,
    /// Whether they are within the tolerance of each other.
    pub passed: bool,
}

/// The forward check.
#[derive(Clone, Debug, Serialize)]
pub struct ParityReport {
    /// The runtimes that ran; the first is the one that decides.
    pub runtimes: Vec<RuntimeReport>,
    /// Those that were asked for and could not.
    pub not_available: Vec<NotAvailable>,
    /// The runtimes beside each other, if there are two.
    pub between_runtimes: Option<BetweenRuntimes>,
    /// What is allowed.
    pub tolerance: Tolerance,
    /// What is allowed beyond it, since values are computed in half precision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounding: Option<Rounding>,
    /// Whether our model is the first runtime's.
    pub passed: bool,
    /// Why, in a sentence.
    pub verdict: String,
}

impl ParityReport {
    /// Judges the comparisons: the first runtime decides. If we are beyond the tolerance, but no further than the two
    /// runtimes are from each other, and no more than ten times too far, the difference is the model's own
    /// ill-conditioning and not ours.
    pub(super) fn judge(
        runtimes: Vec<(RuntimeReport, Comparison)>,
        not_available: Vec<NotAvailable>,
        between: Option<&Comparison>,
        (tolerance, rounding): (Tolerance, Option<Rounding>),
    ) -> Self {
        let first = runtimes.first();
        let (mut passed, mut verdict) = match first {
            Some((report, comparison)) => (report.passed, format!("{} {}", report.name, comparison.verdict())),
            None => (false, "no runtime took part".to_string()),
        };
        if let (false, Some((report, ours)), Some(theirs)) = (passed, first, between) {
            let sound = ours.problems.is_empty() && theirs.problems.is_empty() && ours.elements > 0;
            let no_worse = ours.max_abs_diff <= theirs.max_abs_diff && ours.max_rel_diff <= theirs.max_rel_diff;
            // Halves have been allowed for already.
            let reach = rounding.as_ref().map_or(10.0 * tolerance.atol, |rounding| 2.0 * rounding.widest());
            let near = ours.atol_needed.is_some_and(|a| a <= reach.max(f64::MIN_POSITIVE))
                || ours.rtol_needed.is_some_and(|r| r <= 10.0 * tolerance.rtol.max(f64::MIN_POSITIVE));
            if sound && no_worse && near {
                passed = true;
                verdict = format!(
                    "{} differs by {:.2e}, which is no more than the {:.2e} between the runtimes themselves",
                    report.name, ours.max_abs_diff, theirs.max_abs_diff
                );
            } else {
                verdict.push_str(&format!("; onnxruntime and tract differ by {:.2e}", theirs.max_abs_diff));
            }
        }
        if let Some(rounding) = &rounding {
            let (dtype, atol) = (rounding.dtype, rounding.widest());
            verdict.push_str(&format!("; values are computed in {dtype}, for whose rounding {atol:.1e} is allowed"));
        }
        let between_runtimes = between.map(|c| BetweenRuntimes {
            max_abs_diff: c.max_abs_diff,
            max_rel_diff: c.max_rel_diff,
            passed: c.passed(),
        });
        let runtimes = runtimes.into_iter().map(|(report, _)| report).collect();
        Self { runtimes, not_available, between_runtimes, tolerance, rounding, passed, verdict }
    }

    /// Nothing, if the check passed.
    ///
    /// # Errors
    /// [`Error::ParityBefore`] if the check failed.
    pub fn require_before(&self) -> Result<()> {
        if self.passed { Ok(()) } else { Err(Error::ParityBefore(self.verdict.clone())) }
    }

    /// Nothing, if the check passed.
    ///
    /// # Errors
    /// [`Error::ParityAfter`] if the check failed.
    pub fn require_after(&self) -> Result<()> {
        if self.passed { Ok(()) } else { Err(Error::ParityAfter(self.verdict.clone())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compare::compare, tensor::HostTensor};

    fn comparison(a: f32, b: f32) -> Comparison {
        let list = |x| [("y".to_string(), HostTensor::vector(vec![1.0f32, x]))];
        compare(&list(a), &list(b), Tolerance::RUNTIMES, None)
    }

    fn judge(ours: f32, tract: f32) -> ParityReport {
        let c = comparison(1.0, ours);
        let report = RuntimeReport::new("onnxruntime", "1".into(), &c, None, 1);
        ParityReport::judge(vec![(report, c)], Vec::new(), Some(&comparison(1.0, tract)), (Tolerance::RUNTIMES, None))
    }

    #[test]
    fn disagreement_is_judged_beside_that_of_the_runtimes() {
        assert!(judge(1.0, 1.0).passed);
        assert!(!judge(1.005, 1.0).passed, "the runtimes agree with each other");
        assert!(judge(1.005, 1.006).passed, "the runtimes differ as much");
        assert!(!judge(1.2, 1.3).passed, "too far, whatever the runtimes do");
        assert!(!judge(f32::NAN, 1.006).passed);
        let failed = judge(1.005, 1.0);
        assert_eq!(failed.require_before().unwrap_err().exit_code(), 5);
        assert_eq!(failed.require_after().unwrap_err().exit_code(), 7);
        assert!(failed.verdict.contains("--atol"), "{}", failed.verdict);
    }

    #[test]
    fn no_runtime_is_no_agreement() {
        assert!(!ParityReport::judge(Vec::new(), Vec::new(), None, (Tolerance::RUNTIMES, None)).passed);
    }
}
