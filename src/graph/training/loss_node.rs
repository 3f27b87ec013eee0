//! A loss that the graph itself holds.

use super::{super::fold, LossKind, LossPlan};
use crate::{
    error::{Error, Result},
    graph::{Attr, Dim, Graph, Links, Node, ValueId},
};

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
        [] => Ok(squared_error(graph, links).or_else(|| binary_cross_entropy(graph, links))),
        [node] => classes(graph, links, node).map(Some),
        several => Err(Error::Untrainable(format!(
            "the graph holds {} losses ({}), and which of them to take is not known; give --loss to compute one on an \
             output instead",
            several.len(),
            several.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// Back through operators that keep a value's elements and their order.
fn source(graph: &Graph, links: &Links, mut value: ValueId) -> ValueId {
    const KEEP: [&str; 6] = ["Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Flatten"];
    while let Some(node) = links.producer(value).and_then(|(n, _)| graph.nodes.get(n)) {
        match node.input(0) {
            Some(input) if KEEP.iter().any(|op| node.is(op)) => value = input,
            _ => break,
        }
    }
    value
}

/// `SoftmaxCrossEntropyLoss` (12, 13) and `NegativeLogLikelihoodLoss` (12, 13, 22). Row losses are computed by us, so
/// `reduction` does not matter for them.
fn classes(graph: &Graph, links: &Links, node: &Node) -> Result<LossPlan> {
    let input = |slot: usize, what: &str| node.input(slot).ok_or_else(|| node.error(format!("its {what} are missing")));
    let (mut scores, labels) = (input(0, "scores")?, input(1, "labels")?);
    let label_input = source(graph, links, labels);
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
    let is_output = |value: ValueId| graph.outputs.iter().any(|&output| source(graph, links, output) == value);
    let mut why = format!(
        "the loss in the graph, {} ({}; {details}), computed for each row from `{}` and the labels given to input `{}`",
        node.op_type,
        node.name,
        graph.name(scores),
        graph.name(label_input)
    );
    if !loss.is_some_and(is_output) {
        why += "; what the graph adds to this loss afterwards is left out";
    }
    let output = graph.outputs.iter().copied().find(|&output| Some(source(graph, links, output)) != loss);
    Ok(LossPlan {
        kind: LossKind::Graph,
        scores,
        output: output.or(loss.filter(|loss| graph.outputs.contains(loss))),
        scores_are_log_probs,
        label_input: Some(label_input),
        ignore_index,
        class_weights,
        seen_through,
        why,
    })
}

/// Back through Identity and Cast.
fn kept(graph: &Graph, links: &Links, mut value: ValueId) -> ValueId {
    while let Some(node) = links.producer(value).and_then(|(n, _)| graph.nodes.get(n)) {
        match node.input(0) {
            Some(input) if node.is("Identity") || node.is("Cast") => value = input,
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
    let axis = match node.attrs.get("axis") {
        Some(Attr::Int(axis)) => *axis,
        _ if node.opset < 13 => 1,
        _ => -1,
    };
    let rank = graph.declared_dims(value).or_else(|| graph.declared_dims(node.input(0)?)).map(<[Dim]>::len);
    let over_classes = axis == 1 || axis == -1 && rank.is_none_or(|rank| rank == 2);
    over_classes.then(|| Some((node.input(0)?, seen)))?
}

/// `ReduceMean(Pow(Sub(scores, labels), 2))`, as training tools write a mean squared error; also with `Mul(d, d)` for
/// the square.
fn squared_error(graph: &Graph, links: &Links) -> Option<LossPlan> {
    let node_of = |value: ValueId| links.producer(value).and_then(|(n, _)| graph.nodes.get(n));
    let constants = fold::constants(graph);
    for &output in &graph.outputs {
        let Some(mean) = node_of(output).filter(|n| n.is("ReduceMean")) else { continue };
        let Some(square) = mean.input(0).and_then(node_of) else { continue };
        let squares = match square.op_type.as_str() {
            "Mul" => square.input(0) == square.input(1),
            "Pow" => {
                let exponent = square.input(1).and_then(|value| constants.get(&value));
                exponent.is_some_and(|exponent| exponent.to_f64() == [2.0])
            }
            _ => false,
        };
        let Some(sub) = square.input(0).filter(|_| squares).and_then(node_of).filter(|n| n.is("Sub")) else { continue };
        let (Some(a), Some(b)) = (sub.input(0), sub.input(1)) else { continue };
        let is_label = |value: ValueId| {
            let from = source(graph, links, value);
            graph.inputs.contains(&from) && links.users(from).len() == 1
        };
        let (scores, labels) = match (is_label(a), is_label(b)) {
            (false, true) => (a, b),
            (true, false) => (b, a),
            _ => continue,
        };
        let label_input = source(graph, links, labels);
        return Some(written_out(graph, (LossKind::Mse, "mean squared error"), mean, scores, label_input));
    }
    None
}

/// `ReduceMean(Neg(Log(p)·t + Log(1 − p)·(1 − t)))` with `p = Sigmoid(logits)`, as training tools write a binary
/// cross-entropy. Computed on the logits, it is exact where `p` is rounded to 0 or 1.
fn binary_cross_entropy(graph: &Graph, links: &Links) -> Option<LossPlan> {
    let constants = fold::constants(graph);
    let node_of = |value: ValueId| links.producer(value).and_then(|(n, _)| graph.nodes.get(n));
    let made_by = |value: ValueId, op: &str| node_of(value).filter(|node| node.is(op));
    let is_one = |value| constants.get(&value).is_some_and(|ones| ones.to_f64().iter().all(|&x| x == 1.0));
    // Of `1 − v` the `v`.
    let complement = |value| {
        let sub = made_by(value, "Sub")?;
        sub.input(0).filter(|&value| is_one(value)).and(sub.input(1))
    };
    // Of `Log(v)·w` both, in whichever order.
    let product = |value| {
        let mul = made_by(value, "Mul")?;
        let (a, b) = (mul.input(0)?, mul.input(1)?);
        let log = |value| made_by(value, "Log")?.input(0);
        log(a).map(|v| (v, b)).or_else(|| Some((log(b)?, a)))
    };
    let find = |output: ValueId| {
        let mean = made_by(output, "ReduceMean")?;
        let sum = made_by(made_by(mean.input(0)?, "Neg")?.input(0)?, "Add")?;
        let (one, other) = (product(sum.input(0)?)?, product(sum.input(1)?)?);
        let (yes, no) = if complement(other.0).is_some() { (one, other) } else { (other, one) };
        let (probability, labels) = yes;
        let scores = made_by(probability, "Sigmoid")?.input(0)?;
        let label_input = source(graph, links, labels);
        let fits = complement(no.0)? == probability && complement(no.1)? == labels;
        let plan = || written_out(graph, (LossKind::Bce, "binary cross-entropy"), mean, scores, label_input);
        (fits && graph.inputs.contains(&label_input)).then(plan)
    };
    graph.outputs.iter().find_map(|&output| find(output))
}

/// The plan for a loss that is written out in basic operators, of which `mean` is the last.
fn written_out(
    graph: &Graph,
    (kind, what): (LossKind, &str),
    mean: &Node,
    scores: ValueId,
    label_input: ValueId,
) -> LossPlan {
    LossPlan {
        kind,
        scores,
        output: Some(scores).filter(|scores| graph.outputs.contains(scores)),
        scores_are_log_probs: false,
        label_input: Some(label_input),
        ignore_index: None,
        class_weights: None,
        seen_through: Vec::new(),
        why: format!(
            "the {what} in the graph ({}), computed for each row from `{}` and the labels given to input `{}`",
            mean.name,
            graph.name(scores),
            graph.name(label_input)
        ),
    }
}
