//! Every operator against onnxruntime, over its versions and attributes: `fixtures/operators` says how the cases are made.

mod cases;
mod gradients;

use cases::{cases, graph_of};
use dfdx::prelude::Cpu;
use onnx_forget::{
    engine::KernelChoice,
    model::{Model, ModelOptions},
    ops::{self, DropoutMode, Mode, Statistics},
    tensor::HostTensor,
};
use std::collections::{BTreeMap, BTreeSet};

/// How far a float may be from onnxruntime's. Both compute in f32; sums are taken in another order.
const ABSOLUTE: f64 = 2e-5;
const RELATIVE: f64 = 1e-4;

/// What is wrong with `ours`, if anything.
fn difference(ours: &HostTensor, theirs: &HostTensor) -> Option<String> {
    if ours.dims() != theirs.dims() {
        return Some(format!("shape {:?} for {:?}", ours.dims(), theirs.dims()));
    }
    if !theirs.dtype().is_float() {
        return (ours != theirs).then(|| format!("{ours:?} for {theirs:?}"));
    }
    if !ours.dtype().is_float() {
        return Some(format!("{} for {}", ours.dtype(), theirs.dtype()));
    }
    let close = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= ABSOLUTE + RELATIVE * b.abs();
    let (ours, theirs) = (ours.to_f64(), theirs.to_f64());
    let wrong = ours.iter().zip(&theirs).position(|(&a, &b)| !close(a, b))?;
    Some(format!("{} for {} at {wrong}", ours[wrong], theirs[wrong]))
}

fn agree_with_onnxruntime(kernels: KernelChoice) {
    let folder = tempfile::tempdir().unwrap();
    let (cases, mut failures) = (cases(), Vec::new());
    assert!(cases.len() > 1900, "{} cases", cases.len());
    let mode = Mode { statistics: Statistics::File, dropout: DropoutMode::File(0) };
    for case in &cases {
        let graph = graph_of(case, folder.path());
        let options = ModelOptions { kernels, ..ModelOptions::default() };
        let outputs = Model::<f32, Cpu>::inference(&graph, options, Cpu::default())
            .and_then(|model| model.outputs_in(&case.inputs, mode));
        match outputs {
            Err(e) => failures.push(format!("{}: {e}", case.name)),
            Ok(outputs) => {
                let outputs: BTreeMap<_, _> = outputs.into_iter().collect();
                for (name, expected) in &case.outputs {
                    let problem = outputs.get(name).map_or(Some("missing".into()), |ours| difference(ours, expected));
                    failures.extend(problem.map(|p| format!("{}: {name}: {p}", case.name)));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} cases fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn definitions_agree_with_onnxruntime() {
    agree_with_onnxruntime(KernelChoice::Definition);
}

#[test]
fn fast_kernels_agree_with_onnxruntime() {
    agree_with_onnxruntime(KernelChoice::Fast);
}

#[test]
fn every_operator_has_cases() {
    let folder = tempfile::tempdir().unwrap();
    let seen: BTreeSet<(String, String)> = cases()
        .iter()
        .flat_map(|case| graph_of(case, folder.path()).nodes.into_iter().map(|n| (n.domain, n.op_type)))
        .chain([(String::new(), "Constant".to_string())]) // folded into an initializer
        .collect();
    let without: Vec<&str> = ops::specs()
        .iter()
        .filter(|s| !seen.contains(&(s.domain.to_string(), s.name.to_string())))
        .map(|s| s.name)
        .collect();
    assert!(without.is_empty(), "operators without a case: {without:?}");
}
