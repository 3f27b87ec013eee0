//! The same cases on a GPU. `scripts/gpu-check` runs them: on a card, or in CI on the one that tests/cuda emulates.

use super::{Outcome, Values, assert_none, cases, outcome, outcome_on};
use crate::{
    engine::{Context, KernelChoice},
    kernels::{Backend, Binary, cuda::ALWAYS_WIDE},
    tensor::HostTensor,
};
use dfdx::prelude::Cuda;
use ndarray::ArrayD;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Holds every case on the GPU against its definition on the CPU.
fn held_against_the_cpu(kernels: KernelChoice) {
    let dev = Cuda::try_build(0, 0).unwrap();
    let mut failures = vec![];
    for seed in 0..2 {
        for case in cases(seed) {
            for values in [Values::Smooth, Values::Ties] {
                let inputs = case.sample(&mut ChaCha8Rng::seed_from_u64(seed ^ 0x5eed), values);
                let tracked: Vec<bool> = (0..inputs.len()).map(|i| case.call.differentiable(i)).collect();
                let run = || outcome_on::<f32, _>(dev.clone(), &case, kernels, &inputs, &tracked, seed);
                let got = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
                    Ok(got) => got,
                    Err(e) => {
                        let what = e.downcast_ref::<String>().cloned().unwrap_or_default();
                        failures.push(format!("{} with {values:?}: {what}", case.name));
                        continue;
                    }
                };
                let want: Outcome = outcome::<f32>(&case, KernelChoice::Definition, &inputs, &tracked, seed);
                failures.extend(got.differences(&case, &want, &format!("{} with {values:?}, seed {seed}", case.name)));
            }
        }
    }
    assert_none(&failures);
}

#[test]
#[ignore = "needs an NVIDIA GPU, or the one that tests/cuda emulates"]
fn cuda_kernels_are_the_definitions_of_the_cpu() {
    held_against_the_cpu(KernelChoice::Fast);
}

#[test]
#[ignore = "needs an NVIDIA GPU, or the one that tests/cuda emulates"]
fn cuda_definitions_are_those_of_the_cpu() {
    held_against_the_cpu(KernelChoice::Definition);
}

#[test]
#[ignore = "needs an NVIDIA GPU, or the one that tests/cuda emulates"]
fn cuda_kernels_with_64_bit_indices_are_the_definitions_of_the_cpu() {
    ALWAYS_WIDE.set(true);
    held_against_the_cpu(KernelChoice::Fast);
}

#[test]
#[ignore = "needs an NVIDIA GPU, or the one that tests/cuda emulates"]
fn cuda_kernels_give_the_same_bits_twice() {
    let dev = Cuda::try_build(0, 0).unwrap();
    let mut failures = vec![];
    for case in cases(3) {
        let inputs = case.sample(&mut ChaCha8Rng::seed_from_u64(3), Values::Smooth);
        let tracked: Vec<bool> = (0..inputs.len()).map(|i| case.call.differentiable(i)).collect();
        let run = || outcome_on::<f32, _>(dev.clone(), &case, KernelChoice::Fast, &inputs, &tracked, 3);
        let (once, again) = (run(), run());
        let bits = |o: &Outcome| -> Vec<u64> {
            o.values.iter().chain(o.gradients.iter().flatten()).map(|x| x.to_bits()).collect()
        };
        if bits(&once) != bits(&again) {
            failures.push(case.name);
        }
    }
    assert_none(&failures);
}

#[test]
#[ignore = "needs an NVIDIA GPU, or the one that tests/cuda emulates"]
fn what_is_fed_arrives_whole_and_in_order() {
    let mut cx = Context::<f32, Cuda>::inference(Cuda::try_build(0, 0).unwrap(), KernelChoice::Fast);
    // More of them than there are buffers for, while kernels run: first larger and larger ones, then such as fit.
    let rows = |n: usize| if n.is_multiple_of(3) { 1 } else { 500 * n.min(10) };
    let values = |n: usize| ArrayD::from_shape_fn(vec![rows(n), 1024], |i| (i[0] * 7 + i[1] * 3 + n) as f32 % 1009.0);
    let mut fed = Vec::new();
    for n in 1..32 {
        let x = Cuda::feed(&cx, &HostTensor::F32(values(n))).unwrap();
        fed.push(Cuda::binary(&mut cx, Binary::Mul, &x, &x).unwrap());
    }
    for (n, got) in (1..).zip(&fed) {
        let want: Vec<f32> = values(n).iter().map(|x| x * x).collect();
        assert!(got.to_vec() == want, "tensor {n}");
    }
}
