//! Where a parameter starts that is trained from the beginning, told by what it is for.
//!
//! The node that takes the tensor tells its role, seen through Identity, Cast, Transpose, Split, Slice and changes of shape. The rules are
//! PyTorch's for a module of that kind: weights of linear layers and convolutions uniform within ±1/√fan-in (Kaiming's rule
//! with a = √5, arXiv 1502.01852), their biases within the same bound, recurrent layers within ±1/√hidden, tables that are looked
//! up N(0, 1), scales of normalizations 1 and their biases 0, slopes of PRelu 1/4. What is added to or put into data as a whole, as
//! learned positions are, is N(0, 0.02²), as transformers have it.

use super::{
    Graph, Links, Node, ValueId,
    facts::{self, Layout, Passes, Slot},
};
use std::collections::BTreeSet;

/// Operators between a tensor and the node that takes it, at most.
const MOST_STEPS: usize = 32;

/// Deviation of learned positions and tokens.
const SMALL: f64 = 0.02;

/// A distribution to draw a parameter's elements from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// Uniform within ±bound.
    Uniform(f64),
    /// Normal with mean 0 and this deviation.
    Normal(f64),
    /// All the same.
    Constant(f64),
    /// Nothing tells.
    Unknown,
}

impl std::fmt::Display for Initial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uniform(bound) => write!(f, "uniform within ±{bound:.4}"),
            Self::Normal(deviation) => write!(f, "normal with deviation {deviation}"),
            Self::Constant(value) => write!(f, "{value}"),
            Self::Unknown => f.write_str("not known"),
        }
    }
}

/// Where `value`, a stored tensor, starts: by the first node that tells.
pub fn initial(graph: &Graph, links: &Links, value: ValueId) -> Initial {
    let Some(stored) = graph.initializers.get(&value) else { return Initial::Unknown };
    let mut seen = BTreeSet::from([value]);
    let mut waiting = vec![(value, stored.tensor.dims().to_vec())];
    while let Some((at, dims)) = waiting.pop() {
        for &(n, slot) in links.users(at) {
            let Some(node) = graph.nodes.get(n) else { continue };
            if let Some(found) = role(graph, links, node, slot, &dims) {
                return found;
            }
            if slot == 0 && facts::passes(node).shows() {
                let outputs = node.outputs.iter().flatten().filter(|output| seen.insert(**output));
                waiting.extend(outputs.map(|output| (*output, passed(node, &dims))));
            }
        }
    }
    Initial::Unknown
}

/// The extents behind a node that passes on.
fn passed(node: &Node, dims: &[usize]) -> Vec<usize> {
    if facts::passes(node) != Passes::Order {
        return dims.to_vec();
    }
    match node.opt_ints("perm") {
        Ok(Some(perm)) => perm.iter().filter_map(|&axis| dims.get(usize::try_from(axis).ok()?)).copied().collect(),
        _ => dims.iter().rev().copied().collect(),
    }
}

fn passes(node: &&Node) -> bool {
    facts::passes(node).shows()
}

fn flag(node: &Node, name: &str) -> bool {
    node.flag(name, false).unwrap_or(false)
}

/// ±1/√fan-in.
fn uniform(fan_in: usize) -> Initial {
    Initial::Uniform(1.0 / (fan_in.max(1) as f64).sqrt())
}

fn role(graph: &Graph, links: &Links, node: &Node, slot: usize, dims: &[usize]) -> Option<Initial> {
    use Initial::{Constant, Normal};
    match facts::slot(node, slot) {
        Slot::Weight(layout) => return Some(uniform(fan_in(node, layout, dims))),
        Slot::Bias => return Some(linear_bound(graph, links, node).unwrap_or(Constant(0.0))),
        Slot::Recurrent(_) => {
            return Some(uniform(usize::try_from(node.int("hidden_size", None).ok()?).unwrap_or(1)));
        }
        Slot::Scale => return Some(Constant(1.0)),
        Slot::Slope => return Some(Constant(0.25)),
        Slot::Table => return Some(Normal(1.0)),
        Slot::Data | Slot::Control | Slot::Bound | Slot::Open | Slot::Scores | Slot::Mean | Slot::Variance => {}
    }
    match (node.op_type.as_str(), slot) {
        _ if !node.domain.is_empty() => None,
        ("Mul", _) | ("Div", 1) => Some(Constant(1.0)),
        ("Add" | "Sub" | "Sum", _) => {
            let others = node.inputs.iter().enumerate().filter(|(other, _)| *other != slot);
            let made_by = |value: ValueId| graph.nodes.get(links.producer(source(graph, links, value))?.0);
            let bound = others.filter_map(|(_, value)| linear_bound(graph, links, made_by((*value)?)?)).next();
            let wide = dims.iter().filter(|&&extent| extent > 1).count() > 1;
            Some(bound.unwrap_or(if wide { Normal(SMALL) } else { Constant(0.0) }))
        }
        ("Concat" | "Where" | "Expand", _) => Some(Normal(SMALL)),
        _ => None,
    }
}

/// What `value` is a copy or another shape of, [`MOST_STEPS`] back at most.
fn source(graph: &Graph, links: &Links, mut value: ValueId) -> ValueId {
    for _ in 0..MOST_STEPS {
        let made_by = links.producer(value).and_then(|(n, _)| graph.nodes.get(n)).filter(passes);
        match made_by.and_then(|node| node.input(0)) {
            Some(from) => value = from,
            None => break,
        }
    }
    value
}

/// How many inputs each output of the layer sums over, for a weight of these extents.
fn fan_in(node: &Node, layout: Layout, dims: &[usize]) -> usize {
    let from_end = |n: usize| dims.len().checked_sub(n).and_then(|axis| dims.get(axis)).copied();
    let (first, second) = (from_end(2).or(from_end(1)), from_end(1));
    match layout {
        Layout::Convolution | Layout::Transposed => dims.iter().skip(1).product(),
        Layout::Left => if flag(node, "transA") { first } else { second }.unwrap_or(1),
        Layout::Right => if flag(node, "transB") { second } else { first }.unwrap_or(1),
        Layout::Factor => dims.iter().rev().skip(1).product(),
    }
}

/// The bound of the weights of a linear layer or convolution, which its bias shares.
fn linear_bound(graph: &Graph, links: &Links, node: &Node) -> Option<Initial> {
    (0..node.inputs.len()).rev().find_map(|slot| {
        let Slot::Weight(layout) = facts::slot(node, slot) else { return None };
        let value = node.input(slot)?;
        let stored = graph.initializers.get(&source(graph, links, value))?;
        // In order from the tensor to the node.
        let (mut on_the_way, mut at) = (Vec::new(), value);
        while let Some(passing) = links.producer(at).and_then(|(n, _)| graph.nodes.get(n)).filter(passes) {
            on_the_way.push(passing);
            at = passing.input(0)?;
        }
        let dims = on_the_way.into_iter().rev().fold(stored.tensor.dims().to_vec(), |dims, node| passed(node, &dims));
        Some(uniform(fan_in(node, layout, &dims)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::{Model, int, ints};

    fn of(model: &Model, name: &str) -> Initial {
        let graph = model.build().unwrap();
        let links = graph.links();
        initial(&graph, &links, graph.by_name[name])
    }

    #[test]
    fn weights_and_their_biases_share_a_bound() {
        let model = Model::new(17, &["x:f32[n,3,8,8]"], &["y:f32[n,8,8,8]"])
            .weight("w", &[8, 3, 4, 4])
            .weight("b", &[8])
            .node("Conv", "x w b", "y", &[]);
        let bound = Initial::Uniform(1.0 / 48f64.sqrt());
        assert_eq!((of(&model, "w"), of(&model, "b")), (bound, bound));
        let model = Model::new(17, &["x:f32[n,16]"], &["y:f32[n,4]"]).weight("w", &[4, 16]).weight("b", &[4]).node(
            "Gemm",
            "x w b",
            "y",
            &[int("transB", 1)],
        );
        assert_eq!((of(&model, "w"), of(&model, "b")), (Initial::Uniform(0.25), Initial::Uniform(0.25)));
    }

    #[test]
    fn roles_are_seen_through_transposes() {
        let model = Model::new(17, &["x:f32[n,16]"], &["z:f32[n,4]"])
            .weight("w", &[4, 16])
            .weight("b", &[4])
            .node("Transpose", "w", "t", &[ints("perm", &[1, 0])])
            .node("MatMul", "x t", "y", &[])
            .node("Add", "b y", "z", &[]);
        assert_eq!((of(&model, "w"), of(&model, "b")), (Initial::Uniform(0.25), Initial::Uniform(0.25)));
    }

    #[test]
    fn normalizations_and_tables_start_where_pytorch_has_them() {
        let model = Model::new(17, &["i:i64[n,5]"], &["y:f32[n,5,6]"])
            .weight("table", &[9, 6])
            .weight("places", &[1, 5, 6])
            .weight("s", &[6])
            .weight("b", &[6])
            .node("Gather", "table i", "e", &[])
            .node("Add", "e places", "p", &[])
            .node("LayerNormalization", "p s b", "y", &[]);
        assert_eq!(of(&model, "table"), Initial::Normal(1.0));
        assert_eq!(of(&model, "places"), Initial::Normal(SMALL));
        assert_eq!((of(&model, "s"), of(&model, "b")), (Initial::Constant(1.0), Initial::Constant(0.0)));
        let odd = Model::new(17, &["x:f32[n,6]"], &["y:f32[n,6]"]).weight("w", &[6]).node("Pow", "x w", "y", &[]);
        assert_eq!(of(&odd, "w"), Initial::Unknown);
    }
}
