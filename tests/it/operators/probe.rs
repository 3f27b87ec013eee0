//! A case's node under the loss Σ uᵢ·yᵢ over its float outputs: its gradient is what the upstream gradient `u` leaves with
//! the inputs, whatever the outputs are.

use crate::cases::{Case, graph_of};
use dfdx::prelude::Cpu;
use onnx_forget::{
    Result,
    data::{Batch, Targets},
    engine::{Float, KernelChoice},
    graph::{
        Attr, Graph, Initializer, Node, ValueId, ValueInfo,
        loss::{LossKind, LossPlan, has_training_mode},
        parameters::Decision,
    },
    kernels::Backend,
    model::{BatchNorm, Model, ModelOptions},
    ops::{self, Spec},
    tensor::HostTensor,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// What is known of the operator of a case, which is its one node.
pub fn spec_of(case: &Case, folder: &Path) -> Option<Spec> {
    let graph = graph_of(case, folder).unwrap();
    let [node] = graph.nodes.as_slice() else { return None };
    ops::specs().into_iter().find(|s| s.takes(node))
}

/// Random numbers for every float output that a gradient comes out of, which BatchNormalization's statistics are not.
pub fn random_upstream(case: &Case) -> BTreeMap<String, HostTensor> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut drawn = |y: &HostTensor| {
        let values = (0..y.len()).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f64>>();
        HostTensor::new(y.dims(), values).unwrap()
    };
    let statistics = |name: &str| case.name.starts_with("BatchNormalization") && name != "o0";
    let floats = case.outputs.iter().filter(|(name, y)| y.dtype().is_float() && !statistics(name));
    floats.map(|(name, y)| (name.clone(), drawn(y))).collect()
}

/// A graph that ends in the loss, and its parameters: the float inputs that a gradient may flow into.
pub struct Probe {
    graph: Graph,
    plan: LossPlan,
    decisions: Vec<Decision>,
    batch: Batch,
    options: ModelOptions,
}

/// The weight of a term that keeps the loss differentiable where nothing else is.
const ANCHOR: &str = "anchor";

impl Probe {
    /// `None` if no gradient can flow into an input, or nothing comes in.
    pub fn new(case: &Case, upstream: &BTreeMap<String, HostTensor>, folder: &Path) -> Option<Self> {
        let spec = spec_of(case, folder)?;
        let mut graph = graph_of(case, folder).unwrap();
        let node = graph.nodes[0].clone();
        let bn = if has_training_mode(&graph) { BatchNorm::Batch } else { BatchNorm::Frozen };
        let reached = node.inputs.iter().enumerate().filter(|&(i, _)| spec.reaches(i));
        let wanted: BTreeSet<ValueId> = reached.filter_map(|(_, id)| *id).collect();
        for (name, tensor) in case.inputs.iter().filter(|(_, t)| t.dtype().is_float()) {
            let id = graph.by_name[name];
            graph.initializers.insert(id, Initializer { tensor: tensor.clone().into(), stored_as: None });
            graph.inputs.retain(|&i| i != id);
        }
        // The rows of the loss are not those of the inputs.
        for info in &mut graph.values {
            info.ty.iter_mut().for_each(|ty| ty.dims = None);
        }
        let floats =
            graph.initializers.iter().filter(|(id, held)| wanted.contains(id) && held.tensor.dtype().is_float());
        // Where gradients are stored, what has none is a constant.
        let asked = |id: &ValueId| case.gradients.is_empty() || case.gradients.contains_key(&graph.values[id.0].name);
        let parameters: Vec<ValueId> = floats.map(|(id, _)| *id).filter(asked).collect();
        if parameters.is_empty() || upstream.is_empty() {
            return None;
        }
        let (scores, anchor) = loss(&mut graph, upstream);
        let decisions = parameters.into_iter().chain([anchor]).map(|id| decision(&graph, id)).collect();
        let plan = LossPlan { scores_are_log_probs: true, ..LossPlan::new(LossKind::CrossEntropy, scores) };
        let batch = Batch { inputs: case.inputs.clone(), targets: Targets::Classes(vec![0]) };
        let options = ModelOptions { bn, ..ModelOptions::default() };
        Some(Self { graph, plan, decisions, batch, options })
    }

    /// The model, on `kernels`.
    pub fn model<E: Float>(&self, kernels: KernelChoice) -> Result<Model<E, Cpu>>
    where
        Cpu: Backend<E>,
    {
        let options = ModelOptions { kernels, ..self.options };
        Model::build(&self.graph, &self.plan, &self.decisions, options, Cpu::default())
    }

    /// Σ uᵢ·yᵢ as the model's parameters are.
    pub fn loss<E: Float>(&self, model: &Model<E, Cpu>) -> Result<f64>
    where
        Cpu: Backend<E>,
    {
        model.forward(&self.batch, None).map(|f| f.losses.mean())
    }

    /// The gradient of each input, by name.
    pub fn gradients<E: Float>(&self, model: &Model<E, Cpu>) -> Result<BTreeMap<String, HostTensor>>
    where
        Cpu: Backend<E>,
    {
        let (_, gradients) = model.gradient_wrt_parameters(&self.batch)?;
        let named = self.decisions.iter().zip(gradients).filter(|(d, _)| d.name != ANCHOR);
        Ok(named.map(|(d, g)| (d.name.clone(), HostTensor::new(&d.dims, g).unwrap())).collect())
    }
}

fn decision(graph: &Graph, value: ValueId) -> Decision {
    let tensor = &graph.initializers[&value].tensor;
    Decision {
        value,
        name: graph.values[value.0].name.clone(),
        dims: tensor.dims().to_vec(),
        dtype: tensor.dtype(),
        trainable: true,
        reason: String::new(),
        source: "test",
        uses: 1,
        on_path: true,
    }
}

fn value(graph: &mut Graph, name: &str) -> ValueId {
    graph.values.push(ValueInfo { name: name.into(), ..ValueInfo::default() });
    ValueId(graph.values.len() - 1)
}

fn held(graph: &mut Graph, name: &str, tensor: HostTensor) -> ValueId {
    let id = value(graph, name);
    graph.initializers.insert(id, Initializer { tensor: tensor.into(), stored_as: None });
    id
}

fn push(graph: &mut Graph, op: &str, inputs: &[ValueId], attrs: &[(&str, i64)]) -> ValueId {
    let output = value(graph, op);
    graph.nodes.push(Node {
        name: op.into(),
        domain: String::new(),
        op_type: op.into(),
        opset: 14,
        inputs: inputs.iter().map(|&id| Some(id)).collect(),
        outputs: vec![Some(output)],
        attrs: attrs.iter().map(|&(name, x)| (name.into(), Attr::Int(x))).collect(),
    });
    output
}

/// Appends −Σ uᵢ·yᵢ + anchor, (1, 1), of which the loss is the negative.
fn loss(graph: &mut Graph, upstream: &BTreeMap<String, HostTensor>) -> (ValueId, ValueId) {
    let (mut rows, mut weights) = (Vec::new(), Vec::new());
    for (name, u) in upstream {
        let dims = held(graph, "row shape", HostTensor::vector(vec![1i64, u.len() as i64]));
        let output = graph.by_name[name];
        rows.push(push(graph, "Reshape", &[output, dims], &[("allowzero", 1)]));
        weights.extend(u.to_f64().iter().map(|u| -u));
    }
    let row = push(graph, "Concat", &rows, &[("axis", 1)]);
    let weights = held(graph, "weights", HostTensor::new(&[weights.len(), 1], weights).unwrap());
    let product = push(graph, "MatMul", &[row, weights], &[]);
    let anchor = held(graph, ANCHOR, HostTensor::new(&[1, 1], vec![0f32]).unwrap());
    (push(graph, "Add", &[product, anchor], &[]), anchor)
}
