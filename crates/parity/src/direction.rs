//! Random directions in the space of all parameters, and the points along them.

use super::{
    gradient::{Moved, MovedExactly},
    random::Random,
};
use crate::tensor::DType;

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

/// Draws of a direction, at most.
const MOST_DRAWS: u64 = 16;
/// A direction is drawn again if `⟨∇L, v⟩` is below this share of what it is expected to be: in a small model whose rows of
/// weights have opposite gradients, the coins may cancel each other.
const LEAST_SLOPE: f64 = 1e-3;

/// Directions `v`: each element is `±scale` of its tensor, by a seeded coin.
pub(super) struct Directions<'a> {
    parameters: &'a [Movable],
    scales: Vec<f64>,
    seed: u64,
    /// Which draw each direction is of.
    draws: Vec<u64>,
}

impl<'a> Directions<'a> {
    /// `number` directions for `parameters`, whose gradient is said to be `gradient`.
    pub(super) fn new(parameters: &'a [Movable], gradient: &[Vec<f32>], seed: u64, number: u64) -> Self {
        let mut directions = Self { parameters, scales: scales(parameters, gradient), seed, draws: Vec::new() };
        let shares = directions.scales.iter().zip(gradient);
        let expected: f64 = shares.flat_map(|(scale, g)| g.iter().map(move |&g| (scale * f64::from(g)).powi(2))).sum();
        let all = directions.all();
        for direction in 0..number {
            directions.draws.push(0);
            let steep = |d: &Self| d.along(direction, &all, gradient).abs() >= LEAST_SLOPE * expected.sqrt();
            while !steep(&directions) {
                match directions.draws.last_mut() {
                    Some(draw) if *draw + 1 < MOST_DRAWS => *draw += 1,
                    _ => break,
                }
            }
        }
        directions
    }

    /// The indices of all parameters.
    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.parameters.len()).collect()
    }

    /// The name of a parameter.
    pub(super) fn name(&self, at: usize) -> String {
        self.parameters.get(at).map(|p| p.name.clone()).unwrap_or_default()
    }

    /// `v`, the part of tensor `at`.
    fn part(&self, direction: u64, at: usize) -> impl FnMut() -> f64 + use<> {
        let scale = self.scales.get(at).copied().unwrap_or(0.0);
        let draw = usize::try_from(direction).ok().and_then(|direction| self.draws.get(direction)).copied();
        let mut random = Random::new(self.seed, (draw.unwrap_or(0) << 48) | (direction << 32) | at as u64);
        move || scale * random.sign()
    }

    /// `θ + t·v`, rounded to what the file can hold, with the tensors in `which` moved.
    pub(super) fn point(&self, direction: u64, which: &[usize], t: f64) -> Moved {
        let moved = |&at: &usize| {
            let (p, mut v) = (self.parameters.get(at)?, self.part(direction, at));
            Some((at, p.values.iter().map(|&x| p.dtype.nearest(f64::from(x) + t * v()) as f32).collect()))
        };
        which.iter().filter_map(moved).collect()
    }

    /// `point + h·v` with the tensors in `which` moved.
    pub(super) fn beside(&self, direction: u64, which: &[usize], point: &Moved, h: f64) -> MovedExactly {
        let moved = |(&at, values): (&usize, &Vec<f32>)| {
            let (mut v, h) = (self.part(direction, at), if which.contains(&at) { h } else { 0.0 });
            (at, values.iter().map(|&x| f64::from(x) + h * v()).collect())
        };
        point.iter().map(moved).collect()
    }

    /// `⟨gradient, v⟩` over the tensors in `which`.
    pub(super) fn along(&self, direction: u64, which: &[usize], gradient: &[Vec<f32>]) -> f64 {
        let part = |&at: &usize| {
            let mut v = self.part(direction, at);
            gradient.get(at).into_iter().flatten().map(|&g| f64::from(g) * v()).sum::<f64>()
        };
        which.iter().map(part).sum()
    }
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
    let even = |share: f64| if typical > 0.0 && share.is_finite() { (typical / share).clamp(0.1, 5.0) } else { 1.0 };
    sizes.iter().zip(shares).map(|(size, share)| size * even(share)).collect()
}
