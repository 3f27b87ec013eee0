//! Linear models of ai.onnx.ml, whose weights are attributes of the node: they become stored tensors that keep the attribute as
//! their place, and the node a `Gemm` with what turns its result into the node's outputs.
//!
//! LinearClassifier-1: scores = X·Cᵀ + b, one row of coefficients a class; `post_transform` NONE, SOFTMAX or LOGISTIC;
//! the label is that of the highest score. LinearRegressor-1: the same without labels, intercepts or not, NONE.
//! Anything else stays a node without an operator, for which [`obstacle`] has the reason.
//!
//! A binary classifier of scikit-learn has two rows of coefficients, of which one is the other's negative. Its two scores
//! `−z` and `z` are joined to `z = (z₁ − z₀) / 2`: the loss is that of one logit, and both rows get opposite gradients, bit by
//! bit, so that they stay opposite and the two probabilities add up to 1.

use super::{Builder, scope::Scope};
use crate::{
    error::{Error, Result},
    graph::{Attr, Dim, Graph, Initializer, Node, TypeInfo, ValueId, ValueInfo, fuse::MADE_OF},
    tensor::{DType, HostTensor},
};
use std::{collections::BTreeMap, sync::Arc};

/// Version of the default operator set that the nodes made here are of.
const OPSET: i64 = 11;

/// What becomes of the scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// They are the output.
    Plain,
    /// A Softmax.
    Softmax,
    /// A Sigmoid for each.
    Sigmoid,
    /// `−z` and `z`.
    Opposite,
    /// Sigmoids of `−z` and `z`.
    OppositeSigmoids,
}

/// A node as this program takes it.
struct Linear<'a> {
    rows: usize,
    coefficients: &'a [f32],
    intercepts: &'a [f32],
    ending: Ending,
    labels: Option<Labels<'a>>,
}

enum Labels<'a> {
    Ints(&'a [i64]),
    Texts(&'a [String]),
}

/// Why a linear model cannot be taken, if so.
pub fn obstacle(node: &Node) -> Option<String> {
    read(node).err()
}

fn read(node: &Node) -> Result<Linear<'_>, String> {
    let classifies = node.op_type == "LinearClassifier";
    let known: &[&str] = match classifies {
        true => {
            &["classlabels_ints", "classlabels_strings", "coefficients", "intercepts", "multi_class", "post_transform"]
        }
        false => &["coefficients", "intercepts", "post_transform", "targets"],
    };
    let said = |e: Error| e.to_string();
    node.require_known(known).map_err(said)?;
    let coefficients = node.opt_floats("coefficients").map_err(said)?.unwrap_or_default();
    let intercepts = node.opt_floats("intercepts").map_err(said)?.unwrap_or_default();
    let ints = node.opt_ints("classlabels_ints").map_err(said)?.unwrap_or_default();
    let texts = node.opt_strings("classlabels_strings").map_err(said)?.unwrap_or_default();
    let targets = usize::try_from(node.int("targets", Some(1)).map_err(said)?).unwrap_or(0);
    let rows = if classifies { intercepts.len() } else { targets };
    if rows == 0 || coefficients.is_empty() || coefficients.len() % rows != 0 {
        return Err(format!("{} coefficients for {rows} rows of scores", coefficients.len()));
    }
    if classifies && rows == 1 {
        return Err("one row of coefficients for two classes, which runtimes read in different ways".into());
    }
    if !classifies && !intercepts.is_empty() && intercepts.len() != rows {
        return Err(format!("{} intercepts for {rows} targets", intercepts.len()));
    }
    let labels = match (classifies, ints, texts) {
        (false, ..) => None,
        (_, ints, []) if ints.len() == rows => Some(Labels::Ints(ints)),
        (_, [], texts) if texts.len() == rows => Some(Labels::Texts(texts)),
        _ => return Err(format!("{} and {} names of {rows} classes", ints.len(), texts.len())),
    };
    let ending = match node.string("post_transform", Some("NONE")).map_err(said)? {
        "NONE" if classifies && opposite(coefficients, intercepts) => Ending::Opposite,
        "NONE" => Ending::Plain,
        "SOFTMAX" if classifies => Ending::Softmax,
        "LOGISTIC" if classifies && opposite(coefficients, intercepts) => Ending::OppositeSigmoids,
        "LOGISTIC" if classifies => Ending::Sigmoid,
        other => {
            return Err(format!(
                "post_transform {other:?}, where NONE, SOFTMAX and LOGISTIC of a classifier are taken"
            ));
        }
    };
    Ok(Linear { rows, coefficients, intercepts, ending, labels })
}

/// Whether there are two rows, of which one is the other's negative.
fn opposite(coefficients: &[f32], intercepts: &[f32]) -> bool {
    let halves = |all: &[f32]| {
        let (first, second) = all.split_at(all.len() / 2);
        first.iter().zip(second).all(|(a, b)| *a == -b)
    };
    intercepts.len() == 2 && halves(coefficients) && halves(intercepts)
}

/// The name of a value beside a linear model's outputs, which no file holds.
fn inner(node: &str, what: &str) -> String {
    format!("{node}/{what}")
}

impl<'a> Builder<'a> {
    /// Adds a linear model.
    pub(super) fn linear(&mut self, graph: &mut Graph, scope: &Scope<'a>, node: Node, label: &str) -> Result<()> {
        let Ok(linear) = read(&node) else {
            graph.nodes.push(node);
            return Ok(());
        };
        let before = graph.nodes.len();
        let mut made = Replacement { builder: self, graph, of: &node };
        let x = made.input()?;
        let weight = made.stored(scope, label, "coefficients", linear.coefficients, linear.rows)?;
        let mut inputs = vec![x, weight];
        if !linear.intercepts.is_empty() {
            inputs.push(made.stored(scope, label, "intercepts", linear.intercepts, 0)?);
        }
        let (labels, scores) = match linear.labels {
            Some(_) => (node.output(0), node.output(1)),
            None => (None, node.output(0)),
        };
        let shown = match scores {
            Some(shown) => shown,
            None => made.value("probabilities", linear.rows),
        };
        let z = if linear.ending == Ending::Plain { shown } else { made.value("scores", linear.rows) };
        made.node("Gemm", "", inputs, vec![z], &[("transB", Attr::Int(1))]);
        let z = made.end(linear.ending, z, shown);
        if let (Some(value), Some(names)) = (labels, linear.labels) {
            made.labels(z, value, names);
        }
        // The node itself has been counted.
        let made = graph.nodes.len().saturating_sub(before + 1);
        self.budget.make(made, super::PASS, label)
    }
}

/// What takes the place of one node.
struct Replacement<'b, 'a, 'g> {
    builder: &'b mut Builder<'a>,
    graph: &'g mut Graph,
    of: &'g Node,
}

impl Replacement<'_, '_, '_> {
    fn value(&mut self, what: &str, columns: usize) -> ValueId {
        let value = self.builder.fresh_value(self.graph, inner(&self.of.name, what));
        self.declare(value, DType::F32, vec![Dim::Unknown, Dim::Fixed(columns)]);
        value
    }

    fn declare(&mut self, value: ValueId, dtype: DType, dims: Vec<Dim>) {
        if let Some(info) = self.graph.values.get_mut(value.0)
            && info.ty.is_none()
        {
            info.ty = Some(TypeInfo { dtype: Some(dtype), dims: Some(dims) });
        }
    }

    fn node(&mut self, op: &str, what: &str, inputs: Vec<ValueId>, outputs: Vec<ValueId>, attrs: &[(&str, Attr)]) {
        let mut attrs: BTreeMap<String, Attr> =
            attrs.iter().map(|(name, attr)| (name.to_string(), attr.clone())).collect();
        attrs.insert(MADE_OF.into(), Attr::String(self.of.op()));
        self.graph.nodes.push(Node {
            name: if what.is_empty() { self.of.name.clone() } else { inner(&self.of.name, what) },
            domain: String::new(),
            op_type: op.into(),
            opset: OPSET,
            inputs: inputs.into_iter().map(Some).collect(),
            outputs: outputs.into_iter().map(Some).collect(),
            attrs,
        });
    }

    /// The node's input as floats.
    fn input(&mut self) -> Result<ValueId> {
        let x = self.of.input(0).ok_or_else(|| self.of.error("its input is missing"))?;
        if self.graph.declared_dtype(x) == Some(DType::F32) {
            return Ok(x);
        }
        let cast = self.builder.fresh_value(self.graph, inner(&self.of.name, "floats"));
        self.node("Cast", "floats", vec![x], vec![cast], &[("to", Attr::Int(DType::F32 as i64))]);
        Ok(cast)
    }

    /// An attribute as a tensor that can be rewritten: of `rows` rows, or none.
    fn stored(
        &mut self,
        scope: &Scope<'_>,
        label: &str,
        attribute: &str,
        values: &[f32],
        rows: usize,
    ) -> Result<ValueId> {
        let name = inner(&self.of.name, attribute);
        if self.graph.by_name.contains_key(&name) {
            return Err(self.of.error(format!(
                "another value is called `{name}`, as this node's {attribute} would be: give each node a name of its own"
            )));
        }
        let dims = if rows == 0 { vec![values.len()] } else { vec![rows, values.len() / rows] };
        let tensor = HostTensor::new(&dims, values.to_vec());
        let tensor =
            tensor.ok_or_else(|| Error::Internal(format!("{name}: a number of elements that is not the shape's")))?;
        let value = self.builder.fresh_value(self.graph, name);
        let stored_as = scope.stored_name(&inner(label, attribute));
        self.graph.initializers.insert(value, Initializer { tensor: tensor.into(), stored_as });
        Ok(value)
    }

    /// What makes `shown` of the scores `z`; the scores that decide the class.
    fn end(&mut self, ending: Ending, z: ValueId, shown: ValueId) -> ValueId {
        let mut scores = z;
        match ending {
            Ending::Plain => {}
            Ending::Softmax => self.node("Softmax", "Softmax", vec![z], vec![shown], &[("axis", Attr::Int(1))]),
            Ending::Sigmoid => self.node("Sigmoid", "Sigmoid", vec![z], vec![shown], &[]),
            Ending::Opposite | Ending::OppositeSigmoids => {
                let [first, second, negated, logit, turned] =
                    ["scores/0", "scores/1", "negated", "logit", "turned"].map(|what| self.value(what, 1));
                let split = [("axis", Attr::Int(1)), ("split", Attr::Ints(vec![1, 1]))];
                self.node("Split", "Split", vec![z], vec![first, second], &split);
                self.node("Neg", "Neg", vec![first], vec![negated], &[]);
                self.node("Mean", "Mean", vec![negated, second], vec![logit], &[]);
                self.node("Neg", "Neg of logit", vec![logit], vec![turned], &[]);
                let mut both = vec![turned, logit];
                if ending == Ending::OppositeSigmoids {
                    let [p, q] = ["positive", "negative"].map(|what| self.value(what, 1));
                    let signed = self.value("signed", 2);
                    self.node("Concat", "Concat of scores", both, vec![signed], &[("axis", Attr::Int(1))]);
                    self.node("Sigmoid", "Sigmoid", vec![logit], vec![p], &[]);
                    self.node("Sigmoid", "Sigmoid of turned", vec![turned], vec![q], &[]);
                    scores = signed;
                    both = vec![q, p];
                } else {
                    scores = shown;
                }
                self.node("Concat", "Concat", both, vec![shown], &[("axis", Attr::Int(1))]);
            }
        }
        scores
    }

    /// The class with the highest of the scores `z`.
    fn labels(&mut self, z: ValueId, label: ValueId, names: Labels<'_>) {
        let place = self.builder.fresh_value(self.graph, inner(&self.of.name, "class"));
        self.declare(place, DType::I64, vec![Dim::Unknown]);
        let table = self.builder.fresh_value(self.graph, inner(&self.of.name, "classlabels"));
        match names {
            Labels::Ints(names) => {
                let tensor = Arc::new(HostTensor::vector(names.to_vec()));
                self.graph.initializers.insert(table, Initializer { tensor: tensor.into(), stored_as: None });
                self.declare(label, DType::I64, vec![Dim::Unknown]);
            }
            Labels::Texts(names) => {
                self.graph.opaque.insert(table, "STRING".into());
                self.graph.texts.insert(table, names.to_vec());
                if let Some(ValueInfo { ty: ty @ None, .. }) = self.graph.values.get_mut(label.0) {
                    *ty = Some(TypeInfo { dtype: None, dims: None });
                }
            }
        }
        let argmax = [("axis", Attr::Int(1)), ("keepdims", Attr::Int(0))];
        self.node("ArgMax", "ArgMax", vec![z], vec![place], &argmax);
        self.node("Gather", "class labels", vec![table, place], vec![label], &[("axis", Attr::Int(0))]);
    }
}

#[cfg(test)]
mod tests;
