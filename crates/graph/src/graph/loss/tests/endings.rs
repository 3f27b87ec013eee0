use super::super::{
    LabelKind::{Binary, Class, MultiLabel, Unknown, Value},
    LossKind::{Bce, CrossEntropy, Mse},
    *,
};
use crate::{
    graph::testing::{Model, int, ints, string},
    label_facts::LabelFacts,
};

/// Logits `h` of x (batch, 4), of which `tail` makes `y`.
fn classifier(classes: i64, output: &str, tail: impl Fn(Model) -> Model) -> Graph {
    let model = Model::new(17, &["x:f32[batch,4]"], &[output])
        .node("Gemm", "x w b", "h", &[])
        .weight("w", &[4, classes])
        .weight("b", &[classes])
        .floats("hundred", &[], vec![100.0])
        .floats("low", &[], vec![1e-7])
        .floats("high", &[], vec![1.0 - 1e-7])
        .floats("zero", &[], vec![0.0])
        .floats("one", &[], vec![1.0])
        .floats("half", &[], vec![0.5])
        .floats("minus", &[], vec![-1.0])
        .longs("i0", &[0])
        .longs("i1", &[1])
        .longs("i2", &[2])
        .longs("last", &[-1]);
    tail(model).build().unwrap()
}

fn seen(graph: &Graph, label: LabelKind) -> Option<LossKind> {
    let plan = plan(graph, None, label).unwrap();
    (graph.name(plan.scores) == "h").then_some(plan.kind)
}

#[test]
fn what_follows_a_softmax_is_seen_through() {
    let tails: [(&str, fn(Model) -> Model); 13] = [
        ("clip", |m| m.node("Softmax", "h", "p", &[]).node("Clip", "p low high", "y", &[])),
        ("percent", |m| m.node("Softmax", "h", "p", &[]).node("Mul", "hundred p", "y", &[])),
        ("log, exp", |m| m.node("LogSoftmax", "h", "p", &[]).node("Exp", "p", "y", &[])),
        ("log of a sum", |m| {
            m.node("Softmax", "h", "p", &[]).node("Add", "p low", "q", &[]).node("Log", "q", "y", &[])
        }),
        ("guard", |m| {
            m.node("Softmax", "h", "p", &[]).node("IsNaN", "p", "c", &[]).node("Where", "c zero p", "y", &[])
        }),
        ("renormalized", |m| {
            m.node("Softmax", "h", "p", &[])
                .node("Clip", "p low high", "q", &[])
                .node("ReduceSum", "q last", "s", &[])
                .node("Div", "q s", "y", &[])
        }),
        ("written out", |m| {
            m.node("ReduceMax", "h", "m", &[ints("axes", &[-1])])
                .node("Sub", "h m", "s", &[])
                .node("Exp", "s", "e", &[])
                .node("ReduceSum", "e last", "t", &[])
                .node("Div", "e t", "y", &[])
        }),
        ("written out as JAX does it, with axes put back", |m| {
            m.node("ReduceMax", "h", "m", &[ints("axes", &[1]), int("keepdims", 0)])
                .node("Max", "minus m", "guarded", &[])
                .node("Unsqueeze", "guarded i1", "back", &[])
                .node("Sub", "h back", "s", &[])
                .node("Exp", "s", "e", &[])
                .node("ReduceSum", "e i1", "t", &[int("keepdims", 0)])
                .node("Unsqueeze", "t i1", "total", &[])
                .node("Div", "e total", "y", &[])
        }),
        ("written out without the maximum", |m| {
            m.node("Exp", "h", "e", &[]).node("ReduceSum", "e i1", "t", &[]).node("Reciprocal", "t", "r", &[]).node(
                "Mul",
                "e r",
                "y",
                &[],
            )
        }),
        ("written-out logarithm", |m| {
            m.node("ReduceLogSumExp", "h", "t", &[ints("axes", &[1])]).node("Sub", "h t", "y", &[])
        }),
        ("split and joined", |m| m.node("Softmax", "h", "p", &[]).node("Dropout", "p", "y", &[])),
        ("negated twice", |m| {
            m.node("Softmax", "h", "p", &[]).node("Neg", "p", "q", &[]).node("Sub", "one q", "y", &[])
        }),
        ("bounds", |m| m.node("Softmax", "h", "p", &[]).node("Max", "p low", "q", &[]).node("Min", "q high", "y", &[])),
    ];
    for (what, tail) in tails {
        let graph = classifier(3, "y:f32[batch,3]", tail);
        assert_eq!(seen(&graph, Class), Some(CrossEntropy), "{what}");
    }
    let negative =
        classifier(3, "y:f32[batch,3]", |m| m.node("Softmax", "h", "p", &[]).node("Mul", "p minus", "y", &[]));
    assert_eq!(seen(&negative, Class), None, "the lowest is the answer");
}

#[test]
fn what_follows_a_sigmoid_is_seen_through() {
    let tails: [(&str, &str, fn(Model) -> Model); 9] = [
        ("clip", "y:f32[batch,1]", |m| m.node("Sigmoid", "h", "p", &[]).node("Clip", "p low high", "y", &[])),
        ("percent", "y:f32[batch,1]", |m| m.node("Sigmoid", "h", "p", &[]).node("Mul", "p hundred", "y", &[])),
        ("flat", "y:f32[batch]", |m| m.node("Sigmoid", "h", "p", &[]).node("Reshape", "p last", "y", &[])),
        ("flattened by its shape", "y:f32[batch]", |m| {
            m.node("Sigmoid", "h", "p", &[])
                .node("Shape", "p", "s", &[])
                .node("Slice", "s i0 i0 i0", "none", &[])
                .node("Concat", "none last", "t", &[int("axis", 0)])
                .node("Reshape", "p t", "y", &[])
        }),
        ("written out", "y:f32[batch,1]", |m| {
            m.node("Neg", "h", "n", &[]).node("Exp", "n", "e", &[]).node("Add", "one e", "s", &[]).node(
                "Div",
                "one s",
                "y",
                &[],
            )
        }),
        ("as a tanh", "y:f32[batch,1]", |m| {
            m.node("Mul", "h half", "a", &[]).node("Tanh", "a", "t", &[]).node("Add", "t one", "s", &[]).node(
                "Mul",
                "s half",
                "y",
                &[],
            )
        }),
        ("both classes", "y:f32[batch,2]", |m| {
            m.node("Sigmoid", "h", "p", &[]).node("Sub", "one p", "q", &[]).node(
                "Concat",
                "q p",
                "y",
                &[int("axis", 1)],
            )
        }),
        ("column of both", "y:f32[batch,1]", |m| {
            m.node("Sigmoid", "h", "p", &[])
                .node("Sub", "one p", "q", &[])
                .node("Concat", "q p", "both", &[int("axis", 1)])
                .node("Slice", "both i1 i2 i1", "y", &[])
        }),
        ("decided", "y:f32[batch,1]", |m| {
            m.node("Sigmoid", "h", "p", &[]).node("Greater", "p half", "d", &[]).node("Cast", "d", "y", &[int("to", 1)])
        }),
    ];
    for (what, output, tail) in tails {
        assert_eq!(seen(&classifier(1, output, tail), Binary), Some(Bce), "{what}");
    }
    let scaled = classifier(1, "y:f32[batch,1]", tails[1].2);
    assert_eq!(plan(&scaled, None, Value).unwrap().scores, scaled.id("y"), "a bounded value is fitted as it is");
}

#[test]
fn a_slice_at_the_end_of_the_integers_takes_no_column() {
    let sliced = classifier(1, "y:f32[batch,1]", |m| {
        m.longs("largest", &[i64::MAX])
            .longs("smallest", &[i64::MIN])
            .node("Sigmoid", "h", "p", &[])
            .node("Sub", "one p", "q", &[])
            .node("Concat", "q p", "both", &[int("axis", 1)])
            .node("Slice", "both largest smallest i1", "y", &[])
    });
    let error = plan(&sliced, None, Binary).unwrap_err();
    assert!(error.to_string().contains("made of probabilities"), "{error}");
}

#[test]
fn probabilities_that_cannot_be_seen_through_are_refused_as_logits() {
    let mean = classifier(3, "y:f32[batch,3]", |m| {
        m.node("Relu", "h", "g", &[])
            .node("Softmax", "h", "p", &[])
            .node("Softmax", "g", "q", &[])
            .node("Add", "p q", "s", &[])
            .node("Mul", "s half", "y", &[])
    });
    let complement =
        classifier(1, "y:f32[batch,1]", |m| m.node("Sigmoid", "h", "p", &[]).node("Sub", "one p", "y", &[]));
    let product = classifier(3, "y:f32[batch,3]", |m| {
        m.node("Softmax", "h", "p", &[]).node("Sigmoid", "h", "q", &[]).node("Mul", "p q", "y", &[])
    });
    for (graph, label) in [(&mean, Class), (&complement, Binary), (&product, Class), (&product, MultiLabel)] {
        let error = plan(graph, None, label).unwrap_err().to_string();
        assert!(error.contains("made of probabilities") && error.contains("logits"), "{error}");
        assert_eq!(plan(graph, None, Unknown).unwrap().kind, Mse);
        assert_eq!(plan(graph, Some(Mse), Value).unwrap().kind, Mse);
    }
    let logits = classifier(3, "y:f32[batch,3]", |m| {
        m.node("Relu", "h", "g", &[]).node("Add", "h g", "s", &[]).node("Mul", "s half", "t", &[]).node(
            "Softmax",
            "t",
            "y",
            &[],
        )
    });
    assert_eq!(graph_name(&logits, Class), "t", "the mean of logits has logits");
}

fn graph_name(graph: &Graph, label: LabelKind) -> &str {
    graph.name(plan(graph, None, label).unwrap().scores)
}

#[test]
fn columns_of_one_answer_are_one_head() {
    let graph = Model::new(17, &["x:f32[batch,4]"], &["i0:f32[batch,1]", "i1:f32[batch,1]"])
        .node("Gemm", "x w", "h", &[])
        .node("Sigmoid", "h", "p", &[])
        .node("Sub", "one p", "q", &[])
        .node("Concat", "q p", "both", &[int("axis", 1)])
        .node("Split", "both", "i0 i1", &[int("axis", 1)])
        .weight("w", &[4, 1])
        .floats("one", &[], vec![1.0])
        .build()
        .unwrap();
    let plan = plan(&graph, None, Binary).unwrap();
    assert_eq!((plan.kind, graph.name(plan.scores), plan.output), (Bce, "h", Some(graph.id("i1"))));
}

/// Heads as of a model of faces.
fn faces() -> Graph {
    Model::new(17, &["x:f32[batch,4]"], &["age:f32[batch,1]", "gender:f32[batch,2]", "mood:f32[batch,7]"])
        .node("Relu", "x", "r", &[])
        .node("Gemm", "r a", "age", &[])
        .node("Gemm", "r g", "gender", &[])
        .node("Gemm", "r m", "mood", &[])
        .weight("a", &[4, 1])
        .weight("g", &[4, 2])
        .weight("m", &[4, 7])
        .build()
        .unwrap()
}

fn facts(column: &str, whole: bool, highest: f64) -> Labels {
    let columns = vec![column.to_string()];
    let facts = LabelFacts { columns, whole, lowest: 0.0, highest, lists: false, width: Some(1), longest: 1 };
    Labels { kind: Unknown, facts: Some(facts) }
}

#[test]
fn the_output_that_labels_belong_to_is_told_by_them() {
    let graph = faces();
    let output = |labels: Labels, name: Option<&str>| {
        let ask = Ask { loss: None, output: name.map(str::to_string), labels, ..Ask::default() };
        plan_for(&graph, &ask).map(|plan| graph.name(plan.output.unwrap()).to_string())
    };
    assert_eq!(output(facts("label", true, 6.0), None).unwrap(), "mood");
    assert_eq!(output(facts("label", true, 1.0), None).unwrap(), "gender");
    assert_eq!(output(facts("label", false, 77.5), None).unwrap(), "age");
    assert_eq!(output(facts("age", true, 6.0), None).unwrap(), "age", "the column has the output's name");
    assert_eq!(output(facts("label", true, 1.0), Some("mood")).unwrap(), "mood");
    assert_eq!(output(facts("label", true, 1.0), Some("moods")).unwrap_err().exit_code(), 2);
    let undecided = plan(&graph, None, Unknown).unwrap().head.undecided.unwrap();
    assert!(undecided.contains("--output") && undecided.contains("`gender` [batch, 2]"), "{undecided}");
    let twins = Model::new(17, &["x:f32[batch,4]"], &["left:f32[batch,3]", "right:f32[batch,3]"])
        .node("Gemm", "x a", "left", &[])
        .node("Gemm", "x b", "right", &[])
        .weight("a", &[4, 3])
        .weight("b", &[4, 3])
        .build()
        .unwrap();
    for (labels, problem) in [(facts("label", true, 2.0), "could take"), (facts("label", false, 9.0), "fit none")] {
        let error = plan_for(&twins, &Ask { labels, ..Ask::default() }).unwrap_err();
        assert!(error.exit_code() == 3 && error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn answers_for_positions_take_labels_for_positions() {
    let tags = Model::new(17, &["x:f32[batch,7,4]"], &["y:f32[batch,7,5]"])
        .node("MatMul", "x w", "y", &[])
        .weight("w", &[4, 5])
        .build()
        .unwrap();
    for loss in [None, Some(CrossEntropy)] {
        let error = plan(&tags, loss, Class).unwrap_err().to_string();
        assert!(error.contains("the labels hold one value a row") && !error.contains("--loss mse"), "{error}");
    }
    assert_eq!(plan(&tags, None, MultiLabel).unwrap().kind, Bce, "a yes or no for each value");
    assert_eq!(plan(&tags, None, Value).unwrap().kind, Mse, "as many values are fitted");
    let looked_at = plan(&tags, None, Unknown).unwrap();
    assert!(looked_at.kind == Mse && looked_at.head.positions.is_some());
}

#[test]
fn names_of_classes_are_read() {
    let model = |attribute| {
        let mut model = Model::new(17, &["x:f32[batch,4]"], &["p:f32[batch,3]", "z:f32[batch,3]"])
            .node("Gemm", "x w", "h", &[])
            .node("Softmax", "h", "p", &[])
            .node("ZipMap", "p", "z", &[attribute])
            .weight("w", &[4, 3]);
        model.graph().node[2].domain = Some("ai.onnx.ml".into());
        model.proto.opset_import.push(crate::graph::testing::opset("ai.onnx.ml", 1));
        model.build().unwrap()
    };
    let strings = crate::onnx::proto::AttributeProto {
        strings: vec![b"cat".to_vec(), b"dog".to_vec(), b"eel".to_vec()],
        r#type: Some(crate::onnx::proto::attribute_proto::AttributeType::Strings.into()),
        ..string("classlabels_strings", "")
    };
    let names = |attribute| plan(&model(attribute), None, Class).unwrap().head.classes;
    assert_eq!(names(strings).unwrap(), ["cat", "dog", "eel"]);
    assert_eq!(names(ints("classlabels_int64s", &[1, 2, 4])).unwrap(), ["1", "2", "4"]);
    assert_eq!(names(ints("classlabels_int64s", &[0, 1, 2])), None);
}
