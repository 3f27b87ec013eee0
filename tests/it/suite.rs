//! The backend cases of the onnx package, against its manifest: `tests/suite/make.py` writes the cases.

use crate::cases::{Case, Level, cases, check};
use onnx_forget::{engine::KernelChoice, tensor::DType};
use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

const CASES: &str = "target/onnx-suite.parquet";
const MANIFEST: &str = "tests/suite/manifest.txt";

/// The package's relative level; its absolute one, 1e-7, is less than f32 can promise of a sum.
const SUITE: Level = Level { absolute: 1e-5, relative: 1e-3 };
/// Reduced precision is stored so, but computed in f32 here, where the package rounds each step.
const F16: Level = Level { absolute: 2e-3, relative: 1e-2 };
const BF16: Level = Level { absolute: 2e-2, relative: 5e-2 };

fn level(case: &Case) -> Level {
    let any = |dtype| case.inputs.values().chain(case.outputs.values()).any(|t| t.dtype() == dtype);
    match () {
        () if any(DType::BF16) => BF16,
        () if any(DType::F16) => F16,
        () => SUITE,
    }
}

/// Why a case does not pass, in one line.
fn problem(case: &Case, folder: &Path) -> Option<String> {
    if let Some(kind) = case.foreign.first() {
        return Some(format!("values of type {kind}"));
    }
    [KernelChoice::Fast, KernelChoice::Definition].into_iter().find_map(|kernels| {
        let wrong = check(case, kernels, level(case), folder).unwrap_or_else(|e| vec![e.to_string()]);
        wrong.first().map(|w| w.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect())
    })
}

/// Every case of the package passes in both kernel modes, or is left out in the manifest with a reason that still holds.
/// With `ONNX_SUITE_UPDATE` set, the manifest is written anew.
#[test]
#[ignore = "needs target/onnx-suite.parquet, which tests/suite/make.py writes"]
fn official_cases_are_as_the_manifest_says() {
    let folder = tempfile::tempdir().unwrap();
    let found: BTreeMap<String, Option<String>> =
        cases(CASES).into_iter().map(|case| (case.name.clone(), problem(&case, folder.path()))).collect();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(MANIFEST);
    if std::env::var_os("ONNX_SUITE_UPDATE").is_some() {
        let mut text = String::new();
        for (name, problem) in &found {
            match problem {
                None => writeln!(text, "pass {name}").unwrap(),
                Some(problem) => writeln!(text, "out  {name}: {problem}").unwrap(),
            }
        }
        fs::write(&manifest, text).unwrap();
    }
    let text = fs::read_to_string(manifest).unwrap();
    let mut wrong = Vec::new();
    let mut listed = BTreeMap::new();
    for line in text.lines() {
        let (verdict, rest) = line.split_once(' ').unwrap();
        let name = rest.trim().split(": ").next().unwrap();
        listed.insert(name.to_string(), verdict == "pass");
    }
    for (name, problem) in &found {
        match (listed.get(name), problem) {
            (Some(true), Some(problem)) => wrong.push(format!("{name}: {problem}")),
            (Some(false), None) => wrong.push(format!("{name} passes now: say so in the manifest")),
            (None, _) => wrong.push(format!("{name} is not in the manifest")),
            _ => {}
        }
    }
    wrong.extend(listed.keys().filter(|name| !found.contains_key(*name)).map(|name| format!("{name} is not a case")));
    let passed = found.values().filter(|problem| problem.is_none()).count();
    println!("{passed} of {} cases pass", found.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
