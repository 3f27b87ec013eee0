//! An operator without a gradient, or an input without one, in whole models: accepted beside the differentiable path and
//! refused on it, by name. `fixtures/operators/refusals.py` says how the models are made.

use crate::cases::{Case, cases, graph_of};
use dfdx::prelude::Cpu;
use onnx_forget::{
    Error,
    data::{Batch, Targets},
    graph::{
        loss::{self, LabelKind, LossKind},
        parameters,
    },
    model::{Model, ModelOptions},
    ops::{self, Gradient},
    tensor::HostTensor,
};
use std::{collections::BTreeSet, path::Path};

/// The model that unlearning would run on, and a batch for it.
fn built(case: &Case, folder: &Path) -> Result<(Model<f32, Cpu>, Batch), Error> {
    let graph = graph_of(case, folder).unwrap();
    let plan = loss::plan(&graph, Some(LossKind::Mse), LabelKind::Value).unwrap();
    let decisions = parameters::decide(&graph, &plan, &[], &[]).unwrap();
    assert_eq!(decisions.iter().filter(|d| d.trainable).map(|d| d.name.as_str()).collect::<Vec<_>>(), ["w"]);
    let x = HostTensor::new(&[1, 4], vec![0.1f32, 0.3, -0.2, 0.4]).unwrap();
    let inputs = [("x".to_string(), x)].into();
    let batch = Batch { inputs, targets: Targets::Values { width: 3, values: vec![1.0, -1.0, 0.5] } };
    Model::build(&graph, &plan, &decisions, ModelOptions::default(), Cpu::default()).map(|model| (model, batch))
}

#[test]
fn what_has_no_gradient_is_refused_on_the_path_and_accepted_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut refused = BTreeSet::new();
    for case in cases("fixtures/operators/refusals.parquet") {
        let parts: Vec<&str> = case.name.split('_').collect();
        let [op, input, place] = parts[..] else { panic!("{}", case.name) };
        match (place, built(&case, folder.path())) {
            ("off", Ok((model, batch))) => {
                let (loss, gradients) = model.gradient_wrt_parameters(&batch).unwrap();
                assert!(loss.is_finite() && gradients[0].iter().all(|g| g.is_finite()), "{}", case.name);
                assert!(gradients[0].iter().any(|&g| g != 0.0), "{}", case.name);
            }
            ("on", Err(error @ Error::Untrainable(_))) => {
                let said = error.to_string();
                let node = format!("node refused ({op}-");
                let place = format!("its input {input} depends on a trainable parameter");
                assert!(said.contains(&node) && said.contains(&place) && said.contains("--freeze"), "{said}");
                refused.insert((op.to_string(), input.parse::<usize>().unwrap()));
            }
            (_, Ok(_)) => panic!("{} is accepted", case.name),
            (_, Err(e)) => panic!("{}: {e}", case.name),
        }
    }
    // Inputs that hold integers or booleans cannot depend on a parameter. A loss in a graph is the model's loss and never
    // on the way to its scores; its class weights have to be stored.
    let others = |op: &str| match op {
        "SoftmaxCrossEntropyLoss" | "NegativeLogLikelihoodLoss" => vec![1, 2],
        "Dropout" => vec![2],
        "Pad" => vec![1, 3],
        "Resize" => vec![3],
        _ => vec![],
    };
    for spec in ops::specs() {
        let without: Vec<usize> = match spec.gradient {
            Gradient::None | Gradient::Only(_) => (0..spec.inputs.1).filter(|&i| !spec.reaches(i)).collect(),
            Gradient::All | Gradient::Flat => continue,
        };
        for i in without.into_iter().filter(|i| !others(spec.name).contains(i)) {
            assert!(refused.contains(&(spec.name.into(), i)), "input {i} of {} has no model here", spec.name);
        }
    }
}
