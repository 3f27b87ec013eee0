//! Which rows an attack learns from and which it is tested on: no row serves both.

use super::signals::Signals;
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::collections::BTreeSet;

/// Rows of one set in two halves, drawn by the seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Half {
    training: BTreeSet<usize>,
    rows: Vec<usize>,
}

impl Half {
    /// Draws half of `rows` for training; of an odd number the smaller half.
    pub fn draw(rows: &[usize], seed: u64) -> Self {
        let mut shuffled = rows.to_vec();
        shuffled.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        shuffled.truncate(rows.len() / 2);
        Self { training: shuffled.into_iter().collect(), rows: rows.to_vec() }
    }

    /// Rows to learn from, in order.
    pub fn training(&self) -> Vec<usize> {
        self.training.iter().copied().collect()
    }

    /// Rows to test on, in order.
    pub fn trial(&self) -> Vec<usize> {
        self.rows.iter().copied().filter(|row| !self.training.contains(row)).collect()
    }

    /// The rows to learn from and the rows to test on.
    pub fn cut(&self, signals: &Signals) -> (Signals, Signals) {
        let training = |i: usize| signals.rows.get(i).is_some_and(|row| self.training.contains(row));
        (signals.filter(training), signals.filter(|i| !training(i)))
    }
}

/// Rows of one purpose, as they are recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SplitDigest {
    /// The purpose.
    pub purpose: &'static str,
    /// The set of the rows.
    pub of: &'static str,
    /// Number of rows.
    pub rows: usize,
    /// Salted SHA-256 of their positions in the set.
    pub sha256: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_share_no_row_and_lose_none() {
        let rows: Vec<usize> = (0..101).map(|i| i * 3).collect();
        let half = Half::draw(&rows, 7);
        assert_eq!((half, Half::draw(&rows, 7)).0, Half::draw(&rows, 7));
        let half = Half::draw(&rows, 7);
        assert_ne!(half.training(), Half::draw(&rows, 8).training());
        assert_eq!((half.training().len(), half.trial().len()), (50, 51));
        let mut all = [half.training(), half.trial()].concat();
        all.sort_unstable();
        assert_eq!(all, rows);
        let signals = Signals { rows: vec![0, 3, 6], losses: vec![0.0, 1.0, 2.0], ..Signals::default() };
        let (training, trial) = half.cut(&signals);
        assert_eq!(training.len() + trial.len(), 3);
        assert!(training.rows.iter().all(|r| half.training().contains(r)));
    }
}
