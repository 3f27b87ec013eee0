//! From an output back to the logits behind it.
//!
//! A Softmax or Sigmoid need not be the last step: what follows may clip, scale, reshape or pick a column of it. All that is
//! monotone and known is seen through. Steps that lead to no Softmax, Sigmoid or ArgMax stay part of the forward pass.

use super::{
    heads::{Ending, Head},
    positions::{self, Several},
    probability, width,
};
use crate::{
    error::{Error, Result},
    graph::{
        Attr, Dim, Graph, Links, Node, ValueId,
        facts::{self, Passes},
        fold,
        shapes::{Extent, Shapes},
    },
};
use std::{cell::Cell, collections::BTreeMap};

/// Elements of a tensor that stands for one number.
const MOST_NUMBERS: usize = 1 << 16;

/// Steps back from all outputs together.
const MOST_STEPS: usize = 1 << 19;

/// How far to look for the values a row of a value that the file does not declare.
pub(super) const DEPTH: usize = 6;

/// A graph, with what is needed to go back through it.
pub(super) struct Tracer<'a> {
    pub(super) graph: &'a Graph,
    pub(super) links: &'a Links,
    pub(super) constants: fold::Known,
    pub(super) shapes: Shapes,
    steps: Cell<usize>,
    /// What each value is without the nodes that keep it.
    kept: BTreeMap<ValueId, ValueId>,
}

/// A column: its number, and of how many.
pub(super) type Column = (i64, Option<usize>);

/// One step from a value to what it is made of.
pub(super) enum Step {
    /// The same elements, or increasing functions of them; whether the function is more than a change of form.
    Same(ValueId, bool),
    /// Decreasing functions of the elements.
    Falling(ValueId),
    /// The logit `z` of two columns `−z` and `z` that a linear model shows.
    Logit(ValueId),
    /// Each element over the sum of its row.
    Shared(ValueId),
    /// One column of the value.
    Column(ValueId, Column),
    /// A decision: the highest of a row, or whether an element is above a bound.
    Decision(ValueId, Option<Several>),
    /// A Softmax or Sigmoid, and its logits.
    Ending(Ending, ValueId, Option<Several>),
}

/// How far the walk has come.
struct Walk {
    at: ValueId,
    passed: Vec<String>,
    column: Option<Column>,
    falling: bool,
    scaled: bool,
    picked: bool,
    threshold: bool,
    shared: bool,
    /// Whether what was shared is more than a change of form of what is at hand.
    bent: bool,
}

impl<'a> Tracer<'a> {
    pub(super) fn new(graph: &'a Graph, links: &'a Links) -> Self {
        let mut constants = fold::constants(graph);
        let shapes = Shapes::of(graph, &mut constants);
        let mut kept = BTreeMap::new();
        for node in graph.nodes.iter().filter(|node| facts::passes(node) == Passes::Same || node.is("Expand")) {
            if let (Some(input), Some(output)) = (node.input(0), node.output(0)) {
                kept.insert(output, kept.get(&input).copied().unwrap_or(input));
            }
        }
        Self { graph, links, constants, shapes, steps: Cell::new(0), kept }
    }

    /// What a value is behind Identity, Cast and Expand.
    pub(super) fn kept(&self, value: ValueId) -> ValueId {
        self.kept.get(&value).copied().unwrap_or(value)
    }

    /// # Errors
    /// [`Error::TooLarge`] if outputs were not followed to the end.
    pub(super) fn require_followed(&self) -> Result<()> {
        if self.steps.get() <= MOST_STEPS {
            return Ok(());
        }
        let (count, last) = (self.graph.outputs.len(), self.graph.outputs.last());
        let problem = format!(
            "more than {MOST_STEPS} steps lead back from the {count} outputs to their logits; give --output NAME"
        );
        let node = last.map_or(String::new(), |&output| self.graph.name(output).to_string());
        Err(Error::TooLarge { pass: "looking for the scores", node, problem })
    }

    pub(super) fn node(&self, value: ValueId) -> Option<&'a Node> {
        self.graph.nodes.get(self.links.producer(value)?.0)
    }

    pub(super) fn dims(&self, value: ValueId) -> Option<&[Dim]> {
        self.graph.declared_dims(value)
    }

    /// The single number that a stored tensor is made of.
    pub(super) fn number(&self, value: ValueId) -> Option<f64> {
        let few = self.constants.get(&value).filter(|all| all.len() <= MOST_NUMBERS)?;
        few.number().filter(|x| x.is_finite())
    }

    /// The integers of a stored tensor, or of an attribute of older operator sets.
    pub(super) fn integers(&self, node: &Node, slot: usize, attribute: &str) -> Option<Vec<i64>> {
        match (node.input(slot), node.attrs.get(attribute)) {
            (Some(value), _) => self.constants.get(&value)?.to_i64(),
            (None, Some(Attr::Ints(list))) => Some(list.clone()),
            _ => None,
        }
    }

    /// Follows `output` back.
    pub(super) fn trace(&self, output: ValueId) -> Head {
        let mut head = Head::plain(output);
        let mut walk = Walk {
            at: output,
            passed: Vec::new(),
            column: None,
            falling: false,
            scaled: false,
            picked: false,
            threshold: false,
            shared: false,
            bent: false,
        };
        while let Some(node) = self.node(walk.at) {
            self.steps.set(self.steps.get() + 1);
            if self.steps.get() > MOST_STEPS {
                break;
            }
            let Some((step, labels)) = self.step(walk.at, node) else { break };
            walk.passed.extend(labels);
            match step {
                Step::Same(next, changes) => {
                    walk.picked |= node.is("Concat");
                    // A probability and its complement add up to 1.
                    walk.shared &= !node.is("Concat");
                    walk.at = next;
                    walk.scaled |= changes;
                    walk.bent |= changes && walk.shared;
                }
                Step::Logit(next) => {
                    if !walk.falling && !walk.scaled && matches!(walk.column, None | Some((1, Some(2)))) {
                        walk.at = next;
                        walk.picked = true;
                        self.found(&mut head, Ending::Plain, &walk, None);
                    }
                    break;
                }
                Step::Shared(next) => {
                    walk.at = next;
                    walk.shared = true;
                }
                Step::Falling(next) => {
                    walk.at = next;
                    walk.scaled = true;
                    walk.falling = !walk.falling;
                }
                Step::Column(next, column) => {
                    walk.picked = true;
                    if walk.column.is_some() {
                        break;
                    }
                    (walk.at, walk.column) = (next, Some(column));
                    if let Some((part, falls)) = self.part(next, column) {
                        walk.passed.extend(self.node(next).map(label));
                        (walk.at, walk.column) = (part, None);
                        walk.falling ^= falls;
                    }
                }
                Step::Decision(next, several) => {
                    if head.labels || walk.falling || walk.column.is_some() {
                        break;
                    }
                    walk.at = next;
                    walk.threshold = node.op_type != "ArgMax";
                    if !walk.threshold {
                        self.found(&mut head, Ending::Labels, &walk, several);
                    }
                    head.labels = true;
                }
                Step::Ending(ending, logits, several) => {
                    walk.at = logits;
                    let ending = if walk.shared && ending == Ending::Sigmoid { Ending::Shares } else { ending };
                    match self.is_whole(ending, &walk) {
                        true => self.found(&mut head, ending, &walk, several),
                        false => head.part_of = Some((ending, logits, walk.passed.clone())),
                    }
                    break;
                }
            }
        }
        // Plain scores that ZipMap gives names to.
        if head.logits == output
            && let Some(zip) = self.node(output).filter(|node| node.domain == "ai.onnx.ml" && node.op_type == "ZipMap")
            && let Some(scores) = zip.input(0)
        {
            head.logits = scores;
            head.seen_through = vec![label(zip)];
        }
        if walk.threshold && head.ending == Ending::Plain {
            head.labels = false;
        }
        self.measure(&mut head);
        head
    }

    /// Whether the column that was picked, if any, is the whole answer: column 1 of a Softmax over two classes is the
    /// positive class, and so is the only column of a Sigmoid. What falls while the logits rise tells the other class.
    fn is_whole(&self, ending: Ending, walk: &Walk) -> bool {
        match (ending, walk.column) {
            (Ending::Softmax, None) => !walk.falling && !walk.threshold,
            (Ending::Shares, column) => column.is_none() && !walk.falling && !walk.threshold && !walk.bent,
            (Ending::Softmax, Some((0, Some(2)))) => walk.falling,
            (Ending::Softmax, Some((1, Some(2)) | (_, Some(1)))) => !walk.falling,
            (Ending::Softmax, Some(_)) => false,
            (_, column) => !walk.falling && column.is_none_or(|(_, extent)| extent == Some(1)),
        }
    }

    fn found(&self, head: &mut Head, ending: Ending, walk: &Walk, several: Option<Several>) {
        head.ending = ending;
        head.logits = walk.at;
        head.seen_through = walk.passed.clone();
        head.scaled = walk.scaled;
        head.picked = walk.picked;
        head.several_a_row = several;
    }

    /// Values a row and positions of what was found.
    fn measure(&self, head: &mut Head) {
        head.width = self.width(head.logits, DEPTH);
        if head.width.is_none() && (head.seen_through.is_empty() || !head.labels && !head.picked) {
            // The declared shape of the output is also the logits' where each element has its own.
            head.width = self.dims(head.output).and_then(width);
        }
        if matches!(head.ending, Ending::Plain | Ending::Sigmoid | Ending::Shares) {
            let dims = self.dims(head.logits).or_else(|| self.dims(head.output));
            head.several_a_row = dims.and_then(|dims| positions::several(dims, None));
        }
        if head.ending == Ending::Plain {
            head.bounded = probability::bounded(self, head.output);
        }
    }

    /// The step that leads to `value`, and the `operator (node)` that it passes.
    pub(super) fn step(&self, value: ValueId, node: &Node) -> Option<(Step, Vec<String>)> {
        if let Some((ending, logits, several, passed)) = probability::written_out(self, value) {
            return Some((Step::Ending(ending, logits, several), passed));
        }
        let step = match node.op_type.as_str() {
            "ArgMax" if node.domain.is_empty() => {
                let data = node.input(0)?;
                Step::Decision(data, self.class_axis(node, "axis", 0, data))
            }
            "Softmax" | "LogSoftmax" if node.domain.is_empty() => {
                let data = node.input(0)?;
                let default = if node.opset < 13 { 1 } else { -1 };
                Step::Ending(Ending::Softmax, data, self.class_axis(node, "axis", default, data))
            }
            "Sigmoid" if node.domain.is_empty() => Step::Ending(Ending::Sigmoid, node.input(0)?, None),
            _ => self.passing(value, node)?,
        };
        let both = matches!(step, Step::Same(..)) && node.is("Concat");
        let complement = both.then(|| self.complement_of(node)).flatten();
        Some((step, std::iter::once(label(node)).chain(complement).collect()))
    }

    /// Why a Softmax or ArgMax over its axis is not one classification a row, if so. Before opset 13, Softmax is over
    /// all axes from `axis` on.
    pub(super) fn class_axis(&self, node: &Node, attribute: &str, default: i64, input: ValueId) -> Option<Several> {
        let axis = node.int(attribute, Some(default)).ok()?;
        let flattens = node.op_type != "ArgMax" && node.opset < 13;
        self.over_axis(node, axis, flattens, input)
    }

    /// The same for classes along `axis`, or from there on.
    pub(super) fn over_axis(&self, node: &Node, axis: i64, flattens: bool, input: ValueId) -> Option<Several> {
        let dims = self.dims(input).or_else(|| self.dims(node.output(0)?));
        let of_rows = || Several {
            problem: format!("{} ({}) is over the axis of the rows", node.op_type, node.name),
            classes: Some(0),
        };
        let Some(dims) = dims else { return (axis == 0).then(of_rows) };
        let rank = i64::try_from(dims.len()).ok()?;
        let at = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?;
        if at == 0 {
            return Some(of_rows());
        }
        let classes = if flattens { at..dims.len() } else { at..at + 1 };
        positions::several(dims, Some(classes))
    }

    /// Whether `value`, which `node` takes out of another one, may be one number a row, as far as its rank tells.
    fn may_be_column(&self, value: ValueId, node: &Node) -> bool {
        let rank = self.dims(value).map(<[Dim]>::len).or_else(|| self.shapes.dims(value).map(|dims| dims.len()));
        let scalar =
            node.input(1).and_then(|index| self.constants.get(&index)).is_some_and(|index| index.dims().is_empty());
        let most = if node.is("Gather") && scalar { 1 } else { 2 };
        rank.is_none_or(|rank| rank <= most)
    }

    fn inferred_width(&self, value: ValueId) -> Option<usize> {
        self.shapes.dims(value)?.get(1..)?.iter().try_fold(1usize, |width, extent| match extent {
            Extent::Fixed(n) => width.checked_mul(*n),
            _ => None,
        })
    }

    /// Values a row, from the declared shape or the weights that make the value.
    pub(super) fn width(&self, value: ValueId, depth: usize) -> Option<usize> {
        if let Some(width) = self.dims(value).and_then(width).or_else(|| self.inferred_width(value)) {
            return Some(width);
        }
        let node = self.node(value).filter(|node| node.domain.is_empty() && depth > 0)?;
        let stored = |slot: usize| self.constants.get(&node.input(slot)?).map(|tensor| tensor.dims().to_vec());
        match node.op_type.as_str() {
            "Gemm" => {
                let dims = stored(1)?;
                if node.flag("transB", false).unwrap_or(false) { dims.first().copied() } else { dims.last().copied() }
            }
            "MatMul" if self.dims(value).is_none_or(|dims| dims.len() == 2) => stored(1)?.last().copied(),
            "Add" | "Sub" | "Mul" | "Div" => {
                let data = if stored(0).is_some() { 1 } else { 0 };
                self.width(node.input(data)?, depth - 1)
            }
            "Concat" => node
                .inputs
                .iter()
                .try_fold(0usize, |all, part| all.checked_add(self.width((*part)?, depth - 1)?))
                .filter(|_| matches!(node.int("axis", None), Ok(1 | -1))),
            "Identity" | "Cast" | "Dropout" | "Flatten" | "Relu" | "Sigmoid" | "Softmax" | "LogSoftmax" | "Clip"
            | "Exp" | "Neg" => self.width(node.input(0)?, depth - 1),
            // A column of scores that have positions, too, is a value for each position.
            "Gather" | "Slice" | "Split" if self.may_be_column(value, node) => {
                self.column(value, node, node.input(0)?, depth - 1).map(|_| 1)
            }
            _ => None,
        }
    }
}

/// `operator (node)`.
pub(super) fn label(node: &Node) -> String {
    format!("{} ({})", node.op_type, node.name)
}
