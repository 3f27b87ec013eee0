//! Which node is not the runtime's: every node is computed from the runtime's own values of its inputs, so that an error
//! does not travel, and the first whose result is outside the tolerance is named.
//!
//! Values inside an inlined function cannot be shown: they are computed from the nearest ones before them that can, and
//! judged by the next ones after.

use super::{
    Parity, Runner, chained,
    compare::{self, Comparison, Tolerance},
    ort::Library,
    ours,
    prepare::Opened,
};
use crate::{
    batch::Batch,
    engine::Float,
    error::{Error, Result},
    graph::{Node, ValueId},
    kernels::Backend,
    model::Model,
    tensor::HostTensor,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes whose values are asked of the runtime at once: what it shows is held in memory.
const AT_ONCE: usize = 128;

/// What running node by node found.
#[derive(Clone, Debug, Serialize)]
pub struct Located {
    /// Nodes compared.
    pub nodes: usize,
    /// Nodes whose values the runtime cannot show; those after them were compared.
    pub hidden: usize,
    /// The first node that differs, in order of execution.
    pub first: Option<Disagreement>,
}

/// A node that does not compute what the runtime computes from the same values.
#[derive(Clone, Debug, Serialize)]
pub struct Disagreement {
    /// Its name.
    pub node: String,
    /// Its operator, with its domain if that is not the default one.
    pub operator: String,
    /// The version of the operator set.
    pub opset: i64,
    /// Shapes of the runtime's values that it was computed from.
    pub inputs: Vec<Vec<usize>>,
    /// Shapes of the runtime's outputs.
    pub outputs: Vec<Vec<usize>>,
    /// Largest difference; `null` if the node could not run.
    pub max_abs_diff: Option<f64>,
    /// The same relative to the runtime's value.
    pub max_rel_diff: Option<f64>,
    /// What is wrong, in a sentence.
    pub why: String,
}

impl Located {
    /// One sentence.
    pub fn verdict(&self) -> String {
        let hidden = if self.hidden == 0 { String::new() } else { format!(", {} inside functions", self.hidden) };
        match &self.first {
            None => format!("every node agrees ({} compared{hidden})", self.nodes),
            Some(d) => {
                format!("node {} ({}-{}) {:?} → {:?}: {}", d.node, d.operator, d.opset, d.inputs, d.outputs, d.why)
            }
        }
    }
}

/// A model whose nodes can be run one by one.
pub(super) trait ByNode {
    /// The nodes that run, in order of execution.
    fn nodes(&self) -> Vec<&Node>;
    /// What `wanted` depend on, where values in `given` are not computed.
    fn sources(&self, wanted: &[ValueId], given: &dyn Fn(ValueId) -> bool) -> Vec<ValueId>;
    /// The values `wanted` computed from those `given`.
    fn compute(&self, wanted: &[ValueId], given: &BTreeMap<ValueId, HostTensor>) -> Result<Vec<HostTensor>>;
}

impl<E: Float, D: Backend<E>> ByNode for Model<E, D> {
    fn nodes(&self) -> Vec<&Node> {
        Model::nodes(self)
    }

    fn sources(&self, wanted: &[ValueId], given: &dyn Fn(ValueId) -> bool) -> Vec<ValueId> {
        Model::sources(self, wanted, given)
    }

    fn compute(&self, wanted: &[ValueId], given: &BTreeMap<ValueId, HostTensor>) -> Result<Vec<HostTensor>> {
        Model::compute(self, wanted, given)
    }
}

/// A node to be compared: what of it can be shown, and what that is computed from.
struct Section<'a> {
    node: &'a Node,
    wanted: Vec<ValueId>,
    sources: Vec<ValueId>,
}

/// Goes through the nodes of `model` until one differs. `visible` are the values that `reference` can show, which is
/// asked for some of them at a time, `at_once` nodes' worth.
fn first_wrong(
    model: &dyn ByNode,
    visible: &dyn Fn(ValueId) -> bool,
    reference: &mut dyn FnMut(&BTreeSet<ValueId>) -> Result<BTreeMap<ValueId, HostTensor>>,
    tolerance: Tolerance,
    at_once: usize,
) -> Result<Located> {
    let nodes = model.nodes();
    let all = nodes.len();
    let shown = |node: &Node| node.outputs.iter().flatten().copied().filter(|&v| visible(v)).collect::<Vec<_>>();
    let sections = nodes.into_iter().map(|node| (node, shown(node))).filter(|(_, wanted)| !wanted.is_empty());
    let sections: Vec<Section<'_>> = sections
        .map(|(node, wanted)| {
            let sources = model.sources(&wanted, &|v| visible(v) && !wanted.contains(&v));
            Section { node, wanted, sources }
        })
        .collect();
    let mut located = Located { nodes: 0, hidden: all - sections.len(), first: None };
    for sections in sections.chunks(at_once.max(1)) {
        let asked = sections.iter().flat_map(|s| s.wanted.iter().chain(&s.sources)).copied().collect();
        let values = reference(&asked)?;
        for section in sections {
            located.nodes += 1;
            located.first = differs(model, section, &values, tolerance)?;
            if located.first.is_some() {
                return Ok(located);
            }
        }
    }
    Ok(located)
}

fn differs(
    model: &dyn ByNode,
    section: &Section<'_>,
    values: &BTreeMap<ValueId, HostTensor>,
    tolerance: Tolerance,
) -> Result<Option<Disagreement>> {
    let held = |id: &ValueId| {
        let missing = || Error::Internal(format!("a value around node {} was not shown", section.node.name));
        values.get(id).cloned().ok_or_else(missing)
    };
    let theirs = section.wanted.iter().map(held).collect::<Result<Vec<_>>>()?;
    let given = section.sources.iter().map(|id| Ok((*id, held(id)?))).collect::<Result<BTreeMap<_, _>>>()?;
    let (found, why) = match model.compute(&section.wanted, &given) {
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        Err(e) => (None, e.to_string()),
        Ok(ours) => {
            let ours = ours.into_iter().zip(&theirs).map(|(ours, t)| ours::as_float(ours, t.dtype()));
            let named = |values: Vec<HostTensor>| values.into_iter().enumerate().map(|(n, t)| (n.to_string(), t));
            let (ours, theirs): (Vec<_>, Vec<_>) = (named(ours.collect()).collect(), named(theirs.clone()).collect());
            let found = compare::compare(&theirs, &ours, tolerance, None);
            let empty = theirs.iter().all(|(_, t)| t.is_empty());
            if found.passed() || (empty && found.problems.is_empty()) {
                return Ok(None);
            }
            let why = found.verdict();
            (Some(found), why)
        }
    };
    let domain = &section.node.domain;
    let difference = |of: fn(&Comparison) -> f64| found.as_ref().filter(|f| f.elements > 0).map(of);
    Ok(Some(Disagreement {
        node: section.node.name.clone(),
        operator: if domain.is_empty() { String::new() } else { format!("{domain}::") } + &section.node.op_type,
        opset: section.node.opset,
        inputs: section.node.inputs.iter().flatten().filter_map(|id| Some(values.get(id)?.dims().to_vec())).collect(),
        outputs: theirs.iter().map(|t| t.dims().to_vec()).collect(),
        max_abs_diff: difference(|f| f.max_abs_diff),
        max_rel_diff: difference(|f| f.max_rel_diff),
        why,
    }))
}

impl Parity<'_> {
    /// The first node of `model` that does not compute what onnxruntime computes from the same values, on `batch`.
    ///
    /// # Errors
    /// [`Error::RuntimeMissing`] without an onnxruntime; [`Error::ParityBefore`] if it cannot show the values between
    /// the nodes.
    pub fn locate<E: Float, D: Backend<E>>(&self, model: &Model<E, D>, batch: &Batch) -> Result<Located> {
        let library = Library::get(&self.settings.search)?;
        let Some(optimization) = self.settings.guard.found().runs else {
            return Err(Error::ParityBefore(
                "onnxruntime crashes on the model: it cannot show the values between the nodes".into(),
            ));
        };
        let opened = Opened::new(self.file, self.graph);
        let fed = ours::feeds(self.graph, self.plan, batch)?;
        let of_model = chained::of_model((self.graph, self.plan), &fed).map_err(Error::Internal)?;
        let name = |id: ValueId| self.graph.values.get(id.0).map(|v| v.name.as_str()).unwrap_or_default();
        let cannot = |why| Error::ParityBefore(format!("onnxruntime cannot show the values between the nodes: {why}"));
        let mut reference = |asked: &BTreeSet<ValueId>| -> Result<BTreeMap<ValueId, HostTensor>> {
            let shown: BTreeSet<String> =
                asked.iter().map(|&id| name(id).to_string()).filter(|name| opened.visible.contains(name)).collect();
            let copy = opened.showing(&shown)?;
            let source = (copy.path.as_path(), copy.data.as_deref());
            let runner = library.session(source, self.settings.threads, optimization).map_err(cannot)?;
            let taken = runner.inputs();
            let inputs = of_model.iter().filter(|(name, _)| taken.contains(name)).map(|(n, t)| (n.clone(), t.clone()));
            let outputs: BTreeMap<String, HostTensor> =
                runner.run(&inputs.collect()).map_err(cannot)?.into_iter().collect();
            let of = |&id: &ValueId| Some((id, outputs.get(name(id)).or_else(|| fed.get(name(id)))?.clone()));
            Ok(asked.iter().filter_map(of).collect())
        };
        let visible = |id: ValueId| opened.visible.contains(name(id)) && !self.graph.turned.contains_key(name(id));
        first_wrong(model, &visible, &mut reference, self.settings.tolerance, AT_ONCE)
    }
}

#[cfg(test)]
mod tests;
