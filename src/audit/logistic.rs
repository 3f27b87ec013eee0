//! Logistic regression on one feature.
//!
//! Minimises `Σ ln(1 + exp(−yᵢ(w·xᵢ + b))) + w²/2` over `w` and `b`, with labels `y` of −1 and 1: an L2 penalty with
//! `C = 1` that leaves the intercept alone, as scikit-learn's `LogisticRegression` has it. The fit is linfa's, by L-BFGS
//! to a gradient of 1e-7. (scikit-learn's default tolerance stops far earlier where the feature is small, and then
//! misses a leak; given a small one, it finds the same line.)

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
    fn the_side_of_the_first_row_does_not_matter() {
        let mut rows: Vec<_> = (0..60).map(|i| (f64::from(i % 17), i % 3 == 0)).collect();
        let one = Logistic::fit(&rows).unwrap();
        rows.reverse();
        let other = Logistic::fit(&rows).unwrap();
        assert!((one.coefficient - other.coefficient).abs() < 1e-8 && (one.intercept - other.intercept).abs() < 1e-8);
    }
}
