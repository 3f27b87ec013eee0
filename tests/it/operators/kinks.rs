//! Gradients where a function has several, against PyTorch's: `fixtures/operators/kinks.py` says how the cases are made.

use super::{F32, gradients::trainable};
use crate::cases::{Case, cases, difference};
use dfdx::prelude::Cpu;
use onnx_forget::{
    data::{Batch, Targets},
    engine::KernelChoice,
    model::{Model, ModelOptions},
    tensor::HostTensor,
};
use std::path::Path;

/// What is wrong with the gradients of `case`.
fn wrong(case: &Case, kernels: KernelChoice, folder: &Path) -> Vec<String> {
    let Some((graph, decisions, plan)) = trainable(case, folder) else {
        let flat = case.inputs.keys().all(|name| case.gradients[name].to_f64().iter().all(|&g| g == 0.0));
        return if flat { vec![] } else { vec!["no gradient".into()] };
    };
    let options = ModelOptions { kernels, ..ModelOptions::default() };
    let model = Model::<f32, Cpu>::build(&graph, &plan, &decisions, options, Cpu::default()).unwrap();
    // The loss is the mean of (y − t)², so these targets make the gradient of y the stored one.
    let (y, upstream) = (case.outputs["o0"].to_f32(), case.gradients["o0"].to_f32());
    let width = y.len();
    let values = y.iter().zip(&upstream).map(|(y, g)| y - g * width as f32 / 2.0).collect();
    let batch = Batch { inputs: case.inputs.clone(), targets: Targets::Values { width, values } };
    let (_, gradients) = match model.gradient_wrt_parameters(&batch) {
        Ok(gradients) => gradients,
        Err(e) => return vec![e.to_string()],
    };
    let mut wrong = Vec::new();
    for name in case.inputs.keys() {
        let expected = &case.gradients[name];
        let at = model.parameters().iter().position(|p| p.name == *name).unwrap();
        let ours = HostTensor::new(expected.dims(), gradients[at].clone()).unwrap();
        wrong.extend(difference(&ours, expected, F32).map(|problem| format!("{name}: {problem}")));
    }
    wrong
}

#[test]
fn gradients_are_pytorchs_at_ties_and_kinks() {
    let folder = tempfile::tempdir().unwrap();
    let (cases, mut failures) = (cases("fixtures/operators/kinks.parquet"), Vec::new());
    assert!(cases.len() > 50, "{} cases", cases.len());
    for case in &cases {
        for kernels in [KernelChoice::Fast, KernelChoice::Definition] {
            let wrong = wrong(case, kernels, folder.path());
            failures.extend(wrong.iter().map(|problem| format!("{} ({kernels:?}): {problem}", case.name)));
        }
    }
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
}
