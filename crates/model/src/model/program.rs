//! Which nodes run for what is wanted, in which order, and when a value is no longer needed.

use super::Model;
use crate::{
    engine::{Context, Float, Value},
    error::{Error, Result},
    graph::{Node, ValueId},
    kernels::Backend,
    ops::{self, Inputs, Mode, Operator, Spec},
    tensor::HostTensor,
};
use std::collections::{BTreeMap, BTreeSet};

/// A node, decided.
pub(super) struct Step<E: Float, D: Backend<E>> {
    pub node: Node,
    pub spec: Spec,
    pub operator: Box<dyn Operator<E, D>>,
}

/// What is computed so far, by [`ValueId`].
pub(super) type Slots<E, D> = Vec<Option<Value<E, D>>>;

/// The steps that some values depend on.
pub(super) struct Program {
    /// Indices of steps, in order of execution, each with the values that are not needed after it.
    pub steps: Vec<(usize, Vec<ValueId>)>,
    /// The values that are wanted.
    pub wanted: Vec<ValueId>,
    /// Every value that a step takes or that is wanted, and none makes.
    pub needed: BTreeSet<ValueId>,
}

impl Program {
    /// The program for `wanted`, among `nodes` in order of execution; `known` values are not computed.
    pub fn new<'a>(
        nodes: impl DoubleEndedIterator<Item = (usize, &'a Node)>,
        wanted: Vec<ValueId>,
        known: impl Fn(ValueId) -> bool,
    ) -> Self {
        let mut open: BTreeSet<ValueId> = wanted.iter().copied().collect();
        let mut dropped: BTreeSet<ValueId> = wanted.iter().copied().collect();
        let mut steps = Vec::new();
        for (index, node) in nodes.rev() {
            let makes: Vec<ValueId> = node.outputs.iter().flatten().copied().filter(|&v| !known(v)).collect();
            if !makes.iter().any(|v| open.contains(v)) {
                continue;
            }
            makes.iter().for_each(|v| {
                open.remove(v);
            });
            let takes = node.inputs.iter().flatten().copied();
            // Going backwards, the first step that takes a value is the last that needs it; an output that nobody takes
            // goes at once.
            let last = takes.clone().chain(makes.iter().copied()).filter(|&v| dropped.insert(v)).collect();
            open.extend(takes);
            steps.push((index, last));
        }
        steps.reverse();
        Self { steps, wanted, needed: open }
    }
}

impl<E: Float, D: Backend<E>> Model<E, D> {
    /// Runs a program on `inputs`, and hands back what is wanted, in order.
    pub(super) fn run(
        &self,
        cx: &mut Context<E, D>,
        program: &Program,
        inputs: &BTreeMap<String, HostTensor>,
        mode: Mode,
    ) -> Result<Vec<Value<E, D>>> {
        let mut slots = self.slots(cx, program);
        for input in self.inputs.iter().filter(|i| program.needed.contains(&i.id)) {
            put(&mut slots, input.id, super::feed::feed(cx, input, inputs)?);
        }
        self.execute(cx, program, slots, mode)
    }

    /// Room for every value, with the parameters that `program` takes.
    pub(super) fn slots(&self, cx: &Context<E, D>, program: &Program) -> Slots<E, D> {
        let mut slots = vec![None; self.values];
        for parameter in self.parameters.iter().filter(|p| program.needed.contains(&p.value)) {
            // Without a tape nothing is recorded, and no gradient is asked for.
            let tensor = if cx.is_recording() { parameter.tensor.clone() } else { parameter.tensor.detached() };
            put(&mut slots, parameter.value, tensor.into());
        }
        slots
    }

    /// Runs a program whose sources are in `slots`, and hands back what is wanted, in order.
    pub(super) fn execute(
        &self,
        cx: &mut Context<E, D>,
        program: &Program,
        mut slots: Slots<E, D>,
        mode: Mode,
    ) -> Result<Vec<Value<E, D>>> {
        for (index, last) in &program.steps {
            let step = self.steps.get(*index).ok_or_else(|| Error::Internal("a step that does not exist".into()))?;
            let results = {
                let decoded = self.decoded(cx, step, &slots)?;
                let get = |(slot, id): (usize, &Option<ValueId>)| match decoded.get(&slot) {
                    Some(value) => Ok(Some(value)),
                    None => id.map(|id| self.value(&slots, id, &step.node)).transpose(),
                };
                let taken = step.node.inputs.iter().enumerate().map(get).collect::<Result<Vec<_>>>()?;
                ops::run(&step.node, &step.spec, step.operator.as_ref(), cx, &Inputs::new(taken, mode))?
            };
            for (id, value) in step.node.outputs.iter().zip(results) {
                if let Some(id) = id {
                    let value = match (value, self.rounded.get(id)) {
                        (Value::Float(x), Some(&to)) => ops::rounded(cx, &x, to)?.into(),
                        (value, _) => value,
                    };
                    put(&mut slots, *id, value);
                }
            }
            for id in last {
                if let Some(slot) = slots.get_mut(id.0) {
                    *slot = None;
                }
            }
        }
        program
            .wanted
            .iter()
            .map(|&id| {
                let computed = slots.get(id.0).and_then(Option::as_ref).or_else(|| self.constants.get(&id));
                computed.cloned().ok_or_else(|| Error::Internal("a wanted value was not computed".into()))
            })
            .collect()
    }

    fn value<'a>(&'a self, slots: &'a [Option<Value<E, D>>], id: ValueId, node: &Node) -> Result<&'a Value<E, D>> {
        let computed = slots.get(id.0).and_then(Option::as_ref);
        computed
            .or_else(|| self.constants.get(&id))
            .ok_or_else(|| Error::Internal(format!("node {} takes a value that was not computed", node.name)))
    }
}

pub(super) fn put<E: Float, D: Backend<E>>(slots: &mut [Option<Value<E, D>>], id: ValueId, value: Value<E, D>) {
    if let Some(slot) = slots.get_mut(id.0) {
        *slot = Some(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(inputs: &[usize], outputs: &[usize]) -> Node {
        let ids = |list: &[usize]| list.iter().map(|&i| Some(ValueId(i))).collect();
        Node {
            name: String::new(),
            domain: String::new(),
            op_type: String::new(),
            opset: 20,
            inputs: ids(inputs),
            outputs: ids(outputs),
            attrs: BTreeMap::new(),
        }
    }

    #[test]
    fn only_ancestors_run_and_values_go_after_their_last_use() {
        let nodes = [node(&[0], &[2]), node(&[0], &[3, 4]), node(&[2, 3], &[5]), node(&[2], &[6])];
        let program = Program::new(nodes.iter().enumerate(), vec![ValueId(5)], |_| false);
        let ids = |list: &[usize]| list.iter().map(|&i| ValueId(i)).collect::<Vec<_>>();
        assert_eq!(program.steps, [(0, vec![]), (1, ids(&[0, 4])), (2, ids(&[2, 3]))]);
        assert_eq!(program.needed, [ValueId(0)].into());
    }

    #[test]
    fn known_values_are_not_computed() {
        let nodes = [node(&[0], &[1]), node(&[1], &[2])];
        let program = Program::new(nodes.iter().enumerate(), vec![ValueId(2)], |v| v == ValueId(1));
        assert_eq!(program.steps.len(), 1);
        assert_eq!(program.needed, [ValueId(1)].into());
    }
}
