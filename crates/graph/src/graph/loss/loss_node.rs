//! A loss that the graph itself holds.

use super::{
    super::{
        facts::{self, Passes},
        fold,
    },
    LossKind, LossPlan, written_out,
};
use crate::{
    error::{Error, Result},
    graph::{Dim, Graph, Links, Node, ValueId},
};
use std::collections::BTreeMap;

/// Whether the node is one of ONNX's loss operators.
pub(super) fn is_loss(node: &Node) -> bool {
    node.is("SoftmaxCrossEntropyLoss") || node.is("NegativeLogLikelihoodLoss")
}

/// The plan for the loss in the graph; `None` if it holds none.
pub(super) fn find(graph: &Graph, links: &Links) -> Result<Option<LossPlan>> {
    let used = graph.ancestors(&graph.outputs);
    let losses: Vec<&Node> = graph.nodes.iter().enumerate().filter(|(n, _)| used.contains(n)).map(|(_, n)| n).collect();
    let losses: Vec<&Node> = losses.into_iter().filter(|node| is_loss(node)).collect();
    match losses.as_slice() {
        [] => written_out::find(graph, links),
        [node] => classes(graph, links, node).map(Some),
        several => Err(Error::Untrainable(format!(
            "the graph holds {} losses ({}), and which of them to take is not known; give --loss to compute one on an \
             output instead",
            several.len(),
            several.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// What each value is in another shape or type: found back through operators that keep elements and their order.
pub(super) struct Sources(BTreeMap<ValueId, ValueId>);

impl Sources {
    pub(super) fn of(graph: &Graph) -> Self {
        let mut sources = BTreeMap::new();
        for node in graph.nodes.iter().filter(|node| facts::passes(node).keeps_order()) {
            if let Some(input) = node.input(0) {
                let source = sources.get(&input).copied().unwrap_or(input);
                sources.extend(node.outputs.iter().flatten().map(|&output| (output, source)));
            }
        }
        Self(sources)
    }

    pub(super) fn get(&self, value: ValueId) -> ValueId {
        self.0.get(&value).copied().unwrap_or(value)
    }
}

/// `SoftmaxCrossEntropyLoss` (12, 13) and `NegativeLogLikelihoodLoss` (12, 13, 22). Row losses are computed by us, so
/// `reduction` does not matter for them.
fn classes(graph: &Graph, links: &Links, node: &Node) -> Result<LossPlan> {
    let input = |slot: usize, what: &str| node.input(slot).ok_or_else(|| node.error(format!("its {what} are missing")));
    let (mut scores, labels) = (input(0, "scores")?, input(1, "labels")?);
    let sources = Sources::of(graph);
    let label_input = sources.get(labels);
    if !graph.inputs.contains(&label_input) {
        return Err(Error::Untrainable(format!(
            "node {} ({}): its labels are not an input of the model but computed inside; give --loss to compute the loss \
             on an output instead",
            node.name,
            node.op()
        )));
    }
    let mut seen_through = Vec::new();
    let mut scores_are_log_probs = node.op_type == "NegativeLogLikelihoodLoss";
    if scores_are_log_probs {
        let behind = kept(graph, links, scores);
        if let Some((logits, seen)) = log_softmax(graph, links, behind) {
            (scores, seen_through, scores_are_log_probs) = (logits, seen, false);
        }
    }
    let dims = graph.declared_dims(scores);
    if dims.is_some_and(|dims| dims.iter().skip(2).any(|dim| *dim != Dim::Fixed(1))) {
        return Err(Error::Untrainable(format!(
            "node {} ({}): it computes several losses a row; only one class a row is supported",
            node.name,
            node.op()
        )));
    }
    let class_weights = match node.input(2) {
        None => None,
        Some(value) => match fold::constants(graph).get(&value) {
            Some(weights) => Some(weights.to_f32()),
            None => return Err(node.error("class weights that are computed at run time are not supported")),
        },
    };
    let ignore_index = node.opt_int("ignore_index")?;
    let reduction = node.string("reduction", Some("mean"))?;
    if !["mean", "sum", "none"].contains(&reduction) {
        return Err(node.error(format!("reduction `{reduction}` is none of mean, sum, none")));
    }
    let mut details = format!("reduction {reduction}");
    if let Some(index) = ignore_index {
        details += &format!(", ignore_index {index}");
    }
    if let Some(weights) = &class_weights {
        details += &format!(", weights of {} classes", weights.len());
    }
    let loss = node.output(0);
    let is_output = |value: ValueId| graph.outputs.iter().any(|&output| sources.get(output) == value);
    let mut why = format!(
        "the loss in the graph, {} ({}; {details}), computed for each row from `{}` and the labels given to input `{}`",
        node.op_type,
        node.name,
        graph.name(scores),
        graph.name(label_input)
    );
    if !loss.is_some_and(is_output) {
        why += "; what the graph adds to this loss afterward is left out";
    }
    let shows = |output: ValueId, value: Option<ValueId>| Some(sources.get(output)) == value;
    let mut outputs = graph.outputs.iter().copied();
    let shown = outputs.clone().find(|&output| shows(output, Some(sources.get(scores))));
    let output = shown.or_else(|| outputs.find(|&output| !shows(output, loss)));
    Ok(LossPlan {
        output: output.or(loss.filter(|loss| graph.outputs.contains(loss))),
        scores_are_log_probs,
        label_input: Some(label_input),
        ignore_index,
        class_weights,
        seen_through,
        why,
        ..LossPlan::new(LossKind::Graph, scores)
    })
}

/// Back through Identity and Cast.
fn kept(graph: &Graph, links: &Links, mut value: ValueId) -> ValueId {
    while let Some(node) = links.producer(value).and_then(|(n, _)| graph.nodes.get(n)) {
        match node.input(0) {
            Some(input) if facts::passes(node) == Passes::Same => value = input,
            _ => break,
        }
    }
    value
}

/// The logits behind a LogSoftmax (or Log of Softmax) over the classes, which are axis 1.
fn log_softmax(graph: &Graph, links: &Links, value: ValueId) -> Option<(ValueId, Vec<String>)> {
    let node_of = |value: ValueId| links.producer(value).and_then(|(n, _)| graph.nodes.get(n));
    let label = |node: &Node| format!("{} ({})", node.op_type, node.name);
    let mut node = node_of(value)?;
    let mut seen = vec![label(node)];
    if node.is("Log") {
        node = node_of(node.input(0)?).filter(|inner| inner.is("Softmax"))?;
        seen.push(label(node));
    } else if !node.is("LogSoftmax") {
        return None;
    }
    let default = if node.opset < 13 { 1 } else { -1 };
    let axis = node.int("axis", Some(default)).unwrap_or(default);
    let rank = graph.declared_dims(value).or_else(|| graph.declared_dims(node.input(0)?)).map(<[Dim]>::len);
    let over_classes = axis == 1 || axis == -1 && rank.is_none_or(|rank| rank == 2);
    over_classes.then(|| Some((node.input(0)?, seen)))?
}
