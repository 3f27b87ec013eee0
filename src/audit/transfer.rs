//! MIA_E by the transfer protocol: an attacker learns from rows of known membership what members look like, and then
//! judges the forgotten rows.
//!
//! A logistic regression with balanced sides learns to tell retained rows from unseen rows by the entropy of the
//! answer. The score is the share of forgotten rows that it takes for members. The ideal is not 0.5, but the score of
//! other unseen rows. So half of the unseen rows, and half of the retained rows, are kept out of the training and
//! scored together with the forgotten rows. (Chundawat et al., arXiv 2205.08096, and Foster et al., arXiv 2308.07707,
//! train on all.)

use super::{logistic::Logistic, signals::Signals, splits::Half};
use serde::Serialize;

/// The shares that the attack takes for members.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Transfer {
    /// Share of the forgotten rows.
    pub forget: f64,
    /// Share of unseen rows that the attack was not trained on: the ideal for forgotten rows.
    pub unseen: Option<f64>,
    /// Share of retained rows that it was not trained on.
    pub retain: Option<f64>,
    /// Retained rows that it was trained on.
    pub training_members: usize,
    /// Unseen rows that it was trained on.
    pub training_others: usize,
    /// Unseen rows that it was applied to.
    pub unseen_rows: usize,
}

/// Trains on the entropies of `known.0` (retained, unseen), and applies the attack to the forgotten rows and to
/// `held_out`. None without entropies, or without rows to train on.
pub fn transfer(forget: &Signals, known: (&Signals, &Signals), held_out: (&Signals, &Signals)) -> Option<Transfer> {
    let entropies = |s: &Signals| s.entropies.clone();
    let (members, others) = (entropies(known.0)?, entropies(known.1)?);
    let rows: Vec<(f64, bool)> = members.iter().map(|&x| (x, true)).chain(others.iter().map(|&x| (x, false))).collect();
    let line = Logistic::fit_balanced(&rows)?;
    let share = |s: &Signals| {
        let values = entropies(s)?;
        let taken = values.iter().filter(|&&x| line.predict(x)).count();
        (!values.is_empty()).then(|| taken as f64 / values.len() as f64)
    };
    Some(Transfer {
        forget: share(forget)?,
        unseen: share(held_out.1),
        retain: share(held_out.0),
        training_members: members.len(),
        training_others: others.len(),
        unseen_rows: held_out.1.len(),
    })
}

/// The attack with the halves from the run's splits.
pub(super) fn by_halves(
    forget: &Signals,
    retain: &Signals,
    unseen: &Signals,
    halves: (&Half, &Half),
) -> Option<Transfer> {
    let (retain, unseen) = (halves.0.cut(retain), halves.1.cut(unseen));
    transfer(forget, (&retain.0, &unseen.0), (&retain.1, &unseen.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(entropies: impl Iterator<Item = f64>) -> Signals {
        let entropies: Vec<f64> = entropies.collect();
        Signals { rows: (0..entropies.len()).collect(), entropies: Some(entropies), ..Signals::default() }
    }

    #[test]
    fn forgotten_rows_are_judged_by_what_retained_ones_look_like() {
        let sure = || rows((0..90).map(|i| f64::from(i) * 1e-3));
        let unsure = || rows((0..60).map(|i| 1.0 + f64::from(i) * 1e-2));
        let found = transfer(&sure(), (&sure(), &unsure()), (&sure(), &unsure())).unwrap();
        assert_eq!((found.forget, found.retain, found.unseen), (1.0, Some(1.0), Some(0.0)));
        let found = transfer(&unsure(), (&sure(), &unsure()), (&sure(), &unsure())).unwrap();
        assert_eq!((found.forget, found.training_members, found.training_others), (0.0, 90, 60));
        assert_eq!(transfer(&sure(), (&sure(), &rows(std::iter::empty())), (&sure(), &unsure())), None);
        assert_eq!(transfer(&Signals::default(), (&sure(), &unsure()), (&sure(), &unsure())), None);
    }
}
