//! The loss of a batch, in `f64` on the host, from the scores that a runtime gives: a second opinion, which shares no
//! code with the model's own loss.

use crate::{
    batch::{IGNORED, Reduction, Targets},
    error::{Error, Result},
    graph::loss::{LossKind, LossPlan},
    tensor::HostTensor,
};

/// Loss of a row, and what it counts for in the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    pub loss: f64,
    pub weight: f64,
}

/// Losses of the rows of `scores` (first axis).
///
/// Cross-entropy (also where the graph holds the loss): `−log softmax(z)[c]`, weighted by the weight of class `c`, by 0
/// where the class is the ignored one; of several positions a row the weighted mean. Binary: mean over labels of
/// `max(z, 0) − z·t + ln(1 + e^−|z|)`. Squared error: mean over values of `(z − t)²`.
///
/// # Errors
/// [`Error::Internal`] if scores and targets do not fit each other: the model has been asked with them before.
pub(super) fn rows(plan: &LossPlan, scores: &HostTensor, targets: &Targets) -> Result<Vec<Row>> {
    let (mut z, n) = (scores.to_f64(), targets.rows());
    if plan.sigmoid_shares {
        z.iter_mut().for_each(|z| *z = -binary(*z, 1.0));
    }
    let misfit = || Error::Internal(format!("targets do not fit scores of shape {:?}", scores.dims()));
    if n == 0 || z.is_empty() || scores.dims().first() != Some(&n) {
        return Err(misfit());
    }
    let width = z.len() / n;
    match plan.kind {
        // The scores are the losses.
        LossKind::LossGraph if width == 1 => return Ok(z.into_iter().map(|loss| Row { loss, weight: 1.0 }).collect()),
        LossKind::LossGraph => return Err(misfit()),
        LossKind::CrossEntropy if width == 1 && !plan.scores_are_log_probs => {}
        LossKind::CrossEntropy | LossKind::Graph => {
            let (classes, after) = classes(plan, scores.dims()).ok_or_else(misfit)?;
            let labels = numbers(targets, width / classes.max(1)).ok_or_else(misfit)?;
            let rows = z.chunks(width).zip(labels.chunks(width / classes.max(1)));
            let alike = matches!(targets, Targets::Positions { .. }) && plan.kind != LossKind::Graph;
            let row = |(row, labels)| {
                let found = cross_entropy(plan, row, [classes, after], labels).ok_or_else(misfit)?;
                // Every row counts the same, however many positions it has.
                Ok(if alike { Row { weight: f64::from(u8::from(found.weight > 0.0)), ..found } } else { found })
            };
            return rows.map(row).collect();
        }
        LossKind::Bce | LossKind::Mse => {}
    }
    let wanted = numbers(targets, width).ok_or_else(misfit)?;
    let one = |(&z, &t): (&f64, &f64)| if plan.kind == LossKind::Mse { (z - t).powi(2) } else { binary(z, t) };
    let row = |(z, t): (&[f64], &[f64])| z.iter().zip(t).map(one).sum::<f64>() / width as f64;
    Ok(z.chunks(width).zip(wanted.chunks(width)).map(|pair| Row { loss: row(pair), weight: 1.0 }).collect())
}

/// Targets as `rows × width` numbers.
fn numbers(targets: &Targets, width: usize) -> Option<Vec<f64>> {
    match targets {
        Targets::Classes(classes) => (width == 1).then(|| classes.iter().map(|&c| c as f64).collect()),
        Targets::Values { width: given, values } => {
            (*given == width).then(|| values.iter().map(|&v| v.into()).collect())
        }
        Targets::Inputs(_) => None,
        Targets::Positions { .. } => {
            let padded = |row: &[i64]| {
                let rest = width.checked_sub(row.len())?;
                Some(
                    row.iter().copied().chain(std::iter::repeat_n(IGNORED, rest)).map(|c| c as f64).collect::<Vec<_>>(),
                )
            };
            targets.positions().map(padded).collect::<Option<Vec<_>>>().map(|rows| rows.concat())
        }
    }
}

/// How many classes the scores are of, and how many positions follow each of them in a row.
fn classes(plan: &LossPlan, dims: &[usize]) -> Option<(usize, usize)> {
    match plan.class_axis {
        Some(axis) => Some((*dims.get(axis)?, dims.get(axis + 1..)?.iter().product())),
        None => {
            let rest: Vec<usize> = dims.iter().skip(1).copied().filter(|&d| d != 1).collect();
            Some(rest.split_first().map_or((1, 1), |(&classes, after)| (classes, after.iter().product())))
        }
    }
}

/// `row` is (positions before, classes, positions after), row-major; there are as many labels as positions.
fn cross_entropy(plan: &LossPlan, row: &[f64], [classes, after]: [usize; 2], labels: &[f64]) -> Option<Row> {
    let (mut sum, mut total) = (0.0, 0.0);
    for (position, &label) in labels.iter().enumerate() {
        if plan.ignore_index == Some(label as i64) || plan.kind != LossKind::Graph && label as i64 == IGNORED {
            continue;
        }
        let class = usize::try_from(label as i64).ok()?;
        let weight = match &plan.class_weights {
            Some(weights) => f64::from(*weights.get(class)?),
            None => 1.0,
        };
        let first = position / after * classes * after + position % after;
        let scores = || row.iter().skip(first).step_by(after).take(classes);
        let score = *scores().nth(class)?;
        let log_sum = if plan.scores_are_log_probs {
            0.0
        } else {
            let largest = scores().copied().fold(f64::NEG_INFINITY, f64::max);
            scores().map(|z| (z - largest).exp()).sum::<f64>().ln() + largest
        };
        sum += weight * (log_sum - score);
        total += weight;
    }
    let loss = match plan.reduction {
        Reduction::Sum => sum,
        Reduction::Mean if total > 0.0 => sum / total,
        Reduction::Mean => 0.0,
    };
    Some(Row { loss, weight: total })
}

fn binary(z: f64, target: f64) -> f64 {
    z.max(0.0) - z * target + (-z.abs()).exp().ln_1p()
}

/// The logits `ln p − ln(1 − p)` behind the probabilities of a Sigmoid, `width` a row; of two columns `1 − p, p` for one
/// logit the last one counts. What rounding has made 0 or 1 counts as the number next to it.
///
/// # Errors
/// [`Error::ParityBefore`] if a value is no probability, or there is another number of them.
pub(super) fn logits(shown: &HostTensor, rows: usize, width: Option<usize>) -> Result<HostTensor> {
    let wrong = |why: &str| Error::ParityBefore(format!("the output that should show probabilities {why}"));
    let mut p = shown.to_f64();
    let columns = p.len().checked_div(rows).filter(|n| n * rows == p.len() && *n > 0);
    let columns = columns.ok_or_else(|| wrong("has no value for each row"))?;
    match width {
        Some(1) if columns == 2 => p = p.into_iter().skip(1).step_by(2).collect(),
        Some(width) if width != columns => return Err(wrong(&format!("has {columns} values a row, not {width}"))),
        _ => {}
    }
    if !p.iter().all(|p| (0.0..=1.0).contains(p)) {
        return Err(wrong("has values outside 0 to 1"));
    }
    let (least, most) = (f64::from(f32::MIN_POSITIVE), 1.0 - f64::from(f32::EPSILON) / 4.0);
    let z: Vec<f64> = p.into_iter().map(|p| p.clamp(least, most)).map(|p| p.ln() - (-p).ln_1p()).collect();
    HostTensor::new(&[rows, z.len() / rows], z).ok_or_else(|| Error::Internal("logits of another size".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_are_told_by_probabilities() {
        let p = |z: f64| 1.0 / (1.0 + (-z).exp());
        let shown = |values: Vec<f64>| HostTensor::new(&[2, values.len() / 2], values).unwrap();
        let back = |shown: &HostTensor, width| logits(shown, 2, width).unwrap().to_f64();
        let (one, two) = (shown(vec![p(-3.0), p(2.0)]), shown(vec![1.0 - p(-3.0), p(-3.0), 1.0 - p(2.0), p(2.0)]));
        for found in [back(&one, Some(1)), back(&two, Some(1)), back(&one, None)] {
            assert!((found[0] + 3.0).abs() < 1e-12 && (found[1] - 2.0).abs() < 1e-12, "{found:?}");
        }
        assert!(back(&shown(vec![0.0, 1.0]), Some(1)).iter().all(|z| z.is_finite()));
        assert!(logits(&two, 2, Some(3)).is_err() && logits(&shown(vec![-0.1, 2.0]), 2, Some(1)).is_err());
    }

    use crate::graph::ValueId;

    fn plan(kind: LossKind) -> LossPlan {
        LossPlan::new(kind, ValueId(0))
    }

    fn scores(dims: &[usize], values: &[f32]) -> HostTensor {
        HostTensor::new(dims, values.to_vec()).unwrap()
    }

    /// `Σ wᵢ·lᵢ / Σ wᵢ`.
    fn mean(plan: &LossPlan, scores: &HostTensor, targets: &Targets) -> Result<f64> {
        let rows = rows(plan, scores, targets)?;
        Ok(rows.iter().map(|r| r.weight * r.loss).sum::<f64>() / rows.iter().map(|r| r.weight).sum::<f64>())
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }

    #[test]
    fn cross_entropy_of_two_rows() {
        let z = scores(&[2, 2], &[0.0, 0.0, 1000.0, 0.0]);
        near(
            mean(&plan(LossKind::CrossEntropy), &z, &Targets::Classes(vec![0, 1])).unwrap(),
            (2f64.ln() + 1000.0) / 2.0,
        );
    }

    #[test]
    fn weights_and_ignored_rows_count_as_in_onnx() {
        let z = scores(&[3, 2], &[0.0, 0.0, 0.0, 3f32.ln(), 5.0, 7.0]);
        let plan = LossPlan { class_weights: Some(vec![1.0, 3.0]), ignore_index: Some(-1), ..plan(LossKind::Graph) };
        let expected = (2f64.ln() + 3.0 * (4f64.ln() - f64::from(3f32.ln()))) / 4.0;
        let got = mean(&plan, &z, &Targets::Classes(vec![0, 1, -1])).unwrap();
        assert!((got - expected).abs() < 1e-7, "{got} {expected}");
        let rows = rows(&plan, &z, &Targets::Classes(vec![0, 1, -1])).unwrap();
        assert_eq!((rows[1].weight, rows[2].weight, rows[2].loss), (3.0, 0.0, 0.0));
    }

    #[test]
    fn log_probabilities_are_taken_as_they_are() {
        let plan = LossPlan { scores_are_log_probs: true, ..plan(LossKind::Graph) };
        near(mean(&plan, &scores(&[1, 2], &[-0.5, -9.0]), &Targets::Classes(vec![0])).unwrap(), 0.5);
    }

    #[test]
    fn positions_are_averaged() {
        // Two classes, three positions: at each, class 0 has score 0 and class 1 score ln 3.
        let l = 3f32.ln();
        let z = scores(&[1, 2, 3], &[0.0, 0.0, 0.0, l, l, l]);
        let targets = Targets::Values { width: 3, values: vec![0.0, 1.0, 1.0] };
        let got = mean(&plan(LossKind::CrossEntropy), &z, &targets).unwrap();
        let expected = (4f64.ln() + 2.0 * (4f64 / 3.0).ln()) / 3.0;
        assert!((got - expected).abs() < 1e-7, "{got} {expected}");
    }

    #[test]
    fn binary_and_squared() {
        let two = Targets::Values { width: 2, values: vec![1.0, 0.0] };
        let z = scores(&[1, 2], &[0.0, -800.0]);
        near(mean(&plan(LossKind::Bce), &z, &two).unwrap(), 2f64.ln() / 2.0);
        near(mean(&plan(LossKind::Mse), &z, &two).unwrap(), (1.0 + 640_000.0) / 2.0);
        let one = scores(&[2, 1], &[0.0, 0.0]);
        near(mean(&plan(LossKind::CrossEntropy), &one, &Targets::Classes(vec![1, 0])).unwrap(), 2f64.ln());
    }

    #[test]
    fn misfits_are_errors() {
        let z = scores(&[2, 2], &[0.0; 4]);
        assert!(rows(&plan(LossKind::CrossEntropy), &z, &Targets::Classes(vec![0])).is_err());
        assert!(rows(&plan(LossKind::CrossEntropy), &z, &Targets::Classes(vec![0, 2])).is_err());
        assert!(rows(&plan(LossKind::Bce), &z, &Targets::Classes(vec![0, 1])).is_err());
    }
}
