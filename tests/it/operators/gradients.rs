//! Every differentiable operator's gradient against central differences, in f64, on the stored cases: float inputs become
//! parameters, and the loss is the squared distance of the output from random targets, so no upstream gradient is constant.

use super::stored;
use crate::cases::{Case, graph_of};
use dfdx::prelude::Cpu;
use onnx_forget::{
    data::{Batch, Targets},
    engine::KernelChoice,
    graph::{
        Graph, Initializer, Node, ValueId, ValueInfo,
        trainable::Decision,
        training::{LossKind, LossPlan},
    },
    model::{Model, ModelOptions},
    ops::{self, Gradient},
    tensor::HostTensor,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

/// Step of the central differences.
const STEP: f64 = 1e-6;
/// How far a directional derivative may be from them: their error in f64 is about 1e-9 of the loss's scale.
const TOLERANCE: f64 = 1e-6;

/// Cases where differences mean nothing: a cast to half precision moves in steps, and its gradient is by rule that of the
/// identity; a negative base has no power of an exponent beside an integer; crossed bounds make a constant; a vector of norm
/// 0 has every direction beside it.
const NO_DIFFERENCES: &[&str] = &[
    "Cast_f32_bf16_f32",
    "Cast_f32_f16",
    "CastLike_f32_f16",
    "Clip_crossed",
    "LpNormalization_zeros",
    "Pow_square",
    "Pow_square_fed",
];

/// The operator, and the case without the version.
fn family(case: &Case) -> (String, String) {
    let mut parts = case.name.splitn(3, '_');
    let op = parts.next().unwrap_or_default().to_string();
    let _version = parts.next();
    let label = parts.next().unwrap_or_default();
    (op.clone(), format!("{op}_{label}"))
}

/// Which of the float inputs a gradient flows into, for the single node of `graph`.
fn differentiable(graph: &Graph) -> Vec<ValueId> {
    let node = &graph.nodes[0];
    let spec = *ops::specs().iter().find(|s| s.takes(node)).unwrap();
    let flows = |i: usize| match spec.gradient {
        Gradient::All => true,
        Gradient::Only(inputs) => inputs.contains(&i),
        Gradient::Flat | Gradient::None => false,
    };
    node.inputs.iter().enumerate().filter(|&(i, _)| flows(i)).filter_map(|(_, id)| *id).collect()
}

fn value(graph: &mut Graph, name: &str) -> ValueId {
    graph.values.push(ValueInfo { name: name.into(), ..ValueInfo::default() });
    ValueId(graph.values.len() - 1)
}

/// Makes the float inputs initializers and flattens output `o0` to one row; `None` if nothing is differentiable.
pub fn trainable(case: &Case, folder: &Path) -> Option<(Graph, Vec<Decision>, LossPlan)> {
    let mut graph = graph_of(case, folder).unwrap();
    let output = case.outputs.get("o0").filter(|o| o.dtype().is_float() && !o.is_empty())?;
    if graph.nodes.is_empty() || output.to_f64().iter().any(|x| !x.is_finite()) {
        return None;
    }
    let wanted = differentiable(&graph);
    for (name, tensor) in &case.inputs {
        let id = graph.by_name[name];
        if tensor.dtype().is_float() {
            graph.initializers.insert(id, Initializer { tensor: Arc::new(tensor.clone()), stored_as: None });
            graph.inputs.retain(|&i| i != id);
        }
    }
    let decisions: Vec<Decision> = graph
        .initializers
        .iter()
        .filter(|(id, held)| wanted.contains(id) && held.tensor.dtype().is_float())
        .map(|(&id, held)| Decision {
            value: id,
            name: graph.values[id.0].name.clone(),
            dims: held.tensor.dims().to_vec(),
            dtype: held.tensor.dtype(),
            trainable: true,
            reason: String::new(),
            source: "test",
            uses: 1,
            on_path: true,
        })
        .collect();
    if decisions.is_empty() {
        return None;
    }
    let (shape, row) = (value(&mut graph, "row shape"), value(&mut graph, "row"));
    let dims = HostTensor::vector(vec![1i64, -1]);
    graph.initializers.insert(shape, Initializer { tensor: Arc::new(dims), stored_as: None });
    graph.nodes.push(Node {
        name: "flatten".into(),
        domain: String::new(),
        op_type: "Reshape".into(),
        opset: 13,
        inputs: vec![Some(graph.by_name["o0"]), Some(shape)],
        outputs: vec![Some(row)],
        attrs: BTreeMap::new(),
    });
    let plan = LossPlan {
        kind: LossKind::Mse,
        scores: row,
        output: None,
        scores_are_log_probs: false,
        label_input: None,
        ignore_index: None,
        class_weights: None,
        seen_through: Vec::new(),
        why: String::new(),
    };
    Some((graph, decisions, plan))
}

fn check(case: &Case, kernels: KernelChoice, folder: &Path) -> Result<bool, String> {
    let Some((graph, decisions, plan)) = trainable(case, folder) else { return Ok(false) };
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let width = case.outputs["o0"].len();
    let values = (0..width).map(|_| rng.random_range(-1.0..1.0)).collect();
    let batch = Batch { inputs: case.inputs.clone(), targets: Targets::Values { width, values } };
    let options = ModelOptions { kernels, ..ModelOptions::default() };
    let mut model =
        Model::<f64, Cpu>::build(&graph, &plan, &decisions, options, Cpu::default()).map_err(|e| e.to_string())?;
    let (_, gradients) = model.gradient_wrt_parameters(&batch).map_err(|e| e.to_string())?;
    for (i, gradient) in gradients.iter().enumerate() {
        let start = model.parameters()[i].tensor.to_vec();
        if start.is_empty() {
            continue;
        }
        let direction: Vec<f64> = start.iter().map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut loss_at = |t: f64| {
            let moved: Vec<f64> = start.iter().zip(&direction).map(|(x, d)| x + t * d).collect();
            model.parameters_mut()[i].tensor.flat_mut().copy_from(&moved);
            model.forward(&batch, None).map(|f| f.mean).map_err(|e| e.to_string())
        };
        let numeric = (loss_at(STEP)? - loss_at(-STEP)?) / (2.0 * STEP);
        loss_at(0.0)?;
        let analytic: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
        let scale = 1.0 + numeric.abs() + loss_at(0.0)?.abs();
        // `!(≤)`: a NaN fails.
        if !((numeric - analytic).abs() <= TOLERANCE * scale) {
            return Err(format!("input {}: gradient {analytic}, differences {numeric}", decisions[i].name));
        }
    }
    Ok(true)
}

#[test]
fn gradients_agree_with_central_differences() {
    let folder = tempfile::tempdir().unwrap();
    // The newest version of each: versions differ in how a node is written, not in what is computed.
    let newest: BTreeMap<(String, String), Case> = stored().into_iter().map(|case| (family(&case), case)).collect();
    let (mut failures, mut checked) = (Vec::new(), BTreeSet::new());
    for ((op, label), case) in newest.iter().filter(|((_, label), _)| !NO_DIFFERENCES.contains(&label.as_str())) {
        match check(case, KernelChoice::Definition, folder.path()) {
            Ok(true) => {
                checked.insert(op.clone());
            }
            Ok(false) => {}
            Err(problem) => failures.push(format!("{label} ({}): {problem}", case.name)),
        }
    }
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
    let unchecked: Vec<&str> = ops::specs()
        .iter()
        .filter(|s| matches!(s.gradient, Gradient::All | Gradient::Only(_)) && !checked.contains(s.name))
        .map(|s| s.name)
        .collect();
    assert_eq!(unchecked, ["Constant", "OneHot"], "differentiable operators without a check");
}
