//! Every operator against onnxruntime, over its versions and attributes: `fixtures/operators` says how the cases are made.

use arrow_array::{Array, BinaryArray, StringArray};
use dfdx::prelude::Cpu;
use half::f16;
use onnx_forget::{
    engine::KernelChoice,
    graph,
    model::{Model, ModelOptions},
    onnx::{OnnxFile, ReadOptions},
    ops::{self, DropoutMode, Mode, Statistics},
    tensor::HostTensor,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::Path,
};

/// How far a float may be from onnxruntime's. Both compute in f32; sums are taken in another order.
const ABSOLUTE: f64 = 2e-5;
const RELATIVE: f64 = 1e-4;

struct Case {
    name: String,
    model: Vec<u8>,
    inputs: BTreeMap<String, HostTensor>,
    outputs: BTreeMap<String, HostTensor>,
}

fn tensor(dtype: &str, dims: &str, data: &[u8]) -> HostTensor {
    let dims: Vec<usize> = dims.split(',').filter(|d| !d.is_empty()).map(|d| d.parse().unwrap()).collect();
    macro_rules! read {
        ($t:ty) => {{
            let size = std::mem::size_of::<$t>();
            let values =
                data.chunks_exact(size).map(|b| <$t>::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>();
            HostTensor::new(&dims, values).unwrap()
        }};
    }
    match dtype {
        "bool" => HostTensor::new(&dims, data.iter().map(|&b| b != 0).collect()).unwrap(),
        "int8" => read!(i8),
        "uint8" => read!(u8),
        "int32" => read!(i32),
        "int64" => read!(i64),
        "float16" => read!(f16),
        "float32" => read!(f32),
        "float64" => read!(f64),
        other => panic!("element type {other}"),
    }
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/operators/cases.parquet");
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap().build().unwrap();
    let mut cases: Vec<Case> = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let text =
            |name: &str| batch.column_by_name(name).unwrap().as_any().downcast_ref::<StringArray>().unwrap().clone();
        let [case, kind, name, dtype, dims] = ["case", "kind", "name", "dtype", "dims"].map(text);
        let data = batch.column_by_name("data").unwrap().as_any().downcast_ref::<BinaryArray>().unwrap();
        for row in 0..data.len() {
            if kind.value(row) == "model" {
                cases.push(Case {
                    name: case.value(row).into(),
                    model: data.value(row).to_vec(),
                    inputs: BTreeMap::new(),
                    outputs: BTreeMap::new(),
                });
                continue;
            }
            let last = cases.last_mut().unwrap();
            assert_eq!(last.name, case.value(row));
            let tensors = if kind.value(row) == "input" { &mut last.inputs } else { &mut last.outputs };
            tensors.insert(name.value(row).into(), tensor(dtype.value(row), dims.value(row), data.value(row)));
        }
    }
    cases
}

fn graph_of(case: &Case, folder: &Path) -> graph::Graph {
    let path = folder.join("model.onnx");
    std::fs::write(&path, &case.model).unwrap();
    graph::build::build(&OnnxFile::open(&path, &ReadOptions::default()).unwrap()).unwrap()
}

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
