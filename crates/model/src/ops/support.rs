//! Which nodes of a graph have no operator here.

use super::registry::{Spec, specs};
use crate::{
    error::{Error, Result},
    graph::{Graph, Node, ValueId, undecided},
};
use std::collections::{BTreeMap, HashMap};

/// An operator of a graph that is not in the registry, or not in this version.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct UnsupportedOp {
    /// `domain::Operator-version`.
    pub op: String,
    /// Version of the operator set.
    pub opset: i64,
    /// The versions that are supported, where the operator is known.
    pub supported: Option<(i64, i64)>,
    /// All nodes, in order of execution.
    pub nodes: Vec<String>,
    /// Number of nodes.
    pub count: usize,
}

/// All operators of `graph` that are not supported, by name.
pub fn unsupported(graph: &Graph) -> Vec<UnsupportedOp> {
    unsupported_of(graph.nodes.iter())
}

/// The registry by domain and name: a graph may have very many nodes.
struct Registered(HashMap<(&'static str, &'static str), Vec<Spec>>);

impl Registered {
    fn new() -> Self {
        let mut all: HashMap<_, Vec<Spec>> = HashMap::new();
        for spec in specs() {
            all.entry((spec.domain, spec.name)).or_default().push(spec);
        }
        Self(all)
    }

    fn named_as<'a>(&'a self, node: &'a Node) -> &'a [Spec] {
        self.0.get(&(node.domain.as_str(), node.op_type.as_str())).map_or(&[], Vec::as_slice)
    }

    fn take(&self, node: &Node) -> bool {
        self.named_as(node).iter().any(|spec| spec.takes(node))
    }
}

fn unsupported_of<'a>(nodes: impl Iterator<Item = &'a Node>) -> Vec<UnsupportedOp> {
    let registered = Registered::new();
    let mut found: BTreeMap<String, UnsupportedOp> = BTreeMap::new();
    for node in nodes.filter(|node| !registered.take(node)) {
        let op = node.op();
        let supported = registered.named_as(node).iter().map(|s| s.opsets).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let entry = found.entry(op.clone()).or_insert_with(|| UnsupportedOp {
            op,
            opset: node.opset,
            supported,
            nodes: Vec::new(),
            count: 0,
        });
        entry.nodes.push(node.name.clone());
        entry.count += 1;
    }
    found.into_values().collect()
}

/// The outputs of `graph` that can be computed: all that they depend on has an operator and is of numbers.
pub fn computable_outputs(graph: &Graph) -> Vec<ValueId> {
    let registered = Registered::new();
    let unknown = graph.nodes.iter().filter(|node| !registered.take(node));
    let made = unknown.flat_map(|node| node.outputs.iter().flatten());
    let lost = graph.derived_from(made.chain(graph.opaque.keys()).copied());
    graph.outputs.iter().copied().filter(|output| !lost.contains(output)).collect()
}

/// Why control flow is left, and what to do.
fn undecided_by(graph: &Graph, op: &UnsupportedOp) -> Option<String> {
    let what = match op.op.split('-').next()? {
        "If" => "its condition",
        "Loop" | "Scan" => "the number of its steps",
        _ => return None,
    };
    let advice = undecided::advice(graph, &op.nodes);
    Some(format!(": {what} is decided neither by constants nor by the shapes that the file declares; {advice}"))
}

/// An error that names everything that is not supported of what `scores` depend on; of the whole graph without any.
///
/// # Errors
/// [`Error::Unsupported`] with a line an operator: version, how many nodes, the names of the first few.
pub fn require(graph: &Graph, scores: Option<ValueId>) -> Result<()> {
    let found = match scores {
        None => unsupported(graph),
        Some(scores) => unsupported_of(graph.ancestors(&[scores]).into_iter().filter_map(|n| graph.nodes.get(n))),
    };
    if found.is_empty() {
        return Ok(());
    }
    let lines = found.iter().map(|u| {
        let named = u.nodes.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if u.count > 3 { format!(" and {} more", u.count - 3) } else { String::new() };
        let versions = u.supported.map_or(String::new(), |(a, b)| {
            if (a..=b).contains(&u.opset) {
                return "; supported for numbers alone, and it holds texts".into();
            }
            let older = if u.opset < a { ": convert the model with onnx.version_converter" } else { "" };
            format!("; supported from opset {a} to {b}{older}")
        });
        let nodes = if u.count == 1 { "node" } else { "nodes" };
        let versions = if versions.is_empty() { undecided_by(graph, u).unwrap_or_default() } else { versions };
        format!("  {} ({} {nodes}: {named}{more}){versions}", u.op, u.count)
    });
    Err(Error::Unsupported(lines.collect::<Vec<_>>().join("\n")))
}
