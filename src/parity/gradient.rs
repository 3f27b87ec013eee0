//! The gradient check: our `⟨∇L, v⟩` against central differences of another runtime's loss along random directions.
//!
//! A direction `v` is normal, each parameter tensor's part scaled by the tensor's root mean square, so that every layer
//! is moved by a like share; a tensor that would outweigh the others in `⟨∇L, v⟩` is moved less, down to a tenth, so
//! that an error in theirs shows too. With `D(h) = (L(θ + hv) − L(θ − hv)) / 2h`, Richardson's
//! `R(h) = (4·D(h/2) − D(h)) / 3` removes the error in h². The step is the one at which `R(h)` and `R(h/2)` agree
//! best: rounding in `f32` spoils small steps, curvature and kinks (Relu, MaxPool) large ones, and what they still
//! disagree by is the estimated noise.

#![allow(clippy::indexing_slicing)] // WINDOWS indexes STEPS, both constants of this file

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
    /// `⟨∇L, v⟩` by our backward pass.
    pub ours: f64,
    /// The same by central differences of the runtime's loss.
    pub numeric: f64,
    /// Estimated error of `numeric`.
    pub noise: f64,
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

/// Steps, as shares of a tensor's root mean square. The first three are always taken.
const STEPS: [f64; 8] = [1e-2, 5e-3, 2.5e-3, 1.25e-3, 6.25e-4, 2e-2, 4e-2, 8e-2];
/// Places in [`STEPS`] of `h`, `h/2`, `h/4`.
const WINDOWS: [[usize; 3]; 6] = [[0, 1, 2], [1, 2, 3], [2, 3, 4], [5, 0, 1], [6, 5, 0], [7, 6, 5]];
/// Noise below this share of the derivative is good enough not to look for a better step.
const QUIET: f64 = 0.002;
/// Noise accounts for an error up to this share of the derivative, no more: a check must be able to fail.
const NOISE_LIMIT: f64 = 0.05;

struct Checker<'a> {
    parameters: &'a [Movable],
    gradient: &'a [Vec<f32>],
    scales: Vec<f64>,
    loss: &'a mut dyn FnMut(&Moved) -> Result<f64>,
    seed: u64,
    /// |L| at the parameters as they are.
    size: f64,
}

struct Estimate {
    ours: f64,
    numeric: f64,
    noise: f64,
}

/// Checks `gradient` (of the mean loss, in order of `parameters`) against differences of `loss`, which evaluates the
/// mean loss with some parameters moved.
///
/// # Errors
/// Those of `loss`.
pub fn check(
    parameters: &[Movable],
    gradient: &[Vec<f32>],
    loss: &mut dyn FnMut(&Moved) -> Result<f64>,
    options: GradientOptions,
) -> Result<GradientReport> {
    let size = loss(&Moved::new())?.abs();
    let mut checker =
        Checker { parameters, gradient, scales: scales(parameters, gradient), loss, seed: options.seed, size };
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
        let noise = e.noise.min(NOISE_LIMIT * scale).max(checker.rounding());
        let rel_error = if error == 0.0 { 0.0 } else { error / scale };
        // Comparisons are written so that a NaN, in a gradient or a loss, is larger than any error.
        passed &= error <= (options.tolerance * scale).max(noise);
        if !(rel_error <= max_rel_error) {
            max_rel_error = rel_error;
        }
        if !(error <= largest) {
            (worst, largest) = (at, error);
        }
        checks.push(Direction { ours: e.ours, numeric: e.numeric, noise: e.noise, rel_error });
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
    /// What rounding of the loss itself to `f32` can do to a difference quotient at the middle step.
    fn rounding(&self) -> f64 {
        4.0 * f64::from(f32::EPSILON) * self.size / STEPS[1]
    }

    /// `D(h)` along the direction restricted to the parameters in `which`, and `⟨∇L, v⟩` for the `v` that was really
    /// gone, which rounding to the file's element type bends a little.
    fn difference(&mut self, direction: u64, which: &[usize], h: f64) -> Result<(f64, f64)> {
        let (mut plus, mut minus, mut ours) = (Moved::new(), Moved::new(), 0f64);
        for &at in which {
            let (Some(p), Some(g), Some(scale)) = (self.parameters.get(at), self.gradient.get(at), self.scales.get(at))
            else {
                continue;
            };
            let mut random = Random::new(self.seed, (direction << 32) | at as u64);
            let (mut up, mut down) = (Vec::with_capacity(p.values.len()), Vec::with_capacity(p.values.len()));
            for (&x, &g) in p.values.iter().zip(g) {
                let step = h * scale * random.normal();
                let (a, b) = (rounded(f64::from(x) + step, p.dtype), rounded(f64::from(x) - step, p.dtype));
                ours += f64::from(g) * (f64::from(a) - f64::from(b)) / (2.0 * h);
                up.push(a);
                down.push(b);
            }
            plus.insert(at, up);
            minus.insert(at, down);
        }
        Ok((((self.loss)(&plus)? - (self.loss)(&minus)?) / (2.0 * h), ours))
    }

    fn estimate(&mut self, direction: u64, which: &[usize]) -> Result<Estimate> {
        let mut known: [Option<(f64, f64)>; STEPS.len()] = [None; STEPS.len()];
        let mut best: Option<Estimate> = None;
        for window in WINDOWS {
            let mut points = [(0.0, 0.0); 3];
            for (place, point) in window.into_iter().zip(&mut points) {
                *point = match known[place] {
                    Some(value) => value,
                    None => self.difference(direction, which, STEPS[place])?,
                };
                known[place] = Some(*point);
            }
            let [(d1, _), (d2, _), (d4, ours)] = points;
            // The small differences in the direction really gone are made up for, before the steps are compared.
            let level = |(d, o): (f64, f64)| d + (ours - o);
            let (d1, d2) = (level((d1, points[0].1)), level((d2, points[1].1)));
            let (coarse, fine) = ((4.0 * d2 - d1) / 3.0, (4.0 * d4 - d2) / 3.0);
            let noise = (coarse - fine).abs();
            let estimate = Estimate { ours, numeric: fine, noise };
            if best.as_ref().is_none_or(|b| !(b.noise <= noise)) {
                best = Some(estimate);
            }
            if best.as_ref().is_some_and(|b| b.noise <= QUIET * b.numeric.abs()) {
                break;
            }
        }
        Ok(best.unwrap_or(Estimate { ours: f64::NAN, numeric: f64::NAN, noise: f64::NAN }))
    }

    /// Moves one tensor at a time along the direction that failed, and names those that are wrong.
    fn locate(&mut self, direction: u64, typical: f64, tolerance: f64) -> Result<Vec<Failing>> {
        let mut failing = Vec::new();
        for (at, parameter) in self.parameters.iter().enumerate() {
            let e = self.estimate(direction, &[at])?;
            let error = (e.ours - e.numeric).abs();
            let allowed =
                [2.0 * tolerance * e.numeric.abs(), 2.0 * e.noise, self.rounding(), 0.1 * tolerance * typical];
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
