//! A loss that the graph writes out in basic operators, as exporters do for those that ONNX has no operator for.

use super::{super::fold, LossKind, LossPlan, loss_node::Sources};
use crate::{
    error::{Error, Result},
    graph::{Graph, Links, Node, ValueId},
};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

/// The plan for such a loss; `None` if the graph holds none.
///
/// # Errors
/// [`Error::Untrainable`] if an output is computed from labels in a way that is not known.
pub(super) fn find(graph: &Graph, links: &Links) -> Result<Option<LossPlan>> {
    let reader = Reader::new(graph, links);
    let plan = graph.outputs.iter().find_map(|&output| reader.known(output));
    reader.require_walked()?;
    if plan.is_some() {
        return Ok(plan);
    }
    let labels = reader.labels();
    let computed_from = reader.computed_from(&labels);
    let mut suspects = graph.outputs.iter().filter(|output| reader.is_loss(**output, &computed_from));
    match suspects.next() {
        Some(&output) => Err(Error::Untrainable(reader.unknown(output, &labels))),
        None => Ok(None),
    }
}

/// Elements of a tensor that stands for one number.
const MOST_NUMBERS: usize = 1 << 16;

struct Reader<'a> {
    graph: &'a Graph,
    links: &'a Links,
    constants: fold::Known,
    inputs: BTreeSet<ValueId>,
    sources: Sources,
    /// What each value is without broadcasts to equal shapes.
    unexpanded: BTreeMap<ValueId, ValueId>,
    /// Values that walks back through the graph have met.
    walked: Cell<usize>,
}

/// Values that walks back through the graph may meet.
const MOST_WALKED: usize = 1 << 21;

impl<'a> Reader<'a> {
    fn new(graph: &'a Graph, links: &'a Links) -> Self {
        let constants = fold::constants(graph);
        let mut unexpanded = BTreeMap::new();
        for node in &graph.nodes {
            let open = node.is("Identity")
                || node.is("Expand") && node.input(1).is_some_and(|shape| !constants.contains_key(&shape));
            if let (true, Some(input), Some(output)) = (open, node.input(0), node.output(0)) {
                unexpanded.insert(output, unexpanded.get(&input).copied().unwrap_or(input));
            }
        }
        let inputs = graph.inputs.iter().copied().collect();
        Self { graph, links, constants, inputs, sources: Sources::of(graph), unexpanded, walked: Cell::new(0) }
    }

    /// # Errors
    /// [`Error::TooLarge`] if walks were given up.
    fn require_walked(&self) -> Result<()> {
        let last = self.graph.outputs.last().map_or("", |&output| self.graph.name(output));
        match self.walked.get() > MOST_WALKED {
            true => Err(Error::TooLarge {
                pass: "looking for a loss in the graph",
                node: last.into(),
                problem: format!("more than {MOST_WALKED} values stand before its outputs; give --loss and --output"),
            }),
            false => Ok(()),
        }
    }

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
        let few = self.constants.get(&value).filter(|all| all.len() <= MOST_NUMBERS);
        few.is_some_and(|all| all.get().f64s().all(|x| x == number))
    }

    /// Back through what a broadcast to equal shapes leaves.
    fn unexpanded(&self, value: ValueId) -> ValueId {
        self.unexpanded.get(&value).copied().unwrap_or(value)
    }

    /// The input of the graph that a value is, at most in another shape.
    fn label(&self, value: ValueId) -> Option<ValueId> {
        let from = self.sources.get(self.unexpanded(value));
        self.inputs.contains(&from).then_some(from)
    }

    /// The inputs of the graph that the elements of `values` depend on, not only their shapes.
    fn inputs_of(&self, values: &[ValueId]) -> BTreeSet<ValueId> {
        let (mut seen, mut waiting) = (values.iter().copied().collect::<BTreeSet<_>>(), values.to_vec());
        while let Some(at) = waiting.pop() {
            let node = self.node(at).filter(|node| !node.is("Shape") && !node.is("Size"));
            let next = node.into_iter().flat_map(Node::dependencies).flatten();
            waiting.extend(next.filter(|value| seen.insert(*value)));
            self.walked.set(self.walked.get() + 1);
            if self.walked.get() > MOST_WALKED {
                break;
            }
        }
        seen.retain(|value| self.inputs.contains(value));
        seen
    }

    /// Of two values, the one that is scores, and the label that the other one is.
    fn apart(&self, a: ValueId, b: ValueId) -> Option<(ValueId, ValueId)> {
        let fits = |scores: ValueId, label: ValueId| {
            let label = self.label(label)?;
            let scores = self.unexpanded(scores);
            (self.node(scores).is_some() && !self.inputs_of(&[scores]).contains(&label)).then_some((scores, label))
        };
        fits(a, b).or_else(|| fits(b, a))
    }

    /// The plan for the loss that `output` is: what is reduced to one number, or still stands for each element.
    fn known(&self, output: ValueId) -> Option<LossPlan> {
        let last = self.node(self.sources.get(output))?;
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

    /// Values whose elements, not only their shapes, depend on `inputs`.
    fn computed_from(&self, inputs: &BTreeSet<ValueId>) -> BTreeSet<ValueId> {
        let mut found = inputs.clone();
        for node in self.graph.nodes.iter().filter(|node| !node.is("Shape") && !node.is("Size")) {
            if node.dependencies().flatten().any(|value| found.contains(&value)) {
                found.extend(node.outputs.iter().flatten());
            }
        }
        found
    }

    fn is_single(&self, value: ValueId) -> bool {
        self.graph.declared_dims(value).is_some_and(|dims| dims.is_empty())
    }

    /// The outputs that are no single numbers.
    fn scores(&self) -> Vec<ValueId> {
        self.graph.outputs.iter().copied().filter(|&output| !self.is_single(output)).collect()
    }

    /// The inputs that no scores are computed from.
    fn labels(&self) -> BTreeSet<ValueId> {
        let scores = self.inputs_of(&self.scores());
        self.inputs.difference(&scores).copied().collect()
    }

    /// Whether `output` is a single number that is computed from labels, or is said to be a loss.
    fn is_loss(&self, output: ValueId, computed_from_labels: &BTreeSet<ValueId>) -> bool {
        let metadata = self.graph.values.get(output.0).map(|info| &info.metadata);
        let said = metadata.is_some_and(|metadata| {
            let kind = metadata.get("pkg.torch.export.graph_signature.OutputSpec.kind");
            kind.is_some_and(|kind| kind.contains("LOSS"))
        });
        said || self.is_single(output) && computed_from_labels.contains(&output) && self.node(output).is_some()
    }

    /// What to say of such an output.
    fn unknown(&self, output: ValueId, labels: &BTreeSet<ValueId>) -> String {
        let graph = self.graph;
        let taken: Vec<&str> = self.inputs_of(&[output]).intersection(labels).map(|&label| graph.name(label)).collect();
        let terms = self.node(self.sources.get(output)).and_then(|last| last.input(0));
        let absolute = terms.and_then(|terms| self.made_by(terms, "Abs")).is_some();
        let what = if absolute { "a mean absolute error" } else { "a loss" };
        let way_out = match self.inputs_of(&self.scores()).is_empty() {
            true => "export the model with its logits as an output, and give --loss",
            false => "give --loss cross-entropy, bce or mse to compute one of these on another output",
        };
        format!(
            "output `{}` is {what} computed from {}, and none of those known: cross-entropy, binary cross-entropy, mean \
             squared error; {way_out}",
            graph.name(output),
            taken.join(", ")
        )
    }
}
