mod endings;
mod forms;
mod positions;

use super::*;
use crate::graph::testing::{Model, floats, int, property, string, tensor_attr};
use LabelKind::*;
use LossKind::{Bce, CrossEntropy, Mse};

/// A classifier of `classes` classes on x (batch, 4): `h` are its logits, of which `tail` makes the outputs.
fn classifier(version: i64, classes: i64, outputs: &[&str], tail: impl Fn(Model) -> Model) -> Graph {
    let model = Model::new(version, &["x:f32[batch,4]"], outputs)
        .node("Gemm", "x w b", "h", &[])
        .weight("w", &[4, classes])
        .weight("b", &[classes]);
    tail(model).build().unwrap()
}

fn planned(graph: &Graph, label: LabelKind) -> LossPlan {
    plan(graph, None, label).unwrap()
}

fn refused(graph: &Graph, asked: Option<LossKind>, label: LabelKind) -> String {
    let error = plan(graph, asked, label).expect_err("there is no such loss");
    assert_eq!(error.exit_code(), 3);
    error.to_string()
}

#[test]
fn endings_are_seen_through() {
    let tails: [(&str, fn(Model) -> Model, LossKind); 8] = [
        ("f32[batch,3]", |m| m.node("Softmax", "h", "y", &[int("axis", 1)]), CrossEntropy),
        ("f32[batch,3]", |m| m.node("Softmax", "h", "y", &[]), CrossEntropy),
        ("f32[batch,3]", |m| m.node("LogSoftmax", "h", "y", &[int("axis", -1)]), CrossEntropy),
        ("f32[batch,3]", |m| m.node("Softmax", "h", "p", &[]).node("Log", "p", "y", &[]), CrossEntropy),
        ("i64[batch]", |m| m.node("ArgMax", "h", "y", &[int("axis", 1), int("keepdims", 0)]), CrossEntropy),
        (
            "i64[batch]",
            |m| {
                m.node("Softmax", "h", "p", &[]).node("ArgMax", "p", "a", &[int("axis", -1)]).node(
                    "Cast",
                    "a",
                    "y",
                    &[int("to", 7)],
                )
            },
            CrossEntropy,
        ),
        (
            "f32[batch,3]",
            |m| m.node("Softmax", "h", "p", &[]).node("Identity", "p", "q", &[]).node("Flatten", "q", "y", &[]),
            CrossEntropy,
        ),
        ("f32[batch,3]", |m| m.node("Sigmoid", "h", "y", &[]), Bce),
    ];
    for (ty, tail, kind) in tails {
        for version in [11, 17] {
            let graph = classifier(version, 3, &[&format!("y:{ty}")], tail);
            let plan = planned(&graph, Unknown);
            assert_eq!((plan.kind, graph.name(plan.scores)), (kind, "h"), "{}", plan.why);
            assert!(!plan.seen_through.is_empty() && plan.output == Some(graph.id("y")));
            assert!(plan.why.contains("`h`") && plan.why.contains("seen through"), "{}", plan.why);
        }
    }
}

#[test]
fn softmax_before_13_is_over_all_axes_from_its_own() {
    let image = |version, attrs: Vec<crate::onnx::proto::AttributeProto>| {
        Model::new(version, &["h:f32[batch,3,1,1]"], &["y:f32[batch,3]"])
            .node("Relu", "h", "l", &[])
            .node("Softmax", "l", "p", &attrs)
            .node("Flatten", "p", "y", &[])
            .value("l:f32[batch,3,1,1]", &[])
            .build()
            .unwrap()
    };
    assert_eq!(planned(&image(11, vec![]), Class).kind, CrossEntropy);
    assert_eq!(planned(&image(17, vec![int("axis", 1)]), Class).kind, CrossEntropy);
    assert!(refused(&image(17, vec![]), None, Class).contains("several classifications a row"));
    let tokens = |version| {
        Model::new(version, &["h:f32[batch,7,3]"], &["y:f32[batch,7,3]"])
            .node("Relu", "h", "l", &[])
            .node("Softmax", "l", "y", &[int("axis", 2)])
            .value("l:f32[batch,7,3]", &[])
            .build()
            .unwrap()
    };
    assert!(refused(&tokens(17), None, Class).contains("the labels hold one value a row"));
    let looked_at = plan(&tokens(17), None, Unknown).unwrap();
    assert_eq!((looked_at.kind, looked_at.class_axis), (CrossEntropy, Some(2)));
    assert_eq!(plan(&tokens(17), Some(Mse), Unknown).unwrap().scores, tokens(17).id("y"));
}

#[test]
fn plain_outputs_go_by_label_and_width() {
    let plain = |classes: i64| {
        classifier(17, classes, &[&format!("y:f32[batch,{classes}]")], |m| m.node("Identity", "h", "y", &[]))
    };
    let kind = |classes, label| planned(&plain(classes), label).kind;
    assert_eq!([Class, Binary, MultiLabel, Value, Unknown].map(|label| kind(1, label)), [Bce, Bce, Bce, Mse, Mse]);
    assert_eq!(
        [Class, Binary, MultiLabel, Value, Unknown].map(|label| kind(2, label)),
        [CrossEntropy, CrossEntropy, Bce, Mse, CrossEntropy]
    );
    assert_eq!(kind(5, Class), CrossEntropy);
    assert_eq!(plan(&plain(5), Some(Bce), Unknown).unwrap().kind, Bce);
    assert!(refused(&plain(1), Some(CrossEntropy), Class).contains("--loss bce"));
    assert!(refused(&plain(3), Some(LossKind::Graph), Class).contains("--loss graph"));
    let softmax = |classes| classifier(17, classes, &["y:f32[batch,c]"], |m| m.node("Softmax", "h", "y", &[]));
    assert_eq!(plan(&softmax(2), Some(Bce), Binary).unwrap().kind, CrossEntropy);
    assert!(refused(&softmax(3), Some(Bce), Class).contains("--loss cross-entropy"));
    assert!(refused(&softmax(3), None, MultiLabel).contains("Softmax"));
    assert!(refused(&softmax(3), None, Value).contains("integers"));
    let mse = plan(&softmax(3), Some(Mse), Value).unwrap();
    assert_eq!(mse.scores, softmax(3).id("y"), "values are compared as the graph gives them");
    assert!(mse.seen_through.is_empty());
}

#[test]
fn one_column_of_a_sigmoid_or_two_of_its_kind_is_one_logit() {
    let column = classifier(17, 1, &["y:f32[batch]"], |m| {
        m.node("Sigmoid", "h", "p", &[]).node("Gather", "p zero", "y", &[int("axis", 1)]).longs("zero", &[0])
    });
    let plan = planned(&column, Binary);
    assert_eq!((plan.kind, plan.scores), (Bce, column.id("h")));
    let squeezed = classifier(17, 1, &["y:f32[batch]"], |m| {
        m.node("Sigmoid", "h", "p", &[]).node("Squeeze", "p one", "y", &[]).longs("one", &[1])
    });
    assert_eq!(planned(&squeezed, Class).scores, squeezed.id("h"));
    let rows_lost = classifier(17, 1, &["y:f32[?]"], |m| {
        m.node("Sigmoid", "h", "p", &[]).node("Squeeze", "p zero", "y", &[]).longs("zero", &[0])
    });
    assert_ne!(planned(&rows_lost, Value).scores, rows_lost.id("h"));
    // scikit-learn's converter: label and probabilities.
    let both = classifier(17, 1, &["label:i64[batch]", "probabilities:f32[batch,2]"], |m| {
        m.node("Sigmoid", "h", "p", &[])
            .node("Sub", "one p", "q", &[])
            .node("Concat", "q p", "probabilities", &[int("axis", 1)])
            .node("ArgMax", "probabilities", "label", &[int("axis", 1), int("keepdims", 0)])
            .floats("one", &[1], vec![1.0])
    });
    let plan = planned(&both, Class);
    assert_eq!((plan.kind, plan.scores, plan.output), (Bce, both.id("h"), Some(both.id("probabilities"))));
}

#[test]
fn of_several_outputs_one_is_chosen_and_said() {
    let label_and_logits = classifier(17, 3, &["label:i64[batch]", "h:f32[batch,3]"], |m| {
        m.node("ArgMax", "h", "label", &[int("axis", 1)])
    });
    let plan = planned(&label_and_logits, Unknown);
    assert_eq!(
        (plan.kind, plan.scores, plan.output),
        (CrossEntropy, label_and_logits.id("h"), Some(label_and_logits.id("h")))
    );
    assert!(plan.seen_through.is_empty());
    let features = classifier(17, 3, &["h:f32[batch,3]", "last:f32[batch,3]"], |m| {
        m.node("Relu", "h", "r", &[]).node("Gemm", "r w2", "last", &[]).weight("w2", &[3, 3])
    });
    let plan = planned(&features, Class);
    assert_eq!(graph_name(&features, &plan), "last");
    assert!(plan.why.contains("of 2 outputs `last`"), "{}", plan.why);
    let named = classifier(17, 3, &["other:f32[batch,3]", "my_logits:f32[batch,3]"], |m| {
        m.node("Relu", "h", "my_logits", &[]).node("Tanh", "h", "other", &[])
    });
    assert_eq!(graph_name(&named, &planned(&named, Class)), "my_logits");
    let shown = classifier(17, 3, &["other:f32[batch,3]", "p:f32[batch,3]"], |m| {
        m.node("Softmax", "h", "p", &[]).node("Tanh", "h", "other", &[])
    });
    assert_eq!(graph_name(&shown, &planned(&shown, Class)), "h");
    let none = Model::new(17, &["x:i64[batch]"], &["y:i64[batch]"]).node("Neg", "x", "y", &[]).build().unwrap();
    assert!(refused(&none, None, Class).contains("logits as an output"));
}

fn graph_name<'a>(graph: &'a Graph, plan: &LossPlan) -> &'a str {
    graph.name(plan.scores)
}

#[test]
fn the_graph_s_own_loss_is_taken() {
    let graph = Model::new(17, &["x:f32[batch,4]", "labels:i64[batch,1]"], &["loss:f32[]", "h:f32[batch,3]"])
        .node("Gemm", "x w", "h", &[])
        .node("Squeeze", "labels one", "t", &[])
        .node("SoftmaxCrossEntropyLoss", "h t cw", "loss", &[string("reduction", "sum"), int("ignore_index", -1)])
        .weight("w", &[4, 3])
        .floats("cw", &[3], vec![1.0, 2.0, 3.0])
        .longs("one", &[1])
        .build()
        .unwrap();
    let plan = planned(&graph, Class);
    assert_eq!((plan.kind, plan.scores, plan.label_input), (LossKind::Graph, graph.id("h"), Some(graph.id("labels"))));
    assert_eq!((plan.ignore_index, plan.class_weights), (Some(-1), Some(vec![1.0, 2.0, 3.0])));
    assert_eq!(plan.output, Some(graph.id("h")));
    assert!(plan.why.contains("reduction sum") && plan.why.contains("`labels`"), "{}", plan.why);
    let asked = super::plan(&graph, Some(CrossEntropy), Class).unwrap();
    assert_eq!((asked.scores, asked.label_input), (graph.id("h"), None), "--loss beats the graph");

    let nll = |ops: &[&str]| {
        let mut model = Model::new(13, &["x:f32[batch,4]", "labels:i64[batch]"], &["loss:f32[]"]).weight("w", &[4, 3]);
        model = model.node("Gemm", "x w", "v0", &[]);
        for (i, op) in ops.iter().enumerate() {
            model = model.node(op, &format!("v{i}"), &format!("v{}", i + 1), &[int("axis", 1)]);
        }
        model.node("NegativeLogLikelihoodLoss", &format!("v{} labels", ops.len()), "loss", &[]).build().unwrap()
    };
    for ops in [&["LogSoftmax"][..], &["Softmax", "Log"], &["LogSoftmax", "Identity"]] {
        let plan = planned(&nll(ops), Class);
        assert_eq!((plan.scores, plan.scores_are_log_probs), (nll(ops).id("v0"), false), "{ops:?}");
    }
    let plan = planned(&nll(&["Tanh"]), Class);
    assert_eq!((plan.scores, plan.scores_are_log_probs), (nll(&["Tanh"]).id("v1"), true));

    let inside = Model::new(17, &["x:f32[batch,3]"], &["loss:f32[]"])
        .node("SoftmaxCrossEntropyLoss", "h t", "loss", &[])
        .node("Relu", "x", "h", &[])
        .node("ArgMax", "x", "t", &[int("axis", 1), int("keepdims", 0)])
        .build()
        .unwrap();
    assert!(refused(&inside, None, Class).contains("labels are not an input"));
    let pixels = Model::new(17, &["x:f32[n,3,8]", "t:i64[n,8]"], &["loss:f32[]"])
        .node("SoftmaxCrossEntropyLoss", "x t", "loss", &[])
        .build()
        .unwrap();
    assert!(refused(&pixels, None, Class).contains("several losses a row"));
}

#[test]
fn a_written_out_squared_error_is_a_loss_in_the_graph() {
    for square in ["Mul", "Pow"] {
        let exponent = if square == "Mul" { "d d" } else { "d two" };
        let graph = Model::new(17, &["x:f32[n,4]", "target:f32[n,1]"], &["loss:f32[]", "h:f32[n,1]"])
            .node("Gemm", "x w", "h", &[])
            .node("Sub", "h target", "d", &[])
            .node(square, exponent, "s", &[])
            .node("ReduceMean", "s", "loss", &[])
            .weight("w", &[4, 1])
            .floats("two", &[], vec![2.0])
            .build()
            .unwrap();
        let plan = planned(&graph, Value);
        assert_eq!((plan.kind, plan.scores, plan.label_input), (Mse, graph.id("h"), Some(graph.id("target"))));
    }
}

#[test]
fn a_written_out_binary_cross_entropy_is_a_loss_in_the_graph() {
    let graph = |rest: &str| {
        Model::new(17, &["x:f32[n,4]", "target:f32[n,1]"], &["loss:f32[]"])
            .node("Gemm", "x w", "h", &[])
            .node("Sigmoid", "h", "p", &[])
            .node("Log", "p", "log_p", &[])
            .node("Mul", "log_p target", "yes", &[])
            .node("Sub", "one p", "q", &[])
            .node("Log", "q", "log_q", &[])
            .node("Sub", "one target", "rest", &[])
            .node("Mul", rest, "no", &[])
            .node("Add", "yes no", "sum", &[])
            .node("Neg", "sum", "each", &[])
            .node("ReduceMean", "each", "loss", &[])
            .weight("w", &[4, 1])
            .floats("one", &[1], vec![1.0])
            .build()
            .unwrap()
    };
    for order in ["log_q rest", "rest log_q"] {
        let graph = graph(order);
        let plan = planned(&graph, Unknown);
        assert_eq!((plan.kind, plan.scores, plan.label_input), (Bce, graph.id("h"), Some(graph.id("target"))));
    }
    // The same form with the labels where their complement belongs is another loss.
    let other = graph("log_q target");
    assert!(plan(&other, Some(LossKind::Graph), Unknown).is_err());
}

#[test]
fn training_mode_is_read_in_every_version() {
    let flag = |value: i32| {
        let tensor =
            crate::onnx::proto::TensorProto { data_type: Some(9), int32_data: vec![value], ..floats("", &[], vec![]) };
        tensor_attr("value", tensor)
    };
    let mode =
        |version, op: &str, inputs: &str, outputs: &str, attrs: &[crate::onnx::proto::AttributeProto], value: i32| {
            let graph = Model::new(version, &["x:f32[n,2]"], &["y:f32[n,2]"])
                .node("Constant", "", "f", &[flag(value)])
                .node(op, inputs, outputs, attrs)
                .floats("s", &[2], vec![1.0; 2])
                .floats("r", &[], vec![0.5])
                .build()
                .unwrap();
            has_training_mode(&graph)
        };
    let (bn, drop) = ("BatchNormalization", "Dropout");
    assert!(mode(6, bn, "x s s s s", "y", &[], 0), "is_test is 0 unless given");
    assert!(!mode(6, bn, "x s s s s", "y", &[int("is_test", 1)], 0));
    assert!(!mode(9, bn, "x s s s s", "y", &[], 0));
    assert!(mode(9, bn, "x s s s s", "y m v a b", &[], 0));
    assert!(!mode(15, bn, "x s s s s", "y", &[], 0));
    assert!(mode(15, bn, "x s s s s", "y m v", &[int("training_mode", 1)], 0));
    assert!(mode(6, drop, "x", "y", &[], 0));
    assert!(!mode(10, drop, "x", "y", &[], 0));
    assert!(!mode(13, drop, "x r", "y", &[], 0));
    assert!(mode(13, drop, "x r f", "y", &[], 1));
    assert!(!mode(13, drop, "x r f", "y", &[], 0));
}

#[test]
fn tensors_that_cannot_be_held_are_refused_where_the_scores_need_them() {
    let mut model = Model::new(17, &["x:f32[n,3]"], &["y:f32[n,3]", "t:f32[n,3]"]).node("Relu", "x", "y", &[]).node(
        "Mystery",
        "x words",
        "t",
        &[],
    );
    let words = crate::onnx::proto::TensorProto {
        data_type: Some(8),
        string_data: vec![vec![65]],
        ..floats("words", &[1], vec![])
    };
    model.graph().initializer.push(words);
    model.graph().output[1]
        .metadata_props
        .push(property("pkg.torch.export.graph_signature.OutputSpec.kind", "BUFFER_MUTATION"));
    let graph = model.build().unwrap();
    assert_eq!(planned(&graph, Class).scores, graph.id("y"), "a buffer's new value is no score");
    model.graph().output.remove(0);
    model.graph().output[0].metadata_props.clear();
    let graph = model.build().unwrap();
    let error = plan(&graph, Some(Mse), Value).unwrap_err().to_string();
    assert!(error.contains("`words`") && error.contains("STRING"), "{error}");
}
