//! Convolutions that carry their own scale: nothing behind them normalises their channels, most often because the
//! exporter multiplied a BatchNormalization into them.

use super::{Graph, Links, Node, ValueId};
use std::collections::BTreeMap;

/// The stored weights of convolutions without a BatchNormalization behind them, each with its axis of output channels.
/// A weight that some other use normalises is not among them.
pub fn unnormalised_convolutions(graph: &Graph) -> BTreeMap<ValueId, usize> {
    let links = graph.links();
    let (mut bare, mut normalised) = (BTreeMap::new(), Vec::new());
    for node in &graph.nodes {
        let Some((axis, weight)) = channel_axis(node).zip(node.input(1)) else { continue };
        let weight = stored(graph, &links, weight);
        if node.output(0).is_some_and(|output| is_normalised(graph, &links, output)) {
            normalised.push(weight);
        } else if graph.initializers.contains_key(&weight) {
            bare.insert(weight, axis);
        }
    }
    bare.retain(|weight, _| !normalised.contains(weight));
    bare
}

fn channel_axis(node: &Node) -> Option<usize> {
    match node.op_type.as_str() {
        "Conv" | "FusedConv" => Some(0),
        "ConvTranspose" => Some(1),
        _ => None,
    }
}

fn passes_on(node: &Node) -> bool {
    node.is("Identity") || node.is("Cast")
}

/// What `value` is a copy of, in whatever precision.
fn stored(graph: &Graph, links: &Links, mut value: ValueId) -> ValueId {
    while let Some((node, _)) = links.producer(value)
        && let Some(source) = graph.nodes.get(node).filter(|node| passes_on(node)).and_then(|node| node.input(0))
    {
        value = source;
    }
    value
}

fn is_normalised(graph: &Graph, links: &Links, value: ValueId) -> bool {
    let users = links.users(value).iter().filter_map(|&(node, slot)| graph.nodes.get(node).filter(|_| slot == 0));
    users.into_iter().any(|node| {
        node.is("BatchNormalization")
            || passes_on(node) && node.output(0).is_some_and(|copy| is_normalised(graph, links, copy))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::build,
        onnx::{OnnxFile, ReadOptions},
    };
    use std::path::Path;

    fn found(model: &str) -> Vec<(String, usize)> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(model);
        let graph = build::build(&OnnxFile::open(&path, &ReadOptions::default()).unwrap()).unwrap();
        let found = unnormalised_convolutions(&graph);
        found.into_iter().map(|(value, axis)| (graph.name(value).to_string(), axis)).collect()
    }

    #[test]
    fn only_convolutions_without_their_normalisation_are_found() {
        assert_eq!(found("digits-cnn/model.onnx"), []);
        assert_eq!(found("cancer-mlp/model.onnx"), []);
        let folded = found("digits-cnn/variants/torchscript-folded.onnx");
        assert!(folded.len() >= 3 && folded.iter().all(|(_, axis)| *axis == 0), "{folded:?}");
    }
}
