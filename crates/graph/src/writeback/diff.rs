//! What differs between two models.

use super::verify::{Stored, stored_floats};
use crate::{
    error::Result,
    onnx::{
        OnnxFile, attributes,
        proto::{
            AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
        },
        span::Spans,
    },
    tensor::{DType, HostTensor},
};
use prost::Message;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A stored tensor whose elements differ.
#[derive(Clone, Debug, Serialize)]
pub struct ChangedTensor {
    /// Name of the initializer, or of the `Constant` node's output.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub dims: Vec<usize>,
    /// Euclidean norm in the first model.
    pub norm: f64,
    /// Euclidean norm of the difference.
    pub norm_difference: f64,
    /// Largest absolute difference of an element.
    pub max_abs_difference: f64,
    /// Elements that differ.
    pub elements: usize,
}

/// The differences between two models.
#[derive(Clone, Debug, Serialize)]
pub struct ModelDiff {
    /// Whether the model files are the same, byte by byte, and no tensor in external data differs.
    pub identical: bool,
    /// Tensors of the same name, type and shape with other elements.
    pub changed: Vec<ChangedTensor>,
    /// Tensors with the same elements.
    pub unchanged: usize,
    /// Every other difference, a line each.
    pub other: Vec<String>,
}

/// Compares two models: tensors by name, everything else by what it says.
///
/// # Errors
/// Those of reading either file.
pub fn diff(a: &OnnxFile, b: &OnnxFile) -> Result<ModelDiff> {
    let (spans_a, spans_b) = (Spans::scan(a)?, Spans::scan(b)?);
    let mut diff = ModelDiff { identical: false, changed: vec![], unchanged: 0, other: vec![] };
    model(a.proto(), b.proto(), &mut diff.other);
    tensors(a, b, &spans_a, &spans_b, &mut diff)?;
    if diff.other.is_empty() && a.bytes() != b.bytes() && !explained(a, b, &spans_a, &spans_b, &diff) {
        diff.other.push(
            "the files differ in bytes that no known field explains: unknown fields, their order, or encoding"
                .to_string(),
        );
    }
    diff.identical = a.bytes() == b.bytes() && diff.changed.is_empty() && diff.other.is_empty();
    Ok(diff)
}

/// Whether all bytes outside of changed tensors are the same; also if lengths make that hard to say.
fn explained(a: &OnnxFile, b: &OnnxFile, spans_a: &Spans, spans_b: &Spans, diff: &ModelDiff) -> bool {
    if a.bytes().len() != b.bytes().len() {
        // A list of varints may have grown.
        return !diff.changed.is_empty();
    }
    let mut masked = (a.bytes().to_vec(), b.bytes().to_vec());
    for changed in &diff.changed {
        let chunks = |spans: &Spans| spans.get(&changed.name).map(|s| s.chunks().to_vec()).unwrap_or_default();
        if chunks(spans_a) != chunks(spans_b) {
            return true;
        }
        for chunk in chunks(spans_a) {
            for bytes in [&mut masked.0, &mut masked.1] {
                bytes.get_mut(chunk.bytes()).unwrap_or_default().fill(0);
            }
        }
    }
    masked.0 == masked.1
}

fn show<T: std::fmt::Debug>(value: &T) -> String {
    let text = format!("{value:?}");
    if text.chars().count() <= 80 { text } else { text.chars().take(79).chain(['…']).collect() }
}

fn line<T: PartialEq + std::fmt::Debug>(what: &str, a: &T, b: &T, lines: &mut Vec<String>) {
    if a != b {
        lines.push(format!("{what}: {} → {}", show(a), show(b)));
    }
}

fn encoded<M: Message>(what: &str, a: &M, b: &M, lines: &mut Vec<String>) {
    // Compared in encoded form, where a NaN is equal to itself.
    if a.encode_to_vec() != b.encode_to_vec() {
        lines.push(format!("{what} differs"));
    }
}

fn model(a: &ModelProto, b: &ModelProto, lines: &mut Vec<String>) {
    line("ir_version", &a.ir_version(), &b.ir_version(), lines);
    line("producer_name", &a.producer_name(), &b.producer_name(), lines);
    line("producer_version", &a.producer_version(), &b.producer_version(), lines);
    line("domain", &a.domain(), &b.domain(), lines);
    line("model_version", &a.model_version(), &b.model_version(), lines);
    line("doc_string", &a.doc_string(), &b.doc_string(), lines);
    let opsets = |m: &ModelProto| -> BTreeMap<String, i64> {
        m.opset_import.iter().map(|o| (o.domain().to_string(), o.version())).collect()
    };
    line("opset_import", &opsets(a), &opsets(b), lines);
    entries("metadata_props", &a.metadata_props, &b.metadata_props, lines);
    let functions = |m: &ModelProto| -> BTreeMap<String, FunctionProto> {
        m.functions.iter().map(|f| (format!("{}.{}:{}", f.domain(), f.name(), f.overload()), f.clone())).collect()
    };
    by_name("function", &functions(a), &functions(b), lines);
    line("number of training_info", &a.training_info.len(), &b.training_info.len(), lines);
    for (i, (a, b)) in a.training_info.iter().zip(&b.training_info).enumerate() {
        encoded(&format!("training_info[{i}]"), a, b, lines);
    }
    if let (Some(a), Some(b)) = (&a.graph, &b.graph) {
        graph(a, b, lines);
    }
}

fn entries(what: &str, a: &[StringStringEntryProto], b: &[StringStringEntryProto], lines: &mut Vec<String>) {
    let map = |list: &[StringStringEntryProto]| -> BTreeMap<String, String> {
        list.iter().map(|e| (e.key().to_string(), e.value().to_string())).collect()
    };
    let (a, b) = (map(a), map(b));
    for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
        line(&format!("{what} `{key}`"), &a.get(key), &b.get(key), lines);
    }
}

fn by_name<M: Message>(what: &str, a: &BTreeMap<String, M>, b: &BTreeMap<String, M>, lines: &mut Vec<String>) {
    for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
        match (a.get(key), b.get(key)) {
            (Some(a), Some(b)) => encoded(&format!("{what} `{key}`"), a, b, lines),
            (Some(_), None) => lines.push(format!("{what} `{key}` is only in the first model")),
            _ => lines.push(format!("{what} `{key}` is only in the second model")),
        }
    }
}

fn graph(a: &GraphProto, b: &GraphProto, lines: &mut Vec<String>) {
    line("graph name", &a.name(), &b.name(), lines);
    line("graph doc_string", &a.doc_string(), &b.doc_string(), lines);
    entries("graph metadata_props", &a.metadata_props, &b.metadata_props, lines);
    for (what, a, b) in [("input", &a.input, &b.input), ("output", &a.output, &b.output)] {
        let names = |list: &[crate::onnx::proto::ValueInfoProto]| list.iter().map(|v| v.name().to_string()).collect();
        let (in_a, in_b): (Vec<String>, Vec<String>) = (names(a), names(b));
        line(&format!("graph {what}s"), &in_a, &in_b, lines);
        if in_a == in_b {
            a.iter().zip(b).for_each(|(a, b)| encoded(&format!("{what} `{}`", a.name()), a, b, lines));
        }
    }
    let infos = |g: &GraphProto| g.value_info.iter().map(|v| (v.name().to_string(), v.clone())).collect();
    by_name("value_info", &infos(a), &infos(b), lines);
    for (what, a, b) in [
        ("sparse initializers", a.sparse_initializer.len(), b.sparse_initializer.len()),
        ("quantization annotations", a.quantization_annotation.len(), b.quantization_annotation.len()),
        ("nodes", a.node.len(), b.node.len()),
    ] {
        line(&format!("number of {what}"), &a, &b, lines);
    }
    for (i, (a, b)) in a.sparse_initializer.iter().zip(&b.sparse_initializer).enumerate() {
        encoded(&format!("sparse initializer {i}"), a, b, lines);
    }
    for (a, b) in a.quantization_annotation.iter().zip(&b.quantization_annotation) {
        encoded(&format!("quantization annotation of `{}`", a.tensor_name()), a, b, lines);
    }
    if a.node.len() == b.node.len() {
        a.node.iter().zip(&b.node).enumerate().for_each(|(i, (a, b))| node(i, a, b, lines));
    } else {
        let count = |g: &GraphProto| {
            let mut count: BTreeMap<String, usize> = BTreeMap::new();
            g.node.iter().for_each(|n| *count.entry(n.op_type().to_string()).or_default() += 1);
            count
        };
        let (in_a, in_b) = (count(a), count(b));
        for op in in_a.keys().chain(in_b.keys()).collect::<BTreeSet<_>>() {
            let of = |count: &BTreeMap<String, usize>| count.get(op).copied().unwrap_or_default();
            line(&format!("number of {op} nodes"), &of(&in_a), &of(&in_b), lines);
        }
    }
}

fn node(index: usize, a: &NodeProto, b: &NodeProto, lines: &mut Vec<String>) {
    let what = format!("node {index} `{}` ({})", a.name(), a.op_type());
    line(&format!("{what} name"), &a.name(), &b.name(), lines);
    line(&format!("{what} op_type"), &a.op_type(), &b.op_type(), lines);
    line(&format!("{what} domain"), &a.domain(), &b.domain(), lines);
    line(&format!("{what} overload"), &a.overload(), &b.overload(), lines);
    line(&format!("{what} inputs"), &a.input, &b.input, lines);
    line(&format!("{what} outputs"), &a.output, &b.output, lines);
    line(&format!("{what} doc_string"), &a.doc_string(), &b.doc_string(), lines);
    entries(&format!("{what} metadata_props"), &a.metadata_props, &b.metadata_props, lines);
    let attributes = |n: &NodeProto| -> BTreeMap<String, AttributeProto> {
        described_node(n).attribute.into_iter().map(|attribute| (attribute.name().to_string(), attribute)).collect()
    };
    by_name(&format!("{what} attribute"), &attributes(a), &attributes(b), lines);
}

/// A node without the elements of the tensors that it stores, which are compared as tensors.
fn described_node(n: &NodeProto) -> NodeProto {
    let mut node = n.clone();
    let constant = node.op_type() == "Constant";
    let linear = attributes::is_linear(node.domain(), node.op_type());
    for attribute in &mut node.attribute {
        if let Some(body) = &mut attribute.g {
            body.initializer = body.initializer.iter().map(described).collect();
            body.node = body.node.iter().map(described_node).collect();
        }
        if constant && matches!(attribute.name(), "value" | "value_float" | "value_floats") {
            attribute.t = attribute.t.as_ref().map(|t| Box::new(described(t)));
            attribute.floats.clear();
            attribute.f = None;
        }
        if linear && attributes::WEIGHTS.contains(&attribute.name()) {
            attribute.floats.clear();
        }
    }
    node
}

/// A tensor without its elements, type and shape.
fn described(t: &TensorProto) -> TensorProto {
    TensorProto {
        name: t.name.clone(),
        doc_string: t.doc_string.clone(),
        metadata_props: t.metadata_props.clone(),
        ..TensorProto::default()
    }
}

/// In which form a tensor is stored, in words.
fn form(t: &TensorProto) -> String {
    if t.data_location() == crate::onnx::proto::tensor_proto::DataLocation::External {
        let entry = |key: &str| t.external_data.iter().find(|e| e.key() == key).map_or("", |e| e.value());
        return format!(
            "external data `{}` from byte {}",
            entry("location"),
            if entry("offset").is_empty() { "0" } else { entry("offset") }
        );
    }
    if t.raw_data.is_some() { "raw data".to_string() } else { "typed field".to_string() }
}

fn tensors(a: &OnnxFile, b: &OnnxFile, spans_a: &Spans, spans_b: &Spans, diff: &mut ModelDiff) -> Result<()> {
    let (in_a, in_b) = (stored_floats(a.proto()), stored_floats(b.proto()));
    for name in in_a.keys().chain(in_b.keys()).collect::<BTreeSet<_>>() {
        let (x, y) = match (in_a.get(name), in_b.get(name)) {
            (Some(x), Some(y)) => (x, y),
            (Some(_), None) => {
                diff.other.push(format!("tensor `{name}` is only in the first model"));
                continue;
            }
            _ => {
                diff.other.push(format!("tensor `{name}` is only in the second model"));
                continue;
            }
        };
        let origin = |spans: &Spans| spans.get(name).map(|s| s.origin);
        line(&format!("tensor `{name}` is held by"), &origin(spans_a), &origin(spans_b), &mut diff.other);
        if let (Stored::Tensor(x), Stored::Tensor(y)) = (x, y) {
            encoded(&format!("tensor `{name}` description"), &described(x), &described(y), &mut diff.other);
            line(&format!("tensor `{name}` storage"), &form(x), &form(y), &mut diff.other);
            let same = (x.data_type(), &x.dims) == (y.data_type(), &y.dims);
            if same && DType::from_onnx(x.data_type()).is_none() {
                encoded(&format!("tensor `{name}`"), *x, *y, &mut diff.other);
                continue;
            }
            if !same {
                line(&format!("tensor `{name}` type"), &x.data_type(), &y.data_type(), &mut diff.other);
                line(&format!("tensor `{name}` shape"), &x.dims, &y.dims, &mut diff.other);
                continue;
            }
        }
        let decode = |file: &OnnxFile, stored: &Stored<'_>| match stored {
            Stored::Tensor(t) => file.tensor(t),
            Stored::Floats(values) => Ok(HostTensor::vector(values.to_vec())),
        };
        let (x, y) = (decode(a, x)?, decode(b, y)?);
        if x.dims() != y.dims() {
            line(&format!("tensor `{name}` shape"), &x.dims(), &y.dims(), &mut diff.other);
            continue;
        }
        match changed(name.as_str(), &x, &y) {
            Some(changed) => diff.changed.push(changed),
            None => diff.unchanged += 1,
        }
    }
    Ok(())
}

fn changed(name: &str, a: &HostTensor, b: &HostTensor) -> Option<ChangedTensor> {
    if a == b && !a.dtype().is_float() {
        return None;
    }
    let (x, y) = (a.to_f64(), b.to_f64());
    let differs = |&(x, y): &(&f64, &f64)| x.to_bits() != y.to_bits() && !(x.is_nan() && y.is_nan());
    let (mut square, mut max, mut elements) = (0.0, 0.0f64, 0);
    for (x, y) in x.iter().zip(&y).filter(differs) {
        let d = (x - y).abs();
        square += d * d;
        // A NaN that came or went is the largest difference there is.
        max = if d.is_nan() { f64::INFINITY } else { max.max(d) };
        elements += 1;
    }
    // Large integers may differ in digits that a double does not have.
    if elements == 0 && a.dtype().is_float() {
        return None;
    }
    Some(ChangedTensor {
        name: name.to_string(),
        dtype: a.dtype(),
        dims: a.dims().to_vec(),
        norm: x.iter().map(|x| x * x).sum::<f64>().sqrt(),
        norm_difference: f64::sqrt(square),
        max_abs_difference: max,
        elements,
    })
}
