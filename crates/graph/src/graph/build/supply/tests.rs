use super::*;
use crate::graph::{
    Dim,
    build::build_model_given,
    testing::{Model, body, node, value},
};

/// Words, caches and whatever else is listed; `y = x + cache`.
fn decoder(more: &[&str]) -> Model {
    let inputs = [&["ids:i64[n,s]", "past_key_values.0.key:f32[n,2,past,4]", "attention_mask:i64[n,total]"], more];
    Model::new(17, &inputs.concat(), &["y:f32[n,2,t,4]"])
        .node("Gather", "table ids", "x", &[])
        .node("Concat", "past_key_values.0.key x", "y", &[make::int_attribute("axis", 2)])
        .weight("table", &[9, 4])
}

fn given(fed: &[&str]) -> Given {
    Given { fed: Some(fed.iter().map(ToString::to_string).collect()), ..Given::default() }
}

fn built(model: &Model, given: &Given) -> Graph {
    build_model_given("m.onnx".as_ref(), &model.proto, given).unwrap()
}

fn names(graph: &Graph) -> Vec<&str> {
    graph.inputs.iter().map(|&value| graph.name(value)).collect()
}

#[test]
fn caches_and_counts_are_made_of_the_words() {
    let more = [
        "cache_position:i64[s]",
        "position_ids:i64[1,s]",
        "seqlens_k:i64[n]",
        "total_sequence_length:i64[]",
        "num_logits_to_keep:i64[]",
    ];
    let graph = built(&decoder(&more), &given(&[]));
    assert_eq!(names(&graph), ["ids", "attention_mask"]);
    let told: Vec<String> = described(&graph).iter().map(|(what, how)| format!("{what}: {how}")).collect();
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(told[0].starts_with("input past_key_values.0.key: an empty cache"), "{told:?}");
    // The mask is as long as the words.
    assert_eq!(graph.declared_dims(graph.id("attention_mask")).unwrap()[1], Dim::Symbol("s".into()));
    let made = |name: &str| graph.nodes.iter().find(|node| node.output(0) == Some(graph.id(name))).unwrap();
    assert!(made("past_key_values.0.key").is("ConstantOfShape") && made("seqlens_k").is("Cast"));
    assert_eq!(graph.initializers[&graph.id("num_logits_to_keep")].tensor.get().to_i64().unwrap(), [0]);
    // Every node stands behind those that it takes from.
    let place = |value| graph.nodes.iter().position(|node| node.outputs.contains(&Some(value)));
    for (at, node) in graph.nodes.iter().enumerate() {
        assert!(node.inputs.iter().flatten().filter_map(|&value| place(value)).all(|from| from < at));
    }
}

#[test]
fn what_columns_feed_and_what_is_no_cache_stays() {
    let model = decoder(&["past_static:f32[n,2,8,4]", "past_x:f32[n]", "cache_position:f32[s]"]);
    let others = ["past_static", "past_x", "cache_position"];
    assert_eq!(names(&built(&model, &given(&[]))), [&["ids", "attention_mask"][..], &others].concat());
    let kept = built(&model, &given(&["past_key_values.0.key"]));
    assert_eq!(names(&kept)[..2], ["ids", "past_key_values.0.key"]);
    // Nothing is known of columns.
    assert_eq!(names(&built(&model, &Given::default())), names(&kept));
    // Without words there is nothing to make an input of.
    let mut wordless = model;
    wordless.graph().input[0] = value("ids:f32[n,s]");
    assert!(wanted(wordless.graph(), &given(&[])).is_empty());
}

#[test]
fn shapes_of_caches_have_one_axis_of_words() {
    let cache = |text: &str| Port::of(&value(text)).unwrap().cache();
    assert_eq!(cache("past.0:f32[n,2,p,4]"), Some((Some(0), 2)));
    assert_eq!(cache("past.0:f32[1,2,p,4]"), Some((None, 2)));
    assert_eq!(cache("past_0:f32[2,n,2,p,4]"), Some((Some(1), 3)));
    assert_eq!(cache("k_cache.0:f32[n,p,8]"), Some((Some(0), 1)));
    for other in [
        "past.0:f32[n,h,p,4]",
        "past.0:f32[n,2,6,4]",
        "past.0:i64[n,2,p,4]",
        "state:f32[n,2,p,4]",
        "past_values:f32[n,p,4]",
        "past.0:f32[n,p]",
    ] {
        assert_eq!(cache(other), None, "{other}");
    }
}

#[test]
fn a_switch_takes_the_branch_without_a_cache() {
    let branch = |from: &str, out: &str| GraphProto {
        node: vec![node("Identity", from, out, &[])],
        output: vec![value(&format!("{out}:f32[n,2,t,4]"))],
        ..Default::default()
    };
    let encoder = "past_key_values.0.encoder.key";
    let of_encoder = format!("{encoder}:f32[n,2,e,4]");
    let switched = |more: &[&str]| {
        let (with, without) = (branch(encoder, "a"), branch("y", "b"));
        let flow = [body("then_branch", with), body("else_branch", without)];
        decoder(&[&[of_encoder.as_str()], more].concat()).node("If", "use_cache_branch", "z", &flow)
    };
    let model = switched(&["use_cache_branch:bool[1]"]);
    let graph = built(&model, &given(&[]));
    assert_eq!(names(&graph), ["ids", "attention_mask"]);
    assert!(graph.nodes.iter().all(|node| !node.is("If")));
    assert!(graph.nodes.iter().any(|node| node.is("Identity") && node.input(0) == Some(graph.id("y"))));
    // With a cache, or without a switch, what the encoder has seen is not empty.
    let on = Given { inputs: [("use_cache_branch".to_string(), vec![1.0])].into(), ..given(&[]) };
    assert!(!wanted(model.proto.graph.as_ref().unwrap(), &on).contains_key(encoder));
    assert!(!wanted(decoder(&[&of_encoder]).graph(), &given(&[])).contains_key(encoder));
}
