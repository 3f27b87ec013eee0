//! Gradients against PyTorch's: of all cases that PyTorch has an operator for (`fixtures/operators/gradients.py`), and where a
//! function has several (`kinks.py`).

use super::{
    F32, newest,
    probe::{Probe, random_upstream, spec_of},
    stored,
};
use crate::cases::{Case, Level, cases, difference};
use onnx_forget::{
    engine::{Float, KernelChoice},
    kernels::Backend,
    ops::{self, Gradient},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// The definitions in f64 against what PyTorch computed in f64 and stored in f32.
const ROUNDED: Level = Level { absolute: 1e-6, relative: 2e-6 };

/// Differentiable operators that PyTorch has not.
const NOT_IN_PYTORCH: &[(&str, &str)] = &[("Constant", "it takes no input")];

/// What is wrong with the gradients of `case`, which `probe` computes.
fn wrong<E: Float>(case: &Case, probe: &Probe, kernels: KernelChoice, level: Level) -> Vec<String>
where
    dfdx::prelude::Cpu: Backend<E>,
{
    let ours = match probe.model::<E>(kernels).and_then(|model| probe.gradients(&model)) {
        Ok(ours) => ours,
        Err(e) => return vec![e.to_string()],
    };
    let missing = |name: &String| Some(format!("{name}: no gradient")).filter(|_| !ours.contains_key(name));
    let mut wrong: Vec<String> = case.gradients.keys().filter_map(missing).collect();
    for (name, ours) in &ours {
        wrong.extend(difference(ours, &case.gradients[name], level).map(|problem| format!("{name}: {problem}")));
    }
    wrong
}

fn failures(cases: &[Case], folder: &Path) -> Vec<String> {
    let mut failures = Vec::new();
    for case in cases {
        let Some(probe) = Probe::new(case, &case.upstream, folder) else {
            failures.push(format!("{}: nothing is differentiable", case.name));
            continue;
        };
        let found = [
            ("fast", wrong::<f32>(case, &probe, KernelChoice::Fast, F32)),
            ("definition", wrong::<f32>(case, &probe, KernelChoice::Definition, F32)),
            ("definition in f64", wrong::<f64>(case, &probe, KernelChoice::Definition, ROUNDED)),
        ];
        for (kernels, problems) in found {
            failures.extend(problems.iter().map(|problem| format!("{} ({kernels}): {problem}", case.name)));
        }
    }
    failures
}

/// PyTorch's gradients by the name of the case.
fn of_pytorch() -> BTreeMap<String, Case> {
    cases("fixtures/operators/gradients.parquet").into_iter().map(|case| (case.name.clone(), case)).collect()
}

#[test]
fn gradients_are_pytorchs() {
    let folder = tempfile::tempdir().unwrap();
    let mut theirs = of_pytorch();
    let joined: Vec<Case> = stored()
        .into_iter()
        .filter_map(|case| {
            let Case { upstream, gradients, without, .. } = theirs.remove(&case.name)?;
            without.is_none().then_some(Case { upstream, gradients, ..case })
        })
        .collect();
    assert!(theirs.is_empty(), "gradients of cases that are not there: {:?}", theirs.keys());
    assert!(joined.len() > 1000, "{} cases", joined.len());
    let failures = failures(&joined, folder.path());
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn gradients_are_pytorchs_at_ties_and_kinks() {
    let folder = tempfile::tempdir().unwrap();
    let cases = cases("fixtures/operators/kinks.parquet");
    assert!(cases.len() > 100, "{} cases", cases.len());
    let failures = failures(&cases, folder.path());
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_differentiable_case_has_a_gradient_of_pytorch_or_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (newest, theirs) = (newest(), of_pytorch());
    let (mut bare, mut covered) = (Vec::new(), BTreeSet::new());
    for (label, case) in newest.iter().filter(|(label, _)| !label.ends_with("fed")) {
        let Some(spec) = spec_of(case, folder.path()).filter(|s| s.gradient != Gradient::Flat) else { continue };
        // Loops of no step are other nodes.
        if !case.name.starts_with(spec.name) {
            continue;
        }
        if Probe::new(case, &random_upstream(case), folder.path()).is_none() {
            continue;
        }
        match theirs.get(&case.name) {
            Some(Case { without: None, .. }) => _ = covered.insert((spec.domain, spec.name)),
            Some(Case { without: Some(reason), .. }) if !reason.is_empty() => {}
            _ => bare.push(label.as_str()),
        }
    }
    assert!(bare.is_empty(), "cases without a gradient of PyTorch: {bare:?}");
    let left: Vec<&str> = ops::specs()
        .iter()
        .filter(|s| matches!(s.gradient, Gradient::All | Gradient::Only(_)) && !covered.contains(&(s.domain, s.name)))
        .map(|s| s.name)
        .collect();
    let known: Vec<&str> = NOT_IN_PYTORCH.iter().map(|(name, _)| *name).collect();
    assert_eq!(left, known, "differentiable operators without a gradient of PyTorch");
}
