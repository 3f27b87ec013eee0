//! How many rows the tables have that an input's numbers look up.

use super::{
    Graph, Links, Node, ValueId,
    facts::{self, Passes},
};
use std::collections::BTreeSet;

/// Operators between a table and the node that looks it up, at most.
const MOST_STEPS: usize = 32;

/// Rows of the smallest table in which the elements of `input` are looked up by `Gather` as they are; `None` where there
/// is none. Numbers from there on, and negative ones, have no row of their own.
pub fn rows(graph: &Graph, links: &Links, input: ValueId) -> Option<usize> {
    let mut least: Option<usize> = None;
    let mut open = vec![input];
    let mut seen = BTreeSet::new();
    while let Some(value) = open.pop() {
        if !seen.insert(value) {
            continue;
        }
        for &(user, at) in links.users(value) {
            let Some(node) = graph.nodes.get(user) else { continue };
            if at == 1 && node.is("Gather") {
                least = table(graph, links, node).into_iter().chain(least).min();
            } else if at == 0 && keeps(node) {
                open.extend(node.outputs.iter().flatten());
            }
        }
    }
    least
}

/// Whether a node's first output has all elements of its first input, unchanged.
fn keeps(node: &Node) -> bool {
    facts::passes(node).keeps_all()
}

/// Extent of the axis of a stored tensor that a `Gather` picks from.
fn table(graph: &Graph, links: &Links, node: &Node) -> Option<usize> {
    let mut data = node.input(0)?;
    let mut steps = 0;
    while !graph.initializers.contains_key(&data) {
        steps += 1;
        if steps > MOST_STEPS {
            return None;
        }
        let from = graph.nodes.get(links.producer(data)?.0)?;
        if facts::passes(from) != Passes::Same && !from.is("DequantizeLinear") {
            return None;
        }
        data = from.input(0)?;
    }
    let dims = graph.initializers.get(&data)?.tensor.dims();
    let axis = node.int("axis", Some(0)).unwrap_or(0);
    let axis = if axis < 0 { axis.checked_add(i64::try_from(dims.len()).ok()?)? } else { axis };
    dims.get(usize::try_from(axis).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{Model, int, ints},
        *,
    };

    #[test]
    fn a_table_is_found_behind_changes_of_shape_and_of_the_weights() {
        let model = Model::new(13, &["x:i64[n,4]", "y:i64[n,2]", "z:f32[n,3]"], &["a", "b", "c"])
            .weight("words", &[50, 8])
            .weight("kinds", &[8, 2])
            .longs("axes", &[1])
            .node("Unsqueeze", "x axes", "wide", &[])
            .node("Gather", "words wide", "a", &[])
            .node("Cast", "kinds", "half", &[int("to", 1)])
            .node("Gather", "half y", "b", &[int("axis", -1)])
            .node("Transpose", "z", "c", &[ints("perm", &[1, 0])]);
        let graph = model.build().unwrap();
        let links = graph.links();
        let found = |name: &str| rows(&graph, &links, graph.id(name));
        assert_eq!((found("x"), found("y"), found("z")), (Some(50), Some(2), None));
    }

    #[test]
    fn numbers_that_are_changed_first_tell_nothing() {
        let model = Model::new(13, &["x:i64[n,4]"], &["a"])
            .weight("words", &[50, 8])
            .longs("one", &[1])
            .node("Add", "x one", "next", &[])
            .node("Gather", "words next", "a", &[]);
        let graph = model.build().unwrap();
        assert_eq!(rows(&graph, &graph.links(), graph.id("x")), None);
    }
}
