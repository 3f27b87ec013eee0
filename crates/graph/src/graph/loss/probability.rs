//! Softmax and Sigmoid that are written out in basic operators, and values that are seen to be probabilities.

use super::{
    heads::Ending,
    positions::Several,
    tracer::{Tracer, label},
};
use crate::graph::{Node, ValueId, facts};

/// Nodes that are looked at, at most, to find out whether a value is bounded.
const MOST_LOOKED_AT: usize = 64;

/// What a written-out ending is, its logits, why it is not one classification a row, and the nodes that make it up.
type Written = (Ending, ValueId, Option<Several>, Vec<String>);

/// The written-out Softmax, LogSoftmax or Sigmoid that makes `value`, if one does.
pub(super) fn written_out(tracer: &Tracer<'_>, value: ValueId) -> Option<Written> {
    let reader = Reader { tracer };
    let sigmoid = reader.sigmoid(value).or_else(|| reader.softplus(value));
    if let Some((logits, nodes)) = sigmoid {
        return Some((Ending::Sigmoid, logits, None, nodes));
    }
    let (logits, (sum, put_back), nodes) = reader.softmax(value).or_else(|| reader.log_softmax(value))?;
    let axes = tracer.integers(sum, 1, "axes")?;
    let [axis] = axes.as_slice() else { return None };
    if sum.int("keepdims", Some(1)).ok()? != 1 && !put_back {
        return None;
    }
    Some((Ending::Softmax, logits, tracer.over_axis(sum, *axis, false, logits), nodes))
}

struct Reader<'a, 't> {
    tracer: &'t Tracer<'a>,
}

impl<'a> Reader<'a, '_> {
    /// The node that makes a value, behind nodes that keep it.
    fn node(&self, value: ValueId) -> Option<&'a Node> {
        self.tracer.node(self.tracer.kept(value)).filter(|node| node.domain.is_empty())
    }

    fn made_by(&self, value: ValueId, op: &str) -> Option<&'a Node> {
        self.node(value).filter(|node| node.is(op))
    }

    /// Of a node with two operands, one of them the number `x`, the other one.
    fn beside(&self, value: ValueId, op: &str, x: f64) -> Option<(ValueId, &'a Node)> {
        let node = self.made_by(value, op)?;
        let (a, b) = (node.input(0)?, node.input(1)?);
        let is = |value: ValueId| self.tracer.number(value) == Some(x);
        if is(b) {
            return Some((a, node));
        }
        (is(a) && (op == "Add" || op == "Mul")).then_some((b, node))
    }

    /// `1 / (1 + exp(−z))`, `exp(z) / (1 + exp(z))` and `(1 + tanh(z / 2)) / 2`.
    fn sigmoid(&self, value: ValueId) -> Option<(ValueId, Vec<String>)> {
        let last = self.node(value)?;
        let denominator = match last.op_type.as_str() {
            "Reciprocal" => last.input(0)?,
            "Div" if self.tracer.number(last.input(0)?) == Some(1.0) => last.input(1)?,
            "Div" => return self.odds(last).or_else(|| self.tanh(value)),
            "Mul" | "Add" => return self.tanh(value),
            _ => return None,
        };
        let (power, sum) = self.beside(denominator, "Add", 1.0)?;
        let exp = self.made_by(power, "Exp")?;
        let (z, negation) = self.negated(exp.input(0)?)?;
        Some((z, [last, sum, exp, negation].map(label).to_vec()))
    }

    fn negated(&self, value: ValueId) -> Option<(ValueId, &'a Node)> {
        if let Some(neg) = self.made_by(value, "Neg") {
            return Some((neg.input(0)?, neg));
        }
        self.beside(value, "Mul", -1.0)
    }

    fn odds(&self, div: &'a Node) -> Option<(ValueId, Vec<String>)> {
        let (power, sum) = self.beside(div.input(1)?, "Add", 1.0)?;
        let exp = self.made_by(power, "Exp")?;
        let same = self.node(div.input(0)?)?.output(0) == exp.output(0);
        same.then(|| Some((exp.input(0)?, [div, sum, exp].map(label).to_vec())))?
    }

    fn tanh(&self, value: ValueId) -> Option<(ValueId, Vec<String>)> {
        let halved = |value| self.beside(value, "Mul", 0.5).or_else(|| self.beside(value, "Div", 2.0));
        let ((sum, last), one) = match halved(value) {
            Some(outer) => (outer, 1.0),
            None => (self.beside(value, "Add", 0.5)?, 0.5),
        };
        let (tanh, inner) = match one {
            1.0 => self.beside(sum, "Add", 1.0)?,
            _ => halved(sum)?,
        };
        let tanh = self.made_by(tanh, "Tanh")?;
        let (z, half) = halved(tanh.input(0)?)?;
        Some((z, [last, inner, tanh, half].map(label).to_vec()))
    }

    /// `−softplus(−z)`, the logarithm of a Sigmoid.
    fn softplus(&self, value: ValueId) -> Option<(ValueId, Vec<String>)> {
        let outer = self.made_by(value, "Neg")?;
        let plus = self.made_by(outer.input(0)?, "Softplus")?;
        let (z, inner) = self.negated(plus.input(0)?)?;
        Some((z, [outer, plus, inner].map(label).to_vec()))
    }

    /// Of `z − max(z)` the `z`, or what stands there without the shift; and its nodes.
    fn unshifted(&self, value: ValueId) -> (ValueId, Vec<String>) {
        let shifted = || {
            let sub = self.made_by(value, "Sub")?;
            let (z, shift) = (sub.input(0)?, sub.input(1)?);
            let max = self.maximum(shift, &mut { MOST_LOOKED_AT })?;
            let same = self.same(max.input(0)?, z);
            same.then(|| (z, vec![label(sub), label(max)]))
        };
        shifted().unwrap_or((value, Vec::new()))
    }

    /// The ReduceMax behind a maximum whose axis may have been put back; JAX also guards it against infinities.
    fn maximum(&self, value: ValueId, left: &mut usize) -> Option<&'a Node> {
        *left = left.checked_sub(1)?;
        let node = self.node(value)?;
        match node.op_type.as_str() {
            "ReduceMax" => Some(node),
            "Reshape" | "Unsqueeze" => self.maximum(node.input(0)?, left),
            "Max" | "Where" => node.inputs.iter().flatten().find_map(|&input| self.maximum(input, left)),
            _ => None,
        }
    }

    fn same(&self, a: ValueId, b: ValueId) -> bool {
        let source = |value| self.node(value).and_then(|node| node.output(0)).unwrap_or(value);
        a == b || source(a) == source(b)
    }

    /// The ReduceSum over an axis that `value` is, at most with that axis put back.
    fn total(&self, value: ValueId) -> Option<(&'a Node, bool)> {
        if let Some(sum) = self.made_by(value, "ReduceSum") {
            return Some((sum, false));
        }
        let back = self.node(value).filter(|node| node.is("Reshape") || node.is("Unsqueeze"))?;
        self.made_by(back.input(0)?, "ReduceSum").map(|sum| (sum, true))
    }

    /// `exp(z) / sum(exp(z))`, with or without the maximum taken off.
    fn softmax(&self, value: ValueId) -> Option<(ValueId, (&'a Node, bool), Vec<String>)> {
        let last = self.node(value)?;
        let (power, total) = match last.op_type.as_str() {
            "Div" => (last.input(0)?, last.input(1)?),
            "Mul" => {
                let (a, b) = (last.input(0)?, last.input(1)?);
                match (self.made_by(b, "Reciprocal"), self.made_by(a, "Reciprocal")) {
                    (Some(inverse), _) => (a, inverse.input(0)?),
                    (_, Some(inverse)) => (b, inverse.input(0)?),
                    _ => return None,
                }
            }
            _ => return None,
        };
        let exp = self.made_by(power, "Exp")?;
        let (sum, back) =
            self.total(total).filter(|(sum, _)| sum.input(0).is_some_and(|from| self.same(from, power)))?;
        let (z, shift) = self.unshifted(exp.input(0)?);
        Some((z, (sum, back), [vec![label(last), label(sum), label(exp)], shift].concat()))
    }

    /// `z − log(sum(exp(z)))`, with or without the maximum taken off.
    fn log_softmax(&self, value: ValueId) -> Option<(ValueId, (&'a Node, bool), Vec<String>)> {
        let last = self.made_by(value, "Sub")?;
        let (shifted, log) = (last.input(0)?, last.input(1)?);
        let (sum, back, inner) = if let Some(sum) = self.made_by(log, "ReduceLogSumExp") {
            (sum, false, vec![label(sum)])
        } else {
            let log = self.made_by(log, "Log")?;
            let (sum, back) = self.total(log.input(0)?)?;
            let exp = self.made_by(sum.input(0)?, "Exp")?;
            if !self.same(exp.input(0)?, shifted) {
                return None;
            }
            (sum, back, vec![label(log), label(sum), label(exp)])
        };
        if sum.is("ReduceLogSumExp") && !self.same(sum.input(0)?, shifted) {
            return None;
        }
        let (z, shift) = self.unshifted(shifted);
        Some((z, (sum, back), [vec![label(last)], inner, shift].concat()))
    }
}

/// `operator (node)` of what keeps `value` within 0 and 1, if its form shows that it lies there: it is made of probabilities,
/// though not of one Softmax or Sigmoid that could be seen through.
pub(super) fn bounded(tracer: &Tracer<'_>, value: ValueId) -> Option<String> {
    let mut left = MOST_LOOKED_AT;
    within(tracer, value, 8, &mut left)
}

fn within(tracer: &Tracer<'_>, value: ValueId, depth: usize, left: &mut usize) -> Option<String> {
    if depth == 0 || *left == 0 {
        return None;
    }
    *left -= 1;
    let node = tracer.node(value)?;
    if node.domain == "ai.onnx.ml" && node.op_type == "Normalizer" {
        return within(tracer, node.input(0)?, depth - 1, left).map(|_| label(node));
    }
    if !node.domain.is_empty() {
        return None;
    }
    if let Some((ending, _, _, nodes)) = written_out(tracer, value) {
        let log = node.is("Sub") || node.is("Neg");
        let made = if ending == Ending::Softmax { "Softmax" } else { "Sigmoid" };
        return nodes.first().filter(|_| !log).map(|node| format!("{made} written out ({node})"));
    }
    let mut inside = |slot: usize| within(tracer, node.input(slot)?, depth - 1, left);
    if facts::passes(node).keeps_values() {
        return inside(0);
    }
    let number = |slot: usize| tracer.number(node.input(slot)?);
    match node.op_type.as_str() {
        "Softmax" | "Sigmoid" | "HardSigmoid" => Some(label(node)),
        "Clip" if number(1).is_some_and(|low| low >= 0.0) && number(2).is_some_and(|high| high <= 1.0) => {
            Some(label(node))
        }
        "ReduceMax" | "ReduceMin" | "ReduceMean" | "ReduceProd" | "AveragePool" | "GlobalAveragePool" | "MaxPool"
        | "Clip" | "Relu" | "Sqrt" | "Dropout" => inside(0),
        "Exp" => tracer.node(node.input(0)?).filter(|inner| inner.is("LogSoftmax")).map(label),
        "Concat" | "Mean" | "Max" | "Min" => all(node, &mut inside),
        "Mul" => match (number(0), number(1)) {
            (None, None) => all(node, &mut inside),
            (Some(x), _) if (0.0..=1.0).contains(&x) => inside(1).or_else(|| share(tracer, node.input(1)?, x)),
            (_, Some(x)) if (0.0..=1.0).contains(&x) => inside(0).or_else(|| share(tracer, node.input(0)?, x)),
            _ => None,
        },
        "Div" if number(1).is_none() => {
            let p = tracer.normalized(node)?;
            inside(0).or_else(|| within(tracer, p, depth - 1, left)).map(|_| label(node))
        }
        "Div" => match number(1) {
            Some(x) if x >= 1.0 => inside(0).or_else(|| share(tracer, node.input(0)?, 1.0 / x)),
            _ => None,
        },
        "Sub" if number(0) == Some(1.0) => inside(1),
        "Pow" if number(1).is_some_and(|x| x > 0.0) => inside(0),
        "Where" => inside(1).or_else(|| inside(2)),
        "Add" | "Sum" => share(tracer, value, 1.0),
        _ => None,
    }
}

/// Whether all inputs are bounded.
fn all(node: &Node, inside: &mut dyn FnMut(usize) -> Option<String>) -> Option<String> {
    let mut found = None;
    for slot in 0..node.inputs.len() {
        found = Some(inside(slot)?);
    }
    found
}

/// A weighted sum of probabilities, as ensembles make it: `scale` times the sum of terms that are bounded, each by its own
/// weight, and all weights add up to 1 at most.
fn share(tracer: &Tracer<'_>, value: ValueId, scale: f64) -> Option<String> {
    let (mut total, mut found) = (0.0, None);
    let mut waiting = vec![(value, scale)];
    let mut left = MOST_LOOKED_AT;
    while let Some((at, weight)) = waiting.pop() {
        left = left.checked_sub(1)?;
        let node = tracer.node(at).filter(|node| node.domain.is_empty())?;
        let number = |slot: usize| tracer.number(node.input(slot)?);
        match (node.op_type.as_str(), number(0), number(1)) {
            ("Add" | "Sum", None, None) => waiting.extend(node.inputs.iter().flatten().map(|&v| (v, weight))),
            ("Mul", Some(x), None) if x > 0.0 => waiting.push((node.input(1)?, weight * x)),
            ("Mul", None, Some(x)) if x > 0.0 => waiting.push((node.input(0)?, weight * x)),
            ("Softmax" | "Sigmoid", ..) => {
                found = Some(label(node));
                total += weight;
            }
            _ => return None,
        }
    }
    found.filter(|_| total <= 1.0 + 1e-6)
}
