//! Which part of a graph is the forward pass, and what its loss is.

mod classes;
mod columns;
mod group;
mod heads;
mod joined;
mod kind;
mod labels;
mod loss_graph;
mod loss_node;
mod pick;
mod positions;
mod probability;
mod steps;
mod tracer;
mod written_out;

use super::{Dim, Graph, Links, Node, ValueId, fold};
use crate::{
    batch::Reduction,
    error::{Error, Result},
};
pub(super) use columns::complements_last;
pub use joined::{Term, joined};
pub use labels::{Ask, LabelKind, Labels};
pub use loss_graph::{LossGraph, attach, attach_made};
use serde::{Deserialize, Serialize};
use std::{cell::LazyCell, collections::BTreeSet};

/// A task loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// Cross-entropy of logits and one class per row
    CrossEntropy,
    /// Binary cross-entropy of each logit and a 0 or 1
    Bce,
    /// Mean squared error
    Mse,
    /// The loss in the graph
    Graph,
    /// A loss graph (`--loss-graph`)
    #[serde(skip_deserializing)]
    LossGraph,
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
    /// Whether `scores` are those of one-vs-rest classifiers, and the probability of a class is its score's Sigmoid over the sum
    /// of the row's: the logits of the cross-entropy are then `ln σ(score)`.
    pub sigmoid_shares: bool,
    /// The graph's input that takes the labels, if the graph holds the loss.
    pub label_input: Option<ValueId>,
    /// The axis of the classes in `scores`, if a row has a classification for each of several positions; the positions are those
    /// of all other axes but the first, row-major.
    pub class_axis: Option<usize>,
    /// How the losses of the positions become that of the row.
    pub reduction: Reduction,
    /// Class whose rows have no loss.
    pub ignore_index: Option<i64>,
    /// Weight of each class.
    pub class_weights: Option<Vec<f32>>,
    /// The loss graph whose first output `scores` is.
    pub loss_graph: Option<LossGraph>,
    /// The operators between `scores` and `output` that the loss takes the place of, each with its node.
    pub seen_through: Vec<String>,
    /// One sentence for the user: which loss on what, and why.
    pub why: String,
    /// What the output is, beyond the loss.
    pub head: HeadNotes,
}

/// What is known of the output that a loss is computed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadNotes {
    /// How many outputs hold scores of their own.
    pub heads: usize,
    /// Values a row, if known.
    pub width: Option<usize>,
    /// Why the output holds several answers a row (tags of tokens, masks, next words), if it does.
    pub positions: Option<String>,
    /// What to ask, if nothing decided which of several outputs the labels belong to.
    pub undecided: Option<String>,
    /// Whether the output shows nothing but the Sigmoid of the scores, or both its columns `1 − p, p`.
    pub sigmoid: bool,
    /// The model's names of its classes, in the order of the scores, if it holds them.
    pub classes: Option<Vec<String>>,
}

/// [`plan_for`], where only the loss and the kind of the labels are known.
///
/// # Errors
/// As [`plan_for`].
pub fn plan(graph: &Graph, asked: Option<LossKind>, label: LabelKind) -> Result<LossPlan> {
    plan_for(graph, &Ask { loss: asked, labels: label.into(), ..Ask::default() })
}

/// Finds what the loss is computed from, and which loss it is: the one asked for, else the one in the graph, else the one
/// that the labels and the output's form tell.
///
/// # Errors
/// [`Error::Untrainable`] if there is no such loss, naming the flag to give; [`Error::Usage`] if there is no such output;
/// [`Error::Unsupported`] if the scores depend on a stored tensor of a type that this program does not hold.
pub fn plan_for(graph: &Graph, ask: &Ask) -> Result<LossPlan> {
    let links = graph.links();
    let plan = match ask.loss {
        None | Some(LossKind::Graph) if ask.output.is_none() => match loss_node::find(graph, &links)? {
            Some(plan) => plan,
            None if ask.loss.is_some() => {
                return Err(Error::Untrainable(
                    "--loss graph: the graph holds no SoftmaxCrossEntropyLoss, NegativeLogLikelihoodLoss, mean squared \
                     error or binary cross-entropy; give --loss cross-entropy, bce or mse"
                        .into(),
                ));
            }
            None => on_output(graph, &links, ask)?,
        },
        _ => on_output(graph, &links, ask)?,
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
    let wanted = plan.wanted();
    let nodes = graph.ancestors(&wanted).into_iter().filter_map(|n| graph.nodes.get(n));
    let taken = nodes.flat_map(|node| node.dependencies().flatten()).chain(wanted.iter().copied());
    let needed: BTreeSet<ValueId> = taken.chain(plan.label_input).collect();
    if graph.inputs.iter().all(|input| needed.contains(input)) {
        return graph;
    }
    let others = graph.inputs.iter().copied().filter(|input| !needed.contains(input));
    let behind_others = graph.derived_from(others);
    let kept: Vec<ValueId> = graph.outputs.iter().copied().filter(|output| !behind_others.contains(output)).collect();
    let mut narrowed = graph.prune(&[kept.as_slice(), &wanted].concat());
    narrowed.inputs = graph.inputs.iter().copied().filter(|input| needed.contains(input)).collect();
    narrowed.outputs = kept;
    narrowed
}

/// The outputs that `trained` tensors change, and that are neither made of what the loss is computed from nor on the way to it: other
/// heads, which no target names.
pub fn others(graph: &Graph, plan: &LossPlan, trained: &[ValueId]) -> Vec<ValueId> {
    let scores = plan.loss_graph.as_ref().map_or_else(|| vec![plan.scores], |own| own.taken.clone());
    let behind = graph.derived_from(scores.iter().copied());
    let nodes = graph.ancestors(&scores);
    let before: BTreeSet<ValueId> = nodes
        .iter()
        .filter_map(|&n| graph.nodes.get(n))
        .flat_map(|node| node.outputs.iter().flatten().copied())
        .collect();
    let moved = graph.derived_from(trained.iter().copied());
    let other = |output: &ValueId| moved.contains(output) && !behind.contains(output) && !before.contains(output);
    graph.outputs.iter().copied().filter(other).collect()
}

/// Values with their shapes, for a message.
pub fn listed(graph: &Graph, values: &[ValueId]) -> String {
    heads::listed(graph, values)
}

/// What to say where an output holds several classifications a row (`problem`), and the labels do not.
pub fn positions(problem: &str) -> String {
    kind::positions(problem)
}

/// Which labels such an output takes.
pub fn labels_for_positions(problem: &str) -> String {
    format!(
        "{problem}: with `kind = \"class\"` under `[target]`, labels are lists with a class for each position (tags of tokens, masks); with \
         `kind = \"next\"`, the tokens that follow (language models); with `kind = \"value\"`, as many values as the output has"
    )
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

/// Whether the file says that a node works as in training: batch statistics, or dropping.
pub fn has_training_mode(graph: &Graph) -> bool {
    let constants = LazyCell::new(|| fold::constants(graph));
    let is_set = |value: ValueId| {
        let flag = graph.initializers.get(&value).map(|stored| &stored.tensor).or_else(|| constants.get(&value));
        // Not more than the flag is looked at, however large the tensor is that is given for it.
        flag.is_some_and(|flag| flag.len() == 1 && flag.to_f64() != [0.0])
    };
    graph.nodes.iter().any(|node| is_training_mode(node, is_set))
}

/// Whether the file says so of this node; `is_set` tells whether a known value is true. The mode is signaled differently
/// in every version of these operators.
fn is_training_mode(node: &Node, is_set: impl Fn(ValueId) -> bool) -> bool {
    let flag = |name: &str| node.flag(name, false).unwrap_or(false);
    let is_test = flag("is_test");
    match (node.is("BatchNormalization"), node.is("Dropout"), node.opset) {
        (true, _, ..=6) => !is_test,
        (true, _, 7..=13) => node.outputs.iter().flatten().count() > 1,
        (true, _, _) => flag("training_mode"),
        (_, true, ..=6) => !is_test,
        (_, true, 7..=11) => false,
        (_, true, _) => node.input(2).is_some_and(is_set),
        _ => false,
    }
}

/// A loss on one of the graph's outputs.
fn on_output(graph: &Graph, links: &Links, ask: &Ask) -> Result<LossPlan> {
    let heads::Choice { head, heads, reason, undecided } =
        heads::choose(graph, links, ask.output.as_deref(), &ask.labels)?;
    let tracer = tracer::Tracer::new(graph, links);
    let label = positions::label_kind(&tracer, &ask.labels, &head);
    let (kind, because) = kind::choose(graph, ask.loss, label, &head)?;
    let class_axis = match &head.several_a_row {
        Some(several) if kind == LossKind::CrossEntropy => {
            let facts = ask.labels.facts.as_ref();
            let axis = positions::class_axis(&tracer, head.logits, several.classes, ask.class_axis, facts);
            let refused = |problem| Error::Untrainable(format!("output `{}`: {problem}", graph.name(head.output)));
            Some(axis.map_err(refused)?)
        }
        _ => None,
    };
    let on_output = kind == LossKind::Mse && !head.labels;
    let scores = if on_output { head.output } else { head.logits };
    let seen_through = if on_output { Vec::new() } else { head.seen_through.clone() };
    let what = match kind {
        LossKind::CrossEntropy => "cross-entropy on the logits",
        LossKind::Bce => "binary cross-entropy on the logits",
        LossKind::Mse | LossKind::Graph | LossKind::LossGraph => "mean squared error of",
    };
    let name = graph.name(scores);
    let mut why = format!("{what} `{name}`: {because}");
    if let Some(axis) = class_axis {
        why += &format!("; classes along axis {axis}");
        if ask.reduction == Reduction::Sum {
            why += "; the sum over the positions of a row";
        }
    } else if ask.reduction == Reduction::Sum {
        let problem =
            "`reduction = \"sum\"` under `[target]` means nothing where a row has no classes at several positions";
        return Err(Error::Usage(problem.into()));
    }
    if !seen_through.is_empty() {
        why += &format!("; seen through {}", seen_through.join(", "));
    }
    if let Some(chosen) = reason {
        why += &format!("; {chosen}");
    }
    Ok(LossPlan {
        output: Some(head.output),
        sigmoid_shares: kind == LossKind::CrossEntropy && head.ending == heads::Ending::Shares,
        class_axis,
        reduction: ask.reduction,
        seen_through,
        why,
        head: HeadNotes {
            heads,
            width: head.width,
            positions: head.several_a_row.map(|several| several.problem),
            undecided,
            sigmoid: head.ending == heads::Ending::Sigmoid && !head.scaled && !head.labels,
            classes: classes::named(graph, links, head.logits, head.width),
        },
        ..LossPlan::new(kind, scores)
    })
}

impl LossPlan {
    /// The scores, and what else is computed from the model's values for the loss.
    pub fn wanted(&self) -> Vec<ValueId> {
        let figures = self.loss_graph.iter().flat_map(|own| own.figures.iter().map(|(_, value)| *value));
        std::iter::once(self.scores).chain(figures).collect()
    }

    /// A loss on `scores`, of which nothing else is known.
    pub fn new(kind: LossKind, scores: ValueId) -> Self {
        Self {
            kind,
            scores,
            output: None,
            scores_are_log_probs: false,
            sigmoid_shares: false,
            label_input: None,
            class_axis: None,
            reduction: Reduction::Mean,
            ignore_index: None,
            class_weights: None,
            loss_graph: None,
            seen_through: Vec::new(),
            why: String::new(),
            head: HeadNotes::default(),
        }
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
mod tests;
