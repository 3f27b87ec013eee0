use super::*;
use crate::{
    graph::testing::{self, Model, body, int, ints, node, opset, reference, string, tensor_attr, value},
    onnx::{ReadOptions, proto::attribute_proto::AttributeType},
};
use prost::Message;

fn ops(graph: &Graph) -> Vec<&str> {
    graph.nodes.iter().map(|node| node.op_type.as_str()).collect()
}

fn error(model: &Model) -> String {
    let error = model.build().expect_err("this model is broken");
    assert_eq!(error.exit_code(), 3, "{error}");
    error.to_string()
}

fn function(name: &str, inputs: &[&str], outputs: &[&str], nodes: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: Some(name.into()),
        domain: Some("local".into()),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: outputs.iter().map(ToString::to_string).collect(),
        node: nodes,
        opset_import: vec![opset("", 17)],
        ..Default::default()
    }
}

fn call(name: &str, inputs: &str, outputs: &str, attrs: &[crate::onnx::proto::AttributeProto]) -> NodeProto {
    NodeProto { domain: Some("local".into()), ..node(name, inputs, outputs, attrs) }
}

fn calling(functions: Vec<FunctionProto>, calls: Vec<NodeProto>) -> Model {
    let mut model = Model::new(17, &["x:f32[2]"], &["y:f32[2]"]);
    model.proto.opset_import.push(opset("local", 1));
    model.proto.functions = functions;
    model.graph().node.extend(calls);
    model
}

#[test]
fn nodes_are_put_in_order_and_inputs_that_are_initializers_are_not_fed() {
    let mut model = Model::new(17, &["x:f32[batch,4]", "w:f32[4,3]"], &["y:f32[batch,3]"])
        .node("Relu", "h", "y", &[])
        .node("MatMul", "x w", "h", &[])
        .weight("w", &[4, 3]);
    model.proto.ir_version = Some(3);
    let graph = model.build().unwrap();
    assert_eq!(ops(&graph), ["MatMul", "Relu"]);
    assert_eq!(graph.inputs, [graph.id("x")]);
    let stored = &graph.initializers[&graph.id("w")];
    assert_eq!((stored.tensor.dims(), stored.stored_as.as_deref()), (&[4, 3][..], Some("w")));
    assert_eq!(graph.values[graph.id("x").0].ty.as_ref().unwrap().dims.as_ref().unwrap().len(), 2);
    assert_eq!(graph.nodes[0].opset, 17);
}

#[test]
fn a_file_is_read_through_its_decoder() {
    let model = Model::new(17, &["x:f32[2]"], &["y:f32[2]"]).node("Add", "x b", "y", &[]).weight("b", &[2]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), model.proto.encode_to_vec()).unwrap();
    let graph = build(&OnnxFile::open(file.path(), &ReadOptions::default()).unwrap()).unwrap();
    assert_eq!(graph.initializers[&graph.id("b")].tensor.to_f32(), [-0.3, 0.01 - 0.3]);
}

#[test]
fn broken_graphs_are_refused_by_place() {
    let base = || Model::new(17, &["x:f32[2]"], &["y:f32[2]"]);
    let cycle = base().node("Add", "x b", "a", &[]).node("Add", "x a", "b", &[]).node("Relu", "b", "y", &[]);
    let text = error(&cycle);
    assert!(text.contains("cycle") && text.contains("n_a, n_b"), "{text}");
    let text = error(&base().node("Add", "x nowhere", "y", &[]));
    assert!(text.contains("n_y") && text.contains("`nowhere` is not defined"), "{text}");
    let text = error(&base().node("Relu", "x", "y", &[]).node("Tanh", "x", "y", &[]));
    assert!(text.contains("`y`") && text.contains("defined before"), "{text}");
    assert!(error(&base().node("Relu", "x", "x", &[])).contains("defined before"));
    assert!(error(&base().node("Relu", "x", "z", &[])).contains("output `y`"));
    assert!(error(&base().node("", "x", "y", &[])).contains("no operator"));
    let twice = base().node("Elu", "x", "y", &[int("alpha", 1), int("alpha", 2)]);
    assert!(error(&twice).contains("`alpha` is given twice"));
    let mut model = base().node("Relu", "x", "y", &[]);
    model.graph().input.push(value("x:f32[2]"));
    assert!(error(&model).contains("input `x`"));
    let mut model = base().node("Relu", "x", "y", &[]);
    model.graph().node[0].domain = Some("com.unknown".into());
    assert!(error(&model).contains("`com.unknown` is not in opset_import"));
    model.proto.graph = None;
    assert!(error(&model).contains("no graph"));
}

#[test]
fn operator_sets_are_those_of_each_domain() {
    let mut model = Model::new(17, &["x:f32[2]"], &["y:f32[2]"]).node("Relu", "x", "h", &[]);
    model.graph().node.push(NodeProto { domain: Some("com.microsoft".into()), ..node("Gelu", "h", "y", &[]) });
    model.proto.opset_import = vec![opset("ai.onnx", 13), opset("com.microsoft", 1)];
    let graph = model.build().unwrap();
    assert_eq!(
        graph.nodes.iter().map(|n| (n.domain.as_str(), n.opset)).collect::<Vec<_>>(),
        [("", 13), ("com.microsoft", 1)]
    );
    model.proto.opset_import = vec![opset("", NEWEST_OPSET + 1)];
    let text = error(&model);
    assert!(text.contains(&format!("opset {}", NEWEST_OPSET + 1)) && text.contains("newest"), "{text}");
    model.proto.opset_import = vec![opset("", 13), opset("ai.onnx", 14)];
    assert!(error(&model).contains("two versions"));
    model.proto.opset_import = vec![opset("", 0)];
    assert!(error(&model).contains("version 0"));
    // Before IR version 3, the default operator set is version 1 if nothing is said.
    let mut old = Model::new(1, &["x:f32[2]"], &["y:f32[2]"]).node("Relu", "x", "y", &[]);
    old.proto.opset_import.clear();
    assert!(error(&old).contains("not in opset_import"));
    old.proto.ir_version = Some(2);
    assert_eq!(old.build().unwrap().nodes[0].opset, 1);
    old.proto.ir_version = None;
    assert!(error(&old).contains("ir_version"));
}

#[test]
fn constants_of_all_forms_become_initializers() {
    let constant = |output: &str, attr: crate::onnx::proto::AttributeProto| node("Constant", "", output, &[attr]);
    let mut model = Model::new(17, &["x:f32[2]"], &["y:f32[2]"]).node("Add", "x c", "y", &[]);
    let plain = crate::onnx::proto::AttributeProto::default;
    let sparse = crate::onnx::proto::SparseTensorProto {
        values: Some(testing::floats("v", &[2], vec![5.0, 7.0])),
        indices: Some(testing::longs("i", &[2, 2], &[0, 1, 1, 0])),
        dims: vec![2, 2],
    };
    model.graph().node.extend([
        constant("c", tensor_attr("value", testing::floats("", &[2], vec![1.0, 2.0]))),
        constant(
            "f",
            crate::onnx::proto::AttributeProto {
                name: Some("value_float".into()),
                f: Some(2.5),
                r#type: Some(AttributeType::Float.into()),
                ..plain()
            },
        ),
        constant("i", ints("value_ints", &[3, 4])),
        constant("j", int("value_int", 9)),
        constant("s", string("value_string", "text")),
        constant(
            "m",
            crate::onnx::proto::AttributeProto {
                name: Some("sparse_value".into()),
                sparse_tensor: Some(Box::new(sparse.clone())),
                r#type: Some(AttributeType::SparseTensor.into()),
                ..plain()
            },
        ),
    ]);
    let graph = model.build().unwrap();
    assert_eq!(ops(&graph), ["Add"]);
    let held = |name: &str| graph.initializers[&graph.id(name)].clone();
    assert_eq!(held("c").stored_as.as_deref(), Some("c"));
    assert_eq!(held("f").tensor.to_f64(), [2.5]);
    assert_eq!(held("f").stored_as.as_deref(), Some("f"));
    assert_eq!(held("i").tensor.to_i64().unwrap(), [3, 4]);
    assert_eq!((held("j").tensor.to_i64().unwrap(), held("j").tensor.dims().len()), (vec![9], 0));
    assert_eq!(held("m").tensor.to_f64(), [0.0, 5.0, 7.0, 0.0]);
    assert!(graph.opaque.contains_key(&graph.id("s")), "a string constant hurts only where it is used");
    assert_eq!(graph.constant_nodes.len(), 6);

    let mut wrong = sparse.clone();
    wrong.indices = Some(testing::longs("i", &[2, 2], &[0, 1, 2, 0]));
    model.graph().sparse_initializer.push(wrong);
    assert!(error(&model).contains("out of range"));
    let mut huge = sparse;
    huge.dims = vec![1 << 20, 1 << 20];
    model.graph().sparse_initializer = vec![huge];
    assert!(error(&model).contains("too sparse"));
}

#[test]
fn functions_are_inlined_with_their_attributes() {
    let mut inner = function(
        "Scale",
        &["a", "b"],
        &["r"],
        vec![
            node("Constant", "", "k", &[reference("value_float", "by", AttributeType::Float)]),
            node("Mul", "a k", "m", &[]),
            node("Clip", "m b", "r", &[]),
        ],
    );
    inner.attribute_proto.push(crate::onnx::proto::AttributeProto {
        name: Some("by".into()),
        f: Some(2.0),
        r#type: Some(AttributeType::Float.into()),
        ..Default::default()
    });
    let mut outer = function(
        "Twice",
        &["a"],
        &["r", "same"],
        vec![call("Scale", "h", "r", &[reference("by", "factor", AttributeType::Float)]), call("Scale", "a", "h", &[])],
    );
    outer.attribute.push("factor".into());
    outer.output[1] = "a".into();
    outer.opset_import = vec![opset("", 13), opset("local", 1)];
    let three = crate::onnx::proto::AttributeProto {
        name: Some("factor".into()),
        f: Some(3.0),
        r#type: Some(AttributeType::Float.into()),
        ..Default::default()
    };
    let model =
        calling(vec![inner, outer], vec![call("Twice", "x", "h same", &[three]), node("Add", "h same", "y", &[])]);
    let graph = model.build().unwrap();
    assert_eq!(ops(&graph), ["Mul", "Clip", "Mul", "Clip", "Identity", "Add"]);
    let factors: Vec<f64> = graph.initializers.values().map(|stored| stored.tensor.to_f64()[0]).collect();
    assert!(factors.contains(&2.0) && factors.contains(&3.0), "default and given: {factors:?}");
    assert!(graph.initializers.values().all(|stored| stored.stored_as.is_none()));
    assert_eq!(graph.nodes[1].inputs.len(), 1, "an input that the caller leaves out is left out inside");
    assert_eq!((graph.nodes[4].opset, graph.nodes[1].opset), (13, 17), "each function imports its own");
    assert!(graph.nodes[0].name.starts_with("n_h/n_h/"), "{}", graph.nodes[0].name);
    assert_eq!(graph.nodes[5].input(0), Some(graph.id("h")));
}

#[test]
fn functions_that_cannot_be_inlined_are_refused() {
    let recursive = function("F", &["a"], &["r"], vec![call("F", "a", "r", &[])]);
    assert!(error(&calling(vec![recursive], vec![call("F", "x", "y", &[])])).contains("calls itself"));
    let missing = function("F", &["a"], &["r"], vec![node("Relu", "a", "s", &[])]);
    assert!(error(&calling(vec![missing], vec![call("F", "x", "y", &[])])).contains("makes its output `r`"));
    let plain = || function("F", &["a"], &["r"], vec![node("Relu", "a", "r", &[])]);
    assert!(error(&calling(vec![plain()], vec![call("F", "x x", "y", &[])])).contains("more inputs"));
    assert!(error(&calling(vec![plain()], vec![call("F", "x", "y", &[int("k", 1)])])).contains("no attribute `k`"));
    assert!(error(&calling(vec![plain(), plain()], vec![call("F", "x", "y", &[])])).contains("defined twice"));
    // Functions that double at each of many levels: few bytes, endless nodes.
    let bomb: Vec<FunctionProto> = (0..30)
        .map(|level| {
            let below = |input: &str, output: &str| match level {
                0 => node("Relu", input, output, &[]),
                _ => call(&format!("F{}", level - 1), input, output, &[]),
            };
            function(&format!("F{level}"), &["a"], &["r"], vec![below("a", "h"), below("h", "r")])
        })
        .collect();
    assert!(error(&calling(bomb, vec![call("F29", "x", "y", &[])])).contains("more than"));
    let deep: Vec<FunctionProto> = (0..60)
        .map(|level| {
            let below = match level {
                0 => node("Relu", "a", "r", &[]),
                _ => call(&format!("F{}", level - 1), "a", "r", &[]),
            };
            function(&format!("F{level}"), &["a"], &["r"], vec![below])
        })
        .collect();
    assert!(error(&calling(deep, vec![call("F59", "x", "y", &[])])).contains("deeper"));
}

#[test]
fn bodies_capture_from_outside() {
    let inner = GraphProto {
        output: vec![value("t")],
        node: vec![node("Mul", "x w", "p", &[]), node("Add", "p h", "t", &[])],
        initializer: vec![testing::floats("w", &[2], vec![1.0, 2.0])],
        ..Default::default()
    };
    let other = GraphProto { output: vec![value("h")], ..Default::default() };
    let model = Model::new(17, &["x:f32[2]", "c:bool[]"], &["y:f32[2]"])
        .node("If", "c", "y", &[body("then_branch", inner), body("else_branch", other)])
        .node("Relu", "x", "h", &[]);
    let graph = model.build().unwrap();
    assert_eq!(ops(&graph), ["Relu", "If"], "what a body captures comes first");
    let then = graph.nodes[1].graph("then_branch").unwrap();
    assert_eq!(then.captured, [graph.id("x"), graph.id("h")]);
    assert_eq!(then.inputs.iter().map(|v| then.name(*v)).collect::<Vec<_>>(), ["x", "h"]);
    let places: Vec<_> = then.initializers.values().map(|stored| stored.stored_as.as_deref()).collect();
    assert_eq!(places, [Some("y/then_branch/w")]);
    let otherwise = graph.nodes[1].graph("else_branch").unwrap();
    assert_eq!(
        (otherwise.captured.as_slice(), otherwise.outputs.as_slice()),
        (&[graph.id("h")][..], &otherwise.inputs[..])
    );
    assert_eq!(graph.ancestors(&[graph.id("y")]).len(), 2);
    let lost = GraphProto { output: vec![value("gone")], ..Default::default() };
    let broken = Model::new(17, &["c:bool[]"], &["y:f32[2]"]).node("If", "c", "y", &[body("then_branch", lost)]);
    assert!(error(&broken).contains("`gone` is not defined"));
}

#[test]
fn attributes_are_read_by_kind() {
    let model = Model::new(17, &["x:f32[2]"], &["y:f32[2]"]).node(
        "Op",
        "x _ x _",
        "y",
        &[int("axis", -1), ints("pads", &[1, 2]), string("mode", "same")],
    );
    let graph = model.build().unwrap();
    let node = &graph.nodes[0];
    assert_eq!(node.inputs, [Some(graph.id("x")), None, Some(graph.id("x"))], "trailing ones left out are absent");
    assert_eq!((node.int("axis", None).unwrap(), node.int("other", Some(3)).unwrap()), (-1, 3));
    assert_eq!(node.opt_ints("pads").unwrap().unwrap(), [1, 2]);
    assert_eq!(node.string("mode", None).unwrap(), "same");
    let wrong = node.opt_ints("axis").unwrap_err().to_string();
    assert!(wrong.contains("n_y") && wrong.contains("Op-17") && wrong.contains("`axis` must be a list"), "{wrong}");
    assert!(node.int("alpha", None).unwrap_err().to_string().contains("`alpha` is missing"));
    assert!(node.require_known(&["axis", "pads"]).unwrap_err().to_string().contains("`mode`"));
    assert!(node.require_known(&["axis", "pads", "mode"]).is_ok());
}

#[test]
fn pruning_keeps_what_the_outputs_need() {
    let graph = Model::new(17, &["x:f32[2]", "z:f32[2]"], &["y:f32[2]", "t:f32[2]"])
        .node("Add", "x a", "y", &[])
        .node("Add", "z b", "t", &[])
        .weight("a", &[2])
        .weight("b", &[2])
        .build()
        .unwrap();
    let pruned = graph.prune(&[graph.id("y")]);
    assert_eq!((pruned.nodes.len(), pruned.inputs.as_slice()), (1, &[graph.id("x")][..]));
    assert_eq!(pruned.initializers.keys().collect::<Vec<_>>(), [&graph.id("a")]);
}

#[test]
fn a_constant_has_an_attribute_of_a_known_name() {
    let constant = |attr: crate::onnx::proto::AttributeProto| {
        Model::new(17, &["x:f32[2]"], &["y:f32[2]"]).node("Constant", "", "c", &[attr]).node("Add", "x c", "y", &[])
    };
    let tensor = || testing::floats("", &[2], vec![1.0, 2.0]);
    let graph = constant(tensor_attr("value", tensor())).build().unwrap();
    assert_eq!(graph.initializers[&graph.id("c")].stored_as.as_deref(), Some("c"));
    for attr in [tensor_attr("valu", tensor()), tensor_attr("value_floats", tensor()), int("value", 3)] {
        let name = attr.name().to_string();
        assert!(error(&constant(attr)).contains(&format!("no attribute `{name}`")));
    }
}
