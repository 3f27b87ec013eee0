//! Control flow that is decided before anything runs: an If of a known condition becomes its branch, a Loop of a known trip
//! count and a Scan of a known length become their bodies, once a step (Scan-8: once a row and step). What is not decided
//! stays a node, for which there is no operator.

mod write;

use super::{
    Attr, Graph, Node, ValueId, ValueInfo,
    fold::{self, Known},
    shapes::{Extent, Shapes},
};
use crate::{
    error::{Error, Result},
    tensor::{Held, HostTensor},
};
use std::collections::{HashMap, HashSet};

/// What errors call this pass.
const PASS: &str = "writing out control flow";

/// Writes out, in place, all control flow of `graph` that is decided.
///
/// # Errors
/// [`crate::Error::Node`] if a body does not fit its node, [`crate::Error::TooLarge`] if writing it out makes too much.
pub(super) fn control_flow(graph: &mut Graph) -> Result<()> {
    if !graph.nodes.iter().any(|node| ["If", "Loop", "Scan"].iter().any(|op| node.is(op))) {
        return Ok(());
    }
    let known = graph.initializers.iter().map(|(value, stored)| (*value, stored.tensor.clone())).collect();
    let mut pending: Vec<(Node, bool)> =
        std::mem::take(&mut graph.nodes).into_iter().rev().map(|n| (n, false)).collect();
    let mut done = Vec::with_capacity(pending.len());
    let shapes = Shapes::declared(graph);
    let mut unroller =
        Unroller { graph, known, shapes, made: Vec::new(), placed: HashMap::new(), left_out: HashSet::new() };
    while let Some((node, inner)) = pending.pop() {
        let written_out = match node.op_type.as_str() {
            "If" if node.is("If") => unroller.branch(&node)?,
            "Loop" if node.is("Loop") => unroller.repeat(&node)?,
            "Scan" if node.is("Scan") && node.opset < 9 => unroller.scan_8(&node)?,
            "Scan" if node.is("Scan") => unroller.scan(&node)?,
            _ => false,
        };
        if written_out {
            pending.extend(unroller.made.drain(..).rev().map(|node| (node, true)));
            continue;
        }
        let elements = fold::learn(&node, &mut unroller.known);
        unroller.shapes.learn(unroller.graph, &node, &mut unroller.known);
        if inner {
            unroller.spend(&node, 0, elements * size_of::<i64>())?;
        }
        done.push(node);
    }
    graph.nodes = done;
    Ok(())
}

struct Unroller<'a> {
    graph: &'a mut Graph,
    known: Known,
    shapes: Shapes,
    /// Nodes that stand for the one that is being written out.
    made: Vec<Node>,
    /// Values of the tensors of bodies, by the place in the file.
    placed: HashMap<String, ValueId>,
    /// Branches that were not taken, each once, however often its node was written out.
    left_out: HashSet<*const Graph>,
}

/// The single element of a tensor of integers or booleans.
fn single(tensor: &Held) -> Option<i64> {
    match tensor.to_i64()?.as_slice() {
        [x] => Some(*x),
        _ => None,
    }
}

/// Notes the float tensors of a branch that is not taken, and of the bodies in it.
fn leave_out(all: &mut Vec<(String, Held)>, node: &str, branch: &Graph) {
    let floats =
        branch.initializers.values().filter(|stored| stored.tensor.dtype().is_float() && stored.tensor.len() > 1);
    all.extend(floats.map(|stored| (node.to_string(), stored.tensor.clone())));
    for inner in branch.nodes.iter().flat_map(|inner| inner.attrs.values()) {
        if let Attr::Graph(body) = inner {
            leave_out(all, node, body);
        }
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
        let condition = node.input(0).and_then(|value| self.known.get(&value)).and_then(single);
        let Some(condition) = condition else { return Ok(false) };
        let (name, other) = match condition {
            0 => ("else_branch", "then_branch"),
            _ => ("then_branch", "else_branch"),
        };
        if let Ok(other) = node.graph(other)
            && self.left_out.insert(std::ptr::from_ref(other))
        {
            leave_out(&mut self.graph.left_out, &node.name, other);
        }
        let body = Self::body(node, name, 0, node.outputs.len())?;
        let stored = self.stored(node, body)?;
        let results = self.copy(node, body, &stored, &node.name, &[])?;
        self.bind(node, &results)?;
        Ok(true)
    }

    /// Loop: the nodes of its body once a step, if it is known how many steps there are.
    fn repeat(&mut self, node: &Node) -> Result<bool> {
        let carried = node.inputs.len().saturating_sub(2);
        let body = Self::body(node, "body", 2 + carried, 1 + carried)?;
        let Some(mut states) = node.inputs.iter().skip(2).copied().collect::<Option<Vec<ValueId>>>() else {
            return Ok(false);
        };
        let known = |value: ValueId| self.known.get(&value).and_then(single);
        let most = match node.input(0).map(known) {
            None => usize::MAX,
            Some(Some(trips)) => usize::try_from(trips).unwrap_or(0),
            Some(None) => return Ok(false),
        };
        let trips = match node.input(1).map(known) {
            Some(Some(0)) => Some(0),
            Some(None) => None,
            _ => self.trips(node, body, most, &states)?,
        };
        let Some(trips) = trips else { return Ok(false) };
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
            self.spend(node, 1, 2 * size_of::<ValueInfo>() + 8 * node.name.len())?;
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

    /// How many steps a loop of at most `most` makes, if its body decides after each whether it goes on from the step's
    /// number, from states that are known and from what it captures.
    fn trips(&self, node: &Node, body: &Graph, most: usize, states: &[ValueId]) -> Result<Option<usize>> {
        let (Some(&step_number), Some(&going)) = (body.inputs.first(), body.inputs.get(1)) else { return Ok(None) };
        let captured = body.inputs.iter().rev().zip(body.captured.iter().rev());
        let mut given: Known =
            captured.filter_map(|(inner, outer)| Some((*inner, self.known.get(outer)?.clone()))).collect();
        given.insert(going, HostTensor::scalar(true).into());
        // What a step takes: its nodes, the tensors that its body stores, and the elements that are computed.
        let look = |known: Known| {
            let (known, elements) = fold::folded(body, known);
            let looks = 1 + body.nodes.len() + body.initializers.len() + given.len() + elements / 16;
            let goes_on = body.outputs.first().and_then(|value| single(known.get(value)?)).map(|x| x != 0);
            self.graph.budget.look(looks, "finding out how often a loop runs", &node.name)?;
            Ok::<_, Error>((known, goes_on))
        };
        match look(given.clone())?.1 {
            Some(true) => return Ok(Some(most)),
            Some(false) => return Ok(Some(most.min(1))),
            None => {}
        }
        let mut states: Vec<_> = states.iter().map(|state| self.known.get(state).cloned()).collect();
        for step in 0..most {
            let Ok(count) = i64::try_from(step) else { return Ok(None) };
            let inner = body.inputs.iter().skip(2).zip(&states);
            let mut known = given.clone();
            known.insert(step_number, HostTensor::scalar(count).into());
            known.extend(inner.filter_map(|(inner, state)| Some((*inner, state.clone()?))));
            let (known, goes_on) = look(known)?;
            match goes_on {
                None => return Ok(None),
                Some(false) => return Ok(Some(step + 1)),
                Some(true) => {}
            }
            states = body.outputs.iter().skip(1).take(states.len()).map(|state| known.get(state).cloned()).collect();
        }
        Ok(Some(most))
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
            steps.push(parts);
        }
        let stored = self.stored(node, body)?;
        let (mut states, rows) = self.steps(node, body, &stored, &node.name, states, steps)?;
        for ((mut row, &axis), &backwards) in rows.into_iter().zip(&out_axes).zip(&out_backwards) {
            if backwards != 0 {
                row.reverse();
            }
            states.push(self.stack(node, &row, axis)?);
        }
        self.bind(node, &states)?;
        Ok(true)
    }

    /// Scan in version 8: each row of the batch, which is axis 0, is scanned along axis 1 by itself. If how many rows and
    /// steps there are is known, the nodes of the body once for each.
    fn scan_8(&mut self, node: &Node) -> Result<bool> {
        let scanned = node.int("num_scan_inputs", None)?;
        let inputs: Option<Vec<ValueId>> = node.inputs.iter().skip(1).copied().collect();
        let Some(mut states) = inputs else { return Ok(false) };
        let scanned = usize::try_from(scanned).ok().filter(|&n| (1..=states.len()).contains(&n));
        let scanned = scanned.ok_or_else(|| node.error("`num_scan_inputs` is not a number of its inputs"))?;
        let carried = states.len() - scanned;
        let body = Self::body(node, "body", states.len(), carried)?;
        let sequences = states.split_off(carried);
        let extent = |axis: i64| sequences.iter().find_map(|&value| self.extent(value, axis)).filter(|&n| n > 0);
        let (Some(rows), Some(length)) = (extent(0), extent(1)) else { return Ok(false) };
        let whole = |lens: &Held| lens.to_i64().is_some_and(|all| all.iter().all(|&n| n as usize == length));
        if node.input(0).is_some_and(|lens| !self.known.get(&lens).is_some_and(whole)) {
            return Ok(false);
        }
        let backwards = node.opt_ints("directions")?.map_or(vec![0; scanned], <[i64]>::to_vec);
        let apart = |this: &mut Self, values: &[ValueId]| -> Result<Vec<Vec<ValueId>>> {
            values.iter().map(|&value| this.parts(node, value, 0, rows)).collect()
        };
        let (starts, sequences) = (apart(self, &states)?, apart(self, &sequences)?);
        let stored = self.stored(node, body)?;
        let mut results = vec![Vec::new(); body.outputs.len()];
        for row in 0..rows {
            let of_row =
                |all: &[Vec<ValueId>]| all.iter().filter_map(|rows| rows.get(row).copied()).collect::<Vec<_>>();
            let mut steps = Vec::new();
            for (sequence, backwards) in of_row(&sequences).into_iter().zip(&backwards) {
                let mut parts = self.parts(node, sequence, 0, length)?;
                if *backwards != 0 {
                    parts.reverse();
                }
                steps.push(parts);
            }
            let prefix = format!("{}/{row}", node.name);
            let (states, made) = self.steps(node, body, &stored, &prefix, of_row(&starts), steps)?;
            let made = made.iter().map(|made| self.stack(node, made, 0)).collect::<Result<Vec<_>>>()?;
            results.iter_mut().zip(states.into_iter().chain(made)).for_each(|(all, one)| all.push(one));
        }
        let results = results.iter().map(|rows| self.stack(node, rows, 0)).collect::<Result<Vec<_>>>()?;
        self.bind(node, &results)?;
        Ok(true)
    }

    /// The body once for each of the `steps` that the scanned inputs have; the last states, and of each further output
    /// what the steps made.
    fn steps(
        &mut self,
        node: &Node,
        body: &Graph,
        stored: &HashMap<ValueId, ValueId>,
        prefix: &str,
        mut states: Vec<ValueId>,
        steps: Vec<Vec<ValueId>>,
    ) -> Result<(Vec<ValueId>, Vec<Vec<ValueId>>)> {
        let mut made = vec![Vec::new(); body.outputs.len().saturating_sub(states.len())];
        for step in 0..steps.first().map_or(0, Vec::len) {
            let scanned = steps.iter().filter_map(|parts| parts.get(step));
            let given: Vec<ValueId> = states.iter().chain(scanned).copied().collect();
            let mut results = self.copy(node, body, stored, &format!("{prefix}/{step}"), &given)?;
            made.iter_mut().zip(results.split_off(states.len())).for_each(|(all, one)| all.push(one));
            states = results;
        }
        Ok((states, made))
    }

    /// The slices of `x` along `axis`. Split fails where there are not `length` of them.
    fn parts(&mut self, node: &Node, x: ValueId, axis: i64, length: usize) -> Result<Vec<ValueId>> {
        let each = size_of::<ValueInfo>() + 2 * node.name.len() + size_of::<i64>();
        self.spend(node, 0, length.saturating_mul(each))?;
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
        let dims = self.shapes.dims(value)?;
        match dims.get(at(dims.len())?)? {
            Extent::Fixed(n) => Some(*n),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
