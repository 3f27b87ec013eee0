//! The gradient check: is our `∇L` that of the function which another runtime computes?
//!
//! A runtime's loss is a function in `f32`. Its difference quotients have the rounding error `ε/h`: networks of Relu and
//! MaxPool have kinks everywhere, so that a step wide enough for rounding is too wide for the derivative. The two are
//! therefore compared through a third, our own forward pass in `f64` by the kernels' definitions:
//!
//! 1. *Derivative.* `⟨∇L, v⟩` of our backward pass against `(L(θ₀ + hv) − L(θ₀ − hv)) / 2h` of the loss in `f64`, with an
//!    `h` so small that neither kinks nor rounding matter. No backward pass has a part in the difference. A value within
//!    `f32`'s rounding of a kink may lie on its other side in `f64`, where the derivative is another: at one point, and
//!    not at the next, while a wrong gradient is wrong everywhere. If they do not agree, the median of five points decides.
//! 2. *Change.* `(L(θ + Hv) − L(θ − Hv)) / 2H` of the loss in `f64` against the same of the runtime's. Both walk the same
//!    way and meet the same kinks, so `H` may be so large that the runtime's rounding does not matter.
//!
//! Along a random direction `v` both must agree within the tolerance, what each is uncertain by included. Nothing is
//! excused: if the uncertainty leaves it open whether they agree, the result is that nothing was shown.
//!
//! `v` is normal, each parameter tensor's part scaled by the tensor's root mean square and evened out by its share in
//! `⟨∇L, v⟩`, so that an error in every tensor shows. `θ₀` is a small way from `θ` along `v`: at `θ` itself values may lie
//! on a kink exactly, as where a bias is zero.

use super::{
    bisect,
    direction::{Directions, Movable},
    halves::change_tolerance,
    slopes::{Finding, Slopes},
};
use crate::{error::Result, tensor::DType};
use serde::Serialize;
use std::collections::BTreeMap;

/// How the check is made.
#[derive(Clone, Copy, Debug)]
pub struct GradientOptions {
    /// Random directions over all parameters.
    pub directions: usize,
    /// Seed of the directions.
    pub seed: u64,
    /// Relative error that is still an agreement.
    pub tolerance: f64,
    /// The half type that the runtime computes in, if it does: its loss then has steps, and is compared less exactly.
    pub half: Option<DType>,
}

impl Default for GradientOptions {
    fn default() -> Self {
        Self { directions: 3, seed: 0, tolerance: 0.01, half: None }
    }
}

/// What one direction showed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Direction {
    /// `⟨∇L, v⟩` by our backward pass, against a difference of our loss in `f64`.
    #[serde(flatten)]
    pub derivative: Slopes,
    /// A difference of our loss in `f64`, against that of the runtime's.
    pub change: Slopes,
}

/// A parameter tensor whose gradient is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Failing {
    /// Its name.
    pub name: String,
    /// Slope along the worst direction, this tensor's part alone, ours and numeric.
    pub ours: f64,
    /// See `ours`.
    pub numeric: f64,
    /// `|ours − numeric| / |numeric|`.
    pub rel_error: f64,
}

/// The result of the gradient check.
#[derive(Clone, Debug, Serialize)]
pub struct GradientReport {
    /// Number of directions.
    pub directions: usize,
    /// Largest relative error of a direction.
    pub max_rel_error: f64,
    /// Largest relative uncertainty of a direction.
    pub max_rel_noise: f64,
    /// Whether both comparisons agree within the tolerance along every direction, their uncertainty included.
    pub passed: bool,
    /// If it neither passed nor failed: why nothing could be shown.
    pub not_shown: Option<String>,
    /// The relative error that is still an agreement.
    pub tolerance: f64,
    /// The runtime whose loss was differenced.
    pub runtime: String,
    /// Rows in the mean loss.
    pub rows: usize,
    /// Each direction.
    pub checks: Vec<Direction>,
    /// If it failed: the tensors that are wrong, the worst first.
    pub failing: Vec<Failing>,
}

impl GradientReport {
    /// Whether the gradient was shown to be wrong.
    pub fn failed(&self) -> bool {
        !self.passed && self.not_shown.is_none()
    }

    /// One sentence.
    pub fn verdict(&self) -> String {
        if self.passed {
            return format!("agrees along {} directions (largest error {:.2e})", self.directions, self.max_rel_error);
        }
        if let Some(why) = &self.not_shown {
            return format!("not shown: {why}");
        }
        let names: Vec<String> = self
            .failing
            .iter()
            .map(|f| format!("{} (ours {:.4e}, numeric {:.4e})", f.name, f.ours, f.numeric))
            .collect();
        let which = match names.as_slice() {
            [] => "no single parameter tensor stands out".into(),
            some => format!("wrong for: {}", some.join(", ")),
        };
        format!(
            "relative error {:.3e} along a random direction, allowed {:.0e}; {which}",
            self.max_rel_error, self.tolerance
        )
    }
}

/// New values of some parameters, by index, as the file can hold them; the others stay as they are.
pub type Moved = BTreeMap<usize, Vec<f32>>;
/// The same, between what the file can hold.
pub type MovedExactly = BTreeMap<usize, Vec<f64>>;

/// The model under check, as functions of its moved parameters.
pub trait Moving {
    /// Mean loss of the runtime.
    ///
    /// # Errors
    /// Those of the runtime.
    fn loss(&mut self, moved: &Moved) -> Result<f64>;
    /// Our mean loss in `f64`, by the kernels' definitions.
    ///
    /// # Errors
    /// Those of the model.
    fn exact(&mut self, moved: &MovedExactly) -> Result<f64>;
    /// Our gradient of the mean loss, a vector a parameter.
    ///
    /// # Errors
    /// Those of the model.
    fn gradient(&mut self, moved: &Moved) -> Result<Vec<Vec<f32>>>;
    /// Told how far the check is: so many of so many.
    ///
    /// # Errors
    /// To end it.
    fn watch(&mut self, _done: usize, _of: usize) -> Result<()> {
        Ok(())
    }
}

/// How far from the parameters derivatives are compared, in shares of the root mean squares like all steps.
const NEAR: [f64; 5] = [1e-3, 2e-3, 3e-3, 4e-3, 5e-3];
/// Steps of the differences in `f64`: the first serves unless the loss hardly changes or a kink is near.
pub(super) const STEPS: [f64; 5] = [1e-7, 1e-8, 1e-6, 1e-5, 1e-4];
/// Steps of the changes that are compared with the runtime's.
const LENGTHS: [f64; 4] = [1e-2, 3e-2, 1e-1, 3e-1];
/// The same, where the runtime's loss has steps.
const LONGER: [f64; 4] = [3e-2, 1e-1, 3e-1, 1.0];
/// An uncertainty below this share of the tolerance calls for no other step.
const QUIET: f64 = 0.1;

/// A point at which derivatives are compared, with our gradient and our loss in `f64` there.
pub(super) struct At {
    point: Moved,
    gradient: Vec<Vec<f32>>,
    here: f64,
}

pub(super) struct Checker<'a> {
    directions: Directions<'a>,
    model: &'a mut dyn Moving,
    tolerance: f64,
    half: Option<DType>,
    /// Between the largest and the smallest of what the runtime's loss and ours differ by where nothing has moved far.
    spread: f64,
}

/// Checks the gradient of `model` with respect to `parameters`.
///
/// # Errors
/// Those of `model`.
pub fn check(parameters: &[Movable], model: &mut dyn Moving, options: GradientOptions) -> Result<GradientReport> {
    let gradient = model.gradient(&Moved::new())?;
    let number = options.directions.max(1) as u64;
    let directions = Directions::new(parameters, &gradient, options.seed, number);
    let mut checker = Checker { directions, model, tolerance: options.tolerance, half: options.half, spread: 0.0 };
    checker.report(number)
}

impl Checker<'_> {
    fn report(&mut self, number: u64) -> Result<GradientReport> {
        let (derivatives, near): (Vec<Slopes>, Vec<f64>) = self.derivatives(number)?.into_iter().unzip();
        let mut changes = Vec::new();
        let changed = change_tolerance(self.half, self.tolerance);
        for length in if self.half.is_some() { LONGER } else { LENGTHS } {
            let all = self.directions.all();
            changes = Vec::new();
            for direction in 0..number {
                self.model.watch((number + direction) as usize, 2 * number as usize)?;
                changes.push(self.change(direction, &all, length)?);
            }
            Slopes::relate(&mut changes);
            if changes.iter().all(|c| c.finding(changed) == Finding::Agrees) {
                break;
            }
        }
        let worst = |slopes: &[Slopes], finding, tolerance| {
            let found = slopes.iter().enumerate().filter(|(_, s)| s.finding(tolerance) == finding);
            let larger = |a: &(usize, &Slopes), b: &(usize, &Slopes)| a.1.error().total_cmp(&b.1.error());
            found.max_by(larger).map(|(at, slopes)| (at as u64, *slopes))
        };
        let both = |finding| (worst(&derivatives, finding, self.tolerance), worst(&changes, finding, changed));
        let (wrong, open) = (both(Finding::Differs), both(Finding::Open));
        let rounds = self.half.map_or(String::new(), |dtype| format!(", since it is computed in {dtype}"));
        let not_shown = match (wrong, open) {
            ((None, None), (Some((_, slopes)), _)) => Some(slopes.doubt("our loss in f64")),
            ((None, None), (None, Some((_, slopes)))) => Some(slopes.doubt("the runtime's loss") + &rounds),
            _ => None,
        };
        let failing = match wrong {
            (Some((direction, _)), _) => {
                let near = near.get(direction as usize).copied().unwrap_or_default();
                bisect::derivative(self, direction, near)?
            }
            (None, Some((direction, slopes))) => bisect::change(self, direction, slopes.step)?,
            (None, None) => Vec::new(),
        };
        self.model.watch(2 * number as usize, 2 * number as usize)?;
        let all = || derivatives.iter().chain(&changes);
        let agree = |slopes: &[Slopes], tolerance| slopes.iter().all(|s| s.finding(tolerance) == Finding::Agrees);
        // `f64::max` would lose a NaN.
        let largest = |of: fn(&Slopes) -> f64| all().map(of).fold(0.0, |a, b| if b <= a { a } else { b });
        Ok(GradientReport {
            directions: derivatives.len(),
            max_rel_error: largest(|s| s.rel_error),
            max_rel_noise: largest(|s| s.rel_noise),
            passed: agree(&derivatives, self.tolerance) && agree(&changes, changed),
            not_shown,
            tolerance: self.tolerance,
            runtime: String::new(),
            rows: 0,
            failing,
            checks: derivatives
                .iter()
                .zip(&changes)
                .map(|(&derivative, &change)| Direction { derivative, change })
                .collect(),
        })
    }

    /// Our derivatives beside differences, a direction each, and how far from the parameters: at the first points where
    /// all directions agree, else for each the median of all points.
    fn derivatives(&mut self, number: u64) -> Result<Vec<(Slopes, f64)>> {
        let mut offsets = vec![self.offset(&Moved::new())?.0];
        let mut passes = Vec::new();
        for near in NEAR {
            let mut pass = Vec::new();
            for direction in 0..number {
                self.model.watch(direction as usize, 2 * number as usize)?;
                let point = self.directions.point(direction, &self.all(), near);
                let (offset, here) = self.offset(&point)?;
                offsets.push(offset);
                let gradient = self.model.gradient(&point)?;
                pass.push(self.derivative(direction, &self.all(), &At { point, gradient, here }, &STEPS)?);
            }
            Slopes::relate(&mut pass);
            let agree = pass.iter().all(|s| s.finding(self.tolerance) == Finding::Agrees);
            passes.push((pass, near));
            if agree {
                break;
            }
        }
        let (low, high) = offsets.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &x| (l.min(x), h.max(x)));
        self.spread = high - low;
        let agreed = passes.len() < NEAR.len();
        let of = |direction: usize| {
            let mut all: Vec<_> =
                passes.iter().filter_map(|(pass, near)| Some((*pass.get(direction)?, *near))).collect();
            if agreed {
                return all.pop();
            }
            all.sort_by(|(a, _), (b, _)| (a.rel_error + a.rel_noise).total_cmp(&(b.rel_error + b.rel_noise)));
            all.get(all.len() / 2).copied()
        };
        Ok((0..passes.first().map_or(0, |(pass, _)| pass.len())).filter_map(of).collect())
    }

    /// What the runtime's loss exceeds ours by, and ours.
    fn offset(&mut self, point: &Moved) -> Result<(f64, f64)> {
        let ours = self.model.exact(&exactly(point))?;
        Ok((self.model.loss(point)? - ours, ours))
    }

    /// Our derivative along `direction` of the tensors in `which` alone, beside the difference by the one of `steps` that is
    /// least uncertain.
    pub(super) fn derivative(&mut self, direction: u64, which: &[usize], at: &At, steps: &[f64]) -> Result<Slopes> {
        let ours = self.directions.along(direction, which, &at.gradient);
        let mut best: Option<Slopes> = None;
        for &h in steps {
            let mut loss = |h: f64| self.model.exact(&self.directions.beside(direction, which, &at.point, h));
            let (plus, minus) = (loss(h)?, loss(-h)?);
            let numeric = (plus - minus) / (2.0 * h);
            // Half of what the slopes on both sides differ by: all that a kink between them can do.
            let kink = ((plus - at.here) - (at.here - minus)).abs() / (2.0 * h);
            let rounding = f64::EPSILON * at.here.abs() / h;
            let found = Slopes::new(ours, numeric, kink + rounding, h);
            if best.is_none_or(|b| !(b.noise <= found.noise)) {
                best = Some(found);
            }
            if found.noise <= QUIET * self.tolerance * numeric.abs() {
                break;
            }
        }
        Ok(best.unwrap_or(Slopes::new(ours, f64::NAN, f64::NAN, 0.0)))
    }

    /// The change from `θ − length·v` to `θ + length·v`, of the tensors in `which` alone.
    pub(super) fn change(&mut self, direction: u64, which: &[usize], length: f64) -> Result<Slopes> {
        let plus = self.directions.point(direction, which, length);
        let minus = self.directions.point(direction, which, -length);
        let slope = |plus: f64, minus: f64| (plus - minus) / (2.0 * length);
        let (up, down) = (self.model.loss(&plus)?, self.model.loss(&minus)?);
        let theirs = slope(up, down);
        let ours = slope(self.model.exact(&exactly(&plus))?, self.model.exact(&exactly(&minus))?);
        // The spread of four is about twice the standard deviation, and each end has its own error; a loss that is as
        // good as constant is rounded the same way everywhere.
        let rounding = self.spread + f64::from(f32::EPSILON) * up.abs();
        Ok(Slopes::new(ours, theirs, rounding / length, length))
    }

    /// Our gradient and our loss at the point `near` on `direction`.
    pub(super) fn at(&mut self, direction: u64, near: f64) -> Result<At> {
        let point = self.directions.point(direction, &self.all(), near);
        let gradient = self.model.gradient(&point)?;
        let here = self.model.exact(&exactly(&point))?;
        Ok(At { point, gradient, here })
    }

    /// The indices of all parameters.
    pub(super) fn all(&self) -> Vec<usize> {
        self.directions.all()
    }

    /// The name of a parameter.
    pub(super) fn name(&self, at: usize) -> String {
        self.directions.name(at)
    }
}

fn exactly(moved: &Moved) -> MovedExactly {
    moved.iter().map(|(&at, values)| (at, values.iter().map(|&x| x.into()).collect())).collect()
}

#[cfg(test)]
mod tests;
