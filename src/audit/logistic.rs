//! Logistic regression on one feature.
//!
//! Minimises `Σ ln(1 + exp(−yᵢ(w·xᵢ + b))) + w²/2` over `w` and `b`, with labels `y` of −1 and 1: an L2 penalty with
//! `C = 1` that leaves the intercept alone, as scikit-learn's `LogisticRegression` has it. The fit is linfa's, by L-BFGS
//! to a gradient of 1e-7. (scikit-learn's default tolerance stops far earlier where the feature is small, and then
//! misses a leak; given a small one, it finds the same line.)

use super::signals::{sigmoid, softplus};
use linfa::prelude::{Dataset, Fit};
use linfa_logistic::LogisticRegression;
use linfa_ndarray::{Array1, Array2};

/// A fitted line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logistic {
    /// Slope `w`.
    pub coefficient: f64,
    /// Intercept `b`.
    pub intercept: f64,
}

impl Logistic {
    /// Fits `(x, member)` pairs. `None` if only one side is there, a value is not finite, or there is no convergence.
    pub fn fit(rows: &[(f64, bool)]) -> Option<Self> {
        let x = Array2::from_shape_vec((rows.len(), 1), rows.iter().map(|r| r.0).collect()).ok()?;
        let y = Array1::from_vec(rows.iter().map(|r| r.1).collect());
        let fitted = LogisticRegression::<f64>::default()
            .alpha(1.0)
            .gradient_tolerance(1e-7)
            .max_iterations(1000)
            .fit(&Dataset::new(x, y))
            .ok()?;
        // linfa counts the class of the first row, or the larger one, as the positive one.
        let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
        let coefficient = sign * *fitted.params().first()?;
        let intercept = sign * fitted.intercept();
        (coefficient.is_finite() && intercept.is_finite()).then_some(Self { coefficient, intercept })
    }

    /// Fits `(x, member)` pairs of which each side has half of the weight, whatever its number of rows: each term is
    /// multiplied by n / (2 · rows of its side), as scikit-learn's `class_weight="balanced"` has it, which linfa cannot.
    /// By Newton's method with halved steps. `None` as for [`fit`](Self::fit).
    pub fn fit_balanced(rows: &[(f64, bool)]) -> Option<Self> {
        let n = rows.len() as f64;
        let members = rows.iter().filter(|r| r.1).count() as f64;
        if members == 0.0 || members == n || rows.iter().any(|r| !r.0.is_finite()) {
            return None;
        }
        let side = |member: bool| if member { (n / (2.0 * members), 1.0) } else { (n / (2.0 * (n - members)), -1.0) };
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
            // A step that changes nothing in the digits that there are is the end.
            let better = shares.map(|s| (w - s * step.0, b - s * step.1)).find(|&(w, b)| cost(w, b) < current);
            let Some(next) = better else {
                return (w.is_finite() && b.is_finite()).then_some(Self { coefficient: w, intercept: b });
            };
            (w, b) = next;
            current = cost(w, b);
        }
        None
    }

    /// Whether the line takes `x` for a member's.
    pub fn predict(&self, x: f64) -> bool {
        self.coefficient * x + self.intercept > 0.0
    }

    /// Share of rows that the line is right about.
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
