//! Linear models of ai.onnx.ml for a runtime that is to show their scores: the node without its `post_transform`, and behind it
//! the operators that stand for that. Its weights stay where they are.

use crate::{
    graph::Graph,
    onnx::{
        attributes,
        proto::{
            AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, attribute_proto::AttributeType,
        },
    },
};

/// Takes every classifier of the main graph apart whose scores `graph` knows by a name that the file does not; returns
/// whether there is one.
pub fn take_apart(proto: &mut ModelProto, graph: &Graph) -> bool {
    let Some(main) = &mut proto.graph else { return false };
    let before = main.node.len();
    for node in std::mem::take(&mut main.node) {
        apart(main, node, graph);
    }
    let found = main.node.len() > before;
    if found && !proto.opset_import.iter().any(|import| matches!(import.domain(), "" | "ai.onnx")) {
        proto.opset_import.push(OperatorSetIdProto { domain: None, version: Some(13) });
    }
    found
}

fn apart(main: &mut GraphProto, mut node: NodeProto, graph: &Graph) {
    let label = attributes::label(node.name(), node.op_type(), &node.output);
    let inner = |what: &str| format!("{label}/{what}");
    let known = |what: &str| graph.by_name.contains_key(&inner(what));
    let shown = match node.output.get_mut(1).filter(|shown| !shown.is_empty()) {
        Some(shown)
            if attributes::is_linear(
                node.domain.as_deref().unwrap_or_default(),
                node.op_type.as_deref().unwrap_or_default(),
            ) && known("scores") =>
        {
            std::mem::replace(shown, inner("scores"))
        }
        _ => return main.node.push(node),
    };
    let transform = node.attribute.iter_mut().find(|attribute| attribute.name() == "post_transform");
    let transform = transform.and_then(|transform| transform.s.replace(b"NONE".to_vec())).unwrap_or_default();
    main.node.push(node);
    let axis = [integer("axis", 1)];
    if !known("logit") {
        let op = if transform == b"SOFTMAX" { "Softmax" } else { "Sigmoid" };
        let attributes = if op == "Softmax" { axis.as_slice() } else { &[] };
        return main.node.push(made("", op, &[inner("scores")], shown, attributes));
    }
    let weights = |of: &[f32]| [floats("coefficients", of), integer("targets", 1)];
    // (z₁ − z₀) / 2
    main.node.push(made("ai.onnx.ml", "LinearRegressor", &[inner("scores")], inner("logit"), &weights(&[-0.5, 0.5])));
    let mut both = [inner("turned"), inner("logit")];
    main.node.push(made("ai.onnx.ml", "LinearRegressor", &[inner("logit")], inner("turned"), &weights(&[-1.0])));
    if transform == b"LOGISTIC" {
        for (of, to) in both.iter_mut().zip(["negative", "positive"]) {
            main.node.push(made("", "Sigmoid", std::slice::from_ref(of), inner(to), &[]));
            *of = inner(to);
        }
    }
    main.node.push(made("", "Concat", &both, shown, &axis));
}

fn made(domain: &str, op: &str, inputs: &[String], output: String, attributes: &[AttributeProto]) -> NodeProto {
    NodeProto {
        domain: Some(domain.into()),
        op_type: Some(op.into()),
        name: Some(format!("{op} of {output}")),
        input: inputs.to_vec(),
        output: vec![output],
        attribute: attributes.to_vec(),
        ..Default::default()
    }
}

fn integer(name: &str, i: i64) -> AttributeProto {
    let kind = Some(AttributeType::Int as i32);
    AttributeProto { name: Some(name.into()), i: Some(i), r#type: kind, ..Default::default() }
}

fn floats(name: &str, floats: &[f32]) -> AttributeProto {
    let kind = Some(AttributeType::Floats as i32);
    AttributeProto { name: Some(name.into()), floats: floats.to_vec(), r#type: kind, ..Default::default() }
}
