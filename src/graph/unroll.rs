//! Control flow that is decided before anything runs: an If of a known condition becomes its branch, a Loop of a known trip
//! count and a Scan of a known length become their bodies, once a step. What is not decided stays a node, for which there is
//! no operator.

mod write;

use super::{
    Attr, Dim, Graph, Node, ValueId,
    fold::{self, Known},
};
use crate::{error::Result, tensor::HostTensor};
use std::{collections::HashMap, sync::Arc};

/// Writes out, in place, all control flow of `graph` that is decided.
///
/// # Errors
/// [`crate::Error::Node`] if a body does not fit its node, or writing it out makes too much.
pub(super) fn control_flow(graph: &mut Graph) -> Result<()> {
    if !graph.nodes.iter().any(|node| ["If", "Loop", "Scan"].iter().any(|op| node.is(op))) {
        return Ok(());
    }
    let known = graph.initializers.iter().map(|(value, stored)| (*value, Arc::clone(&stored.tensor))).collect();
    let mut pending: Vec<(Node, bool)> =
        std::mem::take(&mut graph.nodes).into_iter().rev().map(|n| (n, false)).collect();
    let mut done = Vec::with_capacity(pending.len());
    let mut unroller = Unroller { graph, known, made: Vec::new(), placed: HashMap::new(), spent: 0 };
    while let Some((node, inner)) = pending.pop() {
        let written_out = match node.op_type.as_str() {
            "If" if node.is("If") => unroller.branch(&node)?,
            "Loop" if node.is("Loop") => unroller.repeat(&node)?,
            "Scan" if node.is("Scan") => unroller.scan(&node)?,
            _ => false,
        };
        if written_out {
            pending.extend(unroller.made.drain(..).rev().map(|node| (node, true)));
            continue;
        }
        let elements = fold::learn(&node, &mut unroller.known);
        if inner {
            unroller.spend(&node, elements / 16)?;
        }
        done.push(node);
    }
    graph.nodes = done;
    Ok(())
}

struct Unroller<'a> {
    graph: &'a mut Graph,
    known: Known,
    /// Nodes that stand for the one that is being written out.
    made: Vec<Node>,
    /// Values of the tensors of bodies, by the place in the file.
    placed: HashMap<String, ValueId>,
    spent: usize,
}

/// The single element of a tensor of integers or booleans.
fn single(tensor: &HostTensor) -> Option<i64> {
    match tensor.to_i64()?.as_slice() {
        [x] => Some(*x),
        _ => None,
    }
}

impl Unroller<'_> {
    /// The body in attribute `name`, after checking that it takes `inputs` and makes at least `outputs`.
    fn body<'n>(node: &'n Node, name: &str, inputs: usize, outputs: usize) -> Result<&'n Graph> {
        let body = node.graph(name)?;
        if body.inputs.len() != inputs + body.captured.len() || body.outputs.len() < outputs {
            return Err(node.error(format!(
                "`{name}` has {} inputs and {} outputs, where {inputs} and at least {outputs} are needed",
                body.inputs.len().saturating_sub(body.captured.len()),
                body.outputs.len()
            )));
        }
        Ok(body)
    }

    /// If: the nodes of the branch that a known condition chooses.
    fn branch(&mut self, node: &Node) -> Result<bool> {
        let condition = node.input(0).and_then(|value| self.known.get(&value)).and_then(|tensor| single(tensor));
        let Some(condition) = condition else { return Ok(false) };
        let name = if condition == 0 { "else_branch" } else { "then_branch" };
        let body = Self::body(node, name, 0, node.outputs.len())?;
        let stored = self.stored(node, body)?;
        let results = self.copy(node, body, &stored, &node.name, &[])?;
        self.bind(node, &results)?;
        Ok(true)
    }

    /// Loop: the nodes of its body once a step, if the trip count is known and the condition is known to stay as it is.
    fn repeat(&mut self, node: &Node) -> Result<bool> {
        let carried = node.inputs.len().saturating_sub(2);
        let body = Self::body(node, "body", 2 + carried, 1 + carried)?;
        let Some(mut states) = node.inputs.iter().skip(2).copied().collect::<Option<Vec<ValueId>>>() else {
            return Ok(false);
        };
        let known = |value: ValueId| self.known.get(&value).and_then(|tensor| single(tensor));
        let trips = match node.input(0).map(known) {
            None => usize::MAX,
            Some(Some(trips)) => usize::try_from(trips).unwrap_or(0),
            Some(None) => return Ok(false),
        };
        let trips = match (node.input(1).map(known), self.goes_on(body)) {
            (Some(None), _) => return Ok(false),
            (Some(Some(0)), _) => 0,
            (_, Some(true)) => trips,
            (_, Some(false)) => trips.min(1),
            (_, None) => return Ok(false),
        };
        let mut rows = vec![Vec::new(); body.outputs.len() - 1 - carried];
        if trips == 0 && !rows.is_empty() {
            return Ok(false);
        }
        let stored = self.stored(node, body)?;
        let condition = match node.input(1) {
            Some(value) => value,
            None => self.constant(format!("{}/condition", node.name), HostTensor::scalar(true)),
        };
        for step in 0..trips {
            self.spend(node, 1)?;
            let prefix = format!("{}/{step}", node.name);
            let count = self.constant(format!("{prefix}/step"), HostTensor::scalar(step as i64));
            let given = [&[count, condition], states.as_slice()].concat();
            let results = self.copy(node, body, &stored, &prefix, &given)?;
            let mut results = results.into_iter().skip(1);
            states = results.by_ref().take(carried).collect();
            rows.iter_mut().zip(results).for_each(|(row, result)| row.push(result));
        }
        for row in rows {
            states.push(self.stack(node, &row, 0)?);
        }
        self.bind(node, &states)?;
        Ok(true)
    }

    /// Whether a loop goes on after any of its steps, if its body says so whatever it is given.
    fn goes_on(&self, body: &Graph) -> Option<bool> {
        let captured = body.inputs.iter().rev().zip(body.captured.iter().rev());
        let mut given: Known =
            captured.filter_map(|(inner, outer)| Some((*inner, Arc::clone(self.known.get(outer)?)))).collect();
        given.insert(*body.inputs.get(1)?, Arc::new(HostTensor::scalar(true)));
        let known = fold::constants_given(body, given);
        known.get(body.outputs.first()?).and_then(|tensor| single(tensor)).map(|x| x != 0)
    }

    /// Scan from version 9 on: the nodes of its body once a step, if an extent along a scanned axis is known.
    fn scan(&mut self, node: &Node) -> Result<bool> {
        let scanned =
            usize::try_from(node.int("num_scan_inputs", None)?).ok().filter(|&n| (1..=node.inputs.len()).contains(&n));
        let scanned = scanned.ok_or_else(|| node.error("`num_scan_inputs` is not a number of its inputs"))?;
        let inputs: Option<Vec<ValueId>> = node.inputs.iter().copied().collect();
        let (9.., Some(mut states)) = (node.opset, inputs) else { return Ok(false) };
        let carried = states.len() - scanned;
        let body = Self::body(node, "body", states.len(), carried)?;
        let sequences = states.split_off(carried);
        let made = body.outputs.len() - carried;
        let list = |name: &str, len: usize| match node.opt_ints(name)? {
            None => Ok(vec![0; len]),
            Some(list) if list.len() == len => Ok(list.to_vec()),
            Some(list) => Err(node.error(format!("`{name}` has {} values, where {len} are due", list.len()))),
        };
        let (axes, backwards) = (list("scan_input_axes", scanned)?, list("scan_input_directions", scanned)?);
        let (out_axes, out_backwards) = (list("scan_output_axes", made)?, list("scan_output_directions", made)?);
        let length = sequences.iter().zip(&axes).find_map(|(&value, &axis)| self.extent(value, axis));
        let Some(length) = length.filter(|&n| n > 0) else { return Ok(false) };
        let mut steps = Vec::new();
        for ((&sequence, &axis), &backwards) in sequences.iter().zip(&axes).zip(&backwards) {
            let mut parts = self.parts(node, sequence, axis, length)?;
            if backwards != 0 {
                parts.reverse();
            }
            steps.push(parts.into_iter());
        }
        let stored = self.stored(node, body)?;
        let mut rows = vec![Vec::new(); made];
        for step in 0..length {
            let prefix = format!("{}/{step}", node.name);
            let given: Vec<ValueId> =
                states.iter().copied().chain(steps.iter_mut().filter_map(Iterator::next)).collect();
            let mut results = self.copy(node, body, &stored, &prefix, &given)?;
            rows.iter_mut().zip(results.split_off(carried)).for_each(|(row, result)| row.push(result));
            states = results;
        }
        for ((mut row, &axis), &backwards) in rows.into_iter().zip(&out_axes).zip(&out_backwards) {
            if backwards != 0 {
                row.reverse();
            }
            states.push(self.stack(node, &row, axis)?);
        }
        self.bind(node, &states)?;
        Ok(true)
    }

    /// The slices of `x` along `axis`. Split fails where there are not `length` of them.
    fn parts(&mut self, node: &Node, x: ValueId, axis: i64, length: usize) -> Result<Vec<ValueId>> {
        self.spend(node, length)?;
        let pieces: Vec<ValueId> = (0..length).map(|_| self.value(format!("{}/Split", node.name), None)).collect();
        let ones = vec![1i64; length];
        let mut inputs = vec![x];
        if node.opset >= 13 {
            inputs.push(self.constant(format!("{}/split", node.name), HostTensor::vector(ones.clone())));
        }
        self.node(node, "Split", inputs, pieces.clone(), Some(("axis", Attr::Int(axis))))?;
        if let Some(split) = self.made.last_mut().filter(|_| node.opset < 13) {
            split.attrs.insert("split".into(), Attr::Ints(ones));
        }
        pieces.into_iter().map(|piece| self.with_axis(node, "Squeeze", piece, axis)).collect()
    }

    /// The extent of `value` along `axis`, where the file tells it.
    fn extent(&self, value: ValueId, axis: i64) -> Option<usize> {
        let at =
            |rank: usize| usize::try_from(if axis < 0 { axis.checked_add_unsigned(rank as u64)? } else { axis }).ok();
        if let Some(tensor) = self.known.get(&value) {
            return tensor.dims().get(at(tensor.dims().len())?).copied();
        }
        let dims = self.graph.declared_dims(value)?;
        match dims.get(at(dims.len())?)? {
            Dim::Fixed(n) => Some(*n),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "unroll/tests.rs"]
mod tests;
