//! Some nodes of a model on values from elsewhere: what a node computes, whatever those before it do.

use super::{
    Model,
    program::{Program, put},
    to_host,
};
use crate::{
    engine::{Context, Float},
    error::Result,
    graph::{Node, ValueId},
    kernels::Backend,
    ops::Mode,
    tensor::HostTensor,
};
use std::collections::{BTreeMap, BTreeSet};

impl<E: Float, D: Backend<E>> Model<E, D> {
    /// The nodes that run for the outputs and the scores, in order of execution.
    pub fn nodes(&self) -> Vec<&Node> {
        self.running().into_iter().filter_map(|index| Some(&self.steps.get(index)?.node)).collect()
    }

    /// The values that the file does not hold and that `wanted` depend on, where those in `given` are not computed.
    pub fn sources(&self, wanted: &[ValueId], given: &dyn Fn(ValueId) -> bool) -> Vec<ValueId> {
        let needed = self.section(wanted, given).needed;
        needed.into_iter().filter(|&id| !self.is_stored(id)).collect()
    }

    /// The values `wanted`, in order, computed from those `given`, in inference.
    ///
    /// # Errors
    /// [`Error::Node`](crate::Error::Node) if a node cannot run on them, [`Error::Internal`](crate::Error::Internal) if
    /// one of their [`sources`](Model::sources) is not given.
    pub fn compute(&self, wanted: &[ValueId], given: &BTreeMap<ValueId, HostTensor>) -> Result<Vec<HostTensor>> {
        let mut cx = Context::inference(self.dev.clone(), self.options.kernels);
        let program = self.section(wanted, &|id| given.contains_key(&id));
        let mut slots = self.slots(&cx, &program);
        for (&id, tensor) in given {
            let float = tensor.dtype().is_float();
            put(&mut slots, id, if float { cx.upload_host(tensor)?.into() } else { tensor.clone().into() });
        }
        let values = self.execute(&mut cx, &program, slots, Mode::default())?;
        Ok(values.into_iter().map(to_host).collect())
    }

    /// The indices of the steps that run, in order.
    fn running(&self) -> BTreeSet<usize> {
        let programs = [Some(&self.outputs), self.plan.as_ref().map(|(_, scoring)| scoring)];
        programs.into_iter().flatten().flat_map(|program| program.steps.iter().map(|(index, _)| *index)).collect()
    }

    /// What `wanted` are computed by, found from there backwards: the whole graph is not looked at.
    pub(super) fn section(&self, wanted: &[ValueId], given: &dyn Fn(ValueId) -> bool) -> Program {
        let known = |id: ValueId| given(id) || self.is_stored(id);
        let (mut open, mut steps) = (wanted.to_vec(), BTreeSet::new());
        while let Some(id) = open.pop() {
            let maker = self.makers.get(&id).filter(|_| !known(id));
            if let Some((&index, step)) = maker.and_then(|index| Some((index, self.steps.get(*index)?)))
                && steps.insert(index)
            {
                open.extend(step.node.inputs.iter().flatten());
            }
        }
        let nodes: Vec<_> = steps.into_iter().filter_map(|index| Some((index, &self.steps.get(index)?.node))).collect();
        Program::new(nodes.into_iter(), wanted.to_vec(), known)
    }

    fn is_stored(&self, id: ValueId) -> bool {
        self.constants.contains_key(&id)
            || self.in_file.contains_key(&id)
            || self.parameters.iter().any(|p| p.value == id)
    }
}
