//! Small model files that would take all memory or run for hours: each is refused, or done, quickly and in little memory.

use crate::{
    flow::{program, text},
    onnx_models::node,
};
use onnx_forget::onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType,
    tensor_proto::DataLocation,
    tensor_shape_proto::{Dimension, dimension},
    type_proto,
};
use prost::Message;
use std::{
    fs,
    path::Path,
    process::Output,
    time::{Duration, Instant},
};

/// What any of these may take, on a slow machine and without optimization.
const MOST: Duration = Duration::from_secs(60);
/// Address space in KiB: far less than the same files took when nothing was counted.
const SPACE: &str = "3145728";

fn value(name: &str, kind: i32, dims: &[i64]) -> ValueInfoProto {
    let dim = |&n: &i64| Dimension {
        value: Some(match n {
            0 => dimension::Value::DimParam("n".into()),
            n => dimension::Value::DimValue(n),
        }),
        ..Default::default()
    };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: Some(kind), shape };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(ty), ..Default::default() }
}

fn floats(name: &str, dims: &[i64]) -> TensorProto {
    let count = dims.iter().product::<i64>();
    let float_data = (0..count).map(|i| 0.1 * i as f32 - 0.5).collect();
    TensorProto { name: Some(name.into()), dims: dims.to_vec(), data_type: Some(1), float_data, ..Default::default() }
}

fn longs(name: &str, dims: &[i64], int64_data: Vec<i64>) -> TensorProto {
    TensorProto { name: Some(name.into()), dims: dims.to_vec(), data_type: Some(7), int64_data, ..Default::default() }
}

fn yes(name: &str) -> TensorProto {
    TensorProto { name: Some(name.into()), data_type: Some(9), int32_data: vec![1], ..Default::default() }
}

fn ints(name: &str, ints: Vec<i64>) -> AttributeProto {
    let kind = Some(AttributeType::Ints.into());
    AttributeProto { name: Some(name.into()), ints, r#type: kind, ..Default::default() }
}

fn body(name: &str, graph: GraphProto) -> AttributeProto {
    let kind = Some(AttributeType::Graph.into());
    AttributeProto { name: Some(name.into()), g: Some(Box::new(graph)), r#type: kind, ..Default::default() }
}

fn call(input: &str, output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto { domain: Some("f".into()), ..node("g", &[input], &[output], attribute) }
}

/// A layer of 4 inputs and 3 classes behind `nodes`, which make `at` from `x`.
fn model(nodes: Vec<NodeProto>, stored: Vec<TensorProto>, at: &str) -> ModelProto {
    let graph = GraphProto {
        name: Some("g".into()),
        node: nodes.into_iter().chain([node("Gemm", &[at, "w", "b"], &["y"], vec![])]).collect(),
        initializer: [floats("w", &[4, 3]), floats("b", &[3])].into_iter().chain(stored).collect(),
        input: vec![value("x", 1, &[0, 4])],
        output: vec![value("y", 1, &[0, 3])],
        ..Default::default()
    };
    let opset = |domain: &str, version| OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) };
    let opset_import = vec![opset("", 17), opset("f", 1)];
    ModelProto { ir_version: Some(8), graph: Some(graph), opset_import, ..Default::default() }
}

/// The same with the function `g` of these nodes, from `a` to `b`.
fn with_function(mut model: ModelProto, node: Vec<NodeProto>, attribute: &[&str]) -> ModelProto {
    model.functions.push(FunctionProto {
        name: Some("g".into()),
        domain: Some("f".into()),
        input: vec!["a".into()],
        output: vec!["b".into()],
        attribute: attribute.iter().map(|name| name.to_string()).collect(),
        opset_import: model.opset_import.clone(),
        node,
        ..Default::default()
    });
    model
}

fn saved(folder: &Path, model: &ModelProto) -> std::path::PathBuf {
    let path = folder.join("model.onnx");
    fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

/// Runs a command on the model, in little memory where that can be set.
fn run(command: &str, model: &ModelProto, flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    run_at(command, &saved(folder.path(), model), flags)
}

fn run_at(command: &str, path: &Path, flags: &[&str]) -> Output {
    let mut limited = program();
    limited.arg(command).arg(path).args(["--threads", "1"]).args(flags);
    #[cfg(target_os = "linux")]
    let mut limited = crate::processes::under(&format!("-v {SPACE}"), &limited);
    let start = Instant::now();
    let output = limited.output().unwrap();
    assert!(start.elapsed() < MOST, "{:?}: {}", start.elapsed(), text(&output));
    output
}

/// Asserts that `inspect` refuses the model, and says so in words that hold all of `words`.
fn refused(model: &ModelProto, words: &[&str]) {
    let output = run("inspect", model, &[]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
    assert!(said.len() < 20_000, "{} bytes", said.len());
}

const MEMORY: &[&str] = &["reading the graph", "MiB", "--max-memory"];

#[test]
fn an_attribute_that_many_nodes_refer_to_is_counted_for_each() {
    let reference = AttributeProto {
        name: Some("perm".into()),
        ref_attr_name: Some("p".into()),
        r#type: Some(AttributeType::Ints.into()),
        ..Default::default()
    };
    let nodes = (0..5000).map(|i| node("Identity", &["a"], &[&format!("t{i}")], vec![reference.clone()]));
    let nodes = nodes.chain([node("Identity", &["a"], &["b"], vec![])]).collect();
    let caller = model(vec![call("x", "x2", vec![ints("p", vec![1; 100_000])])], vec![], "x2");
    refused(&with_function(caller, nodes, &["p"]), MEMORY);
}

#[test]
fn names_and_descriptions_are_counted_for_each_call() {
    let long = "N".repeat(100_000);
    let chain = |n: usize| {
        (0..n).map(|i| call(&if i == 0 { "x".into() } else { format!("c{}", i - 1) }, &format!("c{i}"), vec![]))
    };
    let named = NodeProto { name: Some(long.clone()), ..node("Identity", &["a"], &["b"], vec![]) };
    refused(&with_function(model(chain(5000).collect(), vec![], "c4999"), vec![named], &[]), MEMORY);
    let entry = StringStringEntryProto { key: Some("key".into()), value: Some(long.clone()) };
    let kind = Some(AttributeType::Float.into());
    let number = AttributeProto { name: Some("value_float".into()), f: Some(1.0), r#type: kind, ..Default::default() };
    let constant = NodeProto { metadata_props: vec![entry], ..node("Constant", &[], &["k"], vec![number]) };
    let described = vec![constant, node("Add", &["a", "k"], &["b"], vec![])];
    refused(&with_function(model(chain(5000).collect(), vec![], "c4999"), described, &[]), MEMORY);
    let caller = NodeProto { name: Some(long), ..call("x", "x2", vec![]) };
    let many = (0..5000).map(|i| node("Identity", &["a"], &[&format!("t{i}")], vec![]));
    let many = many.chain([node("Identity", &["a"], &["b"], vec![])]).collect();
    refused(&with_function(model(vec![caller], vec![], "x2"), many, &[]), MEMORY);
}

#[test]
fn inputs_of_nodes_in_functions_are_counted_for_each_call() {
    let wide = node("Sum", &vec!["a"; 20_000], &["b"], vec![]);
    let calls = (0..2000).map(|i| call("x", &format!("c{i}"), vec![])).collect();
    refused(&with_function(model(calls, vec![], "c0"), vec![wide], &[]), MEMORY);
}

#[test]
fn many_tensors_of_the_same_external_bytes_are_counted_for_each() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("w.bin"), vec![0; 1 << 20]).unwrap();
    let entry = StringStringEntryProto { key: Some("location".into()), value: Some("w.bin".into()) };
    let alias = |i: usize| TensorProto {
        name: Some(format!("u{i}")),
        dims: vec![1 << 18],
        data_type: Some(1),
        external_data: vec![entry.clone()],
        data_location: Some(DataLocation::External.into()),
        ..Default::default()
    };
    let path = saved(folder.path(), &model(vec![], (0..1000).map(alias).collect(), "x"));
    let output = run_at("inspect", &path, &[]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("decoding tensors"), "{}", text(&output));
    let raised = run_at("inspect", &path, &["--max-memory", "2GiB"]);
    assert_eq!(raised.status.code(), Some(0), "{}", text(&raised));
}

#[test]
fn results_that_are_folded_have_a_sum() {
    let add = |i: usize| {
        node("Add", &[&if i == 0 { "k".into() } else { format!("k{}", i - 1) }, "one"], &[&format!("k{i}")], vec![])
    };
    let stored = vec![longs("k", &[65_000], vec![1; 65_000]), longs("one", &[], vec![1])];
    refused(&model((0..2000).map(add).collect(), stored, "x"), &["folding constants", "elements"]);
}

#[test]
fn looks_at_loops_have_one_sum() {
    let body_of = || GraphProto {
        name: Some("body".into()),
        node: vec![node("And", &["s", "s"], &["s2"], vec![])],
        input: vec![value("i", 7, &[]), value("c", 9, &[]), value("s", 9, &[])],
        output: vec![value("s2", 9, &[]), value("s2", 9, &[])],
        ..Default::default()
    };
    let one = |i: usize| node("Loop", &["", "yes", "yes"], &[&format!("q{i}")], vec![body("body", body_of())]);
    let endless = model((0..50).map(one).collect(), vec![yes("yes")], "x");
    refused(&endless, &["how often a loop runs", "Loop_q0", "--max-nodes"]);
}

#[test]
fn ways_from_tensors_to_their_uses_have_one_sum() {
    let n = 2500;
    let tensors: Vec<String> = (0..n).map(|i| format!("u{i}")).collect();
    let all: Vec<&str> = tensors.iter().map(String::as_str).collect();
    let chain = (0..n).map(|i| node("Identity", &[&format!("k{i}")], &[&format!("k{}", i + 1)], vec![]));
    let mut nodes = vec![node("Sum", &all, &["k0"], vec![])];
    nodes.extend(chain);
    nodes.push(node("Add", &["x", &format!("k{n}")], &["x2"], vec![]));
    let stored = tensors.iter().map(|name| floats(name, &[4])).collect();
    refused(&model(nodes, stored, "x2"), &["what stored tensors are for", "Sum_k0"]);
}

#[test]
fn many_outputs_masks_and_dropouts_are_looked_at_once() {
    let n = 2000;
    let mut outputs = model(vec![], vec![], "x");
    if let Some(graph) = &mut outputs.graph {
        for i in 0..n {
            let from = if i == 0 { "y".into() } else { format!("o{}", i - 1) };
            graph.node.push(node("Softmax", &[&from], &[&format!("o{i}")], vec![]));
            graph.output.push(value(&format!("o{i}"), 1, &[0, 3]));
        }
    }
    let chain = |op: &str, other: &dyn Fn(usize) -> Vec<String>| {
        let step = |i: usize| {
            let from = if i == 0 { "x".into() } else { format!("v{}", i - 1) };
            let inputs: Vec<String> = std::iter::once(from).chain(other(i)).collect();
            node(op, &inputs.iter().map(String::as_str).collect::<Vec<_>>(), &[&format!("v{i}")], vec![])
        };
        (0..n).map(step).collect::<Vec<_>>()
    };
    let mut masks = chain("Add", &|i| vec![format!("u{i}")]);
    masks.push(node("Softmax", &[&format!("v{}", n - 1)], &["x2"], vec![]));
    let stored = (0..n).map(|i| floats(&format!("u{i}"), &[4])).collect();
    let off = TensorProto { int32_data: vec![0], ..yes("off") };
    let copies = [node("Identity", &["off"], &["mode"], vec![])];
    let drops = chain("Dropout", &|_| vec![String::new(), "mode".into()]);
    let dropouts = model(copies.into_iter().chain(drops).collect(), vec![off], &format!("v{}", n - 1));
    for model in [outputs, model(masks, stored, "x2"), dropouts] {
        let output = run("inspect", &model, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }
}

#[test]
fn results_are_counted_before_they_are_allocated() {
    let wide = |op: &str, a: &[i64], b: &[i64]| {
        let nodes = vec![
            NodeProto { name: Some("bomb".into()), ..node(op, &["p", "q"], &["big"], vec![]) },
            node("ReduceSum", &["big"], &["one"], vec![]),
            node("Add", &["x", "one"], &["x2"], vec![]),
        ];
        let fill = |name: &str, dims: &[i64]| TensorProto {
            name: Some(name.into()),
            ..longs("", &[dims.len() as i64], dims.to_vec())
        };
        let of_shape = |shape: &str, output: &str| node("ConstantOfShape", &[shape], &[output], vec![]);
        let all = [of_shape("ps", "p"), of_shape("qs", "q")].into_iter().chain(nodes).collect();
        model(all, vec![fill("ps", a), fill("qs", b)], "x2")
    };
    let twice = |pads: &[i64]| {
        let mut model = model(vec![], vec![floats("k", &[3, 4, 1, 1])], "x");
        if let Some(graph) = &mut model.graph {
            let conv = node("Conv", &["x", "k"], &["c"], vec![ints("pads", pads.to_vec())]);
            let conv = NodeProto { name: Some("bomb".into()), ..conv };
            graph.node =
                vec![conv, node("GlobalAveragePool", &["c"], &["g"], vec![]), node("Flatten", &["g"], &["y"], vec![])];
            graph.input = vec![value("x", 1, &[0, 4, 2, 2])];
        }
        model
    };
    // Odd extents have inverses modulo 2^64, with which a product of extents becomes as small as one likes.
    let inverse = 0x6DB6_DB6D_B6DB_6DB7_i64;
    for model in [
        wide("Add", &[1 << 16, 1], &[1, 1 << 16]),
        wide("MatMul", &[1 << 16, 1], &[1, 1 << 16]),
        twice(&[1 << 20, 1 << 20, 0, 0]),
        twice(&[3, inverse - 4, 2, 2]),
    ] {
        let output = run("verify", &model, &["--offline"]);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output));
        assert!(text(&output).contains("bomb") && text(&output).contains("--max-memory"), "{}", text(&output));
    }
}

#[test]
fn both_limits_are_flags() {
    let relus = (0..200).map(|i| {
        node("Relu", &[&if i == 0 { "x".into() } else { format!("r{}", i - 1) }], &[&format!("r{i}")], vec![])
    });
    let model = model(relus.collect(), vec![], "r199");
    for (flags, code) in [
        (["--max-nodes", "201"], 0),
        (["--max-nodes", "200"], 3),
        (["--max-memory", "1KiB"], 3),
        (["--max-memory", "1MiB"], 0),
        (["--max-memory", "much"], 2),
    ] {
        let output = run("inspect", &model, &flags);
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {}", text(&output));
    }
}

#[test]
fn messages_are_short_however_long_names_and_lists_are() {
    let long = "L".repeat(1 << 20);
    let unknown = NodeProto { name: Some(long.clone()), ..node("NoSuchOperator", &["x"], &["x2"], vec![]) };
    let turned = node("Transpose", &["x"], &["x2"], vec![ints("perm", vec![0; 1 << 20])]);
    for nodes in [vec![unknown], vec![turned], vec![node("Relu", &[&long], &["x2"], vec![])]] {
        let output = run("verify", &model(nodes, vec![], "x2"), &["--offline"]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(3), "{}", said.len());
        assert!(said.len() < 20_000, "{} bytes", said.len());
    }
}
