//! The default loop against the unit of the loss: a loss times a constant gives the same weights; the published one does not.

use super::small::{Builder, InTurn, batch, floats, plan, trained};
use dfdx::prelude::Cpu;
use onnx_forget::{
    data::Targets,
    graph::loss::LossKind,
    model::{Model, ModelOptions},
    tensor::DType,
    unlearn::{self, BatchIter, Schedule, Settings},
};

/// Two classes on both sides of a line: the rows to forget have labels that a model which saw them would know.
fn points(first: usize, count: usize, wrong: usize) -> BatchIter {
    let points = (first..first + count).map(|i| ((i as f32 * 0.7).sin() * 2.0, (i as f32 * 1.3).cos()));
    let points: Vec<(f32, f32)> = points.collect();
    let label = |(i, &(a, b)): (usize, &(f32, f32))| i64::from((a + b > 0.0) != (wrong > 0 && i % wrong == 0));
    let labels = points.iter().enumerate().map(label).collect();
    let x = floats(&[count, 2], &points.iter().flat_map(|&(a, b)| [a, b]).collect::<Vec<_>>());
    Box::new(std::iter::once(Ok(batch(x, Targets::Classes(labels)))))
}

/// Weights after a run whose loss is −`unit`·ln p, and the forget loss over its goal in the last steps.
fn run(unit: f32, schedule: &Schedule) -> (Vec<f64>, f64) {
    let graph = Builder::default()
        .input("x", DType::F32, &[2])
        .stored("w", floats(&[2, 2], &[-0.9, 1.1, -1.0, 0.8]))
        .stored("unit", floats(&[], &[unit]))
        .node("MatMul", &["x", "w"], "logits", &[])
        .node("LogSoftmax", &["logits"], "log p", &[])
        .node("Mul", &["log p", "unit"], "scores", &[])
        .output("scores");
    let mut plan = plan(&graph, LossKind::CrossEntropy);
    plan.scores_are_log_probs = true;
    let trained = trained(&graph, &["w"]);
    let mut model = Model::<f64, Cpu>::build(&graph, &plan, &trained, ModelOptions::default(), Cpu::default()).unwrap();
    let trajectory = unlearn::run(&mut model, &mut InTurn(points, 40), schedule, &mut ()).unwrap();
    let last = &trajectory.steps[trajectory.steps.len() * 3 / 4..];
    let reached = last.iter().map(|s| s.forget_loss / s.goal).sum::<f64>() / last.len() as f64;
    (model.parameters()[0].tensor.to_vec(), reached)
}

#[test]
fn the_default_loop_does_not_depend_on_the_unit_of_the_loss() {
    let settings =
        Settings { batch_size: Some(16), epochs: Some(40), learning_rate: Some(0.02), ..Settings::default() };
    let schedule = Schedule::new(&settings, 8, 16);
    let apart = |schedule: &Schedule, unit: f32| {
        let ((ours, _), (one, _)) = (run(unit, schedule), run(1.0, schedule));
        ours.iter().zip(&one).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    for unit in [0.04, 28.0] {
        // The constant itself is an f32, and Adam's ε of 1e-8 is the same for all.
        assert!(apart(&schedule, unit) < 1e-6, "{unit}: {}", apart(&schedule, unit));
        assert!(apart(&schedule.clone().published(), unit) > 1e-3, "{unit}");
    }
}

#[test]
fn the_weight_grows_until_the_goal_is_reached() {
    let settings =
        Settings { batch_size: Some(16), epochs: Some(80), learning_rate: Some(0.02), ..Settings::default() };
    let schedule = Schedule::new(&settings, 8, 16);
    let (grown, fixed) = (run(1.0, &schedule).1, run(1.0, &schedule.clone().published()).1);
    assert!((grown - 1.0).abs() < 0.15 && fixed < 0.8, "{grown} {fixed}");
}
