//! Linear models, as they are built and what their loss is.

use crate::{
    graph::{
        Graph,
        loss::{LabelKind, LossKind, LossPlan, plan},
        testing::{Model, int, ints, node, opset, string},
    },
    onnx::proto::{AttributeProto, NodeProto, attribute_proto::AttributeType},
};

fn floats(name: &str, floats: &[f32]) -> AttributeProto {
    let kind = Some(AttributeType::Floats.into());
    AttributeProto { name: Some(name.into()), floats: floats.to_vec(), r#type: kind, ..Default::default() }
}

fn with(op: &str, outputs: &str, attrs: &[AttributeProto], more: &[NodeProto]) -> Model {
    let mut model = Model::new(17, &["x:f32[batch,2]"], &["label:i64[batch]", "p"]);
    model.proto.opset_import.push(opset("ai.onnx.ml", 1));
    let learner = |node: NodeProto| NodeProto { domain: Some("ai.onnx.ml".into()), ..node };
    let first = NodeProto { name: Some("model".into()), ..learner(node(op, "x", outputs, attrs)) };
    model.graph().node.push(first);
    model.graph().node.extend(more.iter().cloned().map(learner));
    model
}

/// A classifier of x (batch, 2).
fn classifier(coefficients: &[f32], intercepts: &[f32], post: &str, more: &[NodeProto]) -> Graph {
    let labels: Vec<i64> = (0..intercepts.len() as i64).map(|label| 2 * label + 1).collect();
    let attrs = [
        floats("coefficients", coefficients),
        floats("intercepts", intercepts),
        ints("classlabels_ints", &labels),
        string("post_transform", post),
    ];
    let outputs = if more.is_empty() { "label p" } else { "label q" };
    with("LinearClassifier", outputs, &attrs, more).build().unwrap()
}

fn loss(graph: &Graph) -> LossPlan {
    plan(graph, None, LabelKind::Class).unwrap()
}

const THREE: ([f32; 6], [f32; 3]) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.1, 0.2, 0.3]);
const OPPOSITE: ([f32; 4], [f32; 2]) = ([1.0, -2.0, -1.0, 2.0], [0.5, -0.5]);

#[test]
fn coefficients_are_tensors_that_keep_their_place() {
    let graph = classifier(&THREE.0, &THREE.1, "SOFTMAX", &[]);
    let stored = |name: &str| &graph.initializers[&graph.id(name)];
    let weight = stored("model/coefficients");
    assert_eq!((weight.tensor.dims(), weight.tensor.to_f32()), (&[3, 2][..], THREE.0.to_vec()));
    assert_eq!(weight.stored_as.as_deref(), Some("model/coefficients"));
    assert_eq!(stored("model/intercepts").tensor.dims(), [3]);
    let found = loss(&graph);
    assert_eq!((found.kind, graph.name(found.scores)), (LossKind::CrossEntropy, "model/scores"));
    assert_eq!(found.head.classes.unwrap(), ["1", "3", "5"]);
}

#[test]
fn a_node_without_a_name_is_called_by_its_operator_and_output() {
    let attrs = [floats("coefficients", &[1.0, 2.0]), floats("intercepts", &[0.5])];
    let mut model = with("LinearRegressor", "p", &attrs, &[]);
    model.graph().node[0].name = None;
    model.graph().output.remove(0);
    let graph = model.build().unwrap();
    let name = "LinearRegressor of p/coefficients";
    assert_eq!(graph.initializers[&graph.id(name)].stored_as.as_deref(), Some(name));
    assert_eq!(plan(&graph, None, LabelKind::Value).unwrap().kind, LossKind::Mse);
}

#[test]
fn two_opposite_rows_are_one_logit() {
    for (post, shown) in [("LOGISTIC", "the output is a Sigmoid"), ("NONE", "one value a row")] {
        let graph = classifier(&OPPOSITE.0, &OPPOSITE.1, post, &[]);
        let found = loss(&graph);
        assert_eq!((found.kind, graph.name(found.scores)), (LossKind::Bce, "model/logit"), "{post}");
        assert!(found.why.contains(shown), "{}", found.why);
        assert_eq!((found.head.width, found.head.classes.map(|names| names.len())), (Some(1), Some(2)), "{post}");
    }
    // Rows that are not opposite are two scores.
    let graph = classifier(&[1.0, -2.0, -1.0, 2.5], &[0.5, -0.5], "NONE", &[]);
    assert_eq!((loss(&graph).kind, graph.name(loss(&graph).scores)), (LossKind::CrossEntropy, "p"));
}

#[test]
fn normalized_sigmoids_are_shares_and_no_logits() {
    let normalizer = [node("Normalizer", "q", "p", &[string("norm", "L1")])];
    let graph = classifier(&THREE.0, &THREE.1, "LOGISTIC", &normalizer);
    let found = loss(&graph);
    assert_eq!((found.kind, graph.name(found.scores)), (LossKind::CrossEntropy, "model/scores"));
    assert!(found.sigmoid_shares && found.why.contains("one-vs-rest"), "{}", found.why);
    // Shares of something else than the probabilities are other answers than the loss would be of.
    let bent = [node("Sqrt", "q", "r", &[]), node("Normalizer", "r", "p", &[string("norm", "L1")])];
    let mut bent = with(
        "LinearClassifier",
        "label q",
        &[
            floats("coefficients", &THREE.0),
            floats("intercepts", &THREE.1),
            ints("classlabels_ints", &[0, 1, 2]),
            string("post_transform", "LOGISTIC"),
        ],
        &bent,
    );
    for node in bent.graph().node.iter_mut().filter(|node| node.op_type() == "Sqrt") {
        node.domain = None;
    }
    assert!(plan(&bent.build().unwrap(), None, LabelKind::Class).is_err());
    // Of what adds up to 1 already, nothing changes.
    let softmax = classifier(&THREE.0, &THREE.1, "SOFTMAX", &normalizer);
    assert!(!loss(&softmax).sigmoid_shares);
    let binary = classifier(&OPPOSITE.0, &OPPOSITE.1, "LOGISTIC", &normalizer);
    assert_eq!((loss(&binary).kind, loss(&binary).sigmoid_shares), (LossKind::Bce, false));
    // Another norm is none that is known.
    let other = classifier(&THREE.0, &THREE.1, "LOGISTIC", &[node("Normalizer", "q", "p", &[string("norm", "L2")])]);
    let said = plan(&other, None, LabelKind::Class).unwrap_err().to_string();
    assert!(said.contains("made of probabilities"), "{said}");
}

#[test]
fn what_is_not_taken_stays_a_node_with_a_reason() {
    let attrs = |post: &str, rows: &[f32]| {
        let labels = ints("classlabels_ints", &[0, 1]);
        [floats("coefficients", &OPPOSITE.0), floats("intercepts", rows), labels, string("post_transform", post)]
    };
    let cases = [
        (attrs("PROBIT", &OPPOSITE.1), "PROBIT"),
        (attrs("SOFTMAX_ZERO", &OPPOSITE.1), "SOFTMAX_ZERO"),
        (attrs("NONE", &[0.1]), "one row of coefficients"),
        (attrs("NONE", &[0.1, 0.2, 0.3]), "coefficients for 3 rows"),
    ];
    for (attrs, reason) in cases {
        let graph = with("LinearClassifier", "label p", &attrs, &[]).build().unwrap();
        assert_eq!(graph.nodes.len(), 1, "{reason}");
        assert!(super::obstacle(&graph.nodes[0]).unwrap().contains(reason));
        let hints: Vec<_> =
            crate::graph::forms::recognize(&graph).into_iter().filter_map(|form| form.refused).collect();
        assert!(hints.iter().any(|hint| hint.contains(reason) && hint.contains("(model)")), "{hints:?}");
    }
}

#[test]
fn names_that_are_taken_are_refused() {
    let attrs = [floats("coefficients", &[1.0, 2.0]), int("targets", 1)];
    let second = NodeProto { name: Some("model".into()), ..node("LinearRegressor", "x", "y", &attrs) };
    let error = with("LinearRegressor", "p", &attrs, &[second]).build().unwrap_err();
    assert!(error.to_string().contains("model/coefficients") && error.exit_code() == 3, "{error}");
}
