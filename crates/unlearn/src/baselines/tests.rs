//! What each method's formula gives, beside numbers worked out by hand.

use super::*;
use crate::{
    BatchIter, Batches, Observer, Set, Sets, StepRecord,
    batch::{Batch, Targets},
    engine::KernelChoice,
    error::{Error, Result},
    fit::RecipeSettings,
    model::{Answer, Model, ModelOptions},
};
use dfdx::tensor::Cpu;
use onnx_forget_base::tensor::HostTensor;
use onnx_forget_graph::graph::{
    loss::{self, LabelKind},
    parameters,
    testing::{Model as Draft, int},
};

#[test]
fn ssd_dampens_what_matters_more_than_ten_times_for_the_rows_to_forget() {
    // F_f = 40, F_D = 2: 40 > 10·2, so that the weight is multiplied by 2/40.
    assert_eq!(dampened(3.0, 40.0, 2.0, 10.0, 1.0), 3.0 * 0.05);
    // F_f = 20 is not more than 10·2.
    assert_eq!(dampened(3.0, 20.0, 2.0, 10.0, 1.0), 3.0);
    // A factor above 1 is 1.
    assert_eq!(dampened(3.0, 40.0, 2.0, 10.0, 50.0), 3.0);
    assert_eq!(dampened(3.0, 0.0, 0.0, 10.0, 1.0), 3.0);
}

#[test]
fn distances_and_slopes_follow_their_formula() {
    // Two classes, T = 2: student ln 3 : 0 over 2, teacher 0 : 0, so p = (½, ½), q = (√3, 1)/(1 + √3).
    let (root, t) = (3f64.sqrt(), 2.0);
    let q = [root / (1.0 + root), 1.0 / (1.0 + root)];
    let kl: f64 = q.iter().map(|q| 0.5 * (0.5 / q).ln()).sum();
    let (found, slopes) = distance(Answer::Class, &[3f64.ln(), 0.0], &[0.0, 0.0], 2, t);
    assert!((found - t * t * kl).abs() < 1e-12);
    assert!((slopes[0] - t * (q[0] - 0.5)).abs() < 1e-12 && (slopes[1] - t * (q[1] - 0.5)).abs() < 1e-12);
    // A model is no distance from itself, whatever its answers are.
    for (answer, width) in [(Answer::Class, 3), (Answer::Labels, 3), (Answer::Numbers, 3)] {
        let (found, slopes) = distance(answer, &[0.5f64, -1.0, 2.0], &[0.5, -1.0, 2.0], width, 4.0);
        assert!(found.abs() < 1e-7 && slopes.iter().all(|s| s.abs() < 1e-7), "{answer:?}");
    }
    let (found, slopes) = distance(Answer::Numbers, &[3.0f64, 1.0], &[1.0, 1.0], 1, 4.0);
    assert!((found - 1.0).abs() < 1e-12 && (slopes[0] - 1.0).abs() < 1e-12 && slopes[1] == 0.0);
}

#[test]
fn slopes_are_the_derivatives_of_distances() {
    let (student, teacher) = ([0.3f64, -0.7, 1.1, 0.2, 0.9, -0.4], [1.0f32, 0.5, -0.2, 0.0, -1.0, 0.7]);
    for (answer, width) in [(Answer::Class, 3), (Answer::Labels, 2), (Answer::Numbers, 3)] {
        let (_, slopes) = distance(answer, &student, &teacher, width, 3.0);
        for i in 0..student.len() {
            let at = |by: f64| {
                let mut moved = student;
                moved[i] += by;
                distance(answer, &moved, &teacher, width, 3.0).0
            };
            let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((numeric - slopes[i]).abs() < 1e-8, "{answer:?} {i}: {numeric} {}", slopes[i]);
        }
    }
}

#[test]
fn errors_are_counted_as_the_answer_says() {
    let classes = Targets::Classes(vec![1, 0]);
    assert_eq!(error(Answer::Class, &[0.0, 2.0, 0.0, 2.0], &[0.1, 3.0], 2, &classes), [0.0, 1.0]);
    assert_eq!(error(Answer::Labels, &[2.0, 2.0], &[0.1, 3.0], 1, &classes), [0.0, 1.0]);
    let labels = Targets::Values { width: 2, values: vec![1.0, 0.0, 1.0, 1.0] };
    assert_eq!(error(Answer::Labels, &[1.0, -1.0, 1.0, -1.0], &[0.0; 2], 2, &labels), [0.0, 0.5]);
    assert_eq!(error(Answer::Numbers, &[1.0, -1.0], &[0.25, 4.0], 1, &labels), [0.25, 4.0]);
}

#[test]
fn the_salient_half_is_exactly_half() {
    let marks = salient(&[0.1, 0.9, 0.5, 0.9, 0.0, 0.2], 3);
    assert_eq!(marks, [false, true, true, true, false, false]);
    // Of equal ones the first.
    assert_eq!(salient(&[1.0; 5], 2), [true, true, false, false, false]);
    assert_eq!(salient(&[1.0, 2.0], 0), [false, false]);
    assert_eq!(salient(&[1.0, 2.0], 2), [true, true]);
}

/// Rows of two classes that a linear model tells apart: the first `forget` of them are to be forgotten.
struct Rows {
    forget: usize,
    seed: u64,
}

const ROWS: usize = 24;

impl Rows {
    fn batch(rows: std::ops::Range<usize>) -> Batch {
        let of = |row: usize| {
            let side = if row.is_multiple_of(2) { 1.0 } else { -1.0 };
            [side + 0.1 * (row * 7 % 5) as f32, 0.3 * (row * 5 % 7) as f32 - 1.0]
        };
        let values: Vec<f32> = rows.clone().flat_map(of).collect();
        let input = HostTensor::new(&[rows.len(), 2], values).unwrap();
        let classes = rows.map(|row| i64::from(row.is_multiple_of(2))).collect();
        Batch { inputs: [("x".to_string(), input)].into(), targets: Targets::Classes(classes) }
    }

    fn cut(rows: std::ops::Range<usize>, size: usize) -> BatchIter {
        let end = rows.end;
        Box::new(rows.step_by(size).map(move |start| Ok(Self::batch(start..end.min(start + size)))))
    }
}

impl Batches for Rows {
    fn forget(&mut self, epoch: usize) -> Result<BatchIter> {
        self.pass(Set::Forget, epoch, 4)
    }
    fn retain(&mut self, pass: usize) -> Result<BatchIter> {
        self.pass(Set::Retain, pass, 4)
    }
    fn validation(&mut self) -> Result<BatchIter> {
        Ok(Self::cut(ROWS..ROWS + 8, 4))
    }
}

impl Sets for Rows {
    fn count(&self, set: Set) -> usize {
        match set {
            Set::Forget => self.forget,
            Set::Retain => ROWS - self.forget,
            Set::Train => ROWS,
        }
    }
    fn pass(&mut self, set: Set, _: usize, size: usize) -> Result<BatchIter> {
        Ok(match set {
            Set::Forget => Self::cut(0..self.forget, size),
            Set::Retain => Self::cut(self.forget..ROWS, size),
            Set::Train => Self::cut(0..ROWS, size),
        })
    }
    fn mixed(&mut self, _: usize, size: usize) -> Result<Box<dyn Iterator<Item = Result<crate::method::Mixed>> + '_>> {
        let forget = self.forget;
        let batches = (0..ROWS).step_by(size).map(move |start| {
            let rows = start..ROWS.min(start + size);
            let places = rows.clone().map(|row| Some(row).filter(|row| *row < forget)).collect();
            Ok((Self::batch(rows), places))
        });
        Ok(Box::new(batches))
    }
    fn seed(&self) -> u64 {
        self.seed
    }
}

fn model() -> Model<f64, Cpu> {
    let draft = Draft::new(17, &["x:f32[n,2]"], &["y:f32[n,2]"])
        .floats("w", &[2, 2], vec![-1.0, 0.2, 1.0, -0.1])
        .floats("b", &[2], vec![0.1, -0.1])
        .node("Gemm", "x w b", "y", &[int("transB", 1)]);
    let graph = draft.build().unwrap();
    let plan = loss::plan(&graph, None, LabelKind::Class).unwrap();
    let decisions = parameters::decide(&graph, &plan, &[], &[]).unwrap();
    let options = ModelOptions { kernels: KernelChoice::Definition, ..ModelOptions::default() };
    Model::build(&graph, &plan, &decisions, options, Cpu::default()).unwrap()
}

fn values(model: &Model<f64, Cpu>) -> Vec<f64> {
    model.parameters().iter().flat_map(|p| p.tensor.to_vec()).collect()
}

fn wanted(forget: usize) -> Wanted {
    Wanted { batch_size: 4, forget, retain: ROWS - forget, ..Wanted::default() }
}

fn recipe() -> Recipe {
    Recipe::new(&RecipeSettings { epochs: Some(3), ..RecipeSettings::default() }, 4, crate::batch::Augment::default())
}

/// Keeps the losses that a method saw.
#[derive(Default)]
struct Seen(Vec<StepRecord>);

impl Observer for Seen {
    fn step(&mut self, record: &StepRecord, _: usize) -> Result<()> {
        self.0.push(record.clone());
        Ok(())
    }
}

fn run(name: MethodName, wanted: &Wanted, seed: u64) -> (Vec<f64>, Vec<StepRecord>, usize) {
    let schedule = Schedule::new(&crate::Settings { batch_size: Some(4), ..Default::default() }, 8, ROWS - 8);
    let method: Box<dyn Method<f64, Cpu>> = method(name, &schedule, wanted, &recipe());
    let (mut model, mut seen) = (model(), Seen::default());
    let steps = method.described().steps;
    assert_eq!(method.name(), name);
    let trajectory = method.run(&mut model, &mut Rows { forget: 8, seed }, &mut seen).unwrap();
    assert_eq!((trajectory.steps.len(), seen.0.len()), (steps, steps), "{name}");
    (values(&model), seen.0, steps)
}

#[test]
fn every_method_makes_the_steps_it_announces_and_the_same_ones_again() {
    let start = values(&model());
    for &name in MethodName::all() {
        let (first, ..) = run(name, &wanted(8), 1);
        assert!(first.iter().all(|x| x.is_finite()), "{name}");
        // In two classes, SSD finds nothing that matters ten times more for a third of alike rows.
        assert_eq!(first == start, name == MethodName::Ssd, "{name}");
        assert_eq!(run(name, &wanted(8), 1).0, first, "{name}");
    }
    assert_ne!(run(MethodName::Retrain, &wanted(8), 1).0, run(MethodName::Retrain, &wanted(8), 2).0);
}

#[test]
fn neg_grad_goes_uphill() {
    // One batch of all rows to forget, one pass, no momentum yet: w + rate·(g − λ·w).
    let model = model();
    let batch = Rows::batch(0..8);
    let (_, gradients) = model.gradient_wrt_parameters(&batch).unwrap();
    let (start, gradients): (Vec<f64>, Vec<f64>) = (values(&model), gradients.concat());
    let once = Wanted { batch_size: 8, epochs: Some(1), learning_rate: Some(0.5), ..wanted(8) };
    let (end, seen, _) = run(MethodName::NegGrad, &once, 0);
    for ((w, g), e) in start.iter().zip(&gradients).zip(&end) {
        assert!((w + 0.5 * (g - 5e-4 * w) - e).abs() < 1e-12, "{w} {g} {e}");
    }
    assert!(seen[0].retain_loss.is_nan() && seen[0].forget_loss > 0.0);
    let more = Wanted { epochs: Some(20), learning_rate: Some(0.05), ..wanted(8) };
    let (_, seen, _) = run(MethodName::NegGrad, &more, 0);
    assert!(seen.last().unwrap().forget_loss > seen[0].forget_loss);
}

#[test]
fn neg_grad_plus_weighs_both_gradients() {
    let model = model();
    let of = |rows| model.gradient_wrt_parameters(&Rows::batch(rows)).unwrap().1.concat();
    let (forget, retain, start) = (of(0..8), of(8..24), values(&model));
    let once = Wanted { batch_size: 16, epochs: Some(1), learning_rate: Some(1.0), ..wanted(8) };
    let (end, ..) = run(MethodName::NegGradPlus, &once, 0);
    for (((w, f), r), e) in start.iter().zip(&forget).zip(&retain).zip(&end) {
        assert!((w - (0.9999 * r - 0.0001 * f) - e).abs() < 1e-9);
    }
}

#[test]
fn scrub_starts_at_its_teacher_and_stays_near_it_on_retained_rows() {
    // In the first step student and teacher are one: no distance, no slope, but for weight decay nothing moves.
    let once = Wanted { batch_size: 8, epochs: Some(1), learning_rate: Some(5e-4), ..wanted(8) };
    let (end, seen, steps) = run(MethodName::Scrub, &once, 0);
    assert_eq!((steps, seen.len()), (3, 3));
    assert!(seen[0].retain_loss.is_nan() && seen[1].forget_loss.is_nan());
    let moved = end.iter().zip(values(&model())).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(moved > 0.0 && moved < 1e-2, "{moved}");
    let rates: Vec<f64> = run(MethodName::Scrub, &wanted(8), 0).1.iter().map(|s| s.lr).collect();
    let first = 5e-4 * 4.0 / 256.0;
    assert_eq!((rates[0], *rates.last().unwrap()), (first, first * 0.1f64.powi(2)));
}

#[test]
fn salun_leaves_half_of_the_weights_as_they_are() {
    let (start, end) = (values(&model()), run(MethodName::SalUn, &wanted(8), 0).0);
    let same = start.iter().zip(&end).filter(|(a, b)| a == b).count();
    assert_eq!((same, start.len()), (3, 6));
    let all = run(MethodName::RandomLabels, &wanted(8), 0).0;
    assert!(start.iter().zip(&all).all(|(a, b)| a != b));
}

#[test]
fn ssd_dampens_the_weights_of_a_model() {
    // All rows but the two to forget leave the second input at rest: its weights matter for these alone.
    let mut some = model();
    let schedule = Schedule::new(&crate::Settings::default(), 8, 16);
    let ssd: Box<dyn Method<f64, Cpu>> = method(MethodName::Ssd, &schedule, &wanted(8), &recipe());
    ssd.run(&mut some, &mut Lone, &mut ()).unwrap();
    let (start, end) = (values(&model()), values(&some));
    // w is (2, 2), row-major: the columns of the second input are 1 and 3.
    assert!(end[1].abs() < start[1].abs() && end[3].abs() < start[3].abs(), "{start:?} {end:?}");
    assert_eq!((end[0], end[2]), (start[0], start[2]));
}

/// One batch to forget that alone moves the second input, among twenty.
struct Lone;

impl Batches for Lone {
    fn forget(&mut self, _: usize) -> Result<BatchIter> {
        self.pass(Set::Forget, 0, 4)
    }
    fn retain(&mut self, _: usize) -> Result<BatchIter> {
        self.pass(Set::Retain, 0, 4)
    }
    fn validation(&mut self) -> Result<BatchIter> {
        self.pass(Set::Retain, 0, 4)
    }
}

impl Sets for Lone {
    fn count(&self, _: Set) -> usize {
        4
    }
    fn pass(&mut self, set: Set, _: usize, _: usize) -> Result<BatchIter> {
        let batch = |second: f32| {
            let values = (0..4).flat_map(|row| [if row < 2 { 1.0 } else { -1.0 }, second]).collect::<Vec<f32>>();
            let input = HostTensor::new(&[4, 2], values).unwrap();
            let targets = Targets::Classes(vec![0, 0, 0, 0]);
            Ok(Batch { inputs: [("x".to_string(), input)].into(), targets })
        };
        let others = if set == Set::Forget { 0 } else { 19 };
        Ok(Box::new(std::iter::once(batch(1.0)).chain((0..others).map(move |_| batch(0.0)))))
    }
    fn mixed(&mut self, _: usize, _: usize) -> Result<Box<dyn Iterator<Item = Result<crate::method::Mixed>> + '_>> {
        Err(Error::Internal("not asked for".into()))
    }
    fn seed(&self) -> u64 {
        0
    }
}
