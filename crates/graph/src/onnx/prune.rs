//! What no output of a model depends on.

use super::proto::{ModelProto, NodeProto, ValueInfoProto};
use std::collections::{BTreeSet, HashMap};

/// Removes the nodes of the main graph that no output depends on: a runtime may not know them. Returns the names that
/// the outputs and the other nodes take.
pub fn drop_unused_nodes(proto: &mut ModelProto) -> BTreeSet<String> {
    fn taken<'a>(node: &'a NodeProto, all: &mut Vec<&'a str>) {
        all.extend(node.input.iter().map(String::as_str));
        for body in node.attribute.iter().flat_map(|a| a.g.iter().map(|g| &**g).chain(&a.graphs)) {
            body.node.iter().for_each(|inner| taken(inner, all));
            all.extend(body.output.iter().map(ValueInfoProto::name));
        }
    }
    let Some(graph) = &mut proto.graph else { return BTreeSet::new() };
    let made =
        graph.node.iter().enumerate().flat_map(|(n, node)| node.output.iter().map(move |name| (name.as_str(), n)));
    let maker: HashMap<&str, usize> = made.collect();
    let mut kept = vec![false; graph.node.len()];
    let mut waiting: Vec<&str> = graph.output.iter().map(ValueInfoProto::name).collect();
    let mut needed = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if name.is_empty() || !needed.insert(name.to_string()) {
            continue;
        }
        let Some(&n) = maker.get(name) else { continue };
        if let (Some(kept @ false), Some(node)) = (kept.get_mut(n), graph.node.get(n)) {
            *kept = true;
            taken(node, &mut waiting);
        }
    }
    let mut kept = kept.into_iter();
    graph.node.retain(|_| kept.next().unwrap_or(false));
    needed
}
