use super::*;
use crate::{
    batch::Targets,
    graph::{
        Graph,
        loss::{self, LabelKind, LossPlan},
        parameters, row_axis,
        testing::{self, int},
    },
    model::ModelOptions,
};
use dfdx::prelude::Cpu;

fn built(net: &testing::Model) -> (Graph, LossPlan, Model<f32, Cpu>) {
    let graph = net.build().unwrap();
    let plan = loss::plan(&graph, None, LabelKind::Class).unwrap();
    let decisions = parameters::decide(&graph, &plan, &[], &[]).unwrap();
    let model = Model::build(&graph, &plan, &decisions, ModelOptions::default(), Cpu::default()).unwrap();
    (graph, plan, model)
}

/// Rows of four features that are not alike.
fn batch(rows: usize) -> Batch {
    let values = (0..4 * rows).map(|i| (i as f32 * 0.7).sin()).collect();
    let x = HostTensor::new(&[rows, 4], values).unwrap();
    Batch { inputs: BTreeMap::from([("x".into(), x)]), targets: Targets::Classes(vec![0; rows]) }
}

fn net() -> testing::Model {
    testing::Model::new(17, &["x:f32[n,4]"], &["y:f32[n,3]"]).weight("w", &[4, 3])
}

#[test]
fn rows_by_themselves_pass() {
    let (graph, plan, model) = built(&net().node("MatMul", "x w", "y", &[]));
    row_axis::require(&graph, &plan).unwrap();
    for rows in [1, 2, 7] {
        model.require_independent_rows(&batch(rows)).unwrap();
    }
}

#[test]
fn rows_that_change_each_other_are_told_of_with_the_node() {
    let mean = net().node("ReduceMean", "x", "m", &[testing::ints("axes", &[0])]).node("Sub", "x m", "c", &[]);
    let sum = net().longs("axis", &[0]).node("CumSum", "x axis", "c", &[]);
    for (net, node) in [(mean, "n_c (Sub)"), (sum, "n_c (CumSum)")] {
        let (_, _, model) = built(&net.node("MatMul", "c w", "y", &[]));
        // The mean over equal rows is each of them.
        for rows in if node.contains("Sub") { vec![2, 5] } else { vec![1, 2, 5] } {
            let error = model.require_independent_rows(&batch(rows)).unwrap_err();
            assert_eq!(error.exit_code(), 3);
            let text = error.to_string();
            assert!(text.contains("one sequence") && text.contains("batch axis"), "{text}");
            // The mean does not change with the order of the rows, which is what names the node.
            assert!(rows == 1 || node.contains("Sub") || text.contains(node), "{text}");
        }
    }
}

#[test]
fn a_fixed_number_of_rows_is_turned_round() {
    let net = |rows: &str| testing::Model::new(17, &[&format!("x:f32[{rows},4]")], &[&format!("y:f32[{rows},3]")]);
    let softmax = |net: testing::Model| {
        net.weight("w", &[4, 3]).node("Softmax", "x", "s", &[int("axis", 0)]).node("CumSum", "s axis", "c", &[])
    };
    let whole = softmax(net("2")).longs("axis", &[0]).node("MatMul", "c w", "y", &[]);
    let (_, _, mut model) = built(&whole);
    model.fit_rows(&batch(4)).unwrap();
    assert!(model.require_independent_rows(&batch(4)).is_err());
    let (_, _, mut model) = built(&net("2").weight("w", &[4, 3]).node("MatMul", "x w", "y", &[]));
    model.fit_rows(&batch(4)).unwrap();
    model.require_independent_rows(&batch(4)).unwrap();
    // One row at a time: there are no others.
    let alone = softmax(net("1")).longs("axis", &[0]).node("MatMul", "c w", "y", &[]);
    let (_, _, mut model) = built(&alone);
    model.fit_rows(&batch(4)).unwrap();
    model.require_independent_rows(&batch(4)).unwrap();
}
