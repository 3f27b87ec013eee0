//! Holds every kernel against three others, over a table of cases with random and named shapes ([`cases`]):
//! its definition against a plain loop ([`oracle`]), its gradients against finite differences ([`finite`]), and a fast
//! version against the definition, values and gradients.

mod calls;
mod cases;
#[cfg(feature = "cuda")]
mod cuda;
mod finite;
mod oracle;
mod values;
mod variants;

use super::{AdamArgs, Backend};
use crate::engine::{Context, Float, KernelChoice, Tensor};
use cases::{Case, cases};
use dfdx::prelude::Cpu;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use values::Values;

/// How far two results of one computation may lie apart, relative to the element and to the largest of its tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tolerance {
    /// Elements are moved, not computed.
    Exact,
    /// A few roundings an element.
    Elementwise,
    /// Elementwise functions that libraries approximate differently.
    Approximated,
    /// Sums of up to a few thousand terms, in any order.
    Sums,
    /// Sums of products after a transform that magnifies rounding errors (Winograd's, by up to a few dozen).
    Transformed,
    /// Quotients of sums, whose errors add up.
    Statistics,
    /// Central differences in `f64`, step 1e-5: truncation and rounding are both near 1e-9.
    FiniteDifferences,
    /// A definition in `f64` against a loop in `f64`.
    Double,
}

impl Tolerance {
    fn relative(self) -> f64 {
        match self {
            Self::Exact => 0.,
            Self::Elementwise => 1e-6,
            Self::Approximated => 4e-6,
            Self::Sums => 1e-5,
            Self::Transformed => 2e-5,
            Self::Statistics => 1e-4,
            Self::FiniteDifferences => 1e-6,
            Self::Double => 1e-12,
        }
    }

    /// Checks `got` against `want`, element by element. NaN equals NaN, infinities equal themselves.
    fn check(self, what: &str, got: &[f64], want: &[f64]) -> Result<(), String> {
        if got.len() != want.len() {
            return Err(format!("{what}: {} elements, should be {}", got.len(), want.len()));
        }
        // Inputs are near 1: what is far smaller throughout is a difference of what is not.
        let scale = want.iter().filter(|w| w.is_finite()).fold(0.01, |m: f64, w| m.max(w.abs()));
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            let same = g == w || (g.is_nan() && w.is_nan());
            let near = (g - w).abs() <= self.relative() * (w.abs() + scale);
            if !same && !near {
                return Err(format!("{what}: element {i} is {g}, should be {w} ({self:?}, largest {scale})"));
            }
        }
        Ok(())
    }
}

/// Fails with all that went wrong.
fn assert_none(failures: &[String]) {
    assert!(
        failures.is_empty(),
        "{} failures, the first of them:\n{}",
        failures.len(),
        failures[..failures.len().min(40)].join("\n")
    );
}

/// A result and the gradients that Σ wᵢyᵢ leaves with the inputs.
struct Outcome {
    dims: Vec<usize>,
    values: Vec<f64>,
    gradients: Vec<Vec<f64>>,
}

impl Outcome {
    /// Where it is not the definition's.
    fn differences(&self, case: &Case, definition: &Self, what: &str) -> Vec<String> {
        if self.dims != definition.dims {
            return vec![format!("{what}: {:?}, should be {:?}", self.dims, definition.dims)];
        }
        let tolerance = case.call.tolerance();
        // A gradient is a sum even where the value is not.
        let of_gradients = match tolerance {
            Tolerance::Statistics | Tolerance::Transformed => tolerance,
            _ => Tolerance::Sums,
        };
        let pairs = self.gradients.iter().zip(&definition.gradients).enumerate();
        let gradients =
            pairs.filter_map(|(i, (f, d))| of_gradients.check(&format!("{what}: gradient {i}"), f, d).err());
        tolerance.check(what, &self.values, &definition.values).err().into_iter().chain(gradients).collect()
    }
}

/// Uploads `inputs` (the same tensor for all, if the case says so), those marked as tracked.
fn upload<E: Float, D: Backend<E>>(
    cx: &Context<E, D>,
    case: &Case,
    inputs: &[Vec<f64>],
    tracked: &[bool],
) -> Vec<Tensor<E, D>> {
    let one = |((dims, values), tracked): ((&Vec<usize>, &Vec<f64>), &bool)| {
        let t = cx.upload(dims.clone(), values.iter().map(|&v| E::of(v)).collect()).unwrap();
        Tensor::new(t.flat().clone(), dims.clone(), *tracked)
    };
    if case.same {
        let t = one(((&case.inputs[0], &inputs[0]), &tracked[0]));
        return vec![t; case.inputs.len()];
    }
    case.inputs.iter().zip(inputs).zip(tracked).map(one).collect()
}

/// Runs the case, and backwards from Σ wᵢyᵢ with weights drawn from `seed`.
fn outcome<E: Float>(case: &Case, kernels: KernelChoice, inputs: &[Vec<f64>], tracked: &[bool], seed: u64) -> Outcome
where
    Cpu: Backend<E>,
{
    outcome_on::<E, _>(Cpu::default(), case, kernels, inputs, tracked, seed)
}

fn outcome_on<E: Float, D: Backend<E>>(
    dev: D,
    case: &Case,
    kernels: KernelChoice,
    inputs: &[Vec<f64>],
    tracked: &[bool],
    seed: u64,
) -> Outcome {
    let mut cx = Context::<E, D>::recording(dev, kernels);
    let xs = upload(&cx, case, inputs, tracked);
    let y = case.call.run(&mut cx, &xs).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let weights = weights(seed, y.len());
    let gradients = if y.tracked() && !y.is_empty() {
        let keep: Vec<_> = xs.iter().filter(|x| x.tracked()).collect();
        let mut grads = cx.backward(&y, weights.iter().map(|&w| E::of(w)).collect(), &keep).unwrap();
        xs.iter().map(|x| if x.tracked() { grads.to_vec(x).unwrap() } else { vec![] }).collect()
    } else {
        xs.iter().map(|x| vec![E::of(0.); if x.tracked() { x.len() } else { 0 }]).collect::<Vec<_>>()
    };
    let f64s = |v: Vec<E>| v.into_iter().map(Float::f64).collect();
    Outcome { dims: y.dims().to_vec(), values: f64s(y.to_vec()), gradients: gradients.into_iter().map(f64s).collect() }
}

/// Upstream gradients: not constant, of both signs.
fn weights(seed: u64, n: usize) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

#[test]
fn fast_kernels_are_their_definitions() {
    let mut failures = vec![];
    for seed in 0..2 {
        for case in cases(seed) {
            for values in [Values::Smooth, Values::Ties] {
                let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed);
                let inputs = case.sample(&mut rng, values);
                // Everything tracked; then only one input of several.
                let n = inputs.len();
                let mut masks = vec![(0..n).map(|i| case.call.differentiable(i)).collect::<Vec<_>>()];
                if n > 1 && !case.same {
                    let only = rng.random_range(0..n);
                    masks.push((0..n).map(|i| i == only && case.call.differentiable(i)).collect());
                }
                for tracked in masks {
                    let fast = outcome::<f32>(&case, KernelChoice::Fast, &inputs, &tracked, seed);
                    let definition = outcome::<f32>(&case, KernelChoice::Definition, &inputs, &tracked, seed);
                    let what = format!("{} with {values:?}, seed {seed}", case.name);
                    failures.extend(fast.differences(&case, &definition, &what));
                }
            }
        }
    }
    assert_none(&failures);
}

#[test]
fn definitions_are_what_plain_loops_compute() {
    let mut failures = vec![];
    for case in cases(7) {
        let inputs = case.sample(&mut ChaCha8Rng::seed_from_u64(7), Values::Smooth);
        let got = outcome::<f64>(&case, KernelChoice::Definition, &inputs, &vec![false; inputs.len()], 7);
        let want = oracle::expected(&case, &inputs);
        if got.dims != want.shape() {
            failures.push(format!("{}: {:?} should be {:?}", case.name, got.dims, want.shape()));
        }
        let want: Vec<f64> = want.iter().copied().collect();
        failures.extend(Tolerance::Double.check(&case.name, &got.values, &want).err());
    }
    assert_none(&failures);
}

#[test]
fn steps_of_the_optimizer_are_their_definition() {
    let run = |kernels, dims: &[usize], axis: Option<usize>| {
        let mut cx = Context::<f32, Cpu>::inference(Cpu::default(), kernels);
        let n: usize = dims.iter().product();
        let narrow = |seed| weights(seed, n).into_iter().map(|x| x as f32).collect::<Vec<_>>();
        let mut p = cx.upload(dims.to_vec(), narrow(1)).unwrap();
        let share = axis.map(|axis| {
            let along = (0..dims.len()).map(|a| if a == axis { dims[a] } else { 1 }).collect();
            cx.upload(along, (0..dims[axis]).map(|c| 1.0 / (c + 1) as f32).collect()).unwrap()
        });
        let dev = cx.dev.clone();
        let zeros = || dfdx::tensor::Storage::<f32>::try_alloc_len(&dev, n).unwrap();
        let (mut first, mut second) = (zeros(), zeros());
        for number in 1..4 {
            let mut gradient = zeros();
            gradient.copy_from_slice(&narrow(number as u64 + 7));
            let step = crate::kernels::AdamStep { number, rate: 1e-2, betas: [0.9, 0.999], epsilon: 1e-8, decay: 0.01 };
            let moments = [&mut first, &mut second];
            let args = AdamArgs { step: &step, parameter: &mut p, moments, gradient: &gradient, share: share.as_ref() };
            Cpu::adamw(&mut cx, args).unwrap();
        }
        p.to_vec().into_iter().map(f64::from).collect::<Vec<_>>()
    };
    for (dims, axis) in
        [(vec![3, 5, 7], None), (vec![40, 30, 3, 9], Some(0)), (vec![5, 700, 9], Some(1)), (vec![1], Some(0))]
    {
        let [fast, definition] =
            [KernelChoice::Fast, KernelChoice::Definition].map(|kernels| run(kernels, &dims, axis));
        Tolerance::Elementwise.check(&format!("{dims:?}"), &fast, &definition).unwrap();
    }
}

#[test]
fn every_kernel_has_cases() {
    let source = include_str!("../mod.rs");
    let body = source.split("pub trait Backend").nth(1).unwrap();
    let methods: Vec<&str> = body.lines().filter_map(|l| l.strip_prefix("    fn ")?.split(['(', '<']).next()).collect();
    assert!(methods.len() > 20, "{methods:?}");
    let covered: std::collections::BTreeSet<_> = cases(0).iter().map(|c| c.call.method()).collect();
    // An optimizer's step and an upload are no operations on a tape: they have tests of their own.
    let declared: std::collections::BTreeSet<_> =
        methods.into_iter().filter(|&name| !["adamw", "feed", "stayed_finite"].contains(&name)).collect();
    assert_eq!(covered, declared);
}
