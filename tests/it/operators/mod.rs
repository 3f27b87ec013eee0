//! Every operator against onnxruntime, over its versions and attributes: `fixtures/operators` says how the cases are made.

mod dispatch;
mod gradients;
mod probe;
mod pytorch;
mod refusals;

use crate::cases::{Case, Level, cases, check, graph_of};
use onnx_forget::{engine::KernelChoice, ops};
use std::collections::{BTreeMap, BTreeSet};

/// Both compute in f32; sums are taken in another order.
const F32: Level = Level { absolute: 2e-5, relative: 1e-4 };

fn stored() -> Vec<Case> {
    cases("fixtures/operators/cases.parquet")
}

/// The newest version of each case, by operator and label: versions differ in how a node is written, not in what is computed.
fn newest() -> BTreeMap<String, Case> {
    let label = |name: &str| {
        let mut parts = name.splitn(3, '_');
        let op = parts.next().unwrap_or_default();
        format!("{op}_{}", parts.nth(1).unwrap_or_default())
    };
    stored().into_iter().map(|case| (label(&case.name), case)).collect()
}

fn agree_with_onnxruntime(kernels: KernelChoice) {
    let folder = tempfile::tempdir().unwrap();
    let (cases, mut failures) = (stored(), Vec::new());
    assert!(cases.len() > 3300, "{} cases", cases.len());
    for case in &cases {
        match check(case, kernels, F32, folder.path()) {
            Err(e) => failures.push(format!("{}: {e}", case.name)),
            Ok(wrong) => failures.extend(wrong.iter().map(|problem| format!("{}: {problem}", case.name))),
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
    let seen: BTreeSet<(String, String)> = stored()
        .iter()
        .flat_map(|case| graph_of(case, folder.path()).unwrap().nodes.into_iter().map(|n| (n.domain, n.op_type)))
        .chain([(String::new(), "Constant".to_string())]) // folded into an initializer
        .collect();
    let without: Vec<&str> = ops::specs()
        .iter()
        .filter(|s| !seen.contains(&(s.domain.to_string(), s.name.to_string())))
        .map(|s| s.name)
        .collect();
    assert!(without.is_empty(), "operators without a case: {without:?}");
}
