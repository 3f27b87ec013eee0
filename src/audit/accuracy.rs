//! Mean loss and accuracy of a set of rows.

use super::{
    membership::INFORMATIVE_ROWS,
    positions::Answered,
    row_figures::{RowFigures, told},
    statistics::variance,
};
use crate::{
    Error, Result,
    data::{TargetKind, Targets},
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A model's losses and logits on a set of rows.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// Loss of each row.
    pub losses: &'a [f32],
    /// Weight of each row in the mean loss; empty if all weights are 1.
    pub weights: &'a [f32],
    /// `rows × width` logits, row-major.
    pub logits: &'a [f32],
    /// Logits per row.
    pub width: usize,
    /// The labels.
    pub targets: &'a Targets,
    /// The kind of the labels.
    pub kind: TargetKind,
    /// The answers at the positions of the rows, if rows have several; then there are no logits.
    pub answered: Option<&'a Answered>,
    /// What a loss graph says of the rows beyond their losses.
    pub figures: Option<RowFigures<'a>>,
}

/// Mean loss and accuracy of a set of rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SplitScore {
    /// Weighted mean of the rows' losses.
    pub loss: f64,
    /// Share of right answers: of rows, or of labels if a row has several; none for regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Share of rows with all labels right, if a row has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact_match: Option<f64>,
    /// Balanced accuracy: the mean of the accuracies of each class, or of yes and no of each label, that has enough
    /// rows. Rare classes count as much as common ones. None without two such classes or one such label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balanced_accuracy: Option<f64>,
    /// Coefficient of determination (R²), for regression; the mean if a row has several values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// Mean over classes of intersection over union (mIoU) of the labels and the answers at all positions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_iou: Option<f64>,
    /// F1 of entities, where the classes are tags such as `B-PER`, `I-PER` and `O`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_f1: Option<f64>,
    /// Perplexity of a language model: the exponential of the mean loss of all positions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<f64>,
    /// Means of the figures that a loss graph gives of each row.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
    /// Standard deviation of the rows' losses, where nothing but the loss tells how good the answers are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_deviation: Option<f64>,
    /// Number of rows.
    pub rows: usize,
}

impl SplitScore {
    /// The figures, with their names, of rows that have several positions, or of a loss graph.
    pub fn further(&self) -> impl Iterator<Item = (&str, f64)> {
        let exact = self.exact_match.filter(|_| self.mean_iou.is_some() || self.perplexity.is_some());
        let all = [
            ("exact match", exact),
            ("mean IoU", self.mean_iou.filter(|_| self.entity_f1.is_none())),
            ("entity F1", self.entity_f1),
            ("perplexity", self.perplexity),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(told(&self.figures))
    }

    /// Quality of the answers, at most 1: accuracy, or R² for numbers.
    pub fn quality(&self) -> Option<f64> {
        self.accuracy.or(self.r2)
    }
}

/// Counts right answers among rows.
#[derive(Clone, Copy, Default)]
struct Tally {
    right: usize,
    rows: usize,
}

impl Tally {
    fn add(&mut self, right: bool) {
        self.right += usize::from(right);
        self.rows += 1;
    }

    fn share(self) -> Option<f64> {
        (self.rows > 0).then(|| self.right as f64 / self.rows as f64)
    }

    /// The share of right answers, if there are enough rows.
    fn informative(&self) -> Option<f64> {
        self.share().filter(|_| self.rows >= INFORMATIVE_ROWS)
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

impl Outcome<'_> {
    /// Weight of row `i`.
    pub(super) fn weight(&self, i: usize) -> f64 {
        self.weights.get(i).map_or(1.0, |&w| w.into())
    }

    /// The rows' logits; rows without any are empty.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.logits.chunks_exact(self.width.max(1))
    }

    /// Share of right answers of each row; none for regression, and for rows with several classifications.
    pub(super) fn right(&self) -> Option<Vec<f64>> {
        if let Some(answered) = self.answered {
            return Some(answered.right());
        }
        if let Some(figures) = self.figures {
            return figures.right();
        }
        match (self.kind, self.targets) {
            (TargetKind::Class | TargetKind::Binary, Targets::Classes(classes)) => {
                Some(self.rows().zip(classes).map(|(row, &class)| f64::from(is_right(row, class))).collect())
            }
            (TargetKind::MultiLabel, Targets::Values { width, values }) if *width == self.width && *width > 0 => {
                let share = |(row, labels): (&[f32], &[f32])| {
                    let right = row.iter().zip(labels).filter(|(x, y)| (**x > 0.0) == (**y > 0.5)).count();
                    right as f64 / *width as f64
                };
                Some(self.rows().zip(values.chunks_exact(*width)).map(share).collect())
            }
            _ => None,
        }
    }

    /// # Errors
    /// [`Error::Internal`] if the parts belong to different sets of rows; [`Error::Unlearning`] if a loss is not
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

/// Position of the largest logit; the first one of equal logits, as in NumPy's `argmax`.
pub fn argmax<T: PartialOrd + Copy>(row: &[T]) -> Option<usize> {
    let mut best: Option<(usize, T)> = None;
    for (i, &x) in row.iter().enumerate() {
        if best.is_none_or(|(_, b)| x > b) {
            best = Some((i, x));
        }
    }
    best.map(|b| b.0)
}

/// Whether the class is that of the largest logit, or, with one logit, that of its sign.
fn is_right(row: &[f32], class: i64) -> bool {
    match row {
        [one] => i64::from(*one > 0.0) == class,
        _ => argmax(row).is_some_and(|best| i64::try_from(best) == Ok(class)),
    }
}

/// Mean loss and accuracy. The answer is the class of the largest logit; for one logit, or for each of several labels,
/// it is yes above 0. Numbers have an R² instead.
///
/// # Errors
/// If [`Outcome`]'s parts do not belong to the same rows, or a loss is not finite.
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
    let mut found = SplitScore { loss, rows, ..SplitScore::default() };
    if let Some(answered) = outcome.answered {
        by_position(outcome, answered, &mut found);
        return Ok(found);
    }
    match (outcome.kind, outcome.targets) {
        (TargetKind::Class | TargetKind::Binary, Targets::Classes(classes)) => by_class(outcome, classes, &mut found),
        (_, Targets::Inputs(_)) => by_figures(outcome, &mut found),
        (TargetKind::MultiLabel, Targets::Values { width, values }) => by_label(outcome, *width, values, &mut found),
        (TargetKind::Value | TargetKind::Same, Targets::Values { width, values }) => {
            found.r2 = r2(outcome, *width, values)
        }
        (TargetKind::Value, Targets::Classes(classes)) => {
            let values: Vec<f32> = classes.iter().map(|&class| class as f32).collect();
            found.r2 = r2(outcome, 1, &values);
        }
        _ => {}
    }
    Ok(found)
}

/// Scores the unseen rows of the kept classes, if a class is forgotten whole; none otherwise.
///
/// # Errors
/// Those of [`score`].
pub fn score_of_kept_classes(forget: &Targets, kept: &BTreeSet<i64>, unseen: &Outcome) -> Result<Option<SplitScore>> {
    let (Targets::Classes(forget), Targets::Classes(classes)) = (forget, unseen.targets) else {
        return Ok(None);
    };
    if kept.is_empty() || forget.iter().all(|class| kept.contains(class)) {
        return Ok(None);
    }
    let counts = |(i, class)| if kept.contains(class) { unseen.weight(i) as f32 } else { 0.0 };
    let weights: Vec<f32> = classes.iter().enumerate().map(counts).collect();
    let rows = classes.iter().filter(|class| kept.contains(class)).count();
    let found = score(&Outcome { weights: &weights, ..*unseen }, "test")?;
    Ok((rows > 0).then_some(SplitScore { rows, ..found }))
}

fn by_position(outcome: &Outcome, answered: &Answered, found: &mut SplitScore) {
    (found.accuracy, found.exact_match) = (answered.accuracy(), answered.exact_match());
    match outcome.kind {
        TargetKind::Next | TargetKind::Masked => {
            found.perplexity = answered.perplexity(outcome.losses);
        }
        _ => {
            (found.balanced_accuracy, found.mean_iou) = (answered.balanced_accuracy(), answered.mean_iou());
            found.entity_f1 = answered.entity_f1();
        }
    }
}

fn by_figures(outcome: &Outcome, found: &mut SplitScore) {
    found.figures = outcome.figures.map(|figures| figures.means()).unwrap_or_default();
    found.accuracy = outcome.right().and_then(|right| mean(&right));
    if found.accuracy.is_none() {
        let losses: Vec<f64> = outcome.losses.iter().map(|&loss| loss.into()).collect();
        found.loss_deviation = (losses.len() > 1).then(|| variance(&losses).sqrt());
    }
}

fn by_class(outcome: &Outcome, classes: &[i64], found: &mut SplitScore) {
    let (mut all, mut each) = (Tally::default(), BTreeMap::<i64, Tally>::new());
    for (i, (row, &class)) in outcome.rows().zip(classes).enumerate() {
        // A row that the loss ignores has no right answer.
        if outcome.weight(i) == 0.0 {
            continue;
        }
        let right = is_right(row, class);
        all.add(right);
        each.entry(class).or_default().add(right);
    }
    found.accuracy = all.share();
    let recalls: Vec<f64> = each.values().filter_map(Tally::informative).collect();
    found.balanced_accuracy = mean(&recalls).filter(|_| recalls.len() > 1);
}

fn by_label(outcome: &Outcome, width: usize, values: &[f32], found: &mut SplitScore) {
    if width == 0 || outcome.width != width || outcome.losses.is_empty() {
        return;
    }
    let (mut all, mut exact) = (Tally::default(), Tally::default());
    let mut each = vec![[Tally::default(); 2]; width];
    for (row, labels) in outcome.rows().zip(values.chunks_exact(width)) {
        let mut whole = true;
        for ((x, y), [no, yes]) in row.iter().zip(labels).zip(&mut each) {
            let right = (*x > 0.0) == (*y > 0.5);
            all.add(right);
            if *y > 0.5 { yes } else { no }.add(right);
            whole &= right;
        }
        exact.add(whole);
    }
    (found.accuracy, found.exact_match) = (all.share(), exact.share());
    let balanced = |[no, yes]: &[Tally; 2]| Some((no.informative()? + yes.informative()?) / 2.0);
    found.balanced_accuracy = mean(&each.iter().filter_map(balanced).collect::<Vec<_>>());
}

/// 1 − Σ w·(y − ŷ)² / Σ w·(y − ȳ)², the mean over the values of a row that are not all the same.
fn r2(outcome: &Outcome, width: usize, values: &[f32]) -> Option<f64> {
    if width == 0 || outcome.width != width {
        return None;
    }
    let of = |column: usize| {
        let pairs = || {
            let rows = outcome.rows().zip(values.chunks_exact(width)).enumerate();
            rows.filter_map(move |(i, (row, own))| {
                Some((outcome.weight(i), f64::from(*row.get(column)?), f64::from(*own.get(column)?)))
            })
        };
        let weight: f64 = pairs().map(|(w, ..)| w).sum();
        let center = pairs().map(|(w, _, y)| w * y).sum::<f64>() / weight;
        let spread: f64 = pairs().map(|(w, _, y)| w * (y - center).powi(2)).sum();
        let wrong: f64 = pairs().map(|(w, x, y)| w * (y - x).powi(2)).sum();
        (spread > 0.0).then(|| 1.0 - wrong / spread)
    };
    mean(&(0..width).filter_map(of).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome<'a>(losses: &'a [f32], logits: &'a [f32], targets: &'a Targets, kind: TargetKind) -> Outcome<'a> {
        let width = logits.len() / losses.len().max(1);
        Outcome { losses, weights: &[], logits, width, targets, kind, answered: None, figures: None }
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
    fn what_is_rare_counts_as_much_in_the_balanced_accuracy() {
        // 150 of class 0, all right; 50 of class 1, one in five right; one of class 2, wrong, says nothing.
        let classes: Vec<i64> = [vec![0; 150], vec![1; 50], vec![2]].concat();
        let logits: Vec<f32> =
            (0..201).flat_map(|i| if i >= 150 && i % 5 == 0 { [0.0, 1.0, 0.0] } else { [1.0, 0.0, 0.0] }).collect();
        let (losses, targets) = (vec![0.0; 201], Targets::Classes(classes));
        let found = score(&outcome(&losses, &logits, &targets, TargetKind::Class), "test").unwrap();
        assert!((found.balanced_accuracy.unwrap() - 0.6).abs() < 1e-12, "(1 + 0.2) / 2: {found:?}");
        assert!((found.accuracy.unwrap() - 160.0 / 201.0).abs() < 1e-12);
        // The first label is said yes to by half of its 50, no to all others; of the second there are too few.
        let values: Vec<f32> = (0..200).flat_map(|i| [f32::from(i < 50), f32::from(i < 3)]).collect();
        let logits: Vec<f32> = (0..200).flat_map(|i| [if i < 25 { 1.0 } else { -1.0 }, -1.0]).collect();
        let (losses, targets) = (vec![0.0; 200], Targets::Values { width: 2, values });
        let found = score(&outcome(&losses, &logits, &targets, TargetKind::MultiLabel), "test").unwrap();
        assert_eq!((found.balanced_accuracy, found.accuracy), (Some(0.75), Some(372.0 / 400.0)));
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
        // (0² + 1²) / (½² + ½²) is 2.
        assert_eq!(
            score(&fine, "test").unwrap(),
            SplitScore { loss: 2.0, r2: Some(-1.0), rows: 2, ..SplitScore::default() }
        );
        let classes = Targets::Classes(vec![1, 0]);
        assert_eq!(score(&Outcome { targets: &classes, ..fine }, "test").unwrap().quality(), Some(-1.0));
        assert_eq!(score(&Outcome { losses: &[1., f32::NAN], ..fine }, "test").unwrap_err().exit_code(), 6);
        assert_eq!(score(&Outcome { losses: &[1.], ..fine }, "test").unwrap_err().exit_code(), 1);
    }
}
