//! From a graph to a model.

use super::{
    BatchNorm, ChannelScale, Halves, Input, Model, ModelOptions, Parameter, in_file,
    program::{Program, Step},
    statistics,
};
use crate::{
    engine::{Context, Float, KernelChoice, Tensor, handing_back},
    error::{Error, Result},
    graph::{
        Graph, Node, ValueId, fold, fuse, halves, initial,
        loss::LossPlan,
        parameters::Decision,
        scale::{self, Scale},
    },
    kernels::Backend,
    ops::{self, Gradient, NodeContext, Spec},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::AtomicU64,
};

impl<E: Float, D: Backend<E>> Model<E, D> {
    /// A model whose parameters are those that `trainable` says, and whose loss is `plan`'s.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming every operator that is not supported, [`Error::Node`] for a node that breaks its
    /// operator's contract, [`Error::Untrainable`] if an operator without a gradient stands between a parameter and
    /// the scores, or no parameter reaches them.
    pub fn build(
        graph: &Graph,
        plan: &LossPlan,
        trainable: &[Decision],
        options: ModelOptions,
        dev: D,
    ) -> Result<Self> {
        let model = handing_back(|| Self::new(graph, Some(plan), trainable, options, (dev, None)))?;
        model.check_gradients()?;
        Ok(model)
    }

    /// [`build`](Model::build) on the device of this model, which was built from the same graph: what both hold and no
    /// step changes is there once.
    ///
    /// # Errors
    /// As [`Model::build`].
    pub fn another(
        &self,
        graph: &Graph,
        plan: &LossPlan,
        trainable: &[Decision],
        options: ModelOptions,
    ) -> Result<Self> {
        let beside = (self.dev.clone(), Some(self));
        let model = handing_back(|| Self::new(graph, Some(plan), trainable, options, beside))?;
        model.check_gradients()?;
        Ok(model)
    }

    /// A model without parameters or loss, for its outputs.
    ///
    /// # Errors
    /// As [`Model::build`].
    pub fn inference(graph: &Graph, options: ModelOptions, dev: D) -> Result<Self> {
        handing_back(|| Self::new(graph, None, &[], options, (dev, None)))
    }

    fn new(
        graph: &Graph,
        plan: Option<&LossPlan>,
        trainable: &[Decision],
        options: ModelOptions,
        (dev, beside): (D, Option<&Self>),
    ) -> Result<Self> {
        ops::support::require(graph, plan.map(|plan| plan.scores))?;
        let exact = (options.halves == Halves::Nowhere).then(|| halves::unrounded(graph));
        let graph = exact.as_ref().unwrap_or(graph);
        // What lies off the way to the scores may be anything; outputs that cannot be computed are left out.
        let outputs = ops::computable_outputs(graph);
        let pruned = plan.filter(|_| outputs.len() < graph.outputs.len()).map(|plan| {
            let mut pruned = graph.prune(&[outputs.as_slice(), &[plan.scores]].concat());
            pruned.outputs = outputs;
            pruned
        });
        let graph = pruned.as_ref().unwrap_or(graph);
        let cx: Context<E, D> = Context::inference(dev.clone(), options.kernels);
        let parameters = parameters(&cx, graph, trainable)?;
        let trained: BTreeSet<ValueId> = parameters.iter().map(|p| p.value).collect();
        let mut known = known(graph, &trained);
        let one_by_one = options.node_by_node || options.halves == Halves::Everywhere;
        let fused = (options.kernels == KernelChoice::Fast && !one_by_one).then(|| {
            let wanted: Vec<ValueId> = graph.outputs.iter().copied().chain(plan.map(|plan| plan.scores)).collect();
            fuse::fuse(graph, &known, &wanted, options.bn == BatchNorm::Frozen)
        });
        let graph = fused.as_ref().unwrap_or(graph);
        known.extend(
            graph
                .initializers
                .iter()
                .filter_map(|(id, held)| {
                    let new = !trained.contains(id) && !known.contains_key(id);
                    new.then(|| (*id, held.tensor.clone()))
                })
                .collect::<Vec<_>>(),
        );
        let nodes = || graph.nodes.iter().enumerate();
        let is_known = |id: ValueId| known.contains_key(&id) || trained.contains(&id);
        let outputs = Program::new(nodes(), graph.outputs.clone(), is_known);
        let scoring = plan.map(|plan| (plan.clone(), Program::new(nodes(), vec![plan.scores], is_known)));
        let own = plan.and_then(|plan| plan.loss_graph.as_ref()).filter(|own| !own.figures.is_empty());
        let figures = own.map(|own| {
            let values = plan.map(LossPlan::wanted).unwrap_or_default();
            (Program::new(nodes(), values, is_known), own.figure_names())
        });
        let programs = || {
            [Some(&outputs), scoring.as_ref().map(|(_, p)| p), figures.as_ref().map(|(p, _)| p)].into_iter().flatten()
        };
        for program in programs() {
            require_held(graph, program)?;
        }
        let computed = halves::computed(graph);
        let entries = ops::registry::<E, D>();
        let steps = graph
            .nodes
            .iter()
            .map(|node| {
                let (spec, operator) = ops::build(&entries, &NodeContext::new(node, graph, &known))?;
                Ok(Step { node: node.clone(), spec, operator })
            })
            .collect::<Result<Vec<_>>>()?;
        let needed = |id: &ValueId| programs().any(|p| p.needed.contains(id));
        let wanted = |id: &ValueId| programs().any(|p| p.wanted.contains(id));
        let (mut constants, mut in_file) = (BTreeMap::new(), BTreeMap::new());
        for (&id, tensor) in known.iter().filter(|(id, _)| needed(id)) {
            if tensor.is_in_file() && !wanted(&id) {
                in_file.insert(id, tensor.clone());
                if options.constants_in_file {
                    continue;
                }
            }
            let shared = beside.and_then(|model| model.shared(id, tensor));
            constants.insert(id, shared.map_or_else(|| in_file::value(&cx, tensor.get()), Ok)?);
        }
        let made = |(index, node): (usize, &Node)| {
            node.outputs.iter().flatten().map(move |&id| (id, index)).collect::<Vec<_>>()
        };
        let fed = graph.inputs.iter().filter(|id| !is_known(**id));
        Ok(Self {
            inputs: fed.map(|&id| input(graph, id)).collect(),
            output_names: graph.outputs.iter().map(|&id| name(graph, id)).collect(),
            values: graph.values.len(),
            running: statistics::running(graph),
            measured: Vec::new(),
            makers: nodes().flat_map(made).collect(),
            plan: scoring,
            figures,
            calls: AtomicU64::new(0),
            half: halves::coarsest(&computed),
            rounded: if options.halves == Halves::Everywhere { computed } else { BTreeMap::new() },
            fixed_rows: graph.fixed_rows(),
            rows_at_once: graph.fixed_rows(),
            dev,
            options,
            parameters,
            constants,
            in_file,
            steps,
            outputs,
        })
    }

    /// Follows the parameters to the scores: no operator on the way may lack a gradient.
    fn check_gradients(&self) -> Result<()> {
        let Some((plan, program)) = &self.plan else { return Ok(()) };
        if self.parameters.is_empty() {
            return Err(Error::Untrainable("the model has no trainable parameter".into()));
        }
        let mut tracked: BTreeSet<ValueId> = self.parameters.iter().map(|p| p.value).collect();
        let mut missing = Vec::new();
        for step in program.steps.iter().filter_map(|(index, _)| self.steps.get(*index)) {
            let reached: Vec<usize> = reached(&step.node, &tracked);
            missing.extend(reached.iter().find(|&&i| !step.spec.reaches(i)).map(|&i| (step, i)));
            if !reached.is_empty() && passes(&step.spec, &step.node) {
                tracked.extend(step.node.outputs.iter().flatten());
            }
        }
        match missing.as_slice() {
            [] if tracked.contains(&plan.scores) => Ok(()),
            [] => Err(Error::Untrainable("no trainable parameter has a gradient from the model's output".into())),
            [(step, i)] => Err(step.spec.without_gradient(&step.node, *i)),
            many => {
                let lines = many.iter().map(|(step, i)| format!("  {}", step.spec.without_gradient(&step.node, *i)));
                Err(Error::Untrainable(lines.collect::<Vec<_>>().join("\n")))
            }
        }
    }
}

/// Fails if a program needs a stored tensor that could not be decoded (strings, say).
fn require_held(graph: &Graph, program: &Program) -> Result<()> {
    let missing = program.needed.iter().filter_map(|id| graph.opaque.get(id).map(|kind| (name(graph, *id), kind)));
    let lines: Vec<String> = missing.map(|(name, kind)| format!("  tensor {name}: {kind}")).collect();
    if lines.is_empty() { Ok(()) } else { Err(Error::Unsupported(lines.join("\n"))) }
}

/// The inputs of a node that depend on a parameter.
fn reached(node: &Node, tracked: &BTreeSet<ValueId>) -> Vec<usize> {
    let on = |(i, id): (usize, &Option<ValueId>)| id.is_some_and(|id| tracked.contains(&id)).then_some(i);
    node.inputs.iter().enumerate().filter_map(on).collect()
}

/// Whether a node's outputs vary with its inputs.
fn passes(spec: &Spec, node: &Node) -> bool {
    spec.gradient != Gradient::Flat && !ops::leaves_floats(node)
}

/// The values that are known now: stored tensors and what is folded from them, but nothing that a parameter changes.
fn known(graph: &Graph, trained: &BTreeSet<ValueId>) -> fold::Known {
    let mut varies = trained.clone();
    for node in &graph.nodes {
        if node.inputs.iter().flatten().any(|id| varies.contains(id)) {
            varies.extend(node.outputs.iter().flatten());
        }
    }
    fold::constants(graph).into_iter().filter(|(id, _)| !varies.contains(id)).collect()
}

fn name(graph: &Graph, id: ValueId) -> String {
    graph.values.get(id.0).map(|v| v.name.clone()).unwrap_or_default()
}

fn input(graph: &Graph, id: ValueId) -> Input {
    let ty = graph.values.get(id.0).and_then(|v| v.ty.as_ref());
    Input { id, name: name(graph, id), dtype: ty.and_then(|t| t.dtype), dims: ty.and_then(|t| t.dims.clone()) }
}

fn parameters<E: Float, D: Backend<E>>(
    cx: &Context<E, D>,
    graph: &Graph,
    trainable: &[Decision],
) -> Result<Vec<Parameter<E, D>>> {
    let mut parameters = Vec::new();
    let links = graph.links();
    for decision in trainable.iter().filter(|d| d.trainable) {
        let held = graph.initializers.get(&decision.value).filter(|held| held.tensor.dtype().is_float());
        let held = held.ok_or_else(|| Error::Internal(format!("{} is no float initializer", decision.name)))?;
        let constant = cx.upload_held(held.tensor.get())?;
        parameters.push(Parameter {
            name: held.stored_as.clone().unwrap_or_else(|| decision.name.clone()),
            dtype: held.tensor.dtype(),
            tensor: Tensor::new(constant.flat().clone(), constant.dims().to_vec(), true),
            scale: None,
            initial: initial::initial(graph, &links, decision.value),
            value: decision.value,
        });
    }
    let places: BTreeMap<ValueId, usize> = parameters.iter().enumerate().map(|(i, p)| (p.value, i)).collect();
    for (value, Scale { axis, of, of_axis }) in scale::scales(graph) {
        // What is beside a frozen weight has no scale that is known here.
        if let (Some(&own), Some(&of)) = (places.get(&value), places.get(&of))
            && let Some(parameter) = parameters.get_mut(own)
        {
            parameter.scale = Some(ChannelScale { axis, of, of_axis });
        }
    }
    Ok(parameters)
}
