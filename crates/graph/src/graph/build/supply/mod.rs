//! Inputs that language models take to continue a text word by word, and that whole rows do not have: caches of earlier
//! words, which are empty, and counts and places of the words, which the words tell. They are made by nodes, which runtimes
//! are given, too.
//!
//! An input is recognized by its name, type and shape, as Optimum, `onnxruntime-genai` and `torch.onnx` over a wrapper of
//! Transformers' models write them.

mod make;

use super::{Builder, Given, Graph, Node, Scope, order};
use crate::{
    error::Result,
    onnx::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto, tensor_shape_proto::dimension, type_proto},
    tensor::DType,
};
pub use make::nodes;
use make::{OURS, SHAPE};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// What an input is made to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Supply {
    /// Floats, none along the axis of the words.
    Empty,
    /// 0, 1, 2, …
    Steps,
    /// Of each row, the place of its last word.
    Last,
    /// How many words the rows have.
    Total,
    /// False.
    Off,
    /// 0, of how many words at the end there are answers for, which means all.
    All,
}

impl fmt::Display for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty cache, since no column feeds it",
            Self::Steps => "0, 1, 2, …, since no column feeds it",
            Self::Last => "of each row the place of its last token, since no column feeds it",
            Self::Total => "the number of tokens, since no column feeds it",
            Self::Off => "false, so that the model runs without a cache",
            Self::All => "0, so that the model answers for every token",
        })
    }
}

impl Supply {
    /// Whether it is the same for all rows, and so stored instead of made.
    pub fn is_fixed(self) -> bool {
        matches!(self, Self::Off | Self::All)
    }
}

/// An input of a file.
struct Port<'a> {
    name: &'a str,
    lower: String,
    kind: i32,
    dims: Vec<Option<i64>>,
}

impl<'a> Port<'a> {
    /// A tensor whose rank the file tells.
    fn of(input: &'a ValueInfoProto) -> Option<Self> {
        let type_proto::Value::TensorType(tensor) = input.r#type.as_ref()?.value.as_ref()? else { return None };
        let extent = |value: &Option<dimension::Value>| match value {
            Some(dimension::Value::DimValue(n)) if *n >= 0 => Some(*n),
            _ => None,
        };
        let dims = tensor.shape.as_ref()?.dim.iter().map(|dim| extent(&dim.value)).collect();
        let name = input.name();
        Some(Self { name, lower: name.to_lowercase(), kind: tensor.elem_type(), dims })
    }

    fn has(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.lower.contains(word))
    }

    fn is(&self, kinds: &[DType]) -> bool {
        kinds.iter().any(|&kind| kind as i32 == self.kind)
    }

    fn integers(&self) -> bool {
        self.is(&[DType::I32, DType::I64])
    }

    fn floats(&self) -> bool {
        self.is(&[DType::F32, DType::F64, DType::F16, DType::BF16])
    }

    /// The axis of the rows, if there is one, and that of the words, of a cache.
    fn cache(&self) -> Option<(Option<usize>, usize)> {
        // Caches are numbered by layers; past values of a time series are not.
        let numbered = self.lower.contains(|c: char| c.is_ascii_digit()) && self.has(&["past", "cache"]);
        if !(3..=5).contains(&self.dims.len()) || !self.floats() || !numbered {
            return None;
        }
        let open: Vec<usize> = (0..self.dims.len()).filter(|&axis| self.dims.get(axis) == Some(&None)).collect();
        match *open.as_slice() {
            [words] if words > 0 => Some((None, words)),
            // Keys and values may be stacked in front of the rows.
            [rows, words] if rows < 2 => Some((Some(rows), words)),
            _ => None,
        }
    }

    fn supply(&self) -> Option<Supply> {
        let (integers, rank) = (self.integers(), self.dims.len());
        let one = self.dims.iter().all(|dim| dim.is_none_or(|n| n == 1));
        match self.lower.as_str() {
            _ if self.cache().is_some() => Some(Supply::Empty),
            "use_cache_branch" if self.is(&[DType::Bool]) && one && rank <= 1 => Some(Supply::Off),
            "cache_position" if integers && self.dims == [None] => Some(Supply::Steps),
            // The same places for all rows.
            _ if integers && self.dims == [Some(1), None] && self.has(&["position_id"]) => Some(Supply::Steps),
            "seqlens_k" | "past_seq_len" if integers && one && (1..=2).contains(&rank) => Some(Supply::Last),
            "num_logits_to_keep" | "logits_to_keep" if integers && one && rank <= 1 => Some(Supply::All),
            "total_sequence_length" | "total_seq_len" if integers && one && rank <= 1 => Some(Supply::Total),
            _ => None,
        }
    }
}

/// What the inputs that are to be made are made from: the words that the rows have, (rows, words) or (rows, words, size).
fn words<'a, 'p>(ports: &'p [Port<'a>]) -> Option<&'p Port<'a>> {
    let apart = ["mask", "position", "type", "segment", "past", "cache", "seq", "label"];
    let lists = || ports.iter().filter(|port| port.integers() && port.dims.len() == 2 && !port.has(&apart));
    let one = |of: Vec<&'p Port<'a>>| if let [one] = of.as_slice() { Some(*one) } else { None };
    one(lists().filter(|port| port.lower.starts_with("decoder")).collect()).or_else(|| one(lists().collect())).or_else(
        || one(ports.iter().filter(|port| port.floats() && port.dims.len() == 3 && port.has(&["embed"])).collect()),
    )
}

/// The inputs of `proto` that are made: none unless `given` says which ones columns feed.
pub fn wanted(proto: &GraphProto, given: &Given) -> BTreeMap<String, Supply> {
    let Some(fed) = &given.fed else { return BTreeMap::new() };
    let stored: BTreeSet<&str> = proto.initializer.iter().map(TensorProto::name).collect();
    let ports: Vec<Port<'_>> =
        proto.input.iter().filter(|input| !stored.contains(input.name())).filter_map(Port::of).collect();
    let free = |port: &&Port<'_>| !fed.contains(&port.lower) && !given.inputs.contains_key(port.name);
    let mut all: BTreeMap<&str, Supply> =
        ports.iter().filter(free).filter_map(|port| Some((port.name, port.supply()?))).collect();
    // What an encoder has seen is not empty, unless the branch that makes it anew is taken.
    let off = |port: &Port<'_>| given.inputs.get(port.name).is_none_or(|values| values.iter().all(|&x| x == 0.0));
    if !ports.iter().any(|port| port.supply() == Some(Supply::Off) && off(port)) {
        ports.iter().filter(|port| port.has(&["cross", ".encoder"])).for_each(|port| _ = all.remove(port.name));
    }
    let has_words = words(&ports).is_some();
    all.retain(|_, supply| has_words || supply.is_fixed());
    all.into_iter().map(|(name, supply)| (name.to_string(), supply)).collect()
}

/// Whether a node is one of those that make inputs.
pub fn is_maker(node: &Node) -> bool {
    node.name.starts_with(OURS)
}

/// Which inputs are made, those of a kind together, and what they are.
pub fn described(graph: &Graph) -> Vec<(String, Supply)> {
    let mut kinds: BTreeMap<Supply, Vec<&str>> = BTreeMap::new();
    for (&value, &supply) in &graph.supplied {
        kinds.entry(supply).or_default().push(graph.name(value));
    }
    let what = |names: &[&str]| match names {
        [first] => format!("input {first}"),
        [first, others @ ..] => format!("input {first} and {} more", others.len()),
        [] => String::new(),
    };
    kinds.into_iter().map(|(supply, names)| (what(&names), supply)).collect()
}

impl<'a> Builder<'a> {
    /// Makes inputs of the main graph by `nodes`, which [`nodes`] gives for them.
    pub(super) fn supply(
        &mut self,
        graph: &mut Graph,
        (made, nodes): (&BTreeMap<String, Supply>, &'a [NodeProto]),
        scope: &mut Scope<'a>,
    ) -> Result<()> {
        if nodes.is_empty() {
            return Ok(());
        }
        for output in nodes.iter().flat_map(|node| &node.output).filter(|name| !made.contains_key(*name)) {
            self.declare(graph, scope, output, "made input")?;
        }
        for node in nodes {
            self.node(graph, node, scope)?;
        }
        let made = |graph: &Graph, value| made.get(graph.name(value)).copied().filter(|supply| !supply.is_fixed());
        for &value in &graph.inputs {
            if let Some(supply) = made(graph, value) {
                graph.supplied.insert(value, supply);
            }
        }
        graph.inputs.retain(|value| !graph.supplied.contains_key(value));
        same_lengths(graph);
        order::sort(graph).map_err(|problem| self.malformed("made inputs", problem))
    }
}

/// A mask over earlier words and those of the rows is as long as the rows where there is no earlier one.
fn same_lengths(graph: &mut Graph) {
    let shape = graph.nodes.iter().find(|node| node.output(0).is_some_and(|value| graph.name(value) == SHAPE));
    let Some(words) = shape.and_then(|node| node.input(0)) else { return };
    let Some(length) = graph.declared_dims(words).and_then(|dims| dims.get(1)).cloned() else { return };
    let decoder = graph.name(words).to_lowercase().starts_with("decoder");
    let masks: Vec<_> = graph
        .inputs
        .iter()
        .copied()
        .filter(|&value| {
            let name = graph.name(value).to_lowercase();
            name.contains("mask") && name.starts_with("decoder") == decoder && !name.starts_with("encoder")
        })
        .collect();
    for mask in masks {
        let dims = graph.values.get_mut(mask.0).and_then(|info| info.ty.as_mut()?.dims.as_mut());
        if let Some([_, total]) = dims.map(Vec::as_mut_slice) {
            *total = length.clone();
        }
    }
}

#[cfg(test)]
mod tests;
