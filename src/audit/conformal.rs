//! Single forgotten rows: the rank of a row's loss among unseen rows of its class.
//!
//! If the model had never seen a row, every rank of its loss would be equally likely. So (1 + unseen rows of its class
//! with an equal or lower loss) / (1 + all of them) is a p-value, by conformal prediction, without any assumption on
//! the distribution. A small p-value means that the row is still known (under-forgotten). The same from above means
//! that the model was driven away from it (over-forgotten), which reveals it as well.

use super::{
    signals::Signals,
    statistics::{around, sorted},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Rows with a p-value up to this level count as under- or over-forgotten. This share of unseen rows does, too.
pub const LEVEL: f64 = 0.05;
/// Unseen rows that a class must have so that a p-value can reach [`LEVEL`].
pub const UNSEEN_NEEDED: usize = 19;
/// Bins of the ranks.
const BINS: usize = 10;

/// Losses of unseen rows, by class.
pub struct Unseen(BTreeMap<Option<i64>, Vec<f64>>);

/// A row's p-values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PValues {
    /// Small if nearly all unseen rows of the class have a higher loss.
    pub under: f64,
    /// Small if nearly all unseen rows of the class have a lower loss.
    pub over: f64,
    /// Rank among the unseen rows, 0 to 1; the middle one of equal ranks.
    pub rank: f64,
}

impl PValues {
    /// The two-sided p-value.
    pub fn two_sided(&self) -> f64 {
        (2.0 * self.under.min(self.over)).min(1.0)
    }
}

impl Unseen {
    /// Sorts the rows by class.
    pub fn new(unseen: &Signals) -> Self {
        let mut by_class: BTreeMap<Option<i64>, Vec<f64>> = BTreeMap::new();
        for (i, &loss) in unseen.losses.iter().enumerate() {
            by_class.entry(unseen.class(i)).or_default().push(loss);
        }
        Self(by_class.into_iter().map(|(class, losses)| (class, sorted(&losses))).collect())
    }

    /// Losses of the unseen rows of a class, ascending; none if there are too few.
    pub(super) fn of_class(&self, class: Option<i64>) -> Option<&[f64]> {
        self.0.get(&class).map(Vec::as_slice).filter(|losses| losses.len() >= UNSEEN_NEEDED)
    }

    /// The row's p-values; none if its class has too few unseen rows.
    pub fn judge(&self, class: Option<i64>, loss: f64) -> Option<PValues> {
        let losses = self.of_class(class)?;
        let (below, tied, above) = around(losses, loss);
        let all = losses.len() as f64 + 1.0;
        Some(PValues {
            under: (1 + below + tied) as f64 / all,
            over: (1 + above + tied) as f64 / all,
            rank: (below as f64 + 0.5 * (tied as f64 + 1.0)) / all,
        })
    }

    /// Share of unseen rows of the class with a p-value of at most [`LEVEL`], and the number of rows behind it.
    fn expected(&self, class: Option<i64>) -> (f64, f64) {
        let all = self.0.get(&class).map_or(0, Vec::len) as f64 + 1.0;
        ((LEVEL * all + 1e-9).floor() / all, all)
    }
}

/// A share of the judged rows, and the share that unseen rows would have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// Share of the judged rows.
    pub share: f64,
    /// Expected share if they were unseen rows.
    pub expected: f64,
    /// Half the width of the 95 % interval around `expected`, from the variance of the beta-binomial distribution.
    pub margin: f64,
    /// How much the share is above that interval.
    pub beyond_chance: f64,
}

/// Figures of the single forgotten rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Records {
    /// Rows that could be judged.
    pub judged: usize,
    /// Rows whose class has too few unseen rows.
    pub unjudged: usize,
    /// Unseen rows of its class that a row needs.
    pub unseen_needed: usize,
    /// Rows with a lower loss than nearly all unseen rows of their class.
    pub under_forgotten: Option<Share>,
    /// Rows with a higher loss than nearly all unseen rows of their class.
    pub over_forgotten: Option<Share>,
    /// A tenth of the rows have a two-sided p-value of at most this; 0.1 is ideal, less is worse.
    pub worst_decile: Option<f64>,
    /// The smallest two-sided p-value.
    pub smallest_p: Option<f64>,
    /// Number of rows by the tenth into which their loss falls among unseen rows of their class, lowest first. Equal
    /// numbers if forgotten.
    pub ranks: [usize; BINS],
}

/// Judges each row against `unseen` rows of its class.
pub fn records(forget: &Signals, unseen: &Unseen) -> Records {
    let mut classes: BTreeMap<Option<i64>, usize> = BTreeMap::new();
    let mut found: Vec<PValues> = Vec::new();
    for (i, &loss) in forget.losses.iter().enumerate() {
        if let Some(p) = unseen.judge(forget.class(i), loss) {
            found.push(p);
            *classes.entry(forget.class(i)).or_default() += 1;
        }
    }
    let judged = found.len();
    // Of m rows, each below the k-th of n unseen ones with probability p = k / (n + 1), the number is beta-binomial:
    // the rows share the unseen rows that they are compared with.
    let (mut expected, mut variance) = (0.0, 0.0);
    for (&class, &m) in &classes {
        let ((p, all), m) = (unseen.expected(class), m as f64);
        expected += m * p;
        variance += m * p * (1.0 - p) * (all + m) / (all + 1.0);
    }
    let share = |of: fn(&PValues) -> f64| {
        let n = judged as f64;
        let share = found.iter().filter(|p| of(p) <= LEVEL + 1e-12).count() as f64 / n;
        let (expected, margin) = (expected / n, 1.96 * variance.sqrt() / n);
        let beyond_chance = (share - expected - margin).max(0.0);
        (judged > 0).then_some(Share { share, expected, margin, beyond_chance })
    };
    let two_sided = sorted(&found.iter().map(PValues::two_sided).collect::<Vec<_>>());
    let mut ranks = [0; BINS];
    for p in &found {
        if let Some(bin) = ranks.get_mut(((p.rank * BINS as f64) as usize).min(BINS - 1)) {
            *bin += 1;
        }
    }
    Records {
        judged,
        unjudged: forget.len() - judged,
        unseen_needed: UNSEEN_NEEDED,
        under_forgotten: share(|p| p.under),
        over_forgotten: share(|p| p.over),
        worst_decile: two_sided.get(judged.div_ceil(10).saturating_sub(1)).copied(),
        smallest_p: two_sided.first().copied(),
        ranks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signals(losses: Vec<f64>, classes: Option<Vec<i64>>) -> Signals {
        Signals { rows: (0..losses.len()).collect(), losses, classes, ..Signals::default() }
    }

    #[test]
    fn a_row_is_held_against_unseen_rows_of_its_class() {
        let losses: Vec<f64> = (0..99).map(f64::from).chain((0..99).map(|i| 1000.0 + f64::from(i))).collect();
        let classes = (0..198).map(|i| i64::from(i >= 99)).collect();
        let unseen = Unseen::new(&signals(losses, Some(classes)));
        let low = unseen.judge(Some(0), -1.0).unwrap();
        assert_eq!((low.under, low.over, low.two_sided()), (0.01, 1.0, 0.02));
        // The same loss is high for one class and low for the other.
        assert_eq!(
            (unseen.judge(Some(0), 500.0).unwrap().over, unseen.judge(Some(1), 500.0).unwrap().under),
            (0.01, 0.01)
        );
        let tied = unseen.judge(Some(0), 49.0).unwrap();
        assert_eq!((tied.under, tied.over, tied.rank, tied.two_sided()), (0.51, 0.51, 0.5, 1.0));
        assert_eq!(unseen.judge(Some(2), 1.0), None);
    }

    #[test]
    fn tails_show_where_the_mean_does_not() {
        let unseen = signals((0..199).map(f64::from).collect(), None);
        let even = records(&signals((0..100).map(|i| f64::from(i) * 2.0 - 0.5).collect(), None), &Unseen::new(&unseen));
        assert_eq!((even.judged, even.ranks), (100, [10; 10]));
        assert_eq!((even.under_forgotten.unwrap().share, even.under_forgotten.unwrap().expected), (0.05, 0.05));
        assert_eq!(even.under_forgotten.unwrap().beyond_chance, 0.0);
        // Half far too low, half far too high: the mean is that of the unseen rows.
        let losses = (0..100).map(|i| if i % 2 == 0 { -1.0 } else { 199.0 }).collect();
        let torn = records(&signals(losses, None), &Unseen::new(&unseen));
        let (under, over) = (torn.under_forgotten.unwrap(), torn.over_forgotten.unwrap());
        assert_eq!((under.share, over.share, torn.ranks[0], torn.ranks[9]), (0.5, 0.5, 50, 50));
        assert!(under.beyond_chance > 0.35 && torn.worst_decile.unwrap() == 0.01, "{torn:?}");
    }

    #[test]
    fn rows_without_enough_unseen_ones_are_not_judged() {
        let unseen = Unseen::new(&signals(vec![0.5; UNSEEN_NEEDED - 1], None));
        let none = records(&signals(vec![0.1, 0.2], None), &unseen);
        assert_eq!((none.judged, none.unjudged, none.under_forgotten, none.worst_decile), (0, 2, None, None));
    }
}
