use super::*;
use crate::graph::{fold, testing::Model};

/// The operators of the graph with nodes fused.
fn fused(model: &Model, wanted: &[&str]) -> Vec<String> {
    let graph = model.build().unwrap();
    let wanted: Vec<ValueId> = wanted.iter().map(|name| graph.id(name)).collect();
    fuse(&graph, &fold::constants(&graph), &wanted, true).nodes.iter().map(|node| node.op_type.clone()).collect()
}

/// A model with these scalars among its constants.
fn model(inputs: &[&str], outputs: &[&str]) -> Model {
    let numbers = [("root", 2f32.sqrt()), ("inverse", 0.5f32.sqrt()), ("one", 1.0), ("half", 0.5), ("two", 2.0)];
    numbers.iter().fold(Model::new(17, inputs, outputs), |model, (name, x)| model.constant(name, &[], vec![*x]))
}

#[test]
fn gelu_is_found_in_any_order_of_its_factors() {
    let forms: [&[(&str, &str, &str)]; 4] = [
        &[
            ("Div", "x root", "a"),
            ("Erf", "a", "b"),
            ("Add", "b one", "c"),
            ("Mul", "x c", "d"),
            ("Mul", "d half", "y"),
        ],
        &[
            ("Mul", "inverse x", "a"),
            ("Erf", "a", "b"),
            ("Add", "one b", "c"),
            ("Mul", "c half", "d"),
            ("Mul", "d x", "y"),
        ],
        &[
            ("Mul", "x half", "h"),
            ("Div", "x root", "a"),
            ("Erf", "a", "b"),
            ("Add", "b one", "c"),
            ("Mul", "h c", "y"),
        ],
        &[("Div", "x root", "a"), ("Erf", "a", "b"), ("Add", "b one", "c"), ("Div", "x two", "h"), ("Mul", "c h", "y")],
    ];
    for nodes in forms {
        let gelu =
            nodes.iter().fold(model(&["x:f32[2,3]"], &["y"]), |model, (op, from, to)| model.node(op, from, to, &[]));
        assert_eq!(fused(&gelu, &["y"]), ["Gelu"], "{nodes:?}");
        assert_eq!(fused(&gelu, &["y", "b"]).len(), 5, "the value of the error function is wanted: {nodes:?}");
    }
}

#[test]
fn what_is_nearly_gelu_stays() {
    let chain = |inner: (&str, &str), plus: &str, last: (&str, &str)| {
        let model =
            model(&["x:f32[2,3]", "z:f32[2,3]"], &["y"]).node(inner.0, inner.1, "a", &[]).node("Erf", "a", "b", &[]);
        model.node("Add", plus, "c", &[]).node("Mul", "x c", "d", &[]).node(last.0, last.1, "y", &[])
    };
    assert_eq!(fused(&chain(("Div", "x root"), "b one", ("Mul", "d half")), &["y"]), ["Gelu"]);
    for (inner, plus, last) in [
        (("Div", "root x"), "b one", ("Mul", "d half")),
        (("Div", "x two"), "b one", ("Mul", "d half")),
        (("Div", "z root"), "b one", ("Mul", "d half")),
        (("Div", "x root"), "b half", ("Mul", "d half")),
        (("Div", "x root"), "b one", ("Mul", "d two")),
        (("Div", "x root"), "b one", ("Mul", "d d")),
        (("Div", "x root"), "b one", ("Relu", "d")),
    ] {
        assert_eq!(fused(&chain(inner, plus, last), &["y"]).len(), 5, "{inner:?} {plus:?} {last:?}");
    }
}

#[test]
fn products_take_their_bias_and_activation() {
    let start =
        || Model::new(17, &["x:f32[2,5,4]"], &["y"]).weight("w", &[4, 3]).weight("b", &[3]).weight("m", &[5, 3]);
    let product = start().node("MatMul", "x w", "p", &[]);
    let whole = product.clone().node("Add", "b p", "s", &[]).node("Relu", "s", "y", &[]);
    assert_eq!(fused(&whole, &["y"]), ["FusedGemm"]);
    assert_eq!(fused(&whole, &["y", "s"]), ["FusedGemm", "Relu"]);
    assert_eq!(fused(&whole, &["y", "p"]), ["MatMul", "Add", "Relu"]);
    let matrix = product.node("Add", "m p", "y", &[]);
    assert_eq!(fused(&matrix, &["y"]), ["MatMul", "Add"], "the bias is not of one axis");
    let gemm = Model::new(17, &["x:f32[2,4]"], &["y"]).weight("w", &[4, 3]).node("Gemm", "x w", "p", &[]);
    assert_eq!(fused(&gemm.clone().node("Tanh", "p", "y", &[]), &["y"]), ["FusedGemm"]);
    assert_eq!(fused(&gemm.node("Abs", "p", "y", &[]), &["y"]), ["Gemm", "Abs"]);
}
