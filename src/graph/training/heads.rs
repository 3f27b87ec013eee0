//! From the graph's outputs back to the logits.

use super::{super::fold, width};
use crate::{
    error::{Error, Result},
    graph::{Attr, Dim, Graph, Links, Node, ValueId},
    tensor::HostTensor,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What an output shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Logits, or values.
    Plain,
    /// Probabilities, or their logarithms, of classes that exclude each other.
    Softmax,
    /// Probabilities of labels that do not.
    Sigmoid,
    /// The index of the highest score.
    Labels,
}

/// An output and the logits behind it.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) output: ValueId,
    pub(super) logits: ValueId,
    pub(super) ending: Ending,
    /// Whether the output itself is an index of a class.
    pub(super) labels: bool,
    /// `operator (node)` between logits and output, the last first.
    pub(super) seen_through: Vec<String>,
    /// Values of the logits a row, if known.
    pub(super) width: Option<usize>,
    /// Why the output is not one classification a row, if so.
    pub(super) several_a_row: Option<String>,
}

struct Tracer<'a> {
    graph: &'a Graph,
    links: &'a Links,
    constants: BTreeMap<ValueId, Arc<HostTensor>>,
}

/// The output that the loss is computed on, and why this one if there were several.
pub(super) fn choose(graph: &Graph, links: &Links) -> Result<(Head, Option<String>)> {
    let tracer = Tracer { graph, links, constants: fold::constants(graph) };
    let after_loss = after_losses(graph);
    let mut heads: Vec<Head> = Vec::new();
    for &output in &graph.outputs {
        let spec =
            graph.values.get(output.0).and_then(|v| v.metadata.get("pkg.torch.export.graph_signature.OutputSpec.kind"));
        let no_scores = ["MUTATION", "GRADIENT", "LOSS"];
        let side_effect = spec.is_some_and(|kind| no_scores.iter().any(|word| kind.contains(word)))
            || graph.declared_dims(output).is_some_and(<[Dim]>::is_empty);
        if after_loss.contains(&output) || side_effect || links.producer(output).is_none() {
            continue;
        }
        let head = tracer.trace(output);
        let scores = head.ending != Ending::Plain || graph.declared_dtype(output).is_none_or(|t| t.is_float());
        if scores && links.producer(head.logits).is_some() {
            heads.push(head);
        }
    }
    let heads = merge(heads);
    let count = graph.outputs.len();
    match heads.as_slice() {
        [] => Err(Error::Untrainable(
            "no output of the model is computed from its inputs as floats, a row for each row, so there is nothing to \
             compute a loss on; export the model with its logits as an output"
                .into(),
        )),
        [head] if count == 1 => Ok((head.clone(), None)),
        [head] => Ok((head.clone(), Some("the other outputs show the same scores or are not scores".into()))),
        _ => {
            let (head, reason) = pick(graph, links, &heads)?;
            let chosen = format!("of {count} outputs `{}`, {reason}", graph.name(head.output));
            Ok((head, Some(chosen)))
        }
    }
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

/// Outputs that show the same logits are one head: the one that says most of them.
fn merge(heads: Vec<Head>) -> Vec<Head> {
    let mut merged: Vec<Head> = Vec::new();
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
    merged
}

/// One of several heads.
fn pick(graph: &Graph, links: &Links, heads: &[Head]) -> Result<(Head, &'static str)> {
    let name = |head: &Head| graph.name(head.output).to_lowercase();
    let only = |test: &dyn Fn(&Head) -> bool| {
        let mut found = heads.iter().filter(|head| test(head));
        found.next().filter(|_| found.next().is_none()).cloned()
    };
    // What the logits of each head are computed by.
    let behind: Vec<BTreeSet<usize>> = heads.iter().map(|head| graph.ancestors(&[head.logits])).collect();
    let deepest = |head: &Head| {
        let own = links.producer(head.logits).map(|(n, _)| n);
        let leads_to = |(other, nodes): (&Head, &BTreeSet<usize>)| {
            other.logits != head.logits && own.is_some_and(|n| nodes.contains(&n))
        };
        !heads.iter().zip(&behind).any(leads_to)
    };
    type Rule<'a> = (&'a dyn Fn(&Head) -> bool, &'static str);
    let rules: [Rule<'_>; 5] = [
        (&|head| name(head).contains("logit"), "by its name"),
        (&|head| head.ending != Ending::Plain, "as the only one that shows classes"),
        (&|head| name(head).contains("score") || name(head).contains("prob"), "by its name"),
        (&|head| head.several_a_row.is_none() && head.width.is_some(), "as the only one with one row of values a row"),
        (&deepest, "as the last one: the others lead to it"),
    ];
    for (test, reason) in rules {
        if let Some(head) = only(test) {
            return Ok((head, reason));
        }
    }
    let first = heads.first().cloned().ok_or_else(|| Error::Internal("no output to pick from".into()))?;
    Ok((first, "as the first one (export the model with one output for another choice)"))
}

impl Tracer<'_> {
    fn node(&self, value: ValueId) -> Option<&Node> {
        self.graph.nodes.get(self.links.producer(value)?.0)
    }

    /// Follows `output` back through what does not change which class wins. Only steps that lead to a Softmax, a Sigmoid
    /// or an ArgMax count; plain changes of shape stay part of the forward pass.
    fn trace(&self, output: ValueId) -> Head {
        let mut head = Head {
            output,
            logits: output,
            ending: Ending::Plain,
            labels: false,
            seen_through: Vec::new(),
            width: None,
            several_a_row: None,
        };
        let (mut at, mut passed, mut column) = (output, Vec::new(), None);
        while let Some(node) = self.node(at) {
            let Some(next) = self.data_input(node) else { break };
            let label = format!("{} ({})", node.op_type, node.name);
            let found = match node.op_type.as_str() {
                "ArgMax" if head.ending == Ending::Plain => {
                    head.several_a_row = self.class_axis(node, "axis", 0, next);
                    Some(Ending::Labels)
                }
                "Softmax" | "LogSoftmax" => {
                    let default = if node.opset < 13 { 1 } else { -1 };
                    head.several_a_row = self.class_axis(node, "axis", default, next);
                    Some(Ending::Softmax)
                }
                "Sigmoid" if column.is_none_or(|(_, extent)| extent == Some(1)) => Some(Ending::Sigmoid),
                "Sigmoid" => break,
                "Gather" => {
                    let Some(picked) = self.column(node, next) else { break };
                    column = Some(picked);
                    None
                }
                "Concat" => match self.complement(node) {
                    Some((sigmoid, logits)) => {
                        passed.push(label);
                        passed.push(format!("Sigmoid ({sigmoid})"));
                        head.ending = Ending::Sigmoid;
                        head.logits = logits;
                        head.seen_through = passed;
                        break;
                    }
                    None => break,
                },
                _ => None,
            };
            // Column 1 of a Softmax over two classes is the positive class; other columns are not the whole answer.
            if found == Some(Ending::Softmax) && !matches!(column, None | Some((_, Some(1))) | Some((1, Some(2)))) {
                break;
            }
            passed.push(label);
            at = next;
            if let Some(ending) = found {
                head.ending = ending;
                head.labels |= ending == Ending::Labels;
                head.logits = next;
                head.seen_through = passed.clone();
                if ending != Ending::Labels {
                    break;
                }
            }
        }
        head.width = self.width(head.logits, 6);
        if head.seen_through.is_empty() || head.ending == Ending::Softmax && head.width.is_none() {
            // The declared shape of the output is also the logits' where only a Softmax lies between.
            let whole = head.seen_through.len() <= 1;
            head.width = head.width.or_else(|| self.graph.declared_dims(output).filter(|_| whole).and_then(width));
        }
        if head.ending == Ending::Plain {
            head.several_a_row = self.dims(output).and_then(|dims| positions(dims, None));
        }
        head
    }

    fn dims(&self, value: ValueId) -> Option<&[Dim]> {
        self.graph.declared_dims(value)
    }

    /// The input to go on with, if the node is one that may lie between logits and output.
    fn data_input(&self, node: &Node) -> Option<ValueId> {
        let first = node.input(0)?;
        if node.domain == "ai.onnx.ml" {
            return match node.op_type.as_str() {
                "ArrayFeatureExtractor" => node.input(1),
                "ZipMap" | "Binarizer" => Some(first),
                _ => None,
            };
        }
        match node.op_type.as_str() {
            _ if !node.domain.is_empty() => None,
            "ArgMax" | "Softmax" | "LogSoftmax" | "Sigmoid" | "Gather" | "Concat" => Some(first),
            "Identity" | "Cast" | "CastLike" | "Dropout" => Some(first),
            "Log" => self.node(first).filter(|inner| inner.is("Softmax")).map(|_| first),
            "Flatten" => matches!(node.attrs.get("axis"), None | Some(Attr::Int(1))).then_some(first),
            "Squeeze" | "Unsqueeze" => {
                let axes = match (node.input(1), node.attrs.get("axes")) {
                    (Some(value), _) => self.constants.get(&value)?.to_i64()?,
                    (None, Some(Attr::Ints(axes))) => axes.clone(),
                    _ => return None,
                };
                (!axes.contains(&0)).then_some(first)
            }
            "Reshape" => {
                let shape = self.constants.get(&node.input(1)?).and_then(|shape| shape.to_i64());
                let kept = match (shape.as_deref().and_then(<[i64]>::first), self.dims(first).and_then(<[Dim]>::first))
                {
                    (Some(0), _) => true,
                    (Some(rows), Some(Dim::Fixed(n))) if *rows > 0 => usize::try_from(*rows) == Ok(*n),
                    // -1 first: the rows are what is left, if the other extents are those of a row.
                    (Some(-1), _) => {
                        let extents = shape.iter().flatten().skip(1);
                        let rest = extents
                            .map(|&extent| usize::try_from(extent).ok())
                            .try_fold(1usize, |n, extent| n.checked_mul(extent?));
                        rest.is_some() && rest == self.width(first, 6)
                    }
                    _ => false,
                };
                kept.then_some(first)
            }
            _ => None,
        }
    }

    /// Why a Softmax or ArgMax over its axis is not one classification a row, if so. Before opset 13, Softmax is over
    /// all axes from `axis` on.
    fn class_axis(&self, node: &Node, attribute: &str, default: i64, input: ValueId) -> Option<String> {
        let axis = node.int(attribute, Some(default)).ok()?;
        let dims = self.dims(input).or_else(|| self.dims(node.output(0)?));
        let Some(dims) = dims else {
            return (axis == 0).then(|| format!("{} ({}) is over the axis of the rows", node.op_type, node.name));
        };
        let rank = i64::try_from(dims.len()).ok()?;
        let at = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?;
        if at == 0 {
            return Some(format!("{} ({}) is over the axis of the rows", node.op_type, node.name));
        }
        let flattens = node.op_type != "ArgMax" && node.opset < 13;
        let classes = if flattens { at..dims.len() } else { at..at + 1 };
        positions(dims, Some(classes))
    }

    /// Which column of how many a Gather takes, if it takes one and keeps the rows.
    fn column(&self, node: &Node, data: ValueId) -> Option<(i64, Option<usize>)> {
        let index = self.constants.get(&node.input(1)?).filter(|index| index.len() == 1)?;
        let index = index.to_i64()?.first().copied()?;
        let axis = node.int("axis", Some(0)).ok()?;
        let dims = self.dims(data);
        let extent = match (usize::try_from(axis), dims) {
            (Ok(0), _) => return None,
            (Ok(axis), Some(dims)) => dims.get(axis),
            (Err(_), Some(dims)) if axis == -1 && dims.len() > 1 => dims.last(),
            _ => None,
        };
        let extent = extent.and_then(|dim| if let Dim::Fixed(n) = dim { Some(*n) } else { None });
        let extent = extent.or_else(|| self.width(data, 6).filter(|_| axis == 1 || axis == -1));
        let from_end = |n: usize| i64::try_from(n).map_or(index, |n| if index < 0 { index + n } else { index });
        Some((extent.map_or(index, from_end), extent))
    }

    /// Of `Concat(1 - p, p)` with `p = Sigmoid(z)`: the Sigmoid's node, and `z`.
    fn complement(&self, node: &Node) -> Option<(String, ValueId)> {
        let [Some(negative), Some(positive)] = node.inputs.as_slice() else { return None };
        let sub = self.node(*negative).filter(|sub| sub.is("Sub"))?;
        let one = self.constants.get(&sub.input(0)?)?;
        let sigmoid = self.node(*positive).filter(|sigmoid| sigmoid.is("Sigmoid"))?;
        let all_ones = one.to_f64().iter().all(|&x| x == 1.0);
        (sub.input(1) == Some(*positive) && all_ones).then(|| Some((sigmoid.name.clone(), sigmoid.input(0)?)))?
    }

    /// Values a row, from the declared shape or the weights that make the value.
    fn width(&self, value: ValueId, depth: usize) -> Option<usize> {
        if let Some(width) = self.dims(value).and_then(width) {
            return Some(width);
        }
        let node = self.node(value).filter(|node| node.domain.is_empty() && depth > 0)?;
        let stored = |slot: usize| self.constants.get(&node.input(slot)?).map(|tensor| tensor.dims().to_vec());
        match node.op_type.as_str() {
            "Gemm" => {
                let dims = stored(1)?;
                let transposed = matches!(node.attrs.get("transB"), Some(Attr::Int(flag)) if *flag != 0);
                if transposed { dims.first().copied() } else { dims.last().copied() }
            }
            "MatMul" if self.dims(value).is_none_or(|dims| dims.len() == 2) => stored(1)?.last().copied(),
            "Add" | "Sub" => {
                let data = if stored(0).is_some() { 1 } else { 0 };
                self.width(node.input(data)?, depth - 1)
            }
            "Identity" | "Cast" | "Dropout" | "Flatten" | "Relu" | "Sigmoid" | "Softmax" | "LogSoftmax" => {
                self.width(node.input(0)?, depth - 1)
            }
            _ => None,
        }
    }
}

/// Why a value of `dims` holds several classifications a row, if so: an axis that is neither the rows nor among
/// `classes` (by default the one after the rows, if others have extent 1) has more than one entry.
fn positions(dims: &[Dim], classes: Option<std::ops::Range<usize>>) -> Option<String> {
    let wide = |dim: &Dim| *dim != Dim::Fixed(1);
    let after_rows: Vec<usize> =
        dims.iter().enumerate().skip(1).filter(|(_, dim)| wide(dim)).map(|(axis, _)| axis).collect();
    let many = match classes {
        Some(classes) => after_rows.iter().any(|axis| !classes.contains(axis)),
        None => after_rows.len() > 1,
    };
    many.then(|| format!("it has {} axes, so several classifications a row", dims.len()))
}
