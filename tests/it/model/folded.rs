//! One network in the two forms that exporters give it, BatchNormalization kept and multiplied into the convolutions:
//! the default loop does the same to both, the published one does not.

use super::small::{Builder, InTurn, batch, floats, plan, trained};
use dfdx::prelude::Cpu;
use onnx_forget::{
    data::Targets,
    graph::{Attr, Graph, loss::LossKind},
    model::{Model, ModelOptions},
    tensor::DType,
    unlearn::{self, BatchIter, Schedule, Settings},
};

const CHANNELS: usize = 4;
/// γ/σ of each channel: powers of two, so that folding is exact.
const FACTORS: [[f32; CHANNELS]; 2] = [[0.0625, 0.5, -2.0, 8.0], [0.25, 4.0, -0.125, 1.0]];
/// β and the running mean of each channel.
const SHIFTS: [[f32; CHANNELS]; 2] = [[0.25, 0.5, 0.75, -0.25], [0.125, 0.5, 0.25, 0.375]];
const MEANS: [[f32; CHANNELS]; 2] = [[0.5, -0.25, 0.125, 0.0], [0.25, 0.0, -0.5, 0.125]];

fn weights(count: usize, seed: f32, scale: f32) -> Vec<f32> {
    (0..count).map(|i| ((i as f32 + seed) * 12.9898).sin() * scale).collect()
}

/// Convolution, BatchNormalization, Relu, twice, and a layer of two logits.
fn network(folded: bool) -> Graph {
    let pads = [("pads", Attr::Ints(vec![1; 4]))];
    let exact = [("epsilon", Attr::Float(0.0))];
    let mut net = Builder::default().input("x", DType::F32, &[1, 5, 5]);
    let mut last = "x".to_string();
    for layer in 0..2 {
        let inputs = if layer == 0 { 1 } else { CHANNELS };
        let plain = weights(CHANNELS * inputs * 9, layer as f32, 0.5);
        let (gamma, beta, mean) = (FACTORS[layer], SHIFTS[layer], MEANS[layer]);
        let name = |what: &str| format!("{what}{layer}");
        let (w, b, y, z) = (name("w"), name("b"), name("y"), name("z"));
        let vector = |values: &[f32]| floats(&[CHANNELS], values);
        if folded {
            let scaled: Vec<f32> = plain.iter().enumerate().map(|(i, x)| x * gamma[i / (inputs * 9)]).collect();
            let bias: Vec<f32> = (0..CHANNELS).map(|c| beta[c] - mean[c] * gamma[c]).collect();
            net = net.stored(&w, floats(&[CHANNELS, inputs, 3, 3], &scaled)).stored(&b, vector(&bias)).node(
                "Conv",
                &[&last, &w, &b],
                &y,
                &pads,
            );
        } else {
            let (g, m, v, c) = (name("g"), name("m"), name("v"), name("c"));
            net = net
                .stored(&w, floats(&[CHANNELS, inputs, 3, 3], &plain))
                .stored(&g, vector(&gamma))
                .stored(&b, vector(&beta))
                .stored(&m, vector(&mean))
                .stored(&v, vector(&[1.0; CHANNELS]))
                .node("Conv", &[&last, &w], &c, &pads)
                .node("BatchNormalization", &[&c, &g, &b, &m, &v], &y, &exact);
        }
        net = net.node("Relu", &[&y], &z, &[]);
        last = z;
    }
    net.stored("head", floats(&[CHANNELS, 2], &weights(CHANNELS * 2, 5.0, 0.7)))
        .node("GlobalAveragePool", &[&last], "pooled", &[])
        .node("Flatten", &["pooled"], "features", &[])
        .node("MatMul", &["features", "head"], "scores", &[])
        .output("scores")
}

/// Pictures that are brighter on one side; the rows to forget have labels that a model which saw them would know.
fn pictures(first: usize, count: usize, wrong: usize) -> BatchIter {
    let pixel =
        |i: usize, p: usize| ((i * 25 + p) as f32 * 1.7).sin() + if p % 5 > 2 { (i as f32 * 0.9).sin() } else { 0.0 };
    let x: Vec<f32> = (first..first + count).flat_map(|i| (0..25).map(move |p| pixel(i, p))).collect();
    let label = |i: usize| i64::from(((i as f32 * 0.9).sin() > 0.0) != (wrong > 0 && i.is_multiple_of(wrong)));
    let labels = (first..first + count).map(label).collect();
    Box::new(std::iter::once(Ok(batch(floats(&[count, 1, 5, 5], &x), Targets::Classes(labels)))))
}

/// Forget and retain loss of each step.
fn losses(graph: &Graph, names: &[&str], schedule: &Schedule) -> Vec<[f64; 2]> {
    let (plan, trained) = (plan(graph, LossKind::CrossEntropy), trained(graph, names));
    let mut model = Model::<f64, Cpu>::build(graph, &plan, &trained, ModelOptions::default(), Cpu::default()).unwrap();
    let trajectory = unlearn::run(&mut model, &mut InTurn(pictures, 60), schedule, &mut ()).unwrap();
    trajectory.steps.iter().map(|s| [s.forget_loss, s.retain_loss]).collect()
}

/// The largest difference of a loss, relative to it, between the two forms in which the named tensors are trained.
fn apart(kept: &[&str], folded: &[&str], schedule: &Schedule) -> f64 {
    let (kept, folded) = (losses(&network(false), kept, schedule), losses(&network(true), folded, schedule));
    assert_eq!(kept.len(), schedule.steps());
    kept.iter().flatten().zip(folded.iter().flatten()).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max)
}

fn schedule() -> Schedule {
    let settings =
        Settings { batch_size: Some(16), epochs: Some(20), learning_rate: Some(3e-3), ..Settings::default() };
    Schedule::new(&settings, 8, 16)
}

/// Where the same weights are trained in both forms, a step is the same function of the inputs, but for Adam's ε.
#[test]
fn the_default_loop_takes_the_same_steps_whether_normalizations_are_folded_or_not() {
    let names = ["w0", "w1", "head"];
    let (ours, published) = (apart(&names, &names, &schedule()), apart(&names, &names, &schedule().published()));
    assert!(ours < 1e-5 && published > 1e-3, "{ours} {published}");
}

/// With γ and β, a kept normalization has parameters that its folded form has not: the steps are then only alike.
#[test]
fn trained_normalizations_make_little_difference() {
    let (kept, folded) = (["w0", "g0", "b0", "w1", "g1", "b1", "head"], ["w0", "b0", "w1", "b1", "head"]);
    let (ours, published) = (apart(&kept, &folded, &schedule()), apart(&kept, &folded, &schedule().published()));
    assert!(ours < 0.2 && published > 2.0 * ours, "{ours} {published}");
}
