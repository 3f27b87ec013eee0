//! Models of one feature of the format each, against onnxruntime: `fixtures/edge` says which.

use dfdx::prelude::Cpu;
use onnx_forget::{
    engine::KernelChoice,
    graph,
    model::{Model, ModelOptions},
    onnx::{OnnxFile, ReadOptions},
    tensor::HostTensor,
};
use serde_json::Value as Json;
use std::{collections::BTreeMap, path::Path};

/// Sums of f32 in another order.
const CLOSE: f64 = 1e-5;
/// onnxruntime computes f16 models in f16, this program in f32.
const CLOSE_F16: f64 = 5e-3;

fn tensor(json: &Json) -> HostTensor {
    let dims: Vec<usize> = json["dims"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect();
    let values = json["values"].as_array().unwrap();
    match json["type"].as_str().unwrap() {
        "int64" => HostTensor::new(&dims, values.iter().map(|v| v.as_i64().unwrap()).collect()),
        "int32" => HostTensor::new(&dims, values.iter().map(|v| v.as_i64().unwrap() as i32).collect()),
        "bool" => HostTensor::new(&dims, values.iter().map(|v| v.as_bool().unwrap()).collect()),
        "float32" | "float16" => HostTensor::new(&dims, values.iter().map(|v| v.as_f64().unwrap() as f32).collect()),
        other => panic!("element type {other}"),
    }
    .unwrap()
}

#[test]
fn every_form_of_the_format_computes_what_onnxruntime_computes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/edge");
    let cases: Json = serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    let mut checked = 0;
    for (name, case) in cases.as_object().unwrap() {
        let file = OnnxFile::open(&folder.join(format!("{name}.onnx")), &ReadOptions::default()).unwrap();
        let graph = graph::build::build(&file).unwrap();
        let inputs: BTreeMap<String, HostTensor> =
            case["inputs"].as_object().unwrap().iter().map(|(n, t)| (n.clone(), tensor(t))).collect();
        for kernels in [KernelChoice::Fast, KernelChoice::Definition] {
            let options = ModelOptions { kernels, ..ModelOptions::default() };
            let model = Model::<f32, Cpu>::inference(&graph, options, Cpu::default()).unwrap();
            let outputs: BTreeMap<_, _> = model.outputs(&inputs).unwrap().into_iter().collect();
            for (output, expected) in case["outputs"].as_object().unwrap() {
                let (ours, theirs) = (&outputs[output], tensor(expected));
                assert_eq!(ours.dims(), theirs.dims(), "{name}: {output}");
                let close = if name == "f16-compute" { CLOSE_F16 } else { CLOSE };
                for (a, b) in ours.to_f64().iter().zip(theirs.to_f64()) {
                    assert!((a - b).abs() <= close * (1.0 + b.abs()), "{name}: {output}: {a} for {b}");
                }
                checked += 1;
            }
        }
    }
    assert!(checked >= 36, "{checked} outputs");
}
