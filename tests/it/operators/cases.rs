//! The stored cases.

use arrow_array::{Array, BinaryArray, StringArray};
use half::f16;
use onnx_forget::{
    graph,
    onnx::{OnnxFile, ReadOptions},
    tensor::HostTensor,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::{collections::BTreeMap, fs::File, path::Path};

/// A model of one node, what it is fed, and what onnxruntime answers.
pub struct Case {
    pub name: String,
    pub model: Vec<u8>,
    pub inputs: BTreeMap<String, HostTensor>,
    pub outputs: BTreeMap<String, HostTensor>,
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

pub fn cases() -> Vec<Case> {
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

pub fn graph_of(case: &Case, folder: &Path) -> graph::Graph {
    let path = folder.join("model.onnx");
    std::fs::write(&path, &case.model).unwrap();
    graph::build::build(&OnnxFile::open(&path, &ReadOptions::default()).unwrap()).unwrap()
}
