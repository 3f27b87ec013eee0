//! Stochastic depth and dropout that an export in training mode wrote out: a mask of random zeros and ones that data is
//! multiplied by, divided by the probability of a one. Its expectation, which inference computes, is the identity.
//!
//! Recognized are masks of Bernoulli, of a comparison of uniform numbers, and of `floor(p + uniform)`; anything else stays,
//! and is refused as random.

use super::{Attr, Graph, Links, Node, ValueId, fold::Known, given};
use crate::tensor::{DType, HostTensor};
use std::collections::BTreeMap;

/// How far a mask is followed.
const MOST_STEPS: usize = 32;

/// What is known of a random value.
#[derive(Clone, Copy)]
enum Random {
    /// Uniform between two bounds.
    Uniform(f64, f64),
    /// `factor` with this probability, else 0.
    Mask { probability: f64, factor: f64 },
}

/// Puts the expectation in place of every recognized mask.
pub(super) fn at_expectation(graph: &mut Graph) {
    if !graph.nodes.iter().any(draws) {
        return;
    }
    let links = graph.links();
    let known = super::fold::constants(graph);
    let mut found: BTreeMap<ValueId, f64> = BTreeMap::new();
    for node in graph.nodes.iter().filter(|node| draws(node)) {
        let search = Search { graph, links: &links, known: &known };
        let masks = search.start(node).and_then(|random| {
            let mut masks = Vec::new();
            search.follow(node.output(0)?, random, MOST_STEPS, &mut masks).then_some(masks)
        });
        found.extend(masks.unwrap_or_default());
    }
    if found.is_empty() {
        return;
    }
    for (value, expectation) in found {
        for output in graph.nodes.iter_mut().flat_map(|node| &mut node.outputs) {
            if *output == Some(value) {
                *output = None;
            }
        }
        let dtype = graph.declared_dtype(value).filter(|dtype| dtype.is_float()).unwrap_or(DType::F32);
        if let Some(tensor) = super::fold::cast(&HostTensor::scalar(expectation), dtype) {
            given::store(graph, value, tensor);
        }
    }
    let used = graph.ancestors(&graph.outputs);
    let mut n = 0;
    graph.nodes.retain(|_| {
        n += 1;
        used.contains(&(n - 1))
    });
}

fn draws(node: &Node) -> bool {
    ["Bernoulli", "RandomUniform", "RandomUniformLike"].iter().any(|op| node.is(op))
}

struct Search<'a> {
    graph: &'a Graph,
    links: &'a Links,
    known: &'a Known,
}

impl Search<'_> {
    fn node(&self, value: ValueId) -> Option<&Node> {
        self.graph.nodes.get(self.links.producer(value)?.0)
    }

    /// The one number that a tensor, stored or filled, is made of.
    fn number(&self, value: ValueId) -> Option<f64> {
        if let Some(tensor) = self.known.get(&value) {
            return tensor.number();
        }
        let node = self.node(value)?;
        match node.op_type.as_str() {
            "ConstantOfShape" => {
                node.attrs.get("value").and_then(Attr::tensor).map_or(Some(0.0), |tensor| tensor.number())
            }
            "Expand" | "Cast" | "Identity" => self.known.get(&node.input(0)?)?.number(),
            _ => None,
        }
    }

    fn start(&self, node: &Node) -> Option<Random> {
        if node.is("Bernoulli") {
            let probability = self.number(node.input(0)?)?;
            return Some(Random::Mask { probability, factor: 1.0 });
        }
        let bound = |name: &str, default: f64| match node.attrs.get(name) {
            Some(Attr::Float(x)) => f64::from(*x),
            _ => default,
        };
        Some(Random::Uniform(bound("low", 0.0), bound("high", 1.0)))
    }

    /// Follows a random value to the products that take it; whether all its uses are such.
    fn follow(&self, value: ValueId, random: Random, steps: usize, masks: &mut Vec<(ValueId, f64)>) -> bool {
        if steps == 0 || self.graph.outputs.contains(&value) {
            return false;
        }
        let users = self.links.users(value);
        !users.is_empty()
            && users.iter().all(|&(n, slot)| {
                let Some(node) = self.graph.nodes.get(n) else { return false };
                self.used(value, random, node, slot, steps, masks).unwrap_or(false)
            })
    }

    /// What one node makes of a random value.
    fn used(
        &self,
        value: ValueId,
        random: Random,
        node: &Node,
        slot: usize,
        steps: usize,
        masks: &mut Vec<(ValueId, f64)>,
    ) -> Option<bool> {
        let mask = |probability: f64| Random::Mask { probability: probability.clamp(0.0, 1.0), factor: 1.0 };
        let other = || node.input(1usize.checked_sub(slot)?);
        let next = match (random, node.op_type.as_str()) {
            _ if !node.domain.is_empty() => return None,
            (_, "Cast" | "Identity" | "Reshape" | "Unsqueeze" | "Squeeze" | "Expand") if slot == 0 => random,
            (Random::Uniform(low, high), "Add") => {
                let shift = self.number(other()?)?;
                Random::Uniform(low + shift, high + shift)
            }
            (Random::Uniform(low, high), "Floor") if (0.0..=1.0).contains(&low) && (high - low - 1.0).abs() < 1e-6 => {
                mask(high - 1.0)
            }
            (Random::Uniform(low, high), "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual") => {
                let below = (self.number(other()?)? - low) / (high - low);
                let is_below = node.op_type.starts_with("Less") == (slot == 0);
                mask(if is_below { below } else { 1.0 - below })
            }
            (Random::Mask { probability, factor }, "Div") if slot == 0 => {
                Random::Mask { probability, factor: factor / self.number(node.input(1)?)? }
            }
            (Random::Mask { probability, factor }, "Mul") => match self.number(other()?) {
                Some(number) => Random::Mask { probability, factor: factor * number },
                None => {
                    let expectation = probability * factor;
                    let whole = self.undoes(node, other()?, expectation)?;
                    masks.push((value, expectation));
                    return Some(whole);
                }
            },
            _ => return None,
        };
        Some(self.follow(node.output(0)?, next, steps - 1, masks))
    }

    /// Whether the product of `data` with a mask of this expectation is the identity: the mask was divided by its
    /// probability, or the data is, before or after.
    fn undoes(&self, product: &Node, data: ValueId, expectation: f64) -> Option<bool> {
        let is_one = |x: f64| (x - 1.0).abs() < 1e-4;
        if is_one(expectation) {
            return Some(true);
        }
        let divided = |node: &Node| node.is("Div").then(|| self.number(node.input(1)?))?;
        let before = self.node(data).and_then(divided);
        let after = match self.links.users(product.output(0)?) {
            [(n, 0)] => self.graph.nodes.get(*n).and_then(divided),
            _ => None,
        };
        Some(before.or(after).is_some_and(|divisor| is_one(expectation / divisor)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::{Model, int};

    fn ops(model: Model) -> Vec<String> {
        model.build().unwrap().nodes.into_iter().map(|node| node.op_type).collect()
    }

    fn model() -> Model {
        Model::new(17, &["x:f32[n,4]"], &["y:f32[n,4]"])
            .node("Relu", "x", "h", &[])
            .floats("keep", &[], vec![0.8])
            .floats("keeps", &[1, 1], vec![0.8])
    }

    #[test]
    fn masks_that_are_divided_by_their_probability_are_the_identity() {
        let bernoulli = model()
            .node("Expand", "keeps shape", "p", &[])
            .node("Bernoulli", "p", "b", &[])
            .node("Div", "b keep", "m", &[])
            .node("Mul", "h m", "y", &[])
            .longs("shape", &[2, 1]);
        assert_eq!(ops(bernoulli), ["Relu", "Mul"]);
        let floor = model()
            .node("RandomUniformLike", "h", "u", &[int("dtype", 1)])
            .node("Add", "u keep", "v", &[])
            .node("Floor", "v", "m", &[])
            .node("Div", "h keep", "d", &[])
            .node("Mul", "d m", "y", &[]);
        let graph = floor.build().unwrap();
        assert!(graph.fixed.contains(&graph.id("m")) && graph.nodes.iter().all(|node| !draws(node)));
        let compared = model()
            .node("RandomUniformLike", "h", "u", &[])
            .node("Less", "u keep", "c", &[])
            .node("Cast", "c", "f", &[int("to", 1)])
            .node("Mul", "h f", "s", &[])
            .node("Div", "s keep", "y", &[]);
        assert_eq!(ops(compared), ["Relu", "Mul", "Div"]);
    }

    #[test]
    fn other_random_numbers_stay() {
        let noise = model().node("RandomUniformLike", "h", "u", &[]).node("Add", "h u", "y", &[]);
        assert!(ops(noise).contains(&"RandomUniformLike".to_string()));
        let undivided = model()
            .node("RandomUniformLike", "h", "u", &[])
            .node("Less", "u keep", "c", &[])
            .node("Cast", "c", "f", &[int("to", 1)])
            .node("Mul", "h f", "y", &[]);
        assert!(ops(undivided).contains(&"RandomUniformLike".to_string()));
    }
}
