//! Answers at the positions of rows: tags of tokens, masks, next words.
//!
//! The scores of all positions of a set would seldom fit in memory, so what the audit needs of them is counted batch by batch.

use super::{
    accuracy::argmax,
    entities::{Tag, entities},
    membership::INFORMATIVE_ROWS,
    signals::softmax_entropy,
};
use crate::{data::Targets, model::Scores};

/// What a model answers at the positions that count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answered {
    /// Of each row: positions that count, and of these the right answers.
    rows: Vec<(usize, usize)>,
    /// Of each row: the mean entropy of the answers, in nats.
    entropies: Vec<f64>,
    /// Of each row: the mean loss of its hardest positions.
    hardest: Vec<f64>,
    /// Of each class: positions with this label, with this answer, and with both.
    classes: Vec<[usize; 3]>,
    /// What the classes stand for, if they are tags of entities.
    tags: Option<Vec<Tag>>,
    /// Whether losses of rows are sums over their positions.
    summed: bool,
    /// Entities among the labels, among the answers, and in both.
    entities: [usize; 3],
}

impl Answered {
    /// None yet; `tags` is what the classes stand for, if they are tags of entities.
    pub fn tagged(tags: Option<Vec<Tag>>) -> Self {
        Self { tags, ..Self::default() }
    }

    /// Those to a batch, if its rows have several positions.
    pub fn of(scores: &Scores, targets: &Targets) -> Option<Self> {
        matches!(targets, Targets::Positions { .. }).then(|| {
            let mut answered = Self::default();
            answered.push(scores, targets);
            answered
        })
    }

    /// Takes in the scores of more rows.
    pub fn push(&mut self, scores: &Scores, targets: &Targets) {
        self.summed = scores.summed;
        self.classes.resize(self.classes.len().max(scores.classes.0), [0; 3]);
        for (logits, labels) in scores.logits.chunks_exact(scores.width.max(1)).zip(targets.positions()) {
            let (mut counted, mut right, mut entropy) = (0, 0, 0.0);
            let mut losses: Vec<f64> = Vec::with_capacity(labels.len());
            let mut sequences: [Vec<Tag>; 2] = Default::default();
            at_positions(scores.classes, logits, labels, |class, own| {
                let answer = argmax(own).unwrap_or(0);
                if let Some([labeled, _, both]) = self.classes.get_mut(class) {
                    *labeled += 1;
                    *both += usize::from(class == answer);
                }
                if let Some([_, answered, _]) = self.classes.get_mut(answer) {
                    *answered += 1;
                }
                let tag = |class: usize| self.tags.as_ref()?.get(class).copied();
                let [labels, answers] = &mut sequences;
                labels.extend(tag(class));
                answers.extend(tag(answer));
                counted += 1;
                right += usize::from(class == answer);
                entropy += softmax_entropy(own);
                losses.push(cross_entropy(own, class));
            });
            let [labels, answers] = sequences.map(|tags| entities(&tags));
            let found = [labels.len(), answers.len(), labels.intersection(&answers).count()];
            self.entities.iter_mut().zip(found).for_each(|(all, more)| *all += more);
            self.rows.push((counted, right));
            self.entropies.push(entropy / counted.max(1) as f64);
            self.hardest.push(hardest(losses));
        }
    }

    /// Share of right answers of each row.
    pub fn right(&self) -> Vec<f64> {
        self.rows.iter().map(|&(counted, right)| right as f64 / counted.max(1) as f64).collect()
    }

    /// Min-K% of each row with K = 20 (Shi et al., 2024), as a loss: the mean of −ln p over the fifth of the positions whose labels are the
    /// least probable, at least one.
    pub fn min_k(&self) -> &[f64] {
        &self.hardest
    }

    /// Mean entropy of the answers of each row.
    pub fn entropies(&self) -> &[f64] {
        &self.entropies
    }

    /// The mean loss of the positions of each row, from the rows' losses.
    pub fn mean_losses(&self, losses: &[f32]) -> Vec<f64> {
        let positions = |counted: usize| if self.summed { counted.max(1) as f64 } else { 1.0 };
        losses.iter().zip(&self.rows).map(|(&loss, row)| f64::from(loss) / positions(row.0)).collect()
    }

    /// Perplexity: the exponential of the mean loss of all positions that count.
    pub fn perplexity(&self, losses: &[f32]) -> Option<f64> {
        let counted = self.rows.iter().map(|row| row.0);
        let sum: f64 = self.mean_losses(losses).iter().zip(counted.clone()).map(|(loss, n)| loss * n as f64).sum();
        let total: usize = counted.sum();
        (total > 0).then(|| (sum / total as f64).exp())
    }

    /// Share of right answers among all positions of these rows.
    pub fn accuracy(&self) -> Option<f64> {
        let (counted, right) = self.rows.iter().fold((0, 0), |all, row| (all.0 + row.0, all.1 + row.1));
        (counted > 0).then(|| right as f64 / counted as f64)
    }

    /// Share of rows with every answer right.
    pub fn exact_match(&self) -> Option<f64> {
        let rows = self.rows.iter().filter(|row| row.0 > 0);
        let (all, exact) = rows.fold((0, 0), |(all, exact), row| (all + 1, exact + usize::from(row.0 == row.1)));
        (all > 0).then(|| exact as f64 / all as f64)
    }

    /// The mean recall of the classes that have enough positions; none without two such classes.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        let enough = self.classes.iter().filter(|counts| counts[0] >= INFORMATIVE_ROWS);
        let recalls: Vec<f64> = enough.map(|counts| counts[2] as f64 / counts[0] as f64).collect();
        (recalls.len() > 1).then(|| recalls.iter().sum::<f64>() / recalls.len() as f64)
    }

    /// F1 of entities, each right if its kind, its first and its last token are (micro average). None without tags, or without entities.
    pub fn entity_f1(&self) -> Option<f64> {
        let [labeled, answered, both] = self.entities;
        (labeled + answered > 0).then(|| 2.0 * both as f64 / (labeled + answered) as f64)
    }

    /// The mean over classes of intersection over union (mIoU), over all rows together. Classes that are neither labels nor answers are
    /// left out, as in torchmetrics' and scikit-learn's `jaccard` with macro average.
    pub fn mean_iou(&self) -> Option<f64> {
        let union = |counts: &[usize; 3]| counts[0] + counts[1] - counts[2];
        let present = self.classes.iter().filter(|counts| union(counts) > 0);
        let each: Vec<f64> = present.map(|counts| counts[2] as f64 / union(counts) as f64).collect();
        (!each.is_empty()).then(|| each.iter().sum::<f64>() / each.len() as f64)
    }
}

/// −ln of the softmax of `row` at `class`.
fn cross_entropy(row: &[f32], class: usize) -> f64 {
    let most = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = row.iter().map(|&z| (f64::from(z) - most).exp()).sum();
    row.get(class).map_or(f64::INFINITY, |&z| sum.ln() + most - f64::from(z))
}

/// The mean of the largest fifth, at least one.
fn hardest(mut losses: Vec<f64>) -> f64 {
    losses.sort_by(|a, b| b.total_cmp(a));
    let chosen = (losses.len() / 5).max(1).min(losses.len());
    losses.iter().take(chosen).sum::<f64>() / chosen.max(1) as f64
}

/// Calls `f` with the class and the scores of each position of a row that counts. The row's `logits` lie as positions before, classes,
/// positions after; of the latter two there are `classes` and `after`.
pub fn at_positions(
    (classes, after): (usize, usize),
    logits: &[f32],
    labels: &[i64],
    mut f: impl FnMut(usize, &[f32]),
) {
    let (mut own, after) = (vec![0.0f32; classes], after.max(1));
    for (position, &label) in labels.iter().enumerate() {
        // A label that does not count is negative.
        let Ok(class) = usize::try_from(label) else { continue };
        let first = position / after * classes * after + position % after;
        own.iter_mut().zip(logits.iter().skip(first).step_by(after)).for_each(|(to, from)| *to = *from);
        f(class, &own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::IGNORED;

    /// Two rows of three positions and two classes; of the second row, only one position counts.
    fn targets() -> Targets {
        Targets::Positions { ends: vec![0, 3, 5], classes: vec![0, 1, 1, IGNORED, 0] }
    }

    fn scores(classes_last: bool) -> Scores {
        // Answers: 0, 1, 0; 1, 1, 1.
        let rows = [[0, 1, 0], [1, 1, 1]];
        let score = |answer: usize, class: usize| if answer == class { 3.0 } else { 0.0 };
        let logits = rows.iter().flat_map(|row| match classes_last {
            true => row.iter().flat_map(|&a| [score(a, 0), score(a, 1)]).collect::<Vec<f32>>(),
            false => (0..2).flat_map(|c| row.iter().map(move |&a| score(a, c))).collect(),
        });
        let classes = if classes_last { (2, 1) } else { (2, 3) };
        Scores {
            losses: vec![0.0; 2],
            weights: vec![1.0; 2],
            logits: logits.collect(),
            width: 6,
            classes,
            ..Scores::default()
        }
    }

    #[test]
    fn entities_are_counted_over_all_rows() {
        let tags = super::super::tags(&["O".into(), "B-x".into()]);
        let mut answered = Answered::tagged(tags);
        answered.push(&scores(true), &targets());
        // Row 0: labels at 1 and 2, an answer at 1; row 1: no label, one answer. Both have the one at 1.
        assert_eq!((answered.entities, answered.entity_f1()), ([2, 2, 1], Some(0.5)));
        assert_eq!(Answered::of(&scores(true), &targets()).unwrap().entity_f1(), None);
    }

    #[test]
    fn positions_that_count_are_counted() {
        for classes_last in [true, false] {
            let mut answered = Answered::default();
            answered.push(&scores(classes_last), &targets());
            assert_eq!(answered.perplexity(&[1.0, 2.0]), Some((5.0f64 / 4.0).exp()));
            let summed = Answered::of(&Scores { summed: true, ..scores(classes_last) }, &targets()).unwrap();
            assert_eq!(summed.perplexity(&[3.0, 2.0]), Some((5.0f64 / 4.0).exp()));
            assert_eq!(answered.right(), [2.0 / 3.0, 0.0]);
            assert_eq!((answered.accuracy(), answered.exact_match()), (Some(0.5), Some(0.0)));
            // Class 0: 2 labels, 2 answers, 1 both; class 1: 2 labels, 2 answers, 1 both.
            assert_eq!(answered.classes, [[2, 2, 1], [2, 2, 1]]);
            assert!((answered.mean_iou().unwrap() - 1.0 / 3.0).abs() < 1e-12);
            let entropy = softmax_entropy(&[3.0, 0.0]);
            assert!(answered.entropies().iter().all(|e| (e - entropy).abs() < 1e-12), "{answered:?}");
            assert_eq!(answered.balanced_accuracy(), None, "too few positions");
        }
    }
}
