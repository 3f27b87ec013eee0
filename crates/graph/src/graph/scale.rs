//! How large the channels of a layer are, and which tensors share that scale.
//!
//! One function can be stored in many ways: a BatchNormalization multiplied into the convolution before it leaves every
//! channel of the weight larger or smaller by γ/σ. What a step of a given size does to such a weight depends on that
//! factor; a step in proportion to the channel's norm does not.

use super::{
    Graph, Links, Node, ValueId,
    facts::{self, Facts, Layout, Passes, Slot},
};
use std::collections::BTreeMap;

/// Where the scale of a tensor's channels is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The tensor's axis of output channels.
    pub axis: usize,
    /// The tensor whose norms are the channels' scales: itself, or the weight that it is the bias of.
    pub of: ValueId,
    /// That tensor's axis of output channels.
    pub of_axis: usize,
}

/// The stored tensors that have a scale: weights of convolutions and matrix products and what is added to their results
/// channel by channel, and the factors of normalizations with their summands. A tensor with several roles has none.
pub fn scales(graph: &Graph) -> BTreeMap<ValueId, Scale> {
    let search = Search { graph, links: graph.links() };
    let mut found: BTreeMap<ValueId, Option<Scale>> = BTreeMap::new();
    for node in &graph.nodes {
        for (value, scale) in search.roles(node) {
            let known = found.entry(value).or_insert(scale);
            *known = known.filter(|known| Some(*known) == scale);
        }
    }
    found.into_iter().filter_map(|(value, scale)| Some((value, scale?))).collect()
}

/// Operators between a tensor and the node that takes it, at most.
const MOST_STEPS: usize = 32;

struct Search<'a> {
    graph: &'a Graph,
    links: Links,
}

impl Search<'_> {
    /// What `node` takes stored tensors for.
    fn roles(&self, node: &Node) -> Vec<(ValueId, Option<Scale>)> {
        let Some(facts) = facts::facts(node) else { return vec![] };
        // Rows of a table: as weights of a product, too, they have two roles.
        let tables = (0..node.inputs.len()).filter(|&slot| facts.slot(slot) == Slot::Table);
        let tables = tables.filter_map(|slot| Some((self.stored(node, slot, 0)?.0, None)));
        tables.chain(self.channels(node, facts)).collect()
    }

    /// The tensor that channels are multiplied by, and what is added to them.
    fn channels(&self, node: &Node, facts: &Facts) -> Vec<(ValueId, Option<Scale>)> {
        let factor = match facts.first(|slot| slot == Slot::Scale) {
            Some(slot) => self.stored(node, slot, 0).filter(|(factor, _)| self.dims(*factor).len() == 1),
            None => channel_axis(node).and_then(|axis| self.stored(node, 1, axis)),
        };
        let Some((weight, of_axis)) = factor else { return vec![] };
        let Some(&channels) = self.dims(weight).get(of_axis) else { return vec![] };
        if facts.slot(1) == Slot::Weight(Layout::Right) && self.dims(weight).len() != 2 {
            return vec![];
        }
        let added = self.added(node, facts).into_iter().filter_map(|bias| {
            let axis = self.dims(bias).iter().position(|&extent| extent == channels)?;
            let alone = self.dims(bias).iter().product::<usize>() == channels;
            alone.then_some((bias, Some(Scale { axis, of: weight, of_axis })))
        });
        std::iter::once((weight, Some(Scale { axis: of_axis, of: weight, of_axis }))).chain(added).collect()
    }

    /// The stored tensors that are added to the result of `node`: by itself, or by the next node.
    fn added(&self, node: &Node, facts: &Facts) -> Vec<ValueId> {
        let own =
            facts.first(|slot| slot == Slot::Bias).and_then(|slot| self.stored(node, slot, 0)).map(|(bias, _)| bias);
        let normalizes = facts.first(|slot| slot == Slot::Scale).is_some();
        let next = node.output(0).into_iter().flat_map(|output| self.added_to(output));
        own.into_iter().chain(next.filter(|_| !normalizes)).collect()
    }

    fn added_to(&self, value: ValueId) -> Vec<ValueId> {
        let (mut found, mut waiting) = (Vec::new(), vec![value]);
        while let Some(value) = waiting.pop() {
            for &(user, slot) in self.links.users(value) {
                let Some(user) = self.graph.nodes.get(user) else { continue };
                if user.is("Add") && slot < 2 {
                    found.extend(self.stored(user, 1 - slot, 0).map(|(bias, _)| bias));
                } else if passes_on(user) {
                    waiting.extend(user.output(0));
                }
            }
        }
        found
    }

    /// The stored tensor that input `slot` of `node` is, in whatever precision and order of axes, and which of its axes is
    /// `axis` of the input.
    fn stored(&self, node: &Node, slot: usize, mut axis: usize) -> Option<(ValueId, usize)> {
        let mut value = node.input(slot)?;
        let mut steps = 0;
        while let Some((maker, _)) = self.links.producer(value) {
            steps += 1;
            if steps > MOST_STEPS {
                return None;
            }
            let maker = self.graph.nodes.get(maker)?;
            value = maker.input(0)?;
            if facts::passes(maker) == Passes::Order {
                axis = match maker.opt_ints("perm").ok()? {
                    Some(order) => usize::try_from(*order.get(axis)?).ok()?,
                    None => self.dims(value).len().checked_sub(axis + 1)?,
                };
            } else if !passes_on(maker) {
                return None;
            }
        }
        self.graph.initializers.contains_key(&value).then_some((value, axis))
    }

    fn dims(&self, value: ValueId) -> &[usize] {
        self.graph.initializers.get(&value).map_or(&[], |held| held.tensor.dims())
    }
}

/// The axis of output channels of the second input, if that holds weights.
fn channel_axis(node: &Node) -> Option<usize> {
    match facts::slot(node, 1) {
        Slot::Weight(Layout::Convolution) => Some(0),
        Slot::Weight(Layout::Transposed) => Some(1),
        Slot::Weight(Layout::Right) => Some(usize::from(!node.flag("transB", false).unwrap_or(false))),
        _ => None,
    }
}

fn passes_on(node: &Node) -> bool {
    facts::passes(node) == Passes::Same
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::{
            build,
            testing::{Model, int, opset},
        },
        onnx::{OnnxFile, ReadOptions},
    };
    use std::path::Path;

    /// Name, axis, and whose scale along which axis.
    fn found(model: &str) -> Vec<(String, usize, String, usize)> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(model);
        let graph = build::build(&OnnxFile::open(&path, &ReadOptions::default()).unwrap()).unwrap();
        let name = |value| graph.name(value).to_string();
        scales(&graph).into_iter().map(|(value, s)| (name(value), s.axis, name(s.of), s.of_axis)).collect()
    }

    #[test]
    fn long_chains_behind_a_layer_take_no_stack() {
        const LONG: usize = 50_000;
        let mut model = Model::new(17, &["x:f32[n,3]"], &["y:f32[n,2]"]).weight("w", &[3, 2]).weight("b", &[2]).node(
            "MatMul",
            "x w",
            "v0",
            &[],
        );
        for i in 0..LONG {
            model = model.node("Identity", &format!("v{i}"), &format!("v{}", i + 1), &[]);
        }
        let graph = model.node("Add", &format!("v{LONG} b"), "y", &[]).build().unwrap();
        let found = scales(&graph);
        assert_eq!(found.get(&graph.id("b")).map(|scale| scale.of), Some(graph.id("w")));
    }

    #[test]
    fn every_normalization_and_packed_attention_have_channels() {
        let net = Model::new(23, &["x:f32[n,4,8]"], &["y:f32[n,4,8]"]).weight("g", &[8]).node(
            "RMSNormalization",
            "x g",
            "y",
            &[],
        );
        let graph = net.build().unwrap();
        let own = |graph: &Graph, name| scales(graph).get(&graph.id(name)).map(|s| (s.axis, s.of, s.of_axis));
        assert_eq!(own(&graph, "g"), Some((0, graph.id("g"), 0)));
        let mut net = Model::new(17, &["x:f32[n,4,8]", "z:f32[n,4,8]"], &["y:f32[n,4,8]"])
            .weight("g", &[8])
            .weight("b", &[8])
            .weight("skip", &[8])
            .weight("w", &[8, 24])
            .weight("wb", &[24])
            .node("SkipLayerNormalization", "x z g b skip", "h", &[])
            .node("Attention", "h w wb", "y", &[int("num_heads", 2)]);
        net.graph().node.iter_mut().for_each(|node| node.domain = Some("com.microsoft".into()));
        net.proto.opset_import.push(opset("com.microsoft", 1));
        let graph = net.build().unwrap();
        let (g, w) = (graph.id("g"), graph.id("w"));
        assert_eq!((own(&graph, "g"), own(&graph, "b"), own(&graph, "skip")), (Some((0, g, 0)), Some((0, g, 0)), None));
        assert_eq!((own(&graph, "w"), own(&graph, "wb")), (Some((1, w, 1)), Some((0, w, 1))));
    }

    #[test]
    fn weights_biases_and_normalizations_are_found() {
        let mlp = found("cancer-mlp/model.onnx");
        assert!(mlp.len() >= 4 && mlp.len().is_multiple_of(2), "{mlp:?}");
        for (name, axis, of, of_axis) in &mlp {
            assert_eq!((*axis, *of_axis), (0, 0), "{name}: Gemm with transposed weights");
            assert_eq!(name.rsplit_once('.').unwrap().0, of.rsplit_once('.').unwrap().0);
        }
        let kept = found("digits-cnn/model.onnx");
        let own = |all: &[(String, usize, String, usize)]| all.iter().filter(|(name, _, of, _)| name == of).count();
        let folded = found("digits-cnn/variants/torchscript-folded.onnx");
        // A convolution and the two vectors of its normalization; a convolution and its bias.
        assert!(folded.iter().all(|(_, axis, _, _)| *axis == 0), "{folded:?}");
        assert_eq!(2 * own(&folded), folded.len(), "{folded:?}");
        assert!(own(&kept) > own(&folded), "{kept:?}");
    }
}
