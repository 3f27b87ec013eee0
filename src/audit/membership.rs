//! Membership inference on one number per row: the loss (MIA_L), or the entropy of the model's answer (MIA_E).
//!
//! Members are the rows to forget; non-members are rows that the model never saw. The protocol is that of the method's
//! paper: both sides are cut to one size (the larger one shuffled before), a logistic regression on the number, ten
//! stratified shuffle splits with a tenth held out, and the mean accuracy on the held-out rows. 0.5 is ideal; below 0.5
//! is no better than above.

use super::{
    logistic::Logistic,
    statistics::{KolmogorovSmirnov, LowFpr, auc},
};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Fewest rows per side for a meaningful accuracy: with fewer, its standard error is above 0.07.
pub const INFORMATIVE_ROWS: usize = 50;

/// Splits of the protocol.
const SPLITS: usize = 10;

/// The result of an attack on one number per row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Attack {
    /// Mean accuracy over the splits; none with fewer than two rows per side, or if a fit does not converge.
    pub accuracy: Option<f64>,
    /// Half the width of the 95 % interval of the accuracy of random guessing, with as many rows as there are on one
    /// side.
    pub coin_margin: Option<f64>,
    /// Probability that a member's number is below a non-member's, ties half.
    pub auc: Option<f64>,
    /// The same for an attacker who knows the direction: the larger one of the AUC and 1 − AUC.
    pub auc_two_sided: Option<f64>,
    /// Share of members below a threshold that at most one in a hundred non-members is below.
    pub tpr_at_1pct_fpr: Option<f64>,
    /// Members found at false positive rates of 1 % and 0.1 %.
    pub low_fpr: [LowFpr; 2],
    /// Whether the numbers of both sides have the same distribution.
    pub ks: Option<KolmogorovSmirnov>,
    /// Number of members, and of non-members, behind the accuracy.
    pub rows_a_side: usize,
    /// Whether this is enough for a meaningful accuracy.
    pub informative: bool,
}

impl Attack {
    /// Distance of the accuracy from 0.5, in either direction.
    pub fn distance(&self) -> Option<f64> {
        Some((self.accuracy? - 0.5).abs())
    }

    /// How much larger that distance is than `before`. It is 0 for distances within [`Self::coin_margin`], which random
    /// guessing explains.
    pub fn increase(&self, before: &Self) -> Option<f64> {
        let (distance, increase) = (self.distance()?, self.distance()? - before.distance()?);
        Some(if distance > self.coin_margin? { increase } else { increase.min(0.0) })
    }
}

/// Runs the attack. The same seed chooses the same rows and splits.
pub fn attack(members: &[f64], others: &[f64], seed: u64) -> Attack {
    let rows_a_side = members.len().min(others.len());
    let low_fpr = [100, 1000].map(|one_in| LowFpr::at(members, others, one_in));
    let area = auc(members, others);
    Attack {
        accuracy: accuracy(members, others, seed),
        coin_margin: (rows_a_side > 0).then(|| 1.96 * (0.25 / rows_a_side as f64).sqrt()),
        auc: area,
        auc_two_sided: area.map(|a| a.max(1.0 - a)),
        tpr_at_1pct_fpr: low_fpr[0].below.map(|b| b.rate),
        low_fpr,
        ks: KolmogorovSmirnov::of(members, others, 1),
        rows_a_side,
        informative: rows_a_side >= INFORMATIVE_ROWS,
    }
}

/// The protocol's mean accuracy.
fn accuracy(members: &[f64], others: &[f64], seed: u64) -> Option<f64> {
    let n = members.len().min(others.len());
    if n < 2 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut sides = [cut(members, n, &mut rng), cut(others, n, &mut rng)];
    let held_out = (2 * n).div_ceil(10);
    let mut sum = 0.0;
    for _ in 0..SPLITS {
        // If the number of held-out rows is odd, one side, chosen at random, gives one more.
        let more = usize::from(held_out % 2 == 1 && rng.random_range(0..2u8) == 1);
        let counts = [held_out / 2 + more, held_out - held_out / 2 - more];
        let mut train = Vec::with_capacity(2 * n);
        let mut test = Vec::with_capacity(held_out);
        for ((side, count), member) in sides.iter_mut().zip(counts).zip([true, false]) {
            side.shuffle(&mut rng);
            let (out, rest) = side.split_at(count.min(side.len()));
            test.extend(out.iter().map(|&x| (x, member)));
            train.extend(rest.iter().map(|&x| (x, member)));
        }
        sum += Logistic::fit(&train)?.accuracy(&test);
    }
    Some(sum / SPLITS as f64)
}

fn cut(values: &[f64], n: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut values = values.to_vec();
    if values.len() > n {
        values.shuffle(rng);
        values.truncate(n);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attack_is_repeatable_and_knows_when_it_means_nothing() {
        let members: Vec<f64> = (0..80).map(|i| f64::from(i) * 0.01).collect();
        let others: Vec<f64> = (0..300).map(|i| f64::from(i) * 0.01).collect();
        let one = attack(&members, &others, 3);
        assert_eq!(one, attack(&members, &others, 3));
        assert!(one.informative && one.rows_a_side == 80 && one.accuracy.unwrap() > 0.7);
        let few = attack(&members[..10], &others, 3);
        assert!(!few.informative && few.accuracy.is_some() && few.coin_margin.unwrap() > 0.3);
        let none = attack(&members[..1], &others, 3);
        assert_eq!((none.accuracy, none.auc.is_some()), (None, true));
    }

    #[test]
    fn what_a_coin_reaches_is_no_increase() {
        let losses: Vec<f64> = (0..100).map(f64::from).collect();
        let with = |accuracy| Attack { accuracy: Some(accuracy), ..attack(&losses, &losses, 1) };
        let increase = |was, is| with(is).increase(&with(was)).unwrap();
        assert_eq!(with(0.5).coin_margin.map(|m| (m * 1000.0).round()), Some(98.0));
        assert_eq!(increase(0.5, 0.59), 0.0);
        assert!((increase(0.5, 0.38) - 0.12).abs() < 1e-12 && (increase(0.56, 0.63) - 0.07).abs() < 1e-12);
        assert!((increase(0.7, 0.53) + 0.17).abs() < 1e-12, "less is less, by chance or not");
    }

    #[test]
    fn over_forgetting_counts_as_much_as_under_forgetting() {
        let low: Vec<f64> = (0..80).map(f64::from).collect();
        let high: Vec<f64> = (0..300).map(|i| f64::from(i) + 40.0).collect();
        let (under, over) = (attack(&low, &high, 1), attack(&high, &low, 1));
        assert!((under.auc.unwrap() + over.auc.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(under.auc_two_sided, over.auc_two_sided);
        assert!(over.accuracy.unwrap() > 0.6 && over.ks.unwrap().beyond_chance > 0.3);
        assert!(over.low_fpr[0].above.unwrap().rate > 0.5 && over.low_fpr[0].below.unwrap().rate == 0.0);
    }

    /// Logistic regression has one threshold, which a mixture of far too low and far too high losses evades.
    #[test]
    fn a_two_sided_mixture_shows_in_the_distance_alone() {
        let others: Vec<f64> = (0..400).map(|i| 1.0 + f64::from(i) * 1e-3).collect();
        let members: Vec<f64> = (0..400).map(|i| if i % 2 == 0 { 0.7 } else { 1.7 }).collect();
        let found = attack(&members, &others, 5);
        assert!((found.auc.unwrap() - 0.5).abs() < 1e-9);
        assert!((found.accuracy.unwrap() - 0.5).abs() < 0.1 && found.ks.unwrap().beyond_chance > 0.3, "{found:?}");
    }
}
