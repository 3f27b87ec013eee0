use super::*;
use crate::{random::Random, tensor::DType};

/// Σᵢ f(θᵢ) with smooth f, and its gradient with `wrong` applied to one tensor.
struct Toy {
    parameters: Vec<Movable>,
    wrong: Option<(usize, fn(f32) -> f32)>,
    /// The tensor that the runtime makes more of than we do.
    other: Option<usize>,
    /// Whether the loss is rounded as a runtime's is, on top of a large constant.
    coarse: bool,
    evaluations: usize,
}

fn movable(name: &str, dtype: DType, values: Vec<f32>) -> Movable {
    Movable { name: name.into(), dtype, values }
}

const NAMES: [&str; 5] = ["weight", "bias", "scale", "second", "third"];

impl Toy {
    fn new(dtype: DType) -> Self {
        let values = |n: usize, seed| {
            let mut random = Random::new(seed, 9);
            (0..n).map(|_| dtype.nearest(random.normal()) as f32).collect::<Vec<_>>()
        };
        let tensor = |(at, name): (usize, &&str)| {
            let values = if at == 1 { vec![0.0; 6] } else { values(10 + 7 * at, at as u64) };
            movable(name, dtype, values)
        };
        let parameters = NAMES.iter().enumerate().map(tensor).collect();
        Self { parameters, wrong: None, other: None, coarse: false, evaluations: 0 }
    }

    fn wrong(at: usize, f: fn(f32) -> f32) -> Self {
        Self { wrong: Some((at, f)), ..Self::new(DType::F32) }
    }

    fn values(&self, moved: &MovedExactly) -> Vec<Vec<f64>> {
        let stored = |p: &Movable| p.values.iter().map(|&x| x.into()).collect();
        let one = |(at, p): (usize, &Movable)| moved.get(&at).cloned().unwrap_or_else(|| stored(p));
        self.parameters.iter().enumerate().map(one).collect()
    }

    fn check(&mut self) -> GradientReport {
        let parameters = self.parameters.clone();
        check(&parameters, self, GradientOptions::default()).unwrap()
    }
}

impl Moving for Toy {
    fn loss(&mut self, moved: &Moved) -> Result<f64> {
        let exactly = exactly(moved);
        let more =
            self.other.map_or(0.0, |at| 0.1 * self.values(&exactly)[at].iter().map(|x| (x + 1.0).sin()).sum::<f64>());
        let loss = self.exact(&exactly)? + more;
        Ok(if self.coarse { f64::from((loss + 3.0) as f32) } else { loss })
    }

    fn exact(&mut self, moved: &MovedExactly) -> Result<f64> {
        self.evaluations += 1;
        let values = self.values(moved).into_iter().flatten();
        Ok(values.enumerate().map(|(i, x)| (x + i as f64).sin() * 0.1 + 0.05 * x * x * x).sum())
    }

    fn gradient(&mut self, moved: &Moved) -> Result<Vec<Vec<f32>>> {
        let mut i = 0;
        let mut one = |x: f64| {
            i += 1;
            ((x + f64::from(i - 1)).cos() * 0.1 + 0.15 * x * x) as f32
        };
        let values = self.values(&exactly(moved)).into_iter();
        let mut gradient: Vec<Vec<f32>> = values.map(|v| v.into_iter().map(&mut one).collect()).collect();
        if let Some((at, f)) = self.wrong {
            gradient[at].iter_mut().for_each(|g| *g = f(*g));
        }
        Ok(gradient)
    }
}

fn names(report: &GradientReport) -> Vec<&str> {
    report.failing.iter().map(|f| f.name.as_str()).collect()
}

#[test]
fn a_right_gradient_passes() {
    let report = Toy::new(DType::F32).check();
    assert!(report.passed && !report.failed() && report.not_shown.is_none(), "{report:?}");
    assert_eq!((report.directions, report.checks.len()), (3, 3));
    assert!(report.max_rel_error < 1e-5, "{report:?}");
    assert!(report.failing.is_empty());
}

#[test]
fn half_precision_parameters_are_moved_to_what_the_file_can_hold() {
    for dtype in [DType::F16, DType::BF16] {
        let report = Toy::new(dtype).check();
        assert!(report.passed && report.max_rel_error < 1e-5, "{dtype}: {report:?}");
    }
}

#[test]
fn the_wrong_tensor_is_named_in_a_few_evaluations() {
    for (wrong, name) in NAMES.into_iter().enumerate() {
        let mut toy = Toy::wrong(wrong, |g| 1.5 * g);
        let report = toy.check();
        assert!(report.failed(), "{name}: {report:?}");
        assert_eq!(names(&report), [name]);
        assert!(report.verdict().contains(name));
        assert!(toy.evaluations < 100, "{}", toy.evaluations);
    }
}

#[test]
fn two_wrong_tensors_are_named() {
    let mut toy = Toy::wrong(0, |g| 1.5 * g);
    toy.parameters.push(movable("last", DType::F32, vec![0.3; 9]));
    struct Both(Toy);
    impl Moving for Both {
        fn loss(&mut self, moved: &Moved) -> Result<f64> {
            self.0.loss(moved)
        }
        fn exact(&mut self, moved: &MovedExactly) -> Result<f64> {
            self.0.exact(moved)
        }
        fn gradient(&mut self, moved: &Moved) -> Result<Vec<Vec<f32>>> {
            let mut gradient = self.0.gradient(moved)?;
            gradient.last_mut().unwrap().iter_mut().for_each(|g| *g = -*g);
            Ok(gradient)
        }
    }
    let parameters = toy.parameters.clone();
    let report = check(&parameters, &mut Both(toy), GradientOptions::default()).unwrap();
    let mut found = names(&report);
    found.sort_unstable();
    assert_eq!(found, ["last", "weight"], "{report:?}");
}

#[test]
fn a_missing_gradient_a_flipped_sign_and_nan_fail() {
    for f in [|_: f32| 0.0, |g: f32| -g, |_: f32| f32::NAN] {
        let report = Toy::wrong(0, f).check();
        assert!(report.failed());
        assert_eq!(report.failing[0].name, "weight");
    }
}

#[test]
fn a_runtime_that_computes_another_function_fails() {
    for (other, name) in NAMES.into_iter().enumerate() {
        let report = Toy { other: Some(other), ..Toy::new(DType::F32) }.check();
        assert!(report.failed(), "{name}: {report:?}");
        assert!(report.checks.iter().all(|c| c.derivative.rel_error < 1e-5), "our own gradient is right");
        assert_eq!(names(&report), [name]);
    }
}

/// A loss of one parameter tensor, given by functions, on top of a constant; the runtime's is rounded to `f32`.
struct Given<L, G>(Vec<f32>, L, G, f64);

impl<L: Fn(f64) -> f64, G: Fn(f64) -> f64> Moving for Given<L, G> {
    fn loss(&mut self, moved: &Moved) -> Result<f64> {
        Ok(f64::from(self.exact(&exactly(moved))? as f32))
    }
    fn exact(&mut self, moved: &MovedExactly) -> Result<f64> {
        let stored = self.0.iter().map(|&x| x.into()).collect();
        Ok(self.3 + moved.get(&0).unwrap_or(&stored).iter().map(|&x| (self.1)(x)).sum::<f64>())
    }
    fn gradient(&mut self, moved: &Moved) -> Result<Vec<Vec<f32>>> {
        Ok(vec![moved.get(&0).unwrap_or(&self.0).iter().map(|&x| (self.2)(x.into()) as f32).collect()])
    }
}

fn one_tensor(loss: impl Fn(f64) -> f64, gradient: impl Fn(f64) -> f64, constant: f64) -> GradientReport {
    let mut random = Random::new(5, 5);
    let values: Vec<f32> = (0..2000).map(|_| random.normal() as f32).collect();
    let parameters = [movable("w", DType::F32, values.clone())];
    check(&parameters, &mut Given(values, loss, gradient, constant), GradientOptions::default()).unwrap()
}

#[test]
fn a_loss_that_is_nan_fails() {
    assert!(one_tensor(|_| f64::NAN, |_| 1.0, 0.0).failed());
}

#[test]
fn rounding_of_the_loss_is_told_from_a_wrong_gradient() {
    let right = Toy { coarse: true, ..Toy::new(DType::F32) }.check();
    assert!(right.passed, "{right:?}");
    let wrong = Toy { coarse: true, ..Toy::wrong(2, |g| 1.3 * g) }.check();
    assert!(wrong.failed(), "{wrong:?}");
    assert_eq!(names(&wrong), ["scale"]);
}

#[test]
fn what_cannot_be_resolved_is_not_shown_and_says_why() {
    let square = |constant| one_tensor(|x| x * x, |x| 2.0 * x, constant);
    assert!(square(10.0).passed);
    let lost = square(1e9);
    assert!(!lost.passed && !lost.failed(), "{lost:?}");
    assert!(lost.verdict().starts_with("not shown: ") && lost.verdict().contains("runtime"), "{}", lost.verdict());
    let flat = one_tensor(|_| 1.0, |_| 0.0, 0.0);
    assert!(!flat.passed && !flat.failed(), "{flat:?}");
    assert!(flat.verdict().contains("does not change"), "{}", flat.verdict());
    // A gradient where there is none is not excused by it.
    assert!(one_tensor(|_| 1.0, |_| 0.1, 0.0).failed());
}

#[test]
fn kinks_are_not_taken_for_errors() {
    // Kinks every 0.01: a thousand of them within one root mean square.
    let saw = |x: f64| if (x * 100.0).rem_euclid(2.0) < 1.0 { 1.0 } else { 3.0 };
    let area = |x: f64| {
        let (whole, part) = ((x * 100.0).div_euclid(2.0), (x * 100.0).rem_euclid(2.0));
        (4.0 * whole + if part < 1.0 { part } else { 3.0 * part - 2.0 }) / 100.0
    };
    let report = one_tensor(area, saw, 0.0);
    assert!(report.passed, "{report:?}");
    let report = one_tensor(area, |x| saw(x) * 1.02, 0.0);
    assert!(report.failed(), "{report:?}");
}
