//! Which of the graph's outputs the loss is computed on.

pub(super) use super::pick::Choice;
use super::{Labels, pick, positions::Several, tracer::Tracer};
use crate::{
    error::{Error, Result},
    graph::{Dim, Graph, Links, ValueId, shapes::Extent},
};
use std::collections::BTreeSet;

/// What an output shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Logits, or values.
    Plain,
    /// Probabilities, or their logarithms, of classes that exclude each other.
    Softmax,
    /// Probabilities of labels that do not.
    Sigmoid,
    /// Probabilities of classes that exclude each other: each is its Sigmoid over the sum of the row's (one-vs-rest).
    Shares,
    /// The index of the highest score.
    Labels,
}

/// An output and the logits behind it.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) output: ValueId,
    pub(super) logits: ValueId,
    pub(super) ending: Ending,
    /// Whether the output itself is an index of a class, or a decision.
    pub(super) labels: bool,
    /// Whether the output is more than a change of form away from the probabilities: clipped, or in per cent.
    pub(super) scaled: bool,
    /// Whether the output's columns are not those of the logits.
    pub(super) picked: bool,
    /// `operator (node)` between logits and output, the last first.
    pub(super) seen_through: Vec<String>,
    /// Values of the logits a row, if known.
    pub(super) width: Option<usize>,
    /// Why the output is not one classification a row, if so.
    pub(super) several_a_row: Option<Several>,
    /// `operator (node)` that makes a plain output lie between 0 and 1.
    pub(super) bounded: Option<String>,
    /// The probabilities that a plain output is only a part of: what they are, their logits, and what was passed.
    pub(super) part_of: Option<(Ending, ValueId, Vec<String>)>,
}

impl Head {
    /// An output that is its own logits.
    pub(super) fn plain(output: ValueId) -> Self {
        Self {
            output,
            logits: output,
            ending: Ending::Plain,
            labels: false,
            scaled: false,
            picked: false,
            seen_through: Vec::new(),
            width: None,
            several_a_row: None,
            bounded: None,
            part_of: None,
        }
    }
}

/// The output that the loss is computed on: the one called `asked`, else the one that the graph and `labels` tell.
///
/// # Errors
/// [`Error::Usage`] if no output is called so; [`Error::Untrainable`] if no output holds scores, or if several do and
/// labels that are known decide for none.
pub(super) fn choose(graph: &Graph, links: &Links, asked: Option<&str>, labels: &Labels) -> Result<Choice> {
    let tracer = Tracer::new(graph, links);
    let count = graph.outputs.len();
    if let Some(name) = asked {
        return by_name(&tracer, name);
    }
    let mut heads = merge(&tracer, heads(&tracer));
    tracer.require_followed()?;
    // A state beside the answer, say: it has no entry for each row.
    let fed: BTreeSet<usize> = graph.inputs.iter().filter_map(|&input| fixed_first(&tracer, input)).collect();
    // Its first axis cannot be that of the rows if it has another extent than that of every input.
    let may_have_rows = |head: &Head| fixed_first(&tracer, head.output).is_none_or(|n| n == 1 || fed.contains(&n));
    if heads.iter().any(may_have_rows) {
        heads.retain(may_have_rows);
    }
    match heads.as_slice() {
        [] => Err(Error::Untrainable(
            "no output of the model is computed from its inputs as floats, a row for each row, so there is nothing to \
             compute a loss on; export the model with its logits as an output"
                .into(),
        )),
        [head] if count == 1 => Ok(Choice { head: head.clone(), heads: 1, reason: None, undecided: None }),
        [head] => {
            let reason = Some("the other outputs show the same scores, or no scores a row".into());
            Ok(Choice { head: head.clone(), heads: 1, reason, undecided: None })
        }
        _ => pick::pick(graph, links, &heads, labels),
    }
}

/// The extent of a value's first axis, if it is fixed.
fn fixed_first(tracer: &Tracer<'_>, value: ValueId) -> Option<usize> {
    match tracer.shapes.dims(value)?.first()? {
        Extent::Fixed(n) => Some(*n),
        _ => None,
    }
}

/// The head of the output that was asked for.
fn by_name(tracer: &Tracer<'_>, name: &str) -> Result<Choice> {
    let graph = tracer.graph;
    let output = graph.outputs.iter().copied().find(|&output| graph.name(output) == name);
    let Some(output) = output.filter(|&output| tracer.node(output).is_some()) else {
        return Err(Error::Usage(format!(
            "--output {name}: no node makes an output of this name; the outputs are {}",
            listed(graph, &graph.outputs)
        )));
    };
    let mut head = tracer.trace(output);
    if let Some((ending, logits, passed)) = head.part_of.take() {
        return Err(Error::Usage(format!(
            "--output {name}: it is one column, or the complement, of what {} shows, behind {}; name an output that \
             shows all of it, or export `{}` as an output",
            if ending == Ending::Softmax { "a Softmax" } else { "a Sigmoid" },
            passed.join(", "),
            graph.name(logits)
        )));
    }
    head.seen_through.dedup();
    Ok(Choice { head, heads: 1, reason: Some("by --output".into()), undecided: None })
}

/// Every output that may be scores.
fn heads(tracer: &Tracer<'_>) -> Vec<Head> {
    let graph = tracer.graph;
    let after_loss = after_losses(graph);
    let mut heads: Vec<Head> = Vec::new();
    for &output in &graph.outputs {
        let spec =
            graph.values.get(output.0).and_then(|v| v.metadata.get("pkg.torch.export.graph_signature.OutputSpec.kind"));
        let no_scores = ["MUTATION", "GRADIENT", "LOSS"];
        let side_effect = spec.is_some_and(|kind| no_scores.iter().any(|word| kind.contains(word)))
            || graph.declared_dims(output).is_some_and(<[Dim]>::is_empty);
        if after_loss.contains(&output) || side_effect || tracer.node(output).is_none() {
            continue;
        }
        let head = tracer.trace(output);
        let scores = head.ending != Ending::Plain || graph.declared_dtype(output).is_none_or(|t| t.is_float());
        if scores && tracer.node(head.logits).is_some() {
            heads.push(head);
        }
    }
    heads
}

/// Values that are computed from a loss.
fn after_losses(graph: &Graph) -> BTreeSet<ValueId> {
    let mut after = BTreeSet::new();
    for node in &graph.nodes {
        if super::loss_node::is_loss(node) || node.dependencies().flatten().any(|value| after.contains(&value)) {
            after.extend(node.outputs.iter().flatten().copied());
        }
    }
    after
}

/// Outputs that show the same logits are one head: the one that says most of them. Columns of probabilities of which
/// another output shows all, or of which all are outputs, are no heads of their own.
fn merge(tracer: &Tracer<'_>, heads: Vec<Head>) -> Vec<Head> {
    let mut merged: Vec<Head> = Vec::new();
    let (parts, heads): (Vec<Head>, Vec<Head>) = heads.into_iter().partition(|head| head.part_of.is_some());
    for head in heads {
        let Some(known) = merged.iter_mut().find(|known| known.logits == head.logits) else {
            merged.push(head);
            continue;
        };
        let rank = |head: &Head| match (head.labels, head.ending) {
            (true, _) => 1,
            (_, Ending::Plain) => 2,
            _ => 0,
        };
        let plain = [&*known, &head].into_iter().find(|h| h.ending == Ending::Plain).map(|h| h.output);
        if rank(&head) < rank(known) {
            *known = head;
        }
        // Where the logits themselves are an output, nothing needs to be seen through.
        if let Some(output) = plain.filter(|output| *output == known.logits) {
            known.output = output;
            known.seen_through.clear();
        }
    }
    for part in &parts {
        let Some((ending, logits, passed)) = &part.part_of else { continue };
        if merged.iter().any(|head| head.logits == *logits) {
            continue;
        }
        let width = tracer.width(*logits, super::tracer::DEPTH);
        let columns = parts.iter().filter(|other| other.part_of.as_ref().is_some_and(|of| of.1 == *logits)).count();
        let whole = *ending == Ending::Softmax && width == Some(columns);
        merged.push(match whole {
            true => Head {
                logits: *logits,
                ending: *ending,
                seen_through: passed.clone(),
                width,
                bounded: None,
                part_of: None,
                ..part.clone()
            },
            false => part.clone(),
        });
    }
    merged
}

/// Outputs with their shapes, for a message.
pub(super) fn listed(graph: &Graph, outputs: &[ValueId]) -> String {
    let shown = outputs.iter().map(|&output| {
        let dims = graph.declared_dims(output).map_or("of undeclared rank".into(), |dims| {
            let extents = dims.iter().map(|dim| match dim {
                Dim::Fixed(n) => n.to_string(),
                Dim::Symbol(name) => name.clone(),
                Dim::Unknown => "?".into(),
            });
            format!("[{}]", extents.collect::<Vec<_>>().join(", "))
        });
        format!("`{}` {dims}", graph.name(output))
    });
    shown.collect::<Vec<_>>().join(", ")
}
