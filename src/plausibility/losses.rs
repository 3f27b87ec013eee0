//! Whether the model knows rows of which a loss graph says no more than their losses.

use super::{
    SURE,
    verdict::{BEYOND_CHANCE, Examined, FEW, Figures, Problem},
};
use crate::audit::{self, Paired};

/// By how many standard deviations of the losses training rows are worse than unseen ones where the files seem exchanged.
const MUCH_WORSE: f64 = 0.2;

/// Losses of rows that are looked at.
pub struct Losses {
    /// Of training rows.
    pub own: Vec<f64>,
    /// Of the same rows with the labels of other ones; none if the loss graph takes no labels.
    pub permuted: Option<Vec<f64>>,
    /// Of rows that the model was not trained on.
    pub unseen: Vec<f64>,
}

/// Looks at the losses. Quality is the share of rows whose own labels fit better than another row's: 0.5 by chance.
pub fn examine_losses(losses: &Losses) -> Examined {
    let Losses { own, permuted, unseen } = losses;
    let not_judged = |why: &str| Examined { not_judged: Some(why.into()), ..Examined::default() };
    if own.iter().chain(unseen).any(|loss| !loss.is_finite()) {
        return not_judged("the loss of some rows is not finite");
    }
    if own.len() < FEW {
        return not_judged("there are fewer than 8 training rows");
    }
    let Some(permuted) = permuted else {
        return not_judged("the loss takes no labels, so that nothing tells whether they belong to their rows");
    };
    let better = |(own, other): (&f64, &f64)| match own.total_cmp(other) {
        std::cmp::Ordering::Less => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Greater => 0.0,
    };
    let share = own.iter().zip(permuted).map(better).sum::<f64>() / own.len() as f64;
    let mut found = Examined { losses: true, ..Examined::default() };
    if Paired::of(permuted, own).z() < BEYOND_CHANCE {
        found.problems.push(Problem::NoBetterThanPermuted);
    }
    let spread = |v: &[f64]| audit::variance(v) / v.len().max(1) as f64;
    if unseen.len() >= FEW {
        let apart = audit::mean(own) - audit::mean(unseen);
        let error = (spread(own) + spread(unseen)).sqrt();
        if apart > SURE * error && apart > MUCH_WORSE * audit::variance(unseen).sqrt() {
            found.problems.push(Problem::WorseThanUnseen);
        }
    }
    found.figures = Some(Figures {
        rows: own.len(),
        unseen_rows: unseen.len(),
        quality: share,
        quality_without_inputs: 0.5,
        quality_of_permuted: 0.5,
        unseen_quality: None,
        loss: audit::mean(own),
        loss_without_inputs: audit::mean(permuted),
        loss_of_permuted: audit::mean(permuted),
        unseen_loss: (!unseen.is_empty()).then(|| audit::mean(unseen)),
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(own: impl Fn(usize) -> f64, permuted: impl Fn(usize) -> f64, unseen: impl Fn(usize) -> f64) -> Examined {
        let of = |loss: &dyn Fn(usize) -> f64| (0..64).map(loss).collect::<Vec<f64>>();
        examine_losses(&Losses { own: of(&own), permuted: Some(of(&permuted)), unseen: of(&unseen) })
    }

    #[test]
    fn labels_of_other_rows_have_to_fit_worse() {
        let noise = |i: usize| (i as f64 * 1.7).sin();
        let known = losses(|i| 0.1 + 0.05 * noise(i), |i| 2.0 + noise(i), |i| 0.5 + 0.1 * noise(i));
        assert!(known.confirmed() && known.figures.unwrap().quality == 1.0);
        let unknown = losses(noise, |i| noise(i + 1), noise);
        assert_eq!(unknown.problems, [Problem::NoBetterThanPermuted]);
        let exchanged = losses(|i| 1.0 + 0.1 * noise(i), |i| 2.0 + noise(i), |i| 0.1 + 0.1 * noise(i));
        assert_eq!(exchanged.problems, [Problem::WorseThanUnseen]);
        let none = examine_losses(&Losses { own: vec![1.0; 20], permuted: None, unseen: Vec::new() });
        assert!(none.known() && !none.confirmed() && none.not_judged.is_some());
    }
}
