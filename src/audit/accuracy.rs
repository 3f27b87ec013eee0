//! Mean loss and accuracy of a set of rows.

use crate::{
    Error, Result,
    data::{TargetKind, Targets},
};
use serde::Serialize;
use std::collections::BTreeSet;

/// What a model made of a set of rows.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Loss of each row.
    pub losses: &'a [f32],
    /// What each row counts for in the mean loss; empty if that is 1 for all.
    pub weights: &'a [f32],
    /// `rows × width` logits, row-major.
    pub logits: &'a [f32],
    /// Logits a row.
    pub width: usize,
    /// What the rows should come out as.
    pub targets: &'a Targets,
    /// What the labels are.
    pub kind: TargetKind,
}

/// Mean loss and accuracy of a set of rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SplitScore {
    /// Weighted mean of the rows' losses.
    pub loss: f64,
    /// Share of right answers: of rows, or of labels where a row has several; none for regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Share of rows all of whose labels are right, where a row has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact_match: Option<f64>,
    /// Number of rows.
    pub rows: usize,
}

impl Outcome<'_> {
    /// What row `i` counts for.
    pub(super) fn weight(&self, i: usize) -> f64 {
        self.weights.get(i).map_or(1.0, |&w| w.into())
    }

    /// The rows' logits; rows without any are empty.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.logits.chunks_exact(self.width.max(1))
    }

    /// # Errors
    /// [`Error::Internal`] if the parts are of different sets of rows; [`Error::Unlearning`] for losses that are not
    /// finite.
    pub(super) fn check(&self, what: &str) -> Result<()> {
        let n = self.losses.len();
        let logits = self.width == 0 || self.logits.len() == n.saturating_mul(self.width);
        if !logits || self.targets.rows() != n || (!self.weights.is_empty() && self.weights.len() != n) {
            return Err(Error::Internal(format!("losses, logits and labels of the {what} rows differ in number")));
        }
        let bad = self.losses.iter().filter(|l| !l.is_finite()).count();
        if bad > 0 {
            return Err(Error::Unlearning(format!("{bad} of {n} {what} rows have a loss that is not finite")));
        }
        Ok(())
    }
}

/// Position of the largest logit, the first of equal ones, as NumPy's `argmax` takes it.
fn argmax(row: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (i, &x) in row.iter().enumerate() {
        if best.is_none_or(|(_, b)| x > b) {
            best = Some((i, x));
        }
    }
    best.map(|b| b.0)
}

/// Mean loss and accuracy. A class is the largest logit; one logit, or each of several labels, says yes above 0.
///
/// # Errors
/// See [`Outcome`]'s parts: they must be of the same rows, and losses finite.
pub fn score(outcome: &Outcome, what: &str) -> Result<SplitScore> {
    outcome.check(what)?;
    let rows = outcome.losses.len();
    let mut total = 0.0;
    let mut loss = 0.0;
    for (i, &l) in outcome.losses.iter().enumerate() {
        total += outcome.weight(i);
        loss += outcome.weight(i) * f64::from(l);
    }
    let loss = if total > 0.0 { loss / total } else { 0.0 };
    let (accuracy, exact_match) = match (outcome.kind, outcome.targets) {
        (TargetKind::Class | TargetKind::Binary, Targets::Classes(classes)) => (classes_right(outcome, classes), None),
        (TargetKind::MultiLabel, Targets::Values { width, values }) => labels_right(outcome, *width, values),
        _ => (None, None),
    };
    Ok(SplitScore { loss, accuracy, exact_match, rows })
}

/// The unseen rows of the classes that are kept, where a class is forgotten whole; none where none is.
///
/// # Errors
/// As [`score`].
pub fn score_of_kept_classes(forget: &Targets, retain: &Targets, unseen: &Outcome) -> Result<Option<SplitScore>> {
    let (Targets::Classes(forget), Targets::Classes(retain), Targets::Classes(classes)) =
        (forget, retain, unseen.targets)
    else {
        return Ok(None);
    };
    let kept: BTreeSet<i64> = retain.iter().copied().collect();
    if forget.iter().all(|class| kept.contains(class)) {
        return Ok(None);
    }
    let counts = |(i, class)| if kept.contains(class) { unseen.weight(i) as f32 } else { 0.0 };
    let weights: Vec<f32> = classes.iter().enumerate().map(counts).collect();
    let rows = classes.iter().filter(|class| kept.contains(class)).count();
    let found = score(&Outcome { weights: &weights, ..*unseen }, "test")?;
    Ok((rows > 0).then_some(SplitScore { rows, ..found }))
}

fn classes_right(outcome: &Outcome, classes: &[i64]) -> Option<f64> {
    let mut right = 0usize;
    let mut counted = 0usize;
    for (i, (row, &class)) in outcome.rows().zip(classes).enumerate() {
        // A row that the loss ignores has no right answer.
        if outcome.weight(i) == 0.0 {
            continue;
        }
        counted += 1;
        right += usize::from(match row {
            [one] => i64::from(*one > 0.0) == class,
            _ => argmax(row).is_some_and(|best| i64::try_from(best) == Ok(class)),
        });
    }
    (counted > 0).then(|| right as f64 / counted as f64)
}

fn labels_right(outcome: &Outcome, width: usize, values: &[f32]) -> (Option<f64>, Option<f64>) {
    if width == 0 || outcome.width != width || outcome.losses.is_empty() {
        return (None, None);
    }
    let mut right = 0usize;
    let mut exact = 0usize;
    for (row, labels) in outcome.rows().zip(values.chunks_exact(width)) {
        let good = row.iter().zip(labels).filter(|(x, y)| (**x > 0.0) == (**y > 0.5)).count();
        right += good;
        exact += usize::from(good == width);
    }
    let n = outcome.losses.len() as f64;
    (Some(right as f64 / (n * width as f64)), Some(exact as f64 / n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome<'a>(losses: &'a [f32], logits: &'a [f32], targets: &'a Targets, kind: TargetKind) -> Outcome<'a> {
        let width = logits.len() / losses.len().max(1);
        Outcome { losses, weights: &[], logits, width, targets, kind }
    }

    #[test]
    fn a_class_is_the_first_largest_logit() {
        let targets = Targets::Classes(vec![2, 0, 1]);
        let logits = [0., 1., 2., 3., 3., 0., 5., 4., 1.];
        let score = score(&outcome(&[1., 2., 6.], &logits, &targets, TargetKind::Class), "test").unwrap();
        assert_eq!((score.loss, score.accuracy, score.rows), (3.0, Some(2.0 / 3.0), 3));
    }

    #[test]
    fn one_logit_says_yes_above_zero() {
        let targets = Targets::Classes(vec![1, 0, 1, 0]);
        let score = score(&outcome(&[0.; 4], &[2., -1., -3., 0.], &targets, TargetKind::Binary), "test").unwrap();
        assert_eq!(score.accuracy, Some(0.75));
    }

    #[test]
    fn labels_count_one_by_one_and_all_together() {
        let targets = Targets::Values { width: 2, values: vec![1., 0., 0., 1.] };
        let score = score(&outcome(&[0.; 2], &[1., -1., 1., 1.], &targets, TargetKind::MultiLabel), "test").unwrap();
        assert_eq!((score.accuracy, score.exact_match), (Some(0.75), Some(0.5)));
    }

    #[test]
    fn weights_count_in_the_mean_and_ignored_rows_have_no_answer() {
        let targets = Targets::Classes(vec![0, 0, 1]);
        let logits = [1., 0., 1., 0., 1., 0.];
        let ignored =
            Outcome { weights: &[3., 1., 0.], ..outcome(&[1., 5., 100.], &logits, &targets, TargetKind::Class) };
        let score = score(&ignored, "test").unwrap();
        assert_eq!((score.loss, score.accuracy), (2.0, Some(1.0)));
    }

    #[test]
    fn regression_has_a_loss_alone_and_wrong_parts_are_errors() {
        let targets = Targets::Values { width: 1, values: vec![1., 0.] };
        let fine = outcome(&[1., 3.], &[1., 1.], &targets, TargetKind::Value);
        assert_eq!(score(&fine, "test").unwrap(), SplitScore { loss: 2.0, accuracy: None, exact_match: None, rows: 2 });
        assert_eq!(score(&Outcome { losses: &[1., f32::NAN], ..fine }, "test").unwrap_err().exit_code(), 6);
        assert_eq!(score(&Outcome { losses: &[1.], ..fine }, "test").unwrap_err().exit_code(), 1);
    }
}
