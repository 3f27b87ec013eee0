use super::super::{
    LabelKind::{Binary, MultiLabel},
    LossKind::Bce,
    *,
};
use crate::{
    graph::testing::{Model, int, ints},
    label_facts::LabelFacts,
};

/// A logit `h` of x (batch, 4), its Sigmoid `p`, and what `tail` makes of it.
fn one_logit(outputs: &[&str], tail: impl Fn(Model) -> Model) -> Graph {
    let model = Model::new(17, &["x:f32[batch,4]"], outputs)
        .node("Gemm", "x w", "h", &[])
        .node("Sigmoid", "h", "p", &[])
        .weight("w", &[4, 1])
        .floats("one", &[], vec![1.0])
        .floats("minus", &[], vec![-1.0])
        .longs("i0", &[0])
        .longs("i1", &[1])
        .longs("i2", &[2]);
    tail(model).build().unwrap()
}

fn zero_or_one(column: &str) -> Ask {
    let facts = LabelFacts {
        columns: vec![column.into()],
        whole: true,
        lowest: 0.0,
        highest: 1.0,
        lists: false,
        width: Some(1),
        longest: 1,
    };
    Ask { labels: Labels { kind: Binary, facts: Some(facts) }, ..Ask::default() }
}

#[test]
fn a_reduction_over_an_axis_of_extent_1_is_a_change_of_form() {
    let reduced = |op: &str, axes: &[i64], keep: i64| {
        one_logit(&["y:f32"], |m| {
            m.node("Unsqueeze", "p i2", "q", &[]).node(op, "q", "y", &[ints("axes", axes), int("keepdims", keep)])
        })
    };
    for graph in [reduced("ReduceMean", &[2], 0), reduced("ReduceMax", &[-1, 1], 1), reduced("ReduceMean", &[1], 0)] {
        let plan = plan(&graph, None, Binary).unwrap();
        assert_eq!((graph.name(plan.scores), plan.kind), ("h", Bce), "{}", plan.why);
    }
    // No axes are all axes.
    let whole = plan(&reduced("ReduceMean", &[], 1), None, Binary).unwrap_err().to_string();
    assert!(whole.contains("made of probabilities") || whole.contains("no output"), "{whole}");
    let over_rows = plan(&reduced("ReduceMean", &[0], 1), None, Binary).unwrap_err().to_string();
    assert!(over_rows.contains("made of probabilities"), "{over_rows}");
    // Of several frames it is no logit's probability.
    let frames = Model::new(17, &["x:f32[batch,3,4]"], &["y:f32[batch,1]"])
        .node("MatMul", "x w", "h", &[])
        .node("Sigmoid", "h", "p", &[])
        .node("ReduceMean", "p", "y", &[ints("axes", &[1]), int("keepdims", 0)])
        .weight("w", &[4, 1])
        .build()
        .unwrap();
    let mean = plan(&frames, None, Binary).unwrap_err().to_string();
    assert!(mean.contains("made of probabilities (Sigmoid"), "{mean}");
}

#[test]
fn a_squeeze_without_axes_is_seen_through_where_the_rows_stay() {
    let labels = |input: &str| {
        let graph = Model::new(17, &[input], &["y:f32"])
            .node("MatMul", "x w", "h", &[])
            .node("Sigmoid", "h", "p", &[])
            .node("Squeeze", "p", "y", &[])
            .weight("w", &[4, 3])
            .build()
            .unwrap();
        plan(&graph, None, MultiLabel).map(|plan| (graph.name(plan.scores).to_string(), plan.kind))
    };
    for input in ["x:f32[batch,4]", "x:f32[6,4]"] {
        assert_eq!(labels(input).unwrap(), ("h".to_string(), Bce), "{input}");
    }
    labels("x:f32[1,4]").unwrap_err();
}

#[test]
fn two_columns_of_one_sigmoid_are_seen_through_in_both_orders() {
    let tails: [(&str, bool, fn(Model) -> Model); 6] = [
        ("1 - p, p", true, |m| m.node("Sub", "one p", "q", &[]).node("Concat", "q p", "y", &[int("axis", 1)])),
        ("1 + (-p), p", true, |m| {
            m.node("Neg", "p", "n", &[]).node("Add", "n one", "q", &[]).node("Concat", "q p", "y", &[int("axis", -1)])
        }),
        ("stacked", true, |m| {
            m.node("Sub", "one p", "q", &[])
                .node("Unsqueeze", "q i1", "q1", &[])
                .node("Unsqueeze", "p i1", "p1", &[])
                .node("Concat", "q1 p1", "both", &[int("axis", 1)])
                .node("Squeeze", "both i2", "y", &[])
        }),
        ("of -z", true, |m| {
            m.node("Mul", "h minus", "n", &[]).node("Sigmoid", "n", "q", &[]).node(
                "Concat",
                "q p",
                "y",
                &[int("axis", 1)],
            )
        }),
        ("p, 1 - p", false, |m| m.node("Sub", "one p", "q", &[]).node("Concat", "p q", "y", &[int("axis", 1)])),
        ("p, 1 + (-p)", false, |m| {
            m.node("Mul", "minus p", "n", &[]).node("Add", "one n", "q", &[]).node(
                "Concat",
                "p q",
                "y",
                &[int("axis", 1)],
            )
        }),
    ];
    for (what, positive, tail) in tails {
        let graph = one_logit(&["y:f32"], tail);
        let plan = plan(&graph, None, Binary).unwrap();
        assert_eq!(plan.kind, Bce, "{what}");
        let scores = graph.name(plan.scores);
        match positive {
            true => assert_eq!(scores, "h", "{what}"),
            // Class 1 is told by the logit of the second column.
            false => {
                let negation = graph.nodes.iter().find(|node| node.output(0) == Some(plan.scores)).unwrap();
                assert!(negation.is("Neg") && negation.input(0) == Some(graph.id("h")), "{what}: {scores}");
            }
        }
    }
}

#[test]
fn a_state_is_never_taken_for_the_answer() {
    // A recurrent layer's states have the batch as their second axis.
    let voice = |answers: &str| {
        one_logit(&[&format!("answer:f32{answers}"), "state:f32[2,batch,128]"], |m| {
            m.node("Identity", "p", "answer", &[])
                .node("MatMul", "x wide", "flat", &[])
                .node("Unsqueeze", "flat i0", "s", &[])
                .node("Concat", "s s", "state", &[int("axis", 0)])
                .weight("wide", &[4, 128])
        })
    };
    for graph in [voice("[batch,1]"), voice("[?,1]"), voice("")] {
        let plan = plan_for(&graph, &zero_or_one("speech")).unwrap();
        assert_eq!((graph.name(plan.output.unwrap()), graph.name(plan.scores)), ("answer", "h"));
    }
    // Two answers that both fit: the question is put.
    let two = one_logit(&["a:f32[batch,1]", "b:f32[batch,1]"], |m| {
        m.node("Identity", "p", "a", &[])
            .node("Gemm", "x v", "g", &[])
            .node("Sigmoid", "g", "b", &[])
            .weight("v", &[4, 1])
    });
    let asked = plan_for(&two, &zero_or_one("speech")).unwrap_err().to_string();
    assert!(asked.contains("--output"), "{asked}");
}
