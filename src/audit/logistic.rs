//! Logistic regression on one feature.
//!
//! Minimizes `Σ ln(1 + exp(−yᵢ(w·xᵢ + b))) + w²/2` over `w` and `b`, with labels `y` of −1 and 1, to a gradient of
//! 1e-7. This is an L2 penalty with `C = 1` and without the intercept, as in scikit-learn's `LogisticRegression`.
//! (scikit-learn's default tolerance stops far earlier if the feature is small, and then misses a leak. With a small
//! tolerance it finds the same line.) With two unknowns, Newton's method needs only a few steps. The L-BFGS of
//! libraries can fail on values far apart, and then never ends its line search.

use super::signals::{sigmoid, softplus};

/// A fitted line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logistic {
    /// Slope `w`.
    pub coefficient: f64,
    /// Intercept `b`.
    pub intercept: f64,
}

impl Logistic {
    /// Fits `(x, member)` pairs. `None` if one side is empty, a value is not finite, or the fit does not converge.
    pub fn fit(rows: &[(f64, bool)]) -> Option<Self> {
        Self::weighted(rows, |_| 1.0)
    }

    /// Fits `(x, member)` pairs. Each side has half of the weight, whatever its number of rows: each term is multiplied
    /// by n / (2 · rows of its side), as with scikit-learn's `class_weight="balanced"`. `None` as for
    /// [`fit`](Self::fit).
    pub fn fit_balanced(rows: &[(f64, bool)]) -> Option<Self> {
        Self::weighted(rows, |side| rows.len() as f64 / (2 * side) as f64)
    }

    /// Newton's method with step halving. `weight` gives the weight of a row from the number of rows on its side.
    fn weighted(rows: &[(f64, bool)], weight: impl Fn(usize) -> f64) -> Option<Self> {
        let members = rows.iter().filter(|r| r.1).count();
        if members == 0 || members == rows.len() || rows.iter().any(|r| !r.0.is_finite()) {
            return None;
        }
        let weights = [weight(rows.len() - members), weight(members)];
        let side = |member: bool| if member { (weights[1], 1.0) } else { (weights[0], -1.0) };
        let cost = |w: f64, b: f64| {
            let term = |&(x, member): &(f64, bool)| side(member).0 * softplus(-side(member).1 * (w * x + b));
            rows.iter().map(term).sum::<f64>() + 0.5 * w * w
        };
        let (mut w, mut b) = (0.0, 0.0);
        let mut current = cost(w, b);
        for _ in 0..200 {
            let (mut gw, mut gb, mut hww, mut hwb, mut hbb) = (w, 0.0, 1.0, 0.0, 0.0);
            for &(x, member) in rows {
                let (weight, y) = side(member);
                let z = w * x + b;
                let slope = -y * weight * sigmoid(-y * z);
                let bend = weight * sigmoid(z) * sigmoid(-z);
                (gw, gb) = (gw + slope * x, gb + slope);
                (hww, hwb, hbb) = (hww + bend * x * x, hwb + bend * x, hbb + bend);
            }
            if gw.abs().max(gb.abs()) <= 1e-7 {
                return Some(Self { coefficient: w, intercept: b });
            }
            let determinant = hww * hbb - hwb * hwb;
            let step = ((hbb * gw - hwb * gb) / determinant, (hww * gb - hwb * gw) / determinant);
            let shares = (0..40).map(|halvings| 0.5f64.powi(halvings));
            // If a step gains less than the precision of the cost, it is the last one; the gradient is precise enough
            // for it.
            let better = shares.map(|s| (w - s * step.0, b - s * step.1)).find(|&(w, b)| cost(w, b) < current);
            let Some(next) = better else {
                let last = (w - step.0, b - step.1);
                let (w, b) = if cost(last.0, last.1) <= current * (1.0 + 1e-12) { last } else { (w, b) };
                return (w.is_finite() && b.is_finite()).then_some(Self { coefficient: w, intercept: b });
            };
            (w, b) = next;
            current = cost(w, b);
        }
        None
    }

    /// Whether the line classifies `x` as a member.
    pub fn predict(&self, x: f64) -> bool {
        self.coefficient * x + self.intercept > 0.0
    }

    /// Share of rows that the line classifies correctly.
    pub fn accuracy(&self, rows: &[(f64, bool)]) -> f64 {
        rows.iter().filter(|r| self.predict(r.0) == r.1).count() as f64 / rows.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_inputs_end_in_a_finite_line_or_none() {
        let separable: Vec<_> = (0..40).map(|i| (f64::from(i) * 1e3, i < 20)).collect();
        assert_eq!(Logistic::fit(&separable).unwrap().accuracy(&separable), 1.0);
        let constant = [(5.0, true), (5.0, false), (5.0, true), (5.0, false)];
        let line = Logistic::fit(&constant).unwrap();
        assert!(line.coefficient.abs() < 1e-9 && line.intercept.abs() < 1e-9, "{line:?}");
        let outlier: Vec<_> = (0..100).map(|i| (if i == 99 { 1e12 } else { f64::from(i) }, i % 2 == 0)).collect();
        assert!(Logistic::fit(&outlier).is_some());
        let unfit: [&[(f64, bool)]; 3] = [&[], &[(1.0, true), (2.0, true)], &[(f64::NAN, true), (1.0, false)]];
        for rows in unfit {
            assert_eq!(Logistic::fit(rows), None);
        }
    }

    /// Losses like those of a network: most nearly 0, some large.
    #[test]
    fn a_fit_ends_where_values_are_orders_of_magnitude_apart() {
        for spread in [1.0, 4.0, 12.0] {
            let rows: Vec<_> =
                (0..3000).map(|i| ((spread * (f64::from(i * 7919 % 3000) / 750.0 - 3.0)).exp(), i % 2 == 0)).collect();
            let line = Logistic::fit(&rows).unwrap();
            let slope =
                |member: bool, x: f64| sigmoid(line.coefficient * x + line.intercept) - f64::from(u8::from(member));
            let along_w = rows.iter().map(|&(x, member)| slope(member, x) * x).sum::<f64>() + line.coefficient;
            let along_b: f64 = rows.iter().map(|&(x, member)| slope(member, x)).sum();
            let size = rows.iter().map(|r| r.0).fold(1.0, f64::max);
            assert!(along_w.abs() < 1e-6 * size && along_b.abs() < 1e-5, "{spread}: {along_w} {along_b}");
        }
    }

    #[test]
    fn balanced_sides_are_as_unbalanced_ones_repeated() {
        let rows: Vec<(f64, bool)> = (0..60).map(|i| (f64::from(i * 7 % 23), i % 3 == 0)).collect();
        let twice: Vec<_> = rows.iter().flat_map(|&r| if r.1 { vec![r, r] } else { vec![r] }).collect();
        // 20 members twice and 40 others once: weights of 80 / (2 · 40) = 1.
        let (balanced, plain) = (Logistic::fit_balanced(&twice).unwrap(), Logistic::fit(&twice).unwrap());
        assert!((balanced.coefficient - plain.coefficient).abs() < 1e-6, "{balanced:?} {plain:?}");
        assert!((balanced.intercept - plain.intercept).abs() < 1e-6, "{balanced:?} {plain:?}");
        let one_sided = [(1.0, true), (2.0, true)];
        assert_eq!((Logistic::fit_balanced(&one_sided), Logistic::fit_balanced(&[(f64::NAN, true)])), (None, None));
        let far: Vec<_> = (0..40).map(|i| (f64::from(i) * 1e3, i < 10)).collect();
        assert_eq!(Logistic::fit_balanced(&far).unwrap().accuracy(&far), 1.0);
    }

    #[test]
    fn the_side_of_the_first_row_does_not_matter() {
        let mut rows: Vec<_> = (0..60).map(|i| (f64::from(i % 17), i % 3 == 0)).collect();
        let one = Logistic::fit(&rows).unwrap();
        rows.reverse();
        let other = Logistic::fit(&rows).unwrap();
        assert!((one.coefficient - other.coefficient).abs() < 1e-8 && (one.intercept - other.intercept).abs() < 1e-8);
    }
}
