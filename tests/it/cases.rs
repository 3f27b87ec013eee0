//! Cases that a script stored as Parquet: a model, what it is fed, and what it has to answer.

use arrow_array::{Array, BinaryArray, StringArray};
use dfdx::prelude::Cpu;
use half::{bf16, f16};
use onnx_forget::{
    Result,
    engine::{Float, KernelChoice},
    graph,
    kernels::Backend,
    model::{Model, ModelOptions},
    onnx::{OnnxFile, ReadOptions},
    ops::{DropoutMode, Mode, Statistics},
    tensor::{DType, HostTensor},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::{collections::BTreeMap, fs::File, path::Path};

/// A model, what it is fed, and what it has to answer.
pub struct Case {
    pub name: String,
    pub model: Vec<u8>,
    pub inputs: BTreeMap<String, HostTensor>,
    pub outputs: BTreeMap<String, HostTensor>,
    /// The gradient that comes into an output.
    pub upstream: BTreeMap<String, HostTensor>,
    /// What has to arrive at inputs.
    pub gradients: BTreeMap<String, HostTensor>,
    /// What the library that gradients are from lacks for this case.
    pub without: Option<String>,
    /// Kinds of values among inputs and outputs that are no tensors of numbers or booleans.
    pub foreign: Vec<String>,
}

fn tensor(dtype: &str, dims: &str, data: &[u8]) -> Option<HostTensor> {
    let dims: Vec<usize> = dims.split(',').filter(|d| !d.is_empty()).map(|d| d.parse().unwrap()).collect();
    macro_rules! read {
        ($t:ty) => {{
            let size = std::mem::size_of::<$t>();
            let values =
                data.chunks_exact(size).map(|b| <$t>::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>();
            HostTensor::new(&dims, values).unwrap()
        }};
    }
    Some(match dtype {
        "bool" => HostTensor::new(&dims, data.iter().map(|&b| b != 0).collect()).unwrap(),
        "int8" => read!(i8),
        "int16" => read!(i16),
        "int32" => read!(i32),
        "int64" => read!(i64),
        "uint8" => read!(u8),
        "uint16" => read!(u16),
        "uint32" => read!(u32),
        "uint64" => read!(u64),
        "float16" => read!(f16),
        "bfloat16" => read!(bf16),
        "float32" => read!(f32),
        "float64" => read!(f64),
        _ => return None,
    })
}

/// The cases of a file, by its path in the project.
pub fn cases(path: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
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
                    upstream: BTreeMap::new(),
                    gradients: BTreeMap::new(),
                    without: None,
                    foreign: Vec::new(),
                });
                continue;
            }
            let last = cases.last_mut().unwrap();
            assert_eq!(last.name, case.value(row));
            let tensors = match kind.value(row) {
                "input" => &mut last.inputs,
                "output" => &mut last.outputs,
                "upstream" => &mut last.upstream,
                "gradient" => &mut last.gradients,
                "without" => {
                    last.without = Some(String::from_utf8(data.value(row).to_vec()).unwrap());
                    continue;
                }
                other => panic!("{}: a row of kind {other}", last.name),
            };
            match tensor(dtype.value(row), dims.value(row), data.value(row)) {
                Some(tensor) => _ = tensors.insert(name.value(row).into(), tensor),
                None => last.foreign.push(dtype.value(row).into()),
            }
        }
    }
    cases
}

/// The graph of a case, by way of a file in `folder`.
pub fn graph_of(case: &Case, folder: &Path) -> Result<graph::Graph> {
    let path = folder.join("model.onnx");
    std::fs::write(&path, &case.model).unwrap();
    graph::build::build(&OnnxFile::open(&path, &ReadOptions::default())?)
}

/// How far a float may be from the expected one.
#[derive(Clone, Copy)]
pub struct Level {
    pub absolute: f64,
    pub relative: f64,
}

/// What is wrong with `ours`, if anything.
pub fn difference(ours: &HostTensor, theirs: &HostTensor, level: Level) -> Option<String> {
    if ours.dims() != theirs.dims() {
        return Some(format!("shape {:?} for {:?}", ours.dims(), theirs.dims()));
    }
    if !theirs.dtype().is_float() {
        return (ours != theirs).then(|| format!("{ours:?} for {theirs:?}"));
    }
    if !ours.dtype().is_float() {
        return Some(format!("{} for {}", ours.dtype(), theirs.dtype()));
    }
    let close = |a: f64, b: f64| {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= level.absolute + level.relative * b.abs()
    };
    let (ours, theirs) = (ours.to_f64(), theirs.to_f64());
    let wrong = ours.iter().zip(&theirs).position(|(&a, &b)| !close(a, b))?;
    Some(format!("{} for {} at {wrong}", ours[wrong], theirs[wrong]))
}

/// Runs the model of `case` and says what is wrong with its outputs.
///
/// What is stored in f64 is computed in f64, which only definitions do.
pub fn check(case: &Case, kernels: KernelChoice, level: Level, folder: &Path) -> Result<Vec<String>> {
    fn run<E: Float>(graph: &graph::Graph, case: &Case, kernels: KernelChoice) -> Result<Vec<(String, HostTensor)>>
    where
        Cpu: Backend<E>,
    {
        let mode = Mode { statistics: Statistics::File, dropout: DropoutMode::File(0) };
        let options = ModelOptions { kernels, ..ModelOptions::default() };
        Model::<E, Cpu>::inference(graph, options, Cpu::default())?.outputs_in(&case.inputs, mode)
    }
    let graph = graph_of(case, folder)?;
    let double = case.inputs.values().chain(case.outputs.values()).any(|t| t.dtype() == DType::F64);
    let outputs = if double { run::<f64>(&graph, case, kernels) } else { run::<f32>(&graph, case, kernels) };
    let outputs: BTreeMap<_, _> = outputs?.into_iter().collect();
    let mut wrong = Vec::new();
    for (name, expected) in &case.outputs {
        let problem = outputs.get(name).map_or(Some("missing".into()), |ours| difference(ours, expected, level));
        wrong.extend(problem.map(|problem| format!("{name}: {problem}")));
    }
    Ok(wrong)
}
