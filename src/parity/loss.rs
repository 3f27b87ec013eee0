//! The mean loss of a batch, in `f64` on the host, from the scores that a runtime gives: a second opinion on the
//! loss, which shares no code with the model's.

use crate::{
    data::{Batch, Targets},
    error::{Error, Result},
    graph::training::{LossKind, LossPlan},
    tensor::HostTensor,
};

/// Loss of each row.
///
/// Cross-entropy (also where the graph holds the loss): `−w[c]·log softmax(z)[c]`, 0 where the class is the ignored
/// one. Binary: mean over labels of `max(z, 0) − z·t + ln(1 + e^−|z|)`. Squared error: mean over values of `(z − t)²`.
///
/// # Errors
/// [`Error::Internal`] if scores and targets do not fit each other: the model has been asked with them before.
pub fn rows(plan: &LossPlan, scores: &HostTensor, targets: &Targets) -> Result<Vec<f64>> {
    let z = scores.to_f64();
    let n = targets.rows();
    if n == 0 || z.len() % n != 0 || z.is_empty() {
        return Err(Error::Internal(format!("{} scores for {n} rows", z.len())));
    }
    let width = z.len() / n;
    let misfit = || Error::Internal(format!("targets do not fit scores of shape {:?}", scores.dims()));
    let mut losses = Vec::with_capacity(n);
    match (targets, plan.kind, width) {
        (Targets::Classes(classes), LossKind::Mse, 1) => {
            losses.extend(z.iter().zip(classes).map(|(z, &c)| (z - c as f64).powi(2)));
        }
        (Targets::Classes(classes), _, 1) => {
            losses.extend(z.iter().zip(classes).map(|(&z, &c)| binary(z, c as f64)));
        }
        (Targets::Classes(classes), _, _) => {
            for (row, &class) in z.chunks(width).zip(classes) {
                losses.push(if plan.ignore_index == Some(class) { 0.0 } else { cross_entropy(plan, row, class).ok_or_else(misfit)? });
            }
        }
        (Targets::Values { width: wanted, values }, kind, _) => {
            if *wanted != width {
                return Err(misfit());
            }
            for (row, targets) in z.chunks(width).zip(values.chunks(width)) {
                let one = |(&z, &t): (&f64, &f32)| {
                    if kind == LossKind::Mse { (z - f64::from(t)).powi(2) } else { binary(z, t.into()) }
                };
                losses.push(row.iter().zip(targets).map(one).sum::<f64>() / width as f64);
            }
        }
    }
    Ok(losses)
}

/// Mean over the rows of a batch.
pub fn mean(plan: &LossPlan, scores: &HostTensor, batch: &Batch) -> Result<f64> {
    let losses = rows(plan, scores, &batch.targets)?;
    Ok(losses.iter().sum::<f64>() / losses.len() as f64)
}

fn cross_entropy(plan: &LossPlan, row: &[f64], class: i64) -> Option<f64> {
    let class = usize::try_from(class).ok()?;
    let score = *row.get(class)?;
    let weight = match &plan.class_weights {
        Some(weights) => f64::from(*weights.get(class)?),
        None => 1.0,
    };
    if plan.scores_are_log_probs {
        return Some(-weight * score);
    }
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = row.iter().map(|z| (z - largest).exp()).sum::<f64>().ln() + largest;
    Some(weight * (log_sum - score))
}

fn binary(z: f64, target: f64) -> f64 {
    z.max(0.0) - z * target + (-z.abs()).exp().ln_1p()
}
