//! onnxruntime's training artifacts as models.
//!
//! `generate_artifacts` writes graphs whose parameters are inputs that a checkpoint fills: `eval_model.onnx` (forward
//! pass and loss) and `training_model.onnx` (the same, changed by onnxruntime's training transformations, and the
//! backward pass behind it). [`open`] gives the model that such a graph stands for: the checkpoint's tensors are its
//! initializers, and the backward pass is gone.

use super::{
    OnnxFile, ReadOptions,
    checkpoint::{Checkpoint, Parameter},
    operators,
    proto::{
        GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, tensor_shape_proto::dimension, type_proto,
    },
    prune::drop_unused_nodes,
    tensor::type_name,
};
use crate::error::Result;
use std::{collections::BTreeSet, path::Path};

/// Ends of the names of what holds gradients between batches.
const BUFFER: &str = "_grad.accumulation.buffer";
const ACCUMULATED: &str = "_grad.accumulation.out";
/// The input that says whether to start anew.
const RESET: &str = "lazy_reset_grad";

/// Operators that onnxruntime puts in the place of standard ones in order to train: the standard one, how many inputs
/// may be given for the two to be the same, and the outputs that the standard one has.
const INTERNAL: [(&str, &str, usize, usize); 3] = [
    ("BatchNormInternal", "BatchNormalization", 5, 1),
    ("SoftmaxCrossEntropyLossInternal", "SoftmaxCrossEntropyLoss", 3, 2),
    ("ConcatTraining", "Concat", usize::MAX, 1),
];

/// Opens the model at `path`. If its parameters are inputs, those are taken from `checkpoint`, or from the file
/// `checkpoint` beside it.
///
/// # Errors
/// Those of [`OnnxFile::open`], of [`Checkpoint::open`] and of [`OnnxFile::bind`].
pub fn open(path: &Path, checkpoint: Option<&Path>, options: &ReadOptions) -> Result<OnnxFile> {
    let file = OnnxFile::open(path, options)?;
    let beside = file.folder().join("checkpoint");
    match checkpoint {
        Some(given) => file.bind(Checkpoint::open(given)?),
        None if takes_parameters(file.proto()) && Checkpoint::is_one(&beside) => file.bind(Checkpoint::open(&beside)?),
        None => Ok(file),
    }
}

/// Whether the model has the form of an eval or training model.
fn takes_parameters(model: &ModelProto) -> bool {
    model.graph.as_ref().is_some_and(|graph| !parameter_inputs(graph).is_empty() || is_training(graph))
}

fn is_training(graph: &GraphProto) -> bool {
    graph.input.iter().any(|input| input.name().ends_with(BUFFER))
}

/// Inputs of fixed shape, without a stored value, that stand where only parameters do: the first operand is then not
/// a stored one.
fn parameter_inputs(graph: &GraphProto) -> BTreeSet<&str> {
    let stored: BTreeSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
    let fixed = graph.input.iter().filter(|input| {
        dims(input).is_some_and(|dims| !dims.is_empty() && dims.iter().all(Option::is_some))
            && !stored.contains(input.name())
    });
    let fixed: BTreeSet<&str> = fixed.map(ValueInfoProto::name).collect();
    let data = |node: &&NodeProto| node.input.first().is_some_and(|name| !stored.contains(name.as_str()));
    let part = |node: &NodeProto| operators::named(node.domain(), node.op_type())?.slot(1).part();
    let taken = graph.node.iter().filter(data).filter_map(|node| part(node).and(node.input.get(1)));
    taken.filter_map(|name| fixed.get(name.as_str()).copied()).collect()
}

/// Declared extents, `None` where one is open; `None` where there is no shape.
fn dims(input: &ValueInfoProto) -> Option<Vec<Option<i64>>> {
    let extent = |value: &Option<dimension::Value>| match value {
        Some(dimension::Value::DimValue(n)) => Some(*n),
        _ => None,
    };
    Some(tensor_type(input)?.shape.as_ref()?.dim.iter().map(|dim| extent(&dim.value)).collect())
}

fn tensor_type(input: &ValueInfoProto) -> Option<&type_proto::Tensor> {
    match input.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => Some(tensor),
        _ => None,
    }
}

/// The model of `file` with the tensors of `checkpoint` as initializers, and without a backward pass.
pub(super) fn bound(file: &OnnxFile, checkpoint: &Checkpoint) -> Result<ModelProto> {
    let mut model = file.proto().clone();
    if model.graph.as_ref().is_some_and(is_training) {
        forward_alone(&mut model);
    }
    let Some(graph) = &mut model.graph else { return Ok(model) };
    let stored: BTreeSet<String> = graph.initializer.iter().map(|t| t.name().to_string()).collect();
    let from = checkpoint.path().display();
    for input in graph.input.iter().filter(|input| !stored.contains(input.name())) {
        let Some(parameter) = checkpoint.parameters().get(input.name()) else { continue };
        let place = || format!("input `{}`", input.name());
        agree(input, parameter).map_err(|why| file.malformed(place(), format!("{why} in the checkpoint {from}")))?;
        graph.initializer.push(TensorProto {
            name: Some(input.name().into()),
            dims: parameter.dims.iter().map(|&d| d as i64).collect(),
            data_type: Some(parameter.dtype as i32),
            raw_data: Some(checkpoint.raw(parameter)),
            ..TensorProto::default()
        });
    }
    if graph.initializer.len() == stored.len() {
        let why = match checkpoint.parameters().keys().any(|name| stored.contains(name)) {
            true => format!("the model holds its parameters itself; leave out the checkpoint {from}"),
            false => format!("no input has the name of a tensor of the checkpoint {from}; it belongs to another model"),
        };
        return Err(file.malformed("graph", why));
    }
    if let Some(missing) = parameter_inputs(graph).first() {
        let place = format!("input `{missing}`");
        return Err(file.malformed(place, format!("it is a parameter, but the checkpoint {from} has no tensor for it")));
    }
    Ok(model)
}

/// Holds what the graph declares of an input against the tensor that it gets.
fn agree(input: &ValueInfoProto, parameter: &Parameter) -> Result<(), String> {
    let Some(declared) = tensor_type(input) else { return Err("it is no tensor, but one".into()) };
    if declared.elem_type() != parameter.dtype as i32 {
        return Err(format!("it is declared as {}, but it is {}", type_name(declared.elem_type()), parameter.dtype));
    }
    let Some(declared) = dims(input) else { return Ok(()) };
    let same = |(declared, real): (&Option<i64>, &usize)| declared.is_none_or(|n| usize::try_from(n) == Ok(*real));
    if declared.len() == parameter.dims.len() && declared.iter().zip(&parameter.dims).all(same) {
        return Ok(());
    }
    let shown: Vec<String> = declared.iter().map(|n| n.map_or("?".into(), |n| n.to_string())).collect();
    Err(format!("its declared shape is [{}], but it is {:?}", shown.join(", "), parameter.dims))
}

/// Removes the backward pass and what it needs: of the outputs, those that are gradients; then all that no other output
/// depends on. What is left of onnxruntime's own operators gets the standard names.
fn forward_alone(model: &mut ModelProto) {
    if let Some(graph) = &mut model.graph {
        graph.output.retain(|output| !output.name().ends_with(ACCUMULATED));
    }
    let used = drop_unused_nodes(model);
    let Some(graph) = &mut model.graph else { return };
    graph.initializer.retain(|tensor| used.contains(tensor.name()));
    graph.input.retain(|input| !input.name().ends_with(BUFFER) && input.name() != RESET || used.contains(input.name()));
    for node in &mut graph.node {
        let given = node.input.iter().filter(|name| !name.is_empty()).count();
        let internal = INTERNAL.iter().find(|(op, _, most, _)| node.op_type() == *op && given <= *most);
        if let (Some((_, standard, _, outputs)), "com.microsoft") = (internal, node.domain()) {
            node.op_type = Some((*standard).into());
            node.domain = None;
            node.output.truncate(*outputs);
        }
        // The backward pass asked for where the maximum was, and what was dropped.
        let extra = match node.op_type() {
            "MaxPool" | "Dropout" => node.output.iter().skip(1).any(|name| used.contains(name)),
            _ => true,
        };
        if !extra {
            node.output.truncate(1);
        }
    }
    let domains: BTreeSet<String> = graph.node.iter().map(|node| node.domain().to_string()).collect();
    model.opset_import.retain(|set| matches!(set.domain(), "" | "ai.onnx") || domains.contains(set.domain()));
}
