//! Gradients of the definitions against central differences, in `f64`.

use super::{Case, KernelChoice, Tolerance, Values, assert_none, cases, outcome, upload, weights};
use crate::engine::Context;
use dfdx::prelude::Cpu;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const STEP: f64 = 1e-5;

/// Σ wᵢyᵢ of the definition.
fn loss(case: &Case, inputs: &[Vec<f64>], seed: u64) -> f64 {
    let mut cx = Context::<f64, Cpu>::inference(Cpu::default(), KernelChoice::Definition);
    let xs = upload(&cx, case, inputs, &vec![false; inputs.len()]);
    let y = case.call.run(&mut cx, &xs).unwrap();
    y.to_vec().iter().zip(weights(seed, y.len())).map(|(y, w)| y * w).sum()
}

/// (L(x + h·v) − L(x − h·v))/2h.
fn slope(case: &Case, inputs: &[Vec<f64>], direction: &[Vec<f64>], seed: u64) -> f64 {
    let at = |h: f64| {
        let moved = |(x, v): (&Vec<f64>, &Vec<f64>)| x.iter().zip(v).map(|(x, v)| x + h * v).collect();
        loss(case, &inputs.iter().zip(direction).map(moved).collect::<Vec<_>>(), seed)
    };
    (at(STEP) - at(-STEP)) / (2. * STEP)
}

#[test]
fn gradients_are_what_finite_differences_say() {
    let (mut checked, mut failures) = (0, vec![]);
    for case in cases(11) {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let inputs = case.sample(&mut rng, Values::Smooth);
        let total: usize = inputs.iter().map(Vec::len).sum();
        if total == 0 {
            continue;
        }
        let tracked: Vec<bool> = (0..inputs.len()).map(|i| case.call.differentiable(i)).collect();
        let ours = outcome::<f64>(&case, KernelChoice::Definition, &inputs, &tracked, 11);
        // One tensor under several names: its gradient is the sum, and is reported under each.
        let free = |i: usize| tracked[i] && (!case.same || i == 0);
        let still: Vec<Vec<f64>> = inputs.iter().map(|x| vec![0.; x.len()]).collect();
        for _ in 0..3 {
            let mut direction = still.clone();
            for (i, v) in direction.iter_mut().enumerate().filter(|(i, _)| free(*i)) {
                v.iter_mut().for_each(|v| *v = rng.random_range(-1.0..1.0));
                assert_eq!(v.len(), ours.gradients[i].len(), "{}", case.name);
            }
            let along = |(g, v): (&Vec<f64>, &Vec<f64>)| g.iter().zip(v).map(|(g, v)| g * v).sum::<f64>();
            let product: f64 = ours.gradients.iter().zip(&direction).map(along).sum();
            let size = ours.gradients.iter().flatten().map(|g| g.abs()).sum::<f64>().max(1.);
            let measured = slope(&case, &inputs, &direction, 11);
            let (got, want) = ([product / size, 1.], [measured / size, 1.]);
            failures.extend(Tolerance::FiniteDifferences.check(&case.name, &got, &want).err());
            checked += 1;
        }
        if total > 100 {
            continue;
        }
        for i in (0..inputs.len()).filter(|&i| free(i)) {
            let measured: Vec<f64> = (0..inputs[i].len())
                .map(|j| {
                    let mut direction = still.clone();
                    direction[i][j] = 1.;
                    slope(&case, &inputs, &direction, 11)
                })
                .collect();
            // Central differences of a loss of order 1 cannot see gradients below 1e-9: a 1 sets the scale.
            let scaled = |g: &[f64]| g.iter().copied().chain([1.]).collect::<Vec<_>>();
            let what = format!("{}: gradient {i}", case.name);
            let (got, want) = (scaled(&ours.gradients[i]), scaled(&measured));
            failures.extend(Tolerance::FiniteDifferences.check(&what, &got, &want).err());
        }
    }
    assert_none(&failures);
    assert!(checked > 1000, "only {checked} directions");
}
