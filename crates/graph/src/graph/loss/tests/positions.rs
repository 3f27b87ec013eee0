//! Outputs with several classifications a row.

use super::*;
use crate::label_facts::LabelFacts;

/// Scores `y` of this type, made from tokens.
fn scored(tokens: &str, ty: &str, tail: impl Fn(Model) -> Model) -> Graph {
    let model = Model::new(17, &[&format!("ids:i64{tokens}")], &[&format!("y:f32{ty}")]);
    tail(model.node("Cast", "ids", "c", &[int("to", 1)]).node("Unsqueeze", "c axes", "u", &[])).build().unwrap()
}

fn facts(highest: f64, width: Option<usize>) -> Labels {
    let columns = vec!["labels".to_string()];
    let longest = width.unwrap_or(64);
    let facts = LabelFacts { columns, whole: true, lowest: -100.0, highest, lists: true, width, longest };
    Labels { kind: Unknown, facts: Some(facts) }
}

fn axis(graph: &Graph, labels: Labels, class_axis: Option<i64>) -> Result<Option<usize>> {
    plan_for(graph, &Ask { labels, class_axis, ..Ask::default() }).map(|plan| plan.class_axis)
}

fn image(ty: &str) -> Graph {
    Model::new(17, &["x:f32[batch,3,8,8]"], &[&format!("y:f32{ty}")])
        .node("Conv", "x w", "y", &[])
        .weight("w", &[4, 3, 1, 1])
        .build()
        .unwrap()
}

#[test]
fn the_shape_tells_the_axis_of_the_classes() {
    let image = image("[batch,4,8,8]");
    assert_eq!(axis(&image, facts(3.0, Some(64)), None).unwrap(), Some(1));
    assert_eq!(axis(&image, facts(3.0, Some(64)), Some(-3)).unwrap(), Some(1));
    let plan = plan_for(&image, &Ask { labels: facts(3.0, Some(64)), ..Ask::default() }).unwrap();
    assert!(plan.kind == CrossEntropy && plan.why.contains("classes along axis 1"), "{}", plan.why);
    // As many numbers as the output has values are values, and no axis leaves another number of positions.
    assert_eq!(axis(&image, facts(3.0, Some(256)), None).unwrap(), None);
    let said = axis(&image, facts(3.0, Some(63)), None).unwrap_err().to_string();
    assert!(said.contains("class_axis = N"), "{said}");
    // A wrong label, or a row of another length, does not hide the axis: the row is named when it is read.
    assert_eq!(axis(&image, facts(9.0, Some(64)), None).unwrap(), Some(1));
    assert_eq!(axis(&image, facts(3.0, None), None).unwrap(), Some(1));
    let short = Labels { facts: facts(3.0, None).facts.map(|f| LabelFacts { longest: 65, ..f }), kind: Unknown };
    let said = axis(&image, short, None).unwrap_err().to_string();
    assert!(said.contains("`class_axis = 1` or `class_axis = -1`"), "{said}");
    let said = axis(&image, facts(3.0, Some(64)), Some(4)).unwrap_err().to_string();
    assert!(said.contains("axes 1 to 3"), "{said}");
}

#[test]
fn two_readings_of_a_shape_are_asked_about() {
    let square = Model::new(17, &["x:f32[batch,6]"], &["y:f32[batch,6,6]"])
        .node("Unsqueeze", "x axes", "u", &[])
        .node("Mul", "u w", "y", &[])
        .weight("w", &[1, 6, 6])
        .longs("axes", &[2])
        .build()
        .unwrap();
    let said = axis(&square, facts(5.0, Some(6)), None).unwrap_err().to_string();
    assert!(said.contains("`class_axis = 1` or `class_axis = -1`"), "{said}");
    assert_eq!(axis(&square, facts(5.0, Some(6)), Some(-1)).unwrap(), Some(2));
    assert_eq!(axis(&square, facts(5.0, Some(6)), Some(1)).unwrap(), Some(1));
}

#[test]
fn rows_of_tokens_are_cut_and_padded() {
    let graph = scored("[batch,12]", "[batch,12,5]", |m| {
        m.longs("axes", &[2]).node("MatMul", "u w", "y", &[]).weight("w", &[1, 5])
    });
    for width in [None, Some(5), Some(9), Some(12), Some(30)] {
        assert_eq!(axis(&graph, facts(4.0, width), None).unwrap(), Some(2), "{width:?} labels a row");
    }
}

#[test]
fn next_words_need_no_labels() {
    for (tokens, ty) in [("[batch,12]", "[batch,12,40]"), ("[batch,time]", "[batch,time,40]")] {
        let graph = scored(tokens, ty, |m| m.longs("axes", &[2]).node("MatMul", "u w", "y", &[]).weight("w", &[1, 40]));
        assert_eq!(axis(&graph, Positions.into(), None).unwrap(), Some(2), "{ty}");
    }
}

#[test]
fn a_softmax_tells_the_axis() {
    let graph = scored("[batch,time]", "[batch,time,5]", |m| {
        m.longs("axes", &[2]).node("MatMul", "u w", "h", &[]).weight("w", &[1, 5]).node("Softmax", "h", "y", &[])
    });
    let plan = plan_for(&graph, &Ask { labels: facts(4.0, None), ..Ask::default() }).unwrap();
    assert_eq!((plan.class_axis, plan.kind, graph.name(plan.scores)), (Some(2), CrossEntropy, "h"));
    // One label a row is not what such an output takes.
    let said = refused(&graph, None, Class);
    assert!(said.contains("one value a row"), "{said}");
}

#[test]
fn the_start_of_a_span_is_a_class_of_as_many_as_there_are_tokens() {
    let graph = Model::new(17, &["x:f32[n,len,6]"], &["start:f32[n,len]", "end:f32[n,len]"])
        .weight("w", &[6, 2])
        .node("MatMul", "x w", "z", &[])
        .constant("first", &[], vec![0.0])
        .node("Cast", "first", "index", &[int("to", 7)])
        .node("Gather", "z index", "start", &[int("axis", -1)])
        .node("Split", "z", "a b", &[int("axis", -1)])
        .longs("last", &[-1])
        .node("Squeeze", "b last", "end", &[])
        .build()
        .unwrap();
    for output in ["start", "end"] {
        let ask = Ask { output: Some(output.into()), labels: LabelKind::Class.into(), ..Ask::default() };
        let plan = plan_for(&graph, &ask).unwrap();
        assert_eq!((plan.kind, plan.head.width, plan.class_axis), (LossKind::CrossEntropy, None, None), "{output}");
    }
}
