//! The published loop, formula by formula (arXiv 2403.14339, section 4, and the authors' code for images; the numbers are
//! this file's):
//!
//! ```text
//! (1)  L(θ) = α · ReLU(τ − L_f(θ))² + (1 − α) · L_r(θ)           the objective of one step
//! (2)  ∇L   = −2α · ReLU(τ − L_f) · ∇L_f + (1 − α) · ∇L_r        its gradient
//! (3)  τ    = mean loss of the validation rows                    a constant in (2), computed every 5 epochs
//! (4)  α    = α₀ · (1 − e/E)                                      in epoch e of E, counted from 0
//! (5)  η    = η₀ · (1 − (1 − 1/10) · e/E)                         AdamW's learning rate
//! ```

use super::{Forgotten, Rule, Step, Unseen};
use crate::schedule::{FINAL_LEARNING_RATE, Schedule, TAU_EVERY};

/// The rule of the paper. It keeps nothing from step to step.
pub(super) struct Published<'a>(pub(super) &'a Schedule);

impl Rule for Published<'_> {
    /// (3)
    fn renews_tau(&self, epoch: usize, _: Option<&Unseen>) -> bool {
        epoch.is_multiple_of(TAU_EVERY)
    }

    /// e/E
    fn done(&self, epoch: usize, _: usize) -> f64 {
        epoch as f64 / self.0.epochs as f64
    }

    /// (2), with (4) and (5)
    fn step(&mut self, forget: &Forgotten<'_>) -> Step {
        let tau = forget.unseen.all.mean;
        let alpha = self.0.alpha(forget.done);
        Step {
            forget: -2.0 * alpha * (tau - forget.loss).max(0.0),
            retain: 1.0 - alpha,
            rate: self.0.learning_rate * (1.0 - (1.0 - FINAL_LEARNING_RATE) * forget.done),
            goal: tau,
            alpha,
            weight: alpha,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    #[test]
    fn alpha_the_rate_and_tau_change_with_epochs() {
        let schedule = Schedule::new(&Settings::default(), 7_500, 42_500).published();
        let rule = Published(&schedule);
        assert_eq!([rule.done(8, 240), rule.done(8, 255), rule.done(15, 479)], [0.5, 0.5, 15.0 / 16.0]);
        assert_eq!([0, 1, 4, 5, 10].map(|epoch| rule.renews_tau(epoch, None)), [true, false, false, true, true]);
    }
}
