//! Seeded random numbers: the same on every machine.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A seeded source.
pub(super) struct Random {
    rng: ChaCha8Rng,
    spare: Option<f64>,
    /// Coins that are left.
    coins: u64,
    left: u32,
}

impl Random {
    /// The source number `stream` of `seed`.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self { rng, spare: None, coins: 0, left: 0 }
    }

    /// Uniform in (0, 1).
    pub(super) fn uniform(&mut self) -> f64 {
        ((self.rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Uniform in 0..n; 0 if n is 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((self.uniform() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// 1 or −1, as likely.
    pub(super) fn sign(&mut self) -> f64 {
        if self.left == 0 {
            (self.coins, self.left) = (self.rng.next_u64(), u64::BITS);
        }
        let coin = self.coins & 1;
        (self.coins, self.left) = (self.coins >> 1, self.left - 1);
        if coin == 1 { 1.0 } else { -1.0 }
    }

    /// Standard normal, by Box and Muller.
    pub(super) fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let (radius, angle) = ((-2.0 * self.uniform().ln()).sqrt(), std::f64::consts::TAU * self.uniform());
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn normal_numbers_are_normal() {
        let mut random = Random::new(7, 1);
        let n = 20_000;
        let xs: Vec<f64> = (0..n).map(|_| random.normal()).collect();
        let mean = xs.iter().sum::<f64>() / n as f64;
        let variance = xs.iter().map(|x| x * x).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        assert_ne!(Random::new(7, 1).uniform(), Random::new(7, 2).uniform());
        assert_eq!(Random::new(7, 1).uniform(), Random::new(7, 1).uniform());
        assert!((0..1000).all(|_| random.below(3) < 3));
    }
}
