//! The parts of the objective: the coefficient of each loss in a step's gradient.
//!
//! With losses measured in a unit `u`, and τ the goal:
//!
//! ```text
//! J(θ) = a · ReLU((τ − L_f) / u)² + (1 − α) · L_r / u
//! ```
//!
//! In the published loop, `u` is 1 and `a` is α. A loss in another unit then changes the ratio of the two terms, since
//! only one is squared. With `u = τ`, J and its gradient have no unit: a loss times a constant gives the same steps.

/// The unit of losses, by the goal.
pub fn unit(goal: f64) -> f64 {
    // If unseen rows have no loss at all, there is nothing to measure and nothing to reach.
    if goal > 0.0 { goal } else { 1.0 }
}

/// The coefficient of the mean forget loss in the gradient of `weight · ReLU(distance)²`, with `distance = (τ − L_f) /
/// unit`. Never above 0.
pub fn hinge(weight: f64, distance: f64, unit: f64) -> f64 {
    -2.0 * weight * distance.max(0.0) / unit
}

/// The distance to the goal, as an exponentially weighted mean over the last steps.
///
/// The loss of a small batch varies by chance, and the hinge sees only losses below the goal. With the loss of one
/// small batch, it would keep pushing half of the time after the goal is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distance {
    mean: f64,
    steps: usize,
}

impl Distance {
    /// The mean over about `steps` steps, after a step with this distance.
    pub fn after(&mut self, distance: f64, steps: usize) -> f64 {
        self.steps = (self.steps + 1).min(steps.max(1));
        self.mean += (distance - self.mean) / self.steps as f64;
        self.mean
    }
}

/// λ, the weight of the forget term beyond α: the sum over the steps of `(τ − L_f) / u`, in passes over the forget set,
/// never below 0.
///
/// A hinge of fixed weight comes to rest where it balances the retain term: short of the goal, and the better the rows
/// were memorized, the shorter. This weight grows while the goal is not reached (by 1 in a pass without any progress)
/// and shrinks beyond it, so the loop comes to rest at the goal. Meanwhile the retain set suffers, so the step also
/// grows by the factor 1 + λ, to keep this time short.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Growth(f64);

impl Growth {
    /// The weight after one of `steps` steps in a pass, whose forget loss is `gap` units below the goal.
    pub fn after(&mut self, gap: f64, steps: usize) -> f64 {
        self.0 = (self.0 + gap / steps.max(1) as f64).max(0.0);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By central differences: the hinge is differentiable.
    fn slope(f: impl Fn(f64) -> f64, at: f64) -> f64 {
        (f(at + 1e-6) - f(at - 1e-6)) / 2e-6
    }

    #[test]
    fn the_coefficient_is_the_derivative_of_the_term() {
        for (goal, unit) in [(0.7, 1.0), (0.7, 0.7), (30.0, 2.0)] {
            for loss in [0.0, 0.1, 0.69, 0.8, 5.0] {
                let term = |l: f64| 0.25 * ((goal - l) / unit).max(0.0).powi(2);
                assert!((hinge(0.25, (goal - loss) / unit, unit) - slope(term, loss)).abs() < 1e-6);
            }
        }
    }

    /// ∇(c·l) is c·∇l: a coefficient of the scaled loss counts c times.
    #[test]
    fn only_the_published_terms_depend_on_the_unit_of_the_loss() {
        let (tau, loss, alpha) = (0.8, 0.3, 0.25);
        let published = |_: f64| 1.0;
        let ratio = |unit: fn(f64) -> f64, c: f64| {
            let unit = unit(c * tau);
            hinge(alpha, c * (tau - loss) / unit, unit) * unit / (1.0 - alpha)
        };
        let whole = |unit: fn(f64) -> f64, c: f64| {
            let unit = unit(c * tau);
            c * hinge(alpha, c * (tau - loss) / unit, unit)
        };
        for c in [0.04, 28.0] {
            assert!((ratio(unit, c) - ratio(unit, 1.0)).abs() < 1e-12);
            assert!((whole(unit, c) - whole(unit, 1.0)).abs() < 1e-12);
            assert!((ratio(published, c) / ratio(published, 1.0) - c).abs() < 1e-9);
        }
    }

    #[test]
    fn a_weight_grows_until_the_goal_is_reached() {
        let mut growth = Growth::default();
        let weights: Vec<f64> = [1.0, 1.0, 0.5, -1.0, -9.0, 0.5].iter().map(|&gap| growth.after(gap, 2)).collect();
        assert_eq!(weights, [0.5, 1.0, 1.25, 0.75, 0.0, 0.25]);
    }

    #[test]
    fn chance_evens_out_over_steps() {
        let mut distance = Distance::default();
        let means: Vec<f64> = [1.0, 0.0, 0.5, 1.25].iter().map(|&d| distance.after(d, 2)).collect();
        assert_eq!(means, [1.0, 0.5, 0.5, 0.875]);
        assert_eq!(Distance::default().after(0.3, 1), 0.3, "of a large batch, it alone");
    }

    #[test]
    fn no_unseen_loss_is_no_unit() {
        assert_eq!((unit(0.0), unit(0.3)), (1.0, 0.3));
    }
}
