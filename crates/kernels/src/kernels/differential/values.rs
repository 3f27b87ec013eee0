//! Values for the inputs of a case.

use super::calls::Domain;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Which values to draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Values {
    /// Where the function is smooth.
    Smooth,
    /// Multiples of ½, which tie and lie on the points where the slope jumps.
    Ties,
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    // Nearly: Irwin and Hall's sum of twelve.
    (0..12).map(|_| rng.random_range(-0.5..0.5)).sum()
}

/// A value of the domain; `ranks` are those of distinct elements that are not yet drawn, of `total`.
pub(super) fn draw(rng: &mut ChaCha8Rng, domain: &Domain, values: Values, ranks: &mut Vec<usize>, total: usize) -> f64 {
    let x = normal(rng);
    let half = (x * 2.).round() / 2.;
    match (domain, values) {
        (Domain::Positive, Values::Smooth) => rng.random_range(0.2..3.0),
        (Domain::Positive, Values::Ties) => half.abs().max(0.5),
        (Domain::Unit, Values::Smooth) => rng.random_range(0.0..1.0),
        (Domain::Unit, Values::Ties) => f64::from(rng.random_range(0..2)),
        (Domain::NotZero, Values::Smooth) => x + 0.3f64.copysign(x),
        (Domain::NotZero, Values::Ties) => half + 1f64.copysign(half),
        (Domain::Inner, Values::Smooth) => rng.random_range(-0.9..0.9),
        (Domain::Inner, Values::Ties) => f64::from(rng.random_range(-1..2)) / 2.,
        (Domain::AboveOne, Values::Smooth) => rng.random_range(1.2..4.0),
        (Domain::AboveOne, Values::Ties) => half.abs() + 1.5,
        (Domain::Distinct, Values::Smooth) => (ranks.pop().unwrap() as f64 - total as f64 / 2.) * 0.07,
        (_, Values::Ties) => half,
        (Domain::Any, Values::Smooth) => x,
        (Domain::Except(points), Values::Smooth) => {
            let mut x = x * 1.5;
            while points.iter().any(|p| (p - x).abs() < 0.05) {
                x += 0.11;
            }
            x
        }
    }
}
