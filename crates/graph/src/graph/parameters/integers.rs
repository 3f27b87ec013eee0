//! Weights that are stored as integers, which no step can change.

use crate::{
    graph::{Graph, ValueId, loss::LossPlan},
    tensor::DType,
};
use std::collections::{BTreeMap, BTreeSet};

/// Integers fewer than this are shapes, indices, zero points.
const FEWEST: usize = 16;

/// What to say if weights that the scores depend on are stored as integers, behind DequantizeLinear or behind Cast and a
/// scale.
pub fn stored_as_integers(graph: &Graph, plan: &LossPlan) -> Option<String> {
    let used = graph.ancestors(&[plan.scores]);
    let nodes: Vec<_> = used.iter().filter_map(|&n| graph.nodes.get(n)).collect();
    let narrow = |dtype: DType| matches!(dtype, DType::I8 | DType::U8 | DType::I16 | DType::U16);
    let mut decoders: BTreeMap<ValueId, BTreeSet<&str>> = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.is("DequantizeLinear") || node.is("Cast")) {
        if let Some(value) = node.input(0) {
            decoders.entry(value).or_default().insert(node.op_type.as_str());
        }
    }
    let (mut integers, mut floats, mut behind) = (0usize, 0usize, BTreeSet::new());
    let mut counted: BTreeSet<ValueId> = BTreeSet::new();
    for (value, stored) in nodes
        .iter()
        .flat_map(|node| node.inputs.iter().flatten())
        .filter_map(|v| Some((*v, graph.initializers.get(v)?)).filter(|(v, _)| !graph.fixed.contains(v)))
    {
        if !counted.insert(value) {
            continue;
        }
        let bytes = stored.tensor.len() * stored.tensor.dtype().size();
        if stored.tensor.dtype().is_float() {
            floats += bytes;
        } else if narrow(stored.tensor.dtype())
            && stored.tensor.len() >= FEWEST
            && let Some(made) = decoders.get(&value)
        {
            integers += bytes;
            behind.extend(made.iter().copied());
        }
    }
    (integers > 0).then(|| {
        let share = 100.0 * integers as f64 / (integers + floats) as f64;
        let behind: Vec<&str> = behind.into_iter().collect();
        format!(
            "{share:.0} % of the weight bytes are stored as integers behind {}, and no step changes them: give the float \
             model, and quantize its result again",
            behind.join(", ")
        )
    })
}
