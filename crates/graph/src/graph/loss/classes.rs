//! The names that a model gives to its classes.

use crate::{
    graph::{Graph, Links, Node, ValueId, fold, fuse::MADE_OF},
    tensor::Held,
};
use std::cell::LazyCell;

/// The names of the `count` classes that `scores` are of, in their order, if a node after them holds any; `None` also where
/// they are the numbers from 0 on.
pub(super) fn named(graph: &Graph, links: &Links, scores: ValueId, count: Option<usize>) -> Option<Vec<String>> {
    let maker = graph.nodes.get(links.producer(scores)?.0)?;
    let after = LazyCell::new(|| graph.derived_from(maker.outputs.iter().flatten().copied()));
    let constants = LazyCell::new(|| fold::constants(graph));
    let mut holders = graph.nodes.iter().filter(|node| holds_names(graph, node));
    let names = holders.find_map(|node| {
        let after = node.outputs.iter().flatten().any(|output| after.contains(output));
        after.then(|| names(graph, node, |value| constants.get(&value).cloned())).flatten()
    })?;
    let own_numbers = names.iter().enumerate().all(|(n, name)| *name == n.to_string());
    let fits = count.is_none_or(|count| count == names.len() || count == 1 && names.len() == 2);
    (fits && !own_numbers && names.len() > 1).then_some(names)
}

fn holds_names(graph: &Graph, node: &Node) -> bool {
    let ml = ["ZipMap", "ArrayFeatureExtractor", "LabelEncoder"];
    node.domain == "ai.onnx.ml" && ml.contains(&node.op_type.as_str())
        || node.is("Gather")
            && node.input(0).is_some_and(|table| graph.texts.contains_key(&table) || of_linear_model(node))
}

/// Whether the node is a part of a linear model, which lists its classes.
fn of_linear_model(node: &Node) -> bool {
    node.attrs.contains_key(MADE_OF)
}

fn names(graph: &Graph, node: &Node, constant: impl Fn(ValueId) -> Option<Held>) -> Option<Vec<String>> {
    let strings = |name: &str| Some(node.attrs.get(name)?.strings()?.to_vec());
    let integers = |name: &str| Some(node.attrs.get(name)?.ints()?.to_vec());
    let numbers = |list: Vec<i64>| list.iter().map(i64::to_string).collect::<Vec<_>>();
    match node.op_type.as_str() {
        "ZipMap" => strings("classlabels_strings").or_else(|| integers("classlabels_int64s").map(numbers)),
        "LabelEncoder" => {
            let values = strings("classes_strings").or_else(|| strings("values_strings"))?;
            // Newer versions list the numbers that the names are of.
            let keys = integers("keys_int64s").unwrap_or_else(|| (0..).take(values.len()).collect());
            let mut pairs: Vec<(i64, String)> = keys.into_iter().zip(values).collect();
            pairs.sort();
            let in_order = pairs.iter().zip(0..).all(|((key, _), n)| *key == n);
            in_order.then(|| pairs.into_iter().map(|(_, name)| name).collect())
        }
        _ => {
            let table = node.input(0)?;
            let whole = || {
                let tensor = constant(table)?;
                let all = tensor.to_f64();
                let listed = node.domain == "ai.onnx.ml" || of_linear_model(node);
                let whole = listed && all.iter().all(|x| x.fract() == 0.0 && x.abs() < 1e15);
                whole.then(|| numbers(all.iter().map(|&x| x as i64).collect()))
            };
            graph.texts.get(&table).cloned().or_else(whole)
        }
    }
}
