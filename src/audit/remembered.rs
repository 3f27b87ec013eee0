//! Does the model remember the rows to forget better than rows that it never saw? If not, there is nothing to forget.

use super::{
    conformal::Unseen,
    record::Measured,
    statistics::{KolmogorovSmirnov, around, mean, sorted, variance},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// How far the rows to forget stand out among unseen rows, before anything is changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Remembered {
    /// Rows to forget.
    pub rows: usize,
    /// Unseen rows of their classes.
    pub unseen_rows: usize,
    /// Probability that the loss of a row to forget is below that of an unseen row of its class, ties half: 0.5 if it
    /// is not remembered.
    pub auc: f64,
    /// Number of standard errors by which this is above 0.5.
    pub auc_z: f64,
    /// How far the mean loss of the rows is below that of unseen rows of their classes.
    pub loss_gap: f64,
    /// Number of standard errors by which this is above 0.
    pub loss_gap_z: f64,
    /// How far the losses are below those of unseen rows beyond chance: the one-sided Kolmogorov-Smirnov distance.
    pub ks_beyond_chance: f64,
}

/// Fewest rows per side for a judgment.
const FEW: usize = 20;
/// Number of standard errors beyond which the rows count as remembered.
const BEYOND_CHANCE: f64 = 2.0;
/// Largest AUC, at a confidence of 95 %, of rows that count as not remembered.
const NOT_REMEMBERED: f64 = 0.6;

impl Remembered {
    /// None if there are too few rows, or if a class is forgotten whole: the model may know unseen rows of that class
    /// as well as the rows to forget, and the class is still to be forgotten. `kept` are the classes of retained rows.
    pub fn of(measured: &Measured, kept: impl Fn(i64) -> bool) -> Option<Self> {
        let forget = &measured.forget;
        if forget.classes.iter().flatten().any(|&class| !kept(class)) {
            return None;
        }
        let unseen = measured.unseen();
        if forget.len() < FEW || unseen.len() < FEW {
            return None;
        }
        // A class with few unseen rows is compared with all of them.
        let (classes, all) = (Unseen::new(&unseen), sorted(&unseen.losses));
        let others = |class: Option<i64>| classes.of_class(class).map_or((None, all.as_slice()), |own| (class, own));
        let (mut below, mut gap) = (0.0, 0.0);
        let mut used = BTreeMap::<Option<i64>, usize>::new();
        for (i, &loss) in forget.losses.iter().enumerate() {
            let (class, others) = others(forget.class(i));
            let (_, tied, above) = around(others, loss);
            below += (above as f64 + tied as f64 / 2.0) / others.len() as f64;
            gap += mean(others) - loss;
            *used.entry(class).or_default() += 1;
        }
        let n = forget.len() as f64;
        // The unseen rows of a class are weighted by the number of rows to forget that they are compared with.
        let weighed = |of: fn(&[f64]) -> f64| -> f64 {
            let each = |(class, &k): (&Option<i64>, &usize)| {
                let others = others(*class).1;
                (k as f64 / n).powi(2) * of(others) / others.len() as f64
            };
            used.iter().map(each).sum()
        };
        let auc_error = ((1.0 / n + weighed(|_| 1.0)) / 12.0).sqrt();
        let gap_error = (variance(&forget.losses) / n + weighed(variance)).sqrt();
        let z = |x: f64, error: f64| if error > 0.0 { x / error } else { 0.0 };
        let (auc, loss_gap) = (below / n, gap / n);
        Some(Self {
            rows: forget.len(),
            unseen_rows: unseen.len(),
            auc,
            auc_z: z(auc - 0.5, auc_error),
            loss_gap,
            loss_gap_z: z(loss_gap, gap_error),
            ks_beyond_chance: KolmogorovSmirnov::of(&forget.losses, &unseen.losses, 1)
                .map_or(0.0, |ks| ks.beyond_chance),
        })
    }

    /// Whether there is evidence that nothing is to be forgotten: there are enough rows, and they stand out neither by
    /// their ranks, nor by their mean loss, nor by the distribution of their losses.
    pub fn nothing_to_forget(&self) -> bool {
        let stand_out = self.auc_z > BEYOND_CHANCE
            || self.loss_gap_z > BEYOND_CHANCE
            || (self.ks_beyond_chance > 0.0 && self.auc > 0.5);
        let error = if self.auc_z == 0.0 { 0.0 } else { (self.auc - 0.5) / self.auc_z };
        !stand_out && self.auc + 1.645 * error <= NOT_REMEMBERED
    }

    /// The figures, for people.
    pub fn line(&self) -> String {
        format!(
            "the loss of {} rows to forget is below that of {} unseen rows of their classes with probability {:.3} ({:+.1} standard errors from 0.5), \
             its mean by {:.4} ({:+.1} standard errors)",
            self.rows, self.unseen_rows, self.auc, self.auc_z, self.loss_gap, self.loss_gap_z
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Signals;

    fn signals(losses: Vec<f64>, classes: Option<Vec<i64>>) -> Signals {
        Signals { rows: (0..losses.len()).collect(), losses, classes, ..Signals::default() }
    }

    fn measured(forget: Signals, test: Signals) -> Measured {
        Measured { forget, test, retain: Signals::default() }
    }

    fn spaced(n: usize, from: f64) -> Vec<f64> {
        (0..n).map(|i| from + i as f64 / n as f64).collect()
    }

    #[test]
    fn rows_like_unseen_ones_are_not_remembered_and_lower_losses_are() {
        let alike =
            Remembered::of(&measured(signals(spaced(60, 0.0), None), signals(spaced(200, 0.0), None)), |_| true);
        assert!(alike.unwrap().nothing_to_forget(), "{alike:?}");
        let lower =
            Remembered::of(&measured(signals(spaced(60, -0.3), None), signals(spaced(200, 0.0), None)), |_| true);
        assert!(!lower.unwrap().nothing_to_forget() && lower.unwrap().auc > 0.6, "{lower:?}");
        let higher =
            Remembered::of(&measured(signals(spaced(60, 0.5), None), signals(spaced(200, 0.0), None)), |_| true);
        assert!(higher.unwrap().nothing_to_forget() && higher.unwrap().auc < 0.4, "{higher:?}");
    }

    #[test]
    fn a_class_is_compared_with_itself() {
        // Class 1 has high losses, and is most of the rows to forget: without classes these would look forgotten
        // already.
        let forget = signals([spaced(10, -0.4), spaced(50, 4.6)].concat(), Some([vec![0; 10], vec![1; 50]].concat()));
        let test = signals([spaced(100, 0.0), spaced(100, 5.0)].concat(), Some([vec![0; 100], vec![1; 100]].concat()));
        let found = Remembered::of(&measured(forget.clone(), test.clone()), |_| true).unwrap();
        assert!(!found.nothing_to_forget() && found.auc > 0.8, "{found:?}");
        assert_eq!(
            Remembered::of(&measured(forget, test), |class| class == 0),
            None,
            "a class that is forgotten whole"
        );
    }

    #[test]
    fn few_rows_tell_nothing() {
        let of =
            |n| Remembered::of(&measured(signals(spaced(n, 0.0), None), signals(spaced(200, 0.0), None)), |_| true);
        assert_eq!(of(19), None);
        assert!(!of(20).unwrap().nothing_to_forget(), "an AUC of 0.5 ± 0.07 may be more than 0.6");
    }
}
