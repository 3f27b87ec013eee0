//! Logistic regression on one feature, fitted to the end.
//!
//! Minimises `Σ ln(1 + exp(−yᵢ(w·xᵢ + b))) + w²/2` over `w` and `b`, with labels `y` of −1 and 1: an L2 penalty with
//! `C = 1` that leaves the intercept alone, as scikit-learn's `LogisticRegression` has it. With two parameters, Newton's
//! method reaches the one minimum to rounding in a few steps. (scikit-learn's default tolerance stops earlier where the
//! feature is small, and then misses a leak.)

/// A fitted line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logistic {
    /// Slope `w`.
    pub coefficient: f64,
    /// Intercept `b`.
    pub intercept: f64,
}

impl Logistic {
    /// Fits `(x, member)` pairs. Without any, or with values that are not finite, the line is flat.
    pub fn fit(rows: &[(f64, bool)]) -> Self {
        let flat = Self { coefficient: 0.0, intercept: 0.0 };
        if rows.is_empty() || rows.iter().any(|r| !r.0.is_finite()) {
            return flat;
        }
        // The intercept carries no penalty, so that moving the feature's origin changes nothing but rounding.
        let mean = rows.iter().map(|r| r.0).sum::<f64>() / rows.len() as f64;
        let centred: Vec<(f64, f64)> = rows.iter().map(|r| (r.0 - mean, if r.1 { 1.0 } else { -1.0 })).collect();
        let (mut w, mut b) = (0.0, 0.0);
        let mut value = objective(&centred, w, b);
        for _ in 0..200 {
            let (gradient, [hww, hwb, hbb]) = derivatives(&centred, w, b);
            if gradient.0.abs().max(gradient.1.abs()) < 1e-11 * rows.len() as f64 {
                break;
            }
            let determinant = hww * hbb - hwb * hwb;
            let (dw, db) = if determinant > 1e-300 {
                (
                    (hwb * gradient.1 - hbb * gradient.0) / determinant,
                    (hwb * gradient.0 - hww * gradient.1) / determinant,
                )
            } else {
                (-gradient.0, -gradient.1)
            };
            let slope = dw * gradient.0 + db * gradient.1;
            let mut step = 1.0;
            let next = loop {
                let next = objective(&centred, w + step * dw, b + step * db);
                if next <= value + 1e-4 * step * slope || step < 1e-12 {
                    break next;
                }
                step *= 0.5;
            };
            (w, b) = (w + step * dw, b + step * db);
            if next >= value {
                break;
            }
            value = next;
        }
        Self { coefficient: w, intercept: b - w * mean }
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

/// `ln(1 + eˣ)` without overflow.
pub(super) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `1 / (1 + e⁻ˣ)`
pub(super) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

fn objective(rows: &[(f64, f64)], w: f64, b: f64) -> f64 {
    rows.iter().map(|&(x, y)| softplus(-y * (w * x + b))).sum::<f64>() + 0.5 * w * w
}

/// Gradient, and the three distinct second derivatives.
fn derivatives(rows: &[(f64, f64)], w: f64, b: f64) -> ((f64, f64), [f64; 3]) {
    let (mut gw, mut gb, mut hww, mut hwb, mut hbb) = (w, 0.0, 1.0, 0.0, 0.0);
    for &(x, y) in rows {
        let p = sigmoid(w * x + b);
        let residual = if y > 0.0 { -sigmoid(-(w * x + b)) } else { p };
        gw += residual * x;
        gb += residual;
        let s = p * sigmoid(-(w * x + b));
        hww += s * x * x;
        hwb += s * x;
        hbb += s;
    }
    ((gw, gb), [hww, hwb, hbb])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_inputs_end_in_a_finite_line() {
        let separable: Vec<_> = (0..40).map(|i| (f64::from(i) * 1e3, i < 20)).collect();
        let line = Logistic::fit(&separable);
        assert_eq!(line.accuracy(&separable), 1.0);
        let constant = vec![(5.0, true), (5.0, false), (5.0, true), (5.0, false)];
        let line = Logistic::fit(&constant);
        assert!(line.coefficient.abs() < 1e-9 && line.intercept.abs() < 1e-9, "{line:?}");
        let outlier: Vec<_> = (0..100).map(|i| (if i == 99 { 1e12 } else { f64::from(i) }, i % 2 == 0)).collect();
        let line = Logistic::fit(&outlier);
        assert!(line.coefficient.is_finite() && line.intercept.is_finite());
        for rows in [vec![], vec![(f64::NAN, true), (1.0, false)]] {
            assert_eq!(Logistic::fit(&rows), Logistic { coefficient: 0.0, intercept: 0.0 });
        }
    }

    #[test]
    fn the_gradient_vanishes_at_the_fit() {
        let rows: Vec<_> = (0..300).map(|i| ((f64::from(i) * 0.7).sin().powi(2) * 3.0, i % 3 == 0)).collect();
        let line = Logistic::fit(&rows);
        let signed: Vec<_> = rows.iter().map(|r| (r.0, if r.1 { 1.0 } else { -1.0 })).collect();
        let (gradient, _) = derivatives(&signed, line.coefficient, line.intercept);
        assert!(gradient.0.abs() < 1e-7 && gradient.1.abs() < 1e-7, "{gradient:?}");
    }
}
