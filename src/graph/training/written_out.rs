//! A loss that the graph writes out in basic operators, as exporters do for those that ONNX has no operator for.

use super::{super::fold, LossKind, LossPlan, loss_node::source};
use crate::{
    error::{Error, Result},
    graph::{Graph, Links, Node, ValueId},
    tensor::HostTensor,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The plan for such a loss; `None` if the graph holds none.
///
/// # Errors
/// [`Error::Untrainable`] if an output is computed from labels in a way that is not known.
pub(super) fn find(graph: &Graph, links: &Links) -> Result<Option<LossPlan>> {
    let reader = Reader { graph, links, constants: fold::constants(graph) };
    if let Some(plan) = graph.outputs.iter().find_map(|&output| reader.known(output)) {
        return Ok(Some(plan));
    }
    match graph.outputs.iter().find_map(|&output| reader.unknown(output)) {
        Some(problem) => Err(Error::Untrainable(problem)),
        None => Ok(None),
    }
}

struct Reader<'a> {
    graph: &'a Graph,
    links: &'a Links,
    constants: BTreeMap<ValueId, Arc<HostTensor>>,
}

impl<'a> Reader<'a> {
    fn node(&self, value: ValueId) -> Option<&'a Node> {
        self.graph.nodes.get(self.links.producer(value)?.0)
    }

    fn made_by(&self, value: ValueId, op: &str) -> Option<&'a Node> {
        self.node(value).filter(|node| node.is(op))
    }

    /// Both operands of the node that makes `value`, if it is `op`.
    fn pair(&self, value: ValueId, op: &str) -> Option<(ValueId, ValueId)> {
        let node = self.made_by(value, op)?;
        node.input(0).zip(node.input(1))
    }

    fn is_number(&self, value: ValueId, number: f64) -> bool {
        self.constants.get(&value).is_some_and(|all| all.to_f64().iter().all(|&x| x == number))
    }

    /// Back through what a broadcast to equal shapes leaves.
    fn unexpanded(&self, mut value: ValueId) -> ValueId {
        while let Some(node) = self.node(value).filter(|node| node.is("Expand") || node.is("Identity")) {
            let open = node.is("Identity") || node.input(1).is_some_and(|shape| !self.constants.contains_key(&shape));
            match node.input(0).filter(|_| open) {
                Some(input) => value = input,
                None => break,
            }
        }
        value
    }

    /// The input of the graph that a value is, at most in another shape.
    fn label(&self, value: ValueId) -> Option<ValueId> {
        let from = source(self.graph, self.links, self.unexpanded(value));
        self.graph.inputs.contains(&from).then_some(from)
    }

    /// The inputs of the graph that the elements of a value depend on, not only its shape.
    fn inputs_of(&self, value: ValueId) -> BTreeSet<ValueId> {
        let (mut seen, mut waiting) = (BTreeSet::from([value]), vec![value]);
        while let Some(at) = waiting.pop() {
            let node = self.node(at).filter(|node| !node.is("Shape") && !node.is("Size"));
            let next = node.into_iter().flat_map(Node::dependencies).flatten();
            waiting.extend(next.filter(|value| seen.insert(*value)));
        }
        seen.retain(|value| self.graph.inputs.contains(value));
        seen
    }

    /// Of two values, the one that is scores, and the label that the other one is.
    fn apart(&self, a: ValueId, b: ValueId) -> Option<(ValueId, ValueId)> {
        let fits = |scores: ValueId, label: ValueId| {
            let label = self.label(label)?;
            let scores = self.unexpanded(scores);
            (self.node(scores).is_some() && !self.inputs_of(scores).contains(&label)).then_some((scores, label))
        };
        fits(a, b).or_else(|| fits(b, a))
    }

    /// The plan for the loss that `output` is: what is reduced to one number, or still stands for each element.
    fn known(&self, output: ValueId) -> Option<LossPlan> {
        let last = self.node(source(self.graph, self.links, output))?;
        let reduced = last.is("ReduceMean") || last.is("ReduceSum");
        let terms = last.input(0).filter(|_| reduced)?;
        let (kind, what, (scores, label)) = match self.squares(terms) {
            Some(found) => (LossKind::Mse, "mean squared error", found),
            None => (LossKind::Bce, "binary cross-entropy", self.entropies(terms).or_else(|| self.stable(terms))?),
        };
        let graph = self.graph;
        let shown = |output: &ValueId| self.unexpanded(*output) == scores;
        Some(LossPlan {
            output: graph.outputs.iter().copied().find(shown),
            label_input: Some(label),
            why: format!(
                "the {what} in the graph ({}), computed for each row from `{}` and the labels given to input `{}`",
                last.name,
                graph.name(scores),
                graph.name(label)
            ),
            ..LossPlan::new(kind, scores)
        })
    }

    /// `(scores − labels)²`, as a power or a product of equal differences.
    fn squares(&self, value: ValueId) -> Option<(ValueId, ValueId)> {
        let difference = match (self.pair(value, "Pow"), self.pair(value, "Mul")) {
            (Some((base, two)), _) => Some(base).filter(|_| self.is_number(two, 2.0)),
            (_, Some((a, b))) => Some(a).filter(|_| a == b || self.pair(a, "Sub") == self.pair(b, "Sub")),
            _ => None,
        };
        let (a, b) = self.pair(difference?, "Sub")?;
        self.apart(a, b)
    }

    /// Of `1 − v` the `v`.
    fn complement(&self, value: ValueId) -> Option<ValueId> {
        let (one, v) = self.pair(value, "Sub")?;
        self.is_number(one, 1.0).then_some(v)
    }

    /// `−(log(p)·t + log(1 − p)·(1 − t))` with `p = Sigmoid(logits)`. Computed on the logits, it is exact where `p` is
    /// rounded to 0 or 1.
    fn entropies(&self, value: ValueId) -> Option<(ValueId, ValueId)> {
        // Of `log(v)·w` both, in whichever order.
        let product = |value| {
            let (a, b) = self.pair(value, "Mul")?;
            let log = |value| self.made_by(value, "Log")?.input(0);
            log(a).map(|v| (v, b)).or_else(|| Some((log(b)?, a)))
        };
        let (a, b) = self.pair(self.made_by(value, "Neg")?.input(0)?, "Add")?;
        let (one, other) = (product(a)?, product(b)?);
        let (yes, no) = if self.complement(other.0).is_some() { (one, other) } else { (other, one) };
        let (probability, labels) = yes;
        let fits = self.complement(no.0)? == probability && self.complement(no.1)? == labels;
        let scores = self.made_by(probability, "Sigmoid")?.input(0)?;
        Some((scores, self.label(labels)?)).filter(|_| fits)
    }

    /// `(1 − t)·z − log(Sigmoid(z))`, the same in another form.
    fn stable(&self, value: ValueId) -> Option<(ValueId, ValueId)> {
        let (product, log) = self.pair(value, "Sub")?;
        let scores = self.made_by(self.made_by(log, "Log")?.input(0)?, "Sigmoid")?.input(0)?;
        let (a, b) = self.pair(product, "Mul")?;
        let labels = if a == scores { self.complement(b) } else { self.complement(a).filter(|_| b == scores) };
        Some((scores, self.label(labels?)?))
    }

    /// What to say of `output` if it is a single number that is computed from labels, which no scores are, or is said to
    /// be a loss.
    fn unknown(&self, output: ValueId) -> Option<String> {
        let graph = self.graph;
        let is_single = |value: ValueId| graph.declared_dims(value).is_some_and(|dims| dims.is_empty());
        let said =
            graph.values.get(output.0)?.metadata.iter().any(|(key, value)| {
                key == "pkg.torch.export.graph_signature.OutputSpec.kind" && value.contains("LOSS")
            });
        let scores: BTreeSet<ValueId> =
            graph.outputs.iter().filter(|&&other| !is_single(other)).flat_map(|&other| self.inputs_of(other)).collect();
        let labels: Vec<&str> = self.inputs_of(output).difference(&scores).map(|&label| graph.name(label)).collect();
        if !(said || is_single(output) && !labels.is_empty() && self.node(output).is_some()) {
            return None;
        }
        let terms = self.node(source(graph, self.links, output)).and_then(|last| last.input(0));
        let absolute = terms.and_then(|terms| self.made_by(terms, "Abs")).is_some();
        let what = if absolute { "a mean absolute error" } else { "a loss" };
        let way_out = match scores.is_empty() {
            true => "export the model with its logits as an output, and give --loss",
            false => "give --loss cross-entropy, bce or mse to compute one of these on another output",
        };
        Some(format!(
            "output `{}` is {what} computed from {}, and none of those known: cross-entropy, binary cross-entropy, mean \
             squared error; {way_out}",
            graph.name(output),
            labels.join(", ")
        ))
    }
}
