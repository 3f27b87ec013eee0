//! Which part of a graph is the forward pass, and what its loss is.

mod heads;
mod loss_node;
mod written_out;

use super::{Dim, Graph, Links, Node, ValueId, fold};
use crate::error::{Error, Result};
use heads::{Ending, Head};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A task loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// Cross-entropy of logits and one class a row
    CrossEntropy,
    /// Binary cross-entropy of each logit and a 0 or 1
    Bce,
    /// Mean squared error
    Mse,
    /// The loss that the graph itself holds
    Graph,
}

/// What is known of the labels before the loss is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelKind {
    /// One class index a row.
    Class,
    /// 0 or 1 a row.
    Binary,
    /// Several 0 or 1 a row.
    MultiLabel,
    /// Real values.
    Value,
    /// Nothing is known.
    Unknown,
}

/// What is differentiated, and why.
#[derive(Clone, Debug)]
pub struct LossPlan {
    /// The loss. [`LossKind::Graph`] is the cross-entropy of the graph's own loss node.
    pub kind: LossKind,
    /// The value that the loss is computed from: the row is the first axis, all other axes together are logits
    /// (`CrossEntropy`, `Bce`, `Graph`) or predicted values (`Mse`). Axes of extent 1 may follow or lie between.
    pub scores: ValueId,
    /// The output of the graph that shows the scores, or what is made of them.
    pub output: Option<ValueId>,
    /// Whether `scores` are logarithms of probabilities already (then the loss is `-score[class]`).
    pub scores_are_log_probs: bool,
    /// The graph's input that takes the labels, if the graph holds the loss.
    pub label_input: Option<ValueId>,
    /// Class whose rows have no loss.
    pub ignore_index: Option<i64>,
    /// Weight of each class.
    pub class_weights: Option<Vec<f32>>,
    /// The operators between `scores` and `output` that the loss takes the place of, each with its node.
    pub seen_through: Vec<String>,
    /// One sentence for the user: which loss on what, and why.
    pub why: String,
}

/// Finds what the loss is computed from, and which loss it is: the one `asked` for, else the one in the graph, else the
/// one that `label` and the output's form tell.
///
/// # Errors
/// [`Error::Untrainable`] if there is no such loss, naming the flag to give; [`Error::Unsupported`] if the scores depend
/// on a stored tensor of a type that this program does not hold.
pub fn plan(graph: &Graph, asked: Option<LossKind>, label: LabelKind) -> Result<LossPlan> {
    let links = graph.links();
    let plan = match asked {
        None | Some(LossKind::Graph) => match loss_node::find(graph, &links)? {
            Some(plan) => plan,
            None if asked.is_some() => {
                return Err(Error::Untrainable(
                    "--loss graph: the graph holds no SoftmaxCrossEntropyLoss, NegativeLogLikelihoodLoss, mean squared \
                     error or binary cross-entropy; give --loss cross-entropy, bce or mse"
                        .into(),
                ));
            }
            None => on_output(graph, &links, None, label)?,
        },
        Some(_) => on_output(graph, &links, asked, label)?,
    };
    require_held(graph, plan.scores)?;
    Ok(plan)
}

/// Whether the graph computes a loss from labels, be it one that is known or not.
pub fn holds_loss(graph: &Graph) -> bool {
    !matches!(loss_node::find(graph, &graph.links()), Ok(None))
}

/// `graph` without what needs inputs that the loss of `plan` does not: where it takes the place of a loss in the graph, the
/// labels of that one.
pub fn narrowed(graph: Graph, plan: &LossPlan) -> Graph {
    let inputs_of = |value: ValueId| {
        let nodes = graph.ancestors(&[value]).into_iter().filter_map(|n| graph.nodes.get(n));
        let taken: BTreeSet<ValueId> = nodes.flat_map(|node| node.dependencies().flatten()).chain([value]).collect();
        graph.inputs.iter().copied().filter(|input| taken.contains(input)).collect::<BTreeSet<_>>()
    };
    let mut needed = inputs_of(plan.scores);
    needed.extend(plan.label_input);
    if graph.inputs.iter().all(|input| needed.contains(input)) {
        return graph;
    }
    let kept: Vec<ValueId> =
        graph.outputs.iter().copied().filter(|&output| inputs_of(output).is_subset(&needed)).collect();
    let mut narrowed = graph.prune(&[kept.as_slice(), &[plan.scores]].concat());
    narrowed.inputs = graph.inputs.iter().copied().filter(|input| needed.contains(input)).collect();
    narrowed.outputs = kept;
    narrowed
}

/// Fails if `scores` need a tensor that could not be decoded.
fn require_held(graph: &Graph, scores: ValueId) -> Result<()> {
    let mut problems = Vec::new();
    for n in graph.ancestors(&[scores]) {
        let Some(node) = graph.nodes.get(n) else { continue };
        for (value, kind) in node.dependencies().flatten().filter_map(|v| Some((v, graph.opaque.get(&v)?))) {
            problems.push(format!("node {} ({}): its input `{}` is {kind}", node.name, node.op(), graph.name(value)));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Unsupported(problems.join("\n"))) }
}

/// Whether the file says that this node works as in training: batch statistics, or dropping. The mode is signalled
/// differently in every version of these operators.
pub fn is_training_mode(graph: &Graph, node: &Node) -> bool {
    let is_test = matches!(node.attrs.get("is_test"), Some(super::Attr::Int(flag)) if *flag != 0);
    match (node.is("BatchNormalization"), node.is("Dropout"), node.opset) {
        (true, _, ..=6) => !is_test,
        (true, _, 7..=13) => node.outputs.iter().flatten().count() > 1,
        (true, _, _) => matches!(node.attrs.get("training_mode"), Some(super::Attr::Int(flag)) if *flag != 0),
        (_, true, ..=6) => !is_test,
        (_, true, 7..=11) => false,
        (_, true, _) => {
            let Some(value) = node.input(2) else { return false };
            let stored = graph.initializers.get(&value).map(|stored| stored.tensor.clone());
            let flag = stored.or_else(|| fold::constants(graph).get(&value).cloned());
            flag.is_some_and(|flag| flag.to_f64().first().is_some_and(|flag| *flag != 0.0))
        }
        _ => false,
    }
}

/// A loss on one of the graph's outputs.
fn on_output(graph: &Graph, links: &Links, asked: Option<LossKind>, label: LabelKind) -> Result<LossPlan> {
    let (head, chosen) = heads::choose(graph, links)?;
    let (kind, because) = choose_kind(graph, asked, label, &head)?;
    let on_output = kind == LossKind::Mse && !head.labels;
    let scores = if on_output { head.output } else { head.logits };
    let seen_through = if on_output { Vec::new() } else { head.seen_through.clone() };
    let what = match kind {
        LossKind::CrossEntropy => "cross-entropy on the logits",
        LossKind::Bce => "binary cross-entropy on the logits",
        LossKind::Mse | LossKind::Graph => "mean squared error of",
    };
    let name = graph.name(scores);
    let mut why = format!("{what} `{name}`: {because}");
    if !seen_through.is_empty() {
        why += &format!("; seen through {}", seen_through.join(", "));
    }
    if let Some(chosen) = chosen {
        why += &format!("; {chosen}");
    }
    Ok(LossPlan {
        kind,
        scores,
        output: Some(head.output),
        scores_are_log_probs: false,
        label_input: None,
        ignore_index: None,
        class_weights: None,
        seen_through,
        why,
    })
}

fn choose_kind(graph: &Graph, asked: Option<LossKind>, label: LabelKind, head: &Head) -> Result<(LossKind, String)> {
    use LabelKind::*;
    use LossKind::*;
    let output = graph.name(head.output);
    let refuse = |problem: String| Err(Error::Untrainable(format!("output `{output}`: {problem}")));
    let per_row = |kind: LossKind, because: String| match &head.several_a_row {
        Some(problem) => refuse(format!("{problem}; give --loss mse, or bring a model with one classification a row")),
        None => Ok((kind, because)),
    };
    let ending = head.ending;
    if let Some(kind) = asked {
        let asked = "asked for by --loss".to_string();
        return match (kind, ending, head.width) {
            (CrossEntropy, _, Some(1)) => {
                refuse("it has one value a row, and cross-entropy needs two or more; give --loss bce".into())
            }
            (CrossEntropy, ..) => per_row(CrossEntropy, asked),
            (Bce, Ending::Softmax, Some(2) | None) => per_row(
                CrossEntropy,
                "two logits under a Softmax: their cross-entropy is the binary one asked for by --loss".into(),
            ),
            (Bce, Ending::Softmax, _) => {
                refuse("it is a Softmax over more than two classes; give --loss cross-entropy".into())
            }
            (kind, ..) => Ok((kind, asked)),
        };
    }
    match (label, ending, head.width) {
        (Value, Ending::Softmax | Ending::Labels, _) => refuse(
            "the labels are real values, but it shows classes; store the labels as integers, or give --loss".into(),
        ),
        (Value, Ending::Sigmoid, _) => Ok((Bce, "the output is a Sigmoid".into())),
        (Value, Ending::Plain, _) => Ok((Mse, "the labels are real values".into())),
        (MultiLabel, Ending::Softmax, _) => {
            refuse("the labels hold several values a row, but it is a Softmax, which tells one class".into())
        }
        (MultiLabel, ..) => Ok((Bce, "the labels hold several 0 or 1 a row".into())),
        (_, Ending::Softmax, _) => per_row(CrossEntropy, "the output is a Softmax".into()),
        (_, Ending::Labels, _) => per_row(CrossEntropy, "the output is the class with the highest score".into()),
        (Class | Binary, Ending::Sigmoid, Some(1)) => Ok((Bce, "the output is a Sigmoid of one logit".into())),
        (Binary, Ending::Sigmoid, None) => Ok((Bce, "the output is a Sigmoid and the labels are 0 or 1".into())),
        (Class | Binary, Ending::Sigmoid, _) => {
            per_row(CrossEntropy, "the labels tell one class a row, and the output has a Sigmoid for each class".into())
        }
        (Unknown, Ending::Sigmoid, _) => Ok((Bce, "the output is a Sigmoid".into())),
        (Class | Binary, Ending::Plain, Some(1)) => Ok((Bce, "one value a row, and labels of two classes".into())),
        (Class, Ending::Plain, _) => {
            per_row(CrossEntropy, format!("the labels are classes and the output has {}", values(head)))
        }
        (Binary, Ending::Plain, Some(_)) => {
            per_row(CrossEntropy, format!("the labels are two classes and the output has {}", values(head)))
        }
        (Binary, Ending::Plain, None) => refuse(
            "the file does not tell how many values a row it has; give --loss bce (one) or cross-entropy (two)".into(),
        ),
        (Unknown, Ending::Plain, Some(width)) if width > 1 && head.several_a_row.is_none() => {
            Ok((CrossEntropy, format!("the output has {}, read as logits (give --loss for another)", values(head))))
        }
        (Unknown, Ending::Plain, _) => Ok((
            Mse,
            format!(
                "the output has {}, and nothing tells that they are logits (give --loss for another)",
                values(head)
            ),
        )),
    }
}

fn values(head: &Head) -> String {
    match head.width {
        Some(1) => "one value a row".into(),
        Some(width) => format!("{width} values a row"),
        None => "an undeclared number of values a row".into(),
    }
}

/// Values a row: the product of all extents after the first. `None` if one of them is open.
fn width(dims: &[Dim]) -> Option<usize> {
    let mut width = 1usize;
    for dim in dims.get(1..)? {
        let Dim::Fixed(extent) = dim else { return None };
        width = width.checked_mul(*extent)?;
    }
    Some(width)
}

#[cfg(test)]
#[path = "training/tests.rs"]
mod tests;
