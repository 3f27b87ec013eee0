use super::*;
use crate::{
    graph::testing::{self, Model, body, int, ints, node, value},
    onnx::proto::{GraphProto, NodeProto, TensorProto},
};

fn flag(name: &str, is: bool) -> TensorProto {
    TensorProto { name: Some(name.into()), data_type: Some(9), int32_data: vec![is.into()], ..Default::default() }
}

fn part(inputs: &[&str], nodes: Vec<NodeProto>, outputs: &[&str]) -> GraphProto {
    GraphProto {
        input: inputs.iter().map(|text| value(text)).collect(),
        output: outputs.iter().map(|text| value(text)).collect(),
        node: nodes,
        ..Default::default()
    }
}

fn with_flag(mut model: Model, name: &str, is: bool) -> Model {
    model.graph().initializer.push(flag(name, is));
    model
}

fn with_scalar(mut model: Model, name: &str, x: i64) -> Model {
    model.graph().initializer.push(testing::longs(name, &[], &[x]));
    model
}

fn ops(graph: &Graph) -> Vec<&str> {
    graph.nodes.iter().map(|node| node.op_type.as_str()).collect()
}

/// Where a value comes from, through Identity.
fn origin(graph: &Graph, value: ValueId) -> &str {
    match graph.nodes.iter().find(|node| node.outputs.contains(&Some(value))) {
        Some(node) if node.is("Identity") => origin(graph, node.input(0).unwrap()),
        _ => graph.name(value),
    }
}

fn if_model(is: bool) -> Model {
    let mut then = part(&[], vec![node("Mul", "x w", "p", &[]), node("Add", "p v", "t", &[])], &["t"]);
    then.initializer.push(testing::floats("w", &[2], vec![1.0, 2.0]));
    let otherwise = part(&[], vec![], &["x"]);
    let model = Model::new(17, &["x:f32[2]"], &["y:f32[2]"]).weight("v", &[2]).node(
        "If",
        "c",
        "y",
        &[body("then_branch", then), body("else_branch", otherwise)],
    );
    with_flag(model, "c", is)
}

#[test]
fn a_known_condition_chooses_its_branch() {
    let graph = if_model(true).build().unwrap();
    assert_eq!(ops(&graph), ["Mul", "Add", "Identity"]);
    assert_eq!(graph.nodes[0].inputs, [Some(graph.id("x")), Some(graph.id("n_y/w"))]);
    assert_eq!(graph.nodes[1].inputs[1], Some(graph.id("v")), "a captured weight is the main graph's");
    assert_eq!(graph.initializers[&graph.id("n_y/w")].stored_as.as_deref(), Some("y/then_branch/w"));
    assert_eq!(graph.initializers[&graph.id("v")].stored_as.as_deref(), Some("v"));
    assert_eq!(origin(&graph, graph.id("y")), "n_y/t");

    let graph = if_model(false).build().unwrap();
    assert_eq!(ops(&graph), ["Identity"]);
    assert_eq!(origin(&graph, graph.id("y")), "x");
}

#[test]
fn a_condition_inside_a_branch_is_known_through_it() {
    let inner = || part(&[], vec![node("Relu", "x", "r", &[])], &["r"]);
    let other = || part(&[], vec![node("Neg", "x", "m", &[])], &["m"]);
    let attrs = [body("then_branch", inner()), body("else_branch", other())];
    let outer = part(&[], vec![node("Identity", "c", "d", &[]), node("If", "d", "s", &attrs)], &["s"]);
    let attrs = [body("then_branch", outer), body("else_branch", other())];
    let model = Model::new(17, &["x:f32[2]"], &["y:f32[2]"]).node("If", "c", "y", &attrs);
    let graph = with_flag(model, "c", true).build().unwrap();
    assert_eq!(ops(&graph), ["Identity", "Relu", "Identity", "Identity"]);
}

/// h' = h + w with a scan output h·w; `condition` makes the body's condition.
fn loop_model(trips: i64, condition: NodeProto) -> Model {
    let nodes = vec![condition, node("Add", "h w", "g", &[]), node("Mul", "h w", "s", &[])];
    let steps = part(&["i:i64[]", "c:bool[]", "h:f32[2]"], nodes, &["d:bool[]", "g:f32[2]", "s:f32[2]"]);
    let model = Model::new(17, &["x:f32[2]"], &["y:f32[2]", "z:f32[3,2]"]).weight("w", &[2]).node(
        "Loop",
        "m go x",
        "y z",
        &[body("body", steps)],
    );
    with_flag(with_scalar(model, "m", trips), "go", true)
}

#[test]
fn a_loop_of_known_length_is_written_out() {
    let same = || node("Identity", "c", "d", &[]);
    let graph = loop_model(3, same()).build().unwrap();
    let count = |op: &str| ops(&graph).iter().filter(|name| **name == op).count();
    assert_eq!((count("Add"), count("Mul"), count("Unsqueeze"), count("Concat"), count("Loop")), (3, 3, 3, 1, 0));
    assert_eq!(origin(&graph, graph.id("y")), "n_y/2/g");
    let stacked = graph.nodes.iter().find(|node| node.is("Concat")).unwrap();
    assert_eq!(stacked.int("axis", None).unwrap(), 0);
    let adds: Vec<&Node> = graph.nodes.iter().filter(|node| node.is("Add")).collect();
    assert!(adds.iter().all(|add| add.input(1) == Some(graph.id("w"))), "each step takes the one weight");
    assert_eq!(adds[1].input(0), adds[0].output(0));
    assert_eq!(order_of(&graph), Ok(()));

    let unknown = loop_model(3, node("Greater", "h w", "d", &[])).build().unwrap();
    assert_eq!(ops(&unknown), ["Loop"], "what is not decided stays");
    let empty = loop_model(0, same()).build().unwrap();
    assert_eq!(ops(&empty), ["Loop"], "nothing tells the shape of a scan output without a step");
}

/// Whether every node comes after those whose outputs it takes.
fn order_of(graph: &Graph) -> Result<(), String> {
    let mut seen: Vec<ValueId> = graph.inputs.iter().chain(graph.initializers.keys()).copied().collect();
    for node in &graph.nodes {
        if let Some(value) = node.dependencies().flatten().find(|value| !seen.contains(value)) {
            return Err(format!("{} before {}", node.name, graph.name(value)));
        }
        seen.extend(node.outputs.iter().flatten());
    }
    Ok(())
}

#[test]
fn a_loop_may_stop_by_its_own_constant() {
    let mut stop = testing::tensor_attr("value", flag("", false));
    stop.name = Some("value".into());
    let graph = loop_model(3, node("Constant", "", "d", &[stop])).build().unwrap();
    assert_eq!(ops(&graph).iter().filter(|op| **op == "Add").count(), 1);
}

#[test]
fn a_loop_may_stop_by_its_counter() {
    let until = |last: i64| {
        let compare = node("Less", "i last", "d", &[]);
        with_scalar(loop_model(9, compare), "last", last).build().unwrap()
    };
    let adds = |graph: &Graph| ops(graph).iter().filter(|op| **op == "Add").count();
    // The step of number i goes on if i < last.
    for (last, steps) in [(-1, 1), (0, 1), (3, 4), (20, 9)] {
        assert_eq!(adds(&until(last)), steps, "until {last}");
    }
    // A counter of its own, which ends at 4, as a while loop is exported.
    let nodes = vec![node("Add", "n one", "n1", &[]), node("Less", "n1 last", "d", &[]), node("Mul", "h w", "g", &[])];
    let steps = part(&["i:i64[]", "c:bool[]", "n:i64[]", "h:f32[2]"], nodes, &["d:bool[]", "n1:i64[]", "g:f32[2]"]);
    let model = Model::new(17, &["x:f32[2]"], &["y:f32[2]"]).weight("w", &[2]).node(
        "Loop",
        "m go zero x",
        "n_last y",
        &[body("body", steps)],
    );
    let numbers = [("m", i64::MAX), ("zero", 0), ("one", 1), ("last", 4)];
    let model = numbers.into_iter().fold(model, |model, (name, x)| with_scalar(model, name, x));
    let graph = with_flag(model, "go", true).build().unwrap();
    assert_eq!(ops(&graph).iter().filter(|op| **op == "Mul").count(), 4);
}

#[test]
fn loops_that_make_too_much_are_refused() {
    for trips in [1 << 40, i64::MAX] {
        let problem = loop_model(trips, node("Identity", "c", "d", &[])).build().unwrap_err().to_string();
        assert!(problem.contains("n_y") && problem.contains("more than"), "{problem}");
    }
    // Each level runs the one below it 64 times.
    let mut nodes = vec![node("Relu", "h", "g", &[])];
    for level in 0..8 {
        let inner = part(
            &["i:i64[]", "c:bool[]", "h:f32[2]"],
            [nodes, vec![node("Identity", "c", "d", &[])]].concat(),
            &["d:bool[]", "g:f32[2]"],
        );
        let input = if level == 7 { "m go x" } else { "m go h" };
        nodes = vec![node("Loop", input, if level == 7 { "y" } else { "g" }, &[body("body", inner)])];
    }
    let mut model = with_flag(with_scalar(Model::new(17, &["x:f32[2]"], &["y:f32[2]"]), "m", 64), "go", true);
    model.graph().node = nodes;
    assert!(model.build().unwrap_err().to_string().contains("more than"));
}

#[test]
fn a_body_that_does_not_fit_is_an_error() {
    let steps = part(&["i:i64[]", "c:bool[]"], vec![], &["c:bool[]"]);
    let model = Model::new(17, &["x:f32[2]"], &["y:f32[2]"]).node("Loop", "m go x", "y", &[body("body", steps)]);
    let problem = with_flag(with_scalar(model, "m", 2), "go", true).build().unwrap_err().to_string();
    assert!(problem.contains("`body` has 2 inputs") && problem.contains("Loop-17"), "{problem}");
}

fn scan_model(opset: i64, input: &str) -> Model {
    let nodes = vec![node("Add", "h a", "g", &[]), node("Mul", "g w", "s", &[])];
    let steps = part(&["h:f32[2]", "a:f32[2]"], nodes, &["g:f32[2]", "s:f32[2]"]);
    Model::new(opset, &[input], &["y:f32[2]", "z:f32[2,3]"]).weight("w", &[2]).weight("h0", &[2]).node(
        "Scan",
        "h0 x",
        "y z",
        &[
            body("body", steps),
            int("num_scan_inputs", 1),
            ints("scan_input_axes", &[-1]),
            ints("scan_input_directions", &[1]),
            ints("scan_output_axes", &[1]),
        ],
    )
}

#[test]
fn a_scan_of_known_length_is_written_out() {
    let graph = scan_model(17, "x:f32[2,3]").build().unwrap();
    assert_eq!(order_of(&graph), Ok(()));
    let count = |op: &str| ops(&graph).iter().filter(|name| **name == op).count();
    assert_eq!((count("Split"), count("Squeeze"), count("Add"), count("Concat"), count("Scan")), (1, 3, 3, 1, 0));
    let split = &graph.nodes[0];
    assert_eq!(graph.initializers[&split.input(1).unwrap()].tensor.to_i64().unwrap(), [1, 1, 1]);
    let squeezed: Vec<&Node> = graph.nodes.iter().filter(|node| node.is("Squeeze")).collect();
    let adds: Vec<&Node> = graph.nodes.iter().filter(|node| node.is("Add")).collect();
    assert_eq!(adds[0].input(1), squeezed[2].output(0), "backwards, the last slice comes first");
    assert_eq!(adds[0].input(0), Some(graph.id("h0")));
    assert_eq!(origin(&graph, graph.id("y")), "n_y/2/g");

    let old = scan_model(11, "x:f32[2,3]").build().unwrap();
    assert_eq!(old.nodes[0].opt_ints("split").unwrap().unwrap(), [1, 1, 1]);
    assert_eq!(old.nodes[1].opt_ints("axes").unwrap().unwrap(), [-1]);
    assert_eq!(ops(&scan_model(17, "x:f32[2,n]").build().unwrap()), ["Scan"], "the length is open");
}

#[test]
fn a_scan_of_version_8_is_written_out_row_by_row() {
    let model = |input: &str, lens: &str| {
        let nodes = vec![node("Add", "h a", "g", &[]), node("Mul", "g w", "s", &[])];
        let steps = part(&["h:f32[2]", "a:f32[2]"], nodes, &["g:f32[2]", "s:f32[2]"]);
        let scan = [body("body", steps), int("num_scan_inputs", 1), ints("directions", &[1])];
        Model::new(8, &[input], &["y:f32[2,2]", "z:f32[2,3,2]"])
            .weight("w", &[2])
            .weight("h0", &[2, 2])
            .longs("lens", &[3, 3])
            .longs("short", &[3, 2])
            .node("Scan", &format!("{lens} h0 x"), "y z", &scan)
    };
    let graph = model("x:f32[2,3,2]", "lens").build().unwrap();
    assert_eq!(order_of(&graph), Ok(()));
    let count = |op: &str| ops(&graph).iter().filter(|name| **name == op).count();
    // Two rows of three steps; states and inputs are split by rows, then the inputs by steps.
    assert_eq!((count("Add"), count("Mul"), count("Split"), count("Concat"), count("Scan")), (6, 6, 4, 4, 0));
    for (input, lens) in [("x:f32[n,3,2]", "lens"), ("x:f32[2,3,2]", "short")] {
        assert_eq!(ops(&model(input, lens).build().unwrap()), ["Scan"], "{input} {lens}");
    }
}
