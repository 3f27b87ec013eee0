//! Why control flow was not written out, and what would decide it.

use super::{Dim, Graph, Links, Node, ValueId, given};
use std::collections::BTreeSet;

/// Inputs that a value depends on: by their elements, and by their shapes.
#[derive(Default)]
struct Deciders {
    values: BTreeSet<ValueId>,
    shapes: BTreeSet<ValueId>,
}

/// What decides the If or Loop nodes called `names`, and what to do; each thing once.
pub fn advice(graph: &Graph, names: &[String]) -> String {
    let links = graph.links();
    let mut all = Deciders::default();
    for node in graph.nodes.iter().filter(|node| names.contains(&node.name)) {
        let found = deciders(graph, &links, node);
        all.values.extend(found.values);
        all.shapes.extend(found.shapes);
    }
    let without = "export the model without it";
    let of_rows = |&&value: &&ValueId| {
        graph.declared_dims(value).is_none_or(|dims| !dims.iter().all(|dim| matches!(dim, Dim::Fixed(1))))
    };
    if let Some(value) = all.values.iter().find(of_rows) {
        return format!("the elements of input `{}` decide it, row by row: {without}", graph.name(*value));
    }
    let mut advice: Vec<String> = all
        .values
        .iter()
        .map(|&value| {
            let name = graph.name(value);
            format!(
                "input `{name}` decides it: if it is the same for all rows, write `value = ...` under `[inputs.{name}]`"
            )
        })
        .collect();
    let open = given::open_of(graph, all.shapes.iter().copied());
    if !open.is_empty() {
        let flags: Vec<String> = open.iter().map(|name| format!("--dim {name}=N")).collect();
        advice.push(format!(
            "the shape of what the model is given decides it: try {} (a number for the batch makes it run row by row)",
            flags.join(" ")
        ));
    }
    match advice.is_empty() {
        true => without.to_string(),
        false => format!("{}; else {without}", advice.join("; ")),
    }
}

/// What the condition of an If, the number of steps of a Loop, or the extents that a Scan goes along depend on.
fn deciders(graph: &Graph, links: &Links, node: &Node) -> Deciders {
    let scan = node.is("Scan");
    let slots = if node.is("If") { 0..1 } else { 0..node.inputs.len().min(if scan { usize::MAX } else { 2 }) };
    let mut waiting: Vec<(ValueId, bool)> = slots.filter_map(|slot| Some((node.input(slot)?, scan))).collect();
    let (mut seen, mut found) = (BTreeSet::new(), Deciders::default());
    while let Some((value, shape)) = waiting.pop() {
        if !seen.insert((value, shape)) {
            continue;
        }
        if graph.inputs.contains(&value) {
            if shape {
                found.shapes.insert(value)
            } else {
                found.values.insert(value)
            };
        }
        let Some(maker) = links.producer(value).and_then(|(n, _)| graph.nodes.get(n)) else { continue };
        let shape = shape || maker.is("Shape") || maker.is("Size");
        waiting.extend(maker.dependencies().flatten().map(|from| (from, shape)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::testing::{Model, body, int, node, value};
    use crate::onnx::proto::GraphProto;

    /// An If on `condition`, which `nodes` compute from `x` and `rate`.
    fn advice_for(x: &str, make: impl FnOnce(Model) -> Model) -> String {
        let branch = |op: &str, out: &str| GraphProto {
            name: Some(out.into()),
            node: vec![node(op, "x", out, &[])],
            output: vec![value(out)],
            ..Default::default()
        };
        let model = Model::new(17, &[x, "rate:i64[]"], &["y:f32[batch,?]"]).longs("one", &[1]).longs("zero", &[0]);
        let branches = [body("then_branch", branch("Relu", "a")), body("else_branch", branch("Identity", "b"))];
        let graph = make(model).node("If", "condition", "y", &branches).build().unwrap();
        let named: Vec<String> = graph.nodes.iter().filter(|n| n.is("If")).map(|n| n.name.clone()).collect();
        assert_eq!(named.len(), 1, "the condition is not decided");
        advice(&graph, &named)
    }

    #[test]
    fn the_input_that_decides_is_named() {
        let by_value = advice_for("x:f32[batch,time]", |m| m.node("Equal", "rate one", "condition", &[]));
        assert!(by_value.contains("[inputs.rate]") && !by_value.contains("--dim"), "{by_value}");
        let by_shape = advice_for("x:f32[batch,time]", |m| {
            m.node("Shape", "x", "s", &[]).node("Gather", "s one", "n", &[]).node("Equal", "n one", "condition", &[])
        });
        assert!(by_shape.contains("--dim time=N") && !by_shape.contains("[inputs."), "{by_shape}");
    }

    #[test]
    fn a_condition_on_the_rows_gets_no_advice_that_cannot_help() {
        let of_rows = advice_for("x:f32[batch,time]", |m| {
            m.node("ReduceMax", "x", "most", &[int("keepdims", 0)]).floats("half", &[], vec![0.5]).node(
                "Greater",
                "most half",
                "condition",
                &[],
            )
        });
        assert!(
            of_rows.contains("input `x`") && !of_rows.contains("--dim") && !of_rows.contains("[inputs."),
            "{of_rows}"
        );
    }
}
