//! The gradient check: our `⟨∇L, v⟩` against central differences of another runtime's loss along random directions.
//!
//! A direction `v` is normal, each parameter tensor's part scaled by the tensor's root mean square, so that every layer
//! is moved by a like share; a tensor that would outweigh the others in `⟨∇L, v⟩` is moved less, down to a tenth, so
//! that an error in theirs shows too.
//!
//! `(L(θ + hv) − L(θ − hv)) / 2h` is the mean of `⟨∇L(θ + tv), v⟩` over `−h ≤ t ≤ h`. Networks of Relu and MaxPool have
//! kinks everywhere, so that this mean is not the value at `θ` unless `h` is so small that rounding in `f32` spoils the
//! difference. Ours is therefore taken as the mean over six points of that segment. How much they
//! vary tells how far their mean may be off; that and rounding are the noise. The step is the one with the least noise,
//! and where the two sides seem to differ, all steps are asked, each weighed by its noise: what is wrong is wrong at
//! every step, and what is noise is not.

use super::random::Random;
use crate::{error::Result, tensor::DType};
use half::{bf16, f16};
use serde::Serialize;
use std::collections::BTreeMap;

/// A trainable tensor, as the gradient check moves it.
#[derive(Clone, Debug)]
pub struct Movable {
    /// Name under which the file stores it.
    pub name: String,
    /// Element type in the file: what a moved value is rounded to.
    pub dtype: DType,
    /// Values, row-major.
    pub values: Vec<f32>,
}

/// How the check is made.
#[derive(Clone, Copy, Debug)]
pub struct GradientOptions {
    /// Random directions over all parameters.
    pub directions: usize,
    /// Seed of the directions.
    pub seed: u64,
    /// Relative error that is still an agreement.
    pub tolerance: f64,
}

impl Default for GradientOptions {
    fn default() -> Self {
        Self { directions: 3, seed: 0, tolerance: 0.01 }
    }
}

/// What one direction showed.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Direction {
    /// `⟨∇L, v⟩` by our backward pass, mean over the segment.
    pub ours: f64,
    /// The central difference of the runtime's loss over the same segment.
    pub numeric: f64,
    /// By how much the two may differ though the gradient is right: kinks and rounding.
    pub noise: f64,
    /// Half the segment, as a share of the tensors' root mean squares.
    pub step: f64,
    /// `|ours − numeric|`, relative to the larger of `|numeric|` and its root mean square over the directions.
    pub rel_error: f64,
}

/// A parameter tensor whose gradient is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Failing {
    /// Its name.
    pub name: String,
    /// Derivative along the worst direction, this tensor's part alone, ours and numeric.
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
    /// Whether every direction agrees within the tolerance, or within the estimated noise of the differences (of which
    /// no more than 5 % of the derivative counts).
    pub passed: bool,
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
    /// One sentence.
    pub fn verdict(&self) -> String {
        if self.passed {
            return format!("agrees along {} directions (largest error {:.2e})", self.directions, self.max_rel_error);
        }
        let names: Vec<String> = self
            .failing
            .iter()
            .map(|f| format!("{} (ours {:.4e}, {} {:.4e})", f.name, f.ours, self.runtime, f.numeric))
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

/// New values of some parameters, by index; the others stay as they are.
pub type Moved = BTreeMap<usize, Vec<f32>>;

/// Steps, as shares of a tensor's root mean square: the first to try, then narrower and wider ones.
const STEPS: [f64; 6] = [1e-4, 3e-5, 1e-5, 5e-4, 3e-3, 2e-2];
/// The same for parameters in half precision, which take no small steps.
const HALF: [f64; 3] = [1e-2, 3e-2, 3e-3];
/// Points of a segment at which ours is taken, in units of the step: the midpoints of its sixths.
const POINTS: [f64; 6] = [-5.0 / 6.0, -0.5, -1.0 / 6.0, 1.0 / 6.0, 0.5, 5.0 / 6.0];
/// Noise below this share of the derivative is good enough not to look for a better step.
const QUIET: f64 = 0.003;
/// An error above this share of the derivative is looked into at every step.
const SUSPECT: f64 = 0.004;
/// Noise accounts for an error up to this share of the derivative, no more: a check must be able to fail.
const NOISE_LIMIT: f64 = 0.05;

/// The model under check, as functions of its moved parameters.
pub trait Moving {
    /// Mean loss of the runtime.
    fn loss(&mut self, moved: &Moved) -> Result<f64>;
    /// Our gradient of the mean loss, a vector a parameter.
    fn gradient(&mut self, moved: &Moved) -> Result<Vec<Vec<f32>>>;
}

struct Checker<'a> {
    parameters: &'a [Movable],
    scales: Vec<f64>,
    model: &'a mut dyn Moving,
    seed: u64,
    /// |L| at the parameters as they are.
    size: f64,
}

#[derive(Clone, Copy)]
struct Estimate {
    ours: f64,
    numeric: f64,
    /// Noise by kinks and by rounding.
    kinks: f64,
    rounding: f64,
    step: f64,
}

impl Estimate {
    fn noise(&self) -> f64 {
        self.kinks + self.rounding
    }

    fn error(&self) -> f64 {
        self.ours - self.numeric
    }

    fn is_quiet(&self) -> bool {
        self.noise() <= QUIET * self.numeric.abs()
    }
}

/// Checks the gradient of `model` with respect to `parameters` against differences of its loss.
///
/// # Errors
/// Those of `model`.
pub fn check(parameters: &[Movable], model: &mut dyn Moving, options: GradientOptions) -> Result<GradientReport> {
    let size = model.loss(&Moved::new())?.abs();
    let scales = scales(parameters, &model.gradient(&Moved::new())?);
    let mut checker = Checker { parameters, scales, model, seed: options.seed, size };
    let all: Vec<usize> = (0..parameters.len()).collect();
    let estimates = (0..options.directions.max(1) as u64)
        .map(|direction| checker.estimate(direction, &all))
        .collect::<Result<Vec<_>>>()?;
    let typical = (estimates.iter().map(|e| e.numeric.powi(2)).sum::<f64>() / estimates.len() as f64).sqrt();
    let mut checks = Vec::new();
    let (mut max_rel_error, mut passed, mut worst, mut largest) = (0f64, true, 0, -1f64);
    for (at, e) in estimates.iter().enumerate() {
        let scale = e.numeric.abs().max(typical);
        let error = (e.ours - e.numeric).abs();
        let noise = e.noise().min(NOISE_LIMIT * scale).max(e.rounding);
        let rel_error = if error == 0.0 { 0.0 } else { error / scale };
        // Comparisons are written so that a NaN, in a gradient or a loss, is larger than any error.
        passed &= error <= (options.tolerance * scale).max(noise);
        if !(rel_error <= max_rel_error) {
            max_rel_error = rel_error;
        }
        if !(error <= largest) {
            (worst, largest) = (at, error);
        }
        checks.push(Direction { ours: e.ours, numeric: e.numeric, noise: e.noise(), step: e.step, rel_error });
    }
    let failing = if passed { Vec::new() } else { checker.locate(worst as u64, typical, options.tolerance)? };
    Ok(GradientReport {
        directions: checks.len(),
        max_rel_error,
        passed,
        tolerance: options.tolerance,
        runtime: String::new(),
        rows: 0,
        checks,
        failing,
    })
}

/// What a step of 1 means for each tensor: its root mean square, but for tensors (near) zero a tenth of that of all
/// parameters together, so that zero biases are moved too; then evened out by the expected share in `⟨∇L, v⟩`.
fn scales(parameters: &[Movable], gradient: &[Vec<f32>]) -> Vec<f64> {
    let squares = |values: &[f32]| values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
    let count: usize = parameters.iter().map(|p| p.values.len()).sum();
    let overall = (parameters.iter().map(|p| squares(&p.values)).sum::<f64>() / count.max(1) as f64).sqrt();
    let least = if overall > 0.0 { 0.1 * overall } else { 0.01 };
    let size = |p: &Movable| (squares(&p.values) / p.values.len().max(1) as f64).sqrt().max(least);
    let sizes: Vec<f64> = parameters.iter().map(size).collect();
    let shares: Vec<f64> = sizes.iter().zip(gradient).map(|(size, g)| size * squares(g).sqrt()).collect();
    let mut sorted: Vec<f64> = shares.iter().copied().filter(|s| s.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let typical = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    let even = |share: f64| if typical > 0.0 && share.is_finite() { (typical / share).clamp(0.1, 2.0) } else { 1.0 };
    sizes.iter().zip(shares).map(|(size, share)| size * even(share)).collect()
}

fn rounded(x: f64, dtype: DType) -> f32 {
    match dtype {
        DType::F16 => f16::from_f64(x).to_f32(),
        DType::BF16 => bf16::from_f64(x).to_f32(),
        _ => x as f32,
    }
}

impl Checker<'_> {
    /// Compares the two along the direction restricted to the parameters in `which`, over a segment of half length `h`.
    fn segment(&mut self, direction: u64, which: &[usize], h: f64) -> Result<Estimate> {
        let (mut plus, mut minus) = (Moved::new(), Moved::new());
        for &at in which {
            let (Some(p), Some(scale)) = (self.parameters.get(at), self.scales.get(at)) else { continue };
            let mut random = Random::new(self.seed, (direction << 32) | at as u64);
            let steps: Vec<f64> = p.values.iter().map(|_| h * scale * random.normal()).collect();
            let end = |sign: f64| -> Vec<f32> {
                p.values.iter().zip(&steps).map(|(&x, s)| rounded(f64::from(x) + sign * s, p.dtype)).collect()
            };
            plus.insert(at, end(1.0));
            minus.insert(at, end(-1.0));
        }
        let numeric = (self.model.loss(&plus)? - self.model.loss(&minus)?) / (2.0 * h);
        // The segment that was really gone: the ends are rounded to the file's element type.
        let between = |t: f64, (a, b): (&f32, &f32)| {
            let (a, b) = (f64::from(*a), f64::from(*b));
            ((a + b) / 2.0 + t * (a - b) / 2.0) as f32
        };
        let mut slopes = Vec::new();
        for t in POINTS {
            let ends = plus.iter().zip(minus.values());
            let point = ends.map(|((at, a), b)| (*at, a.iter().zip(b).map(|pair| between(t, pair)).collect()));
            let gradient = self.model.gradient(&point.collect())?;
            let part = |((at, a), b): ((&usize, &Vec<f32>), &Vec<f32>)| {
                let g = gradient.get(*at).map(Vec::as_slice).unwrap_or_default();
                let ends = a.iter().zip(b).map(|(&a, &b)| f64::from(a) - f64::from(b));
                g.iter().zip(ends).map(|(&g, d)| f64::from(g) * d).sum::<f64>()
            };
            slopes.push(plus.iter().zip(minus.values()).map(part).sum::<f64>() / (2.0 * h));
        }
        let ours = slopes.iter().sum::<f64>() / slopes.len() as f64;
        let (low, high) = slopes.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &s| (l.min(s), h.max(s)));
        // A kink lies anywhere in its sixth of the segment.
        let kinks = if ours.is_finite() { (high - low) / (2.0 * slopes.len() as f64) } else { f64::NAN };
        let rounding = f64::from(f32::EPSILON) * self.size / h;
        Ok(Estimate { ours, numeric, kinks, rounding, step: h })
    }

    /// The same at the step with the least noise, or at all steps if there is reason to.
    fn estimate(&mut self, direction: u64, which: &[usize]) -> Result<Estimate> {
        let half = |&at: &usize| self.parameters.get(at).is_some_and(|p| matches!(p.dtype, DType::F16 | DType::BF16));
        let mut left = if which.iter().any(half) { HALF.to_vec() } else { STEPS.to_vec() };
        let mut best = self.segment(direction, which, left.remove(0))?;
        let mut tried = vec![best];
        while !best.is_quiet() {
            // Rounding asks for the next wider step, kinks for the next narrower one.
            let wider = best.rounding >= best.kinks;
            let beyond = |h: f64| if wider { h > best.step } else { h < best.step };
            let Some(at) = left.iter().position(|&h| beyond(h)) else { break };
            let other = self.segment(direction, which, left.remove(at))?;
            tried.push(other);
            if !(other.noise() < best.noise()) {
                break;
            }
            best = other;
        }
        if !(best.error().abs() <= SUSPECT * best.numeric.abs()) {
            for step in left {
                tried.push(self.segment(direction, which, step)?);
            }
            let weight = |e: &Estimate| 1.0 / e.noise().powi(2).max(f64::MIN_POSITIVE);
            let total: f64 = tried.iter().map(weight).sum();
            let error = tried.iter().map(|e| weight(e) * e.error()).sum::<f64>() / total;
            let noise = (2.0 / total.sqrt()).max(2.0 * best.rounding);
            best = Estimate { numeric: best.ours - error, kinks: noise, rounding: 0.0, ..best };
        }
        Ok(best)
    }

    /// Moves one tensor at a time along the direction that failed, and names those that are wrong.
    fn locate(&mut self, direction: u64, typical: f64, tolerance: f64) -> Result<Vec<Failing>> {
        let mut failing = Vec::new();
        for (at, parameter) in self.parameters.iter().enumerate() {
            let e = self.estimate(direction, &[at])?;
            let error = (e.ours - e.numeric).abs();
            let allowed = [2.0 * tolerance * e.numeric.abs(), 2.0 * e.noise(), 0.1 * tolerance * typical];
            if allowed.into_iter().all(|a| !(error <= a)) {
                let rel_error = error / e.numeric.abs();
                failing.push(Failing { name: parameter.name.clone(), ours: e.ours, numeric: e.numeric, rel_error });
            }
        }
        failing.sort_by(|a, b| (b.ours - b.numeric).abs().total_cmp(&(a.ours - a.numeric).abs()));
        Ok(failing)
    }
}

#[cfg(test)]
#[path = "gradient_tests.rs"]
mod tests;
