//! Copies of trained tensors in branches that are not taken: new weights do not reach them, so that whoever takes such a branch would run
//! the old model.

use super::Decision;
use crate::{
    error::{Error, Result},
    graph::{Graph, build::supply::Supply},
    tensor::HostTensor,
};

/// Fails if a switch that the program has set by itself leaves out such a branch, since its other branch continues texts.
///
/// # Errors
/// [`Error::Untrainable`] naming the node and the tensors.
pub(super) fn require_none(graph: &Graph, decisions: &[Decision]) -> Result<()> {
    match graph.supplied.values().any(|supply| *supply == Supply::Off) {
        true => copies_left_out(graph, decisions).map_or(Ok(()), |problem| Err(Error::Untrainable(problem))),
        false => Ok(()),
    }
}

/// What to say of such copies, if there are any: the node, and the tensors.
pub fn copies_left_out(graph: &Graph, decisions: &[Decision]) -> Option<String> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for decision in decisions.iter().filter(|decision| decision.trainable && !graph.left_out.is_empty()) {
        let Some(trained) = graph.initializers.get(&decision.value) else { continue };
        let mut alike = graph.left_out.iter().filter(|(_, held)| held.dims() == trained.tensor.dims());
        let trained = trained.tensor.get();
        // That both are all zeros or all ones tells nothing.
        if let Some((node, _)) = alike.find(|(_, held)| varies(&trained) && *held.get() == *trained) {
            found.push((node, &decision.name));
        }
    }
    let (node, first) = found.first()?;
    Some(format!(
        "node {node} (If): its branch that is not taken holds copies of {} trained tensors, among them `{first}`. New weights do not reach \
         them, and whoever takes that branch runs the old model: export the model without the branch or with weights that both \
         branches share, or keep these tensors by --freeze",
        found.len()
    ))
}

fn varies(tensor: &HostTensor) -> bool {
    let mut elements = tensor.f64s();
    let first = elements.next();
    elements.any(|x| Some(x) != first)
}

#[cfg(test)]
mod tests {
    use crate::{
        graph::{
            build::build_model_given,
            given::Given,
            loss::{self, LabelKind, LossKind},
            parameters::decide,
            testing::{Model, body, floats, node, value},
        },
        onnx::proto::GraphProto,
    };

    /// `y = x · w`, by a branch that holds `own` or takes what both share.
    fn switched(own: Option<Vec<f32>>) -> Model {
        let branch = |out: &str, own: &Option<Vec<f32>>| GraphProto {
            node: vec![node("MatMul", if own.is_some() { "x own" } else { "x w" }, out, &[])],
            initializer: own.iter().map(|values| floats("own", &[2, 2], values.clone())).collect(),
            output: vec![value(&format!("{out}:f32[n,2]"))],
            ..Default::default()
        };
        let flow = [body("then_branch", branch("a", &own)), body("else_branch", branch("b", &None))];
        Model::new(17, &["x:f32[n,2]", "use_cache_branch:bool[1]"], &["y:f32[n,2]"])
            .node("If", "use_cache_branch", "y", &flow)
            .floats("w", &[2, 2], vec![1.0, 2.0, 3.0, 4.0])
    }

    #[test]
    fn copies_in_the_other_branch_are_refused() {
        let given = Given { fed: Some(Default::default()), ..Given::default() };
        let decided = |own: Option<Vec<f32>>, freeze: &[String]| {
            let graph = build_model_given("m.onnx".as_ref(), &switched(own).proto, &given).unwrap();
            let plan = loss::plan(&graph, Some(LossKind::Mse), LabelKind::Value).unwrap();
            decide(&graph, &plan, &[], freeze).map(|_| ()).map_err(|e| (e.exit_code(), e.to_string()))
        };
        let (code, said) = decided(Some(vec![1.0, 2.0, 3.0, 4.0]), &[]).unwrap_err();
        assert!(code == 3 && said.contains("node n_y (If)") && said.contains("`w`"), "{said}");
        assert_eq!(decided(Some(vec![1.0, 2.0, 3.0, 5.0]), &[]), Ok(()));
        assert_eq!(decided(None, &[]), Ok(()));
    }
}
