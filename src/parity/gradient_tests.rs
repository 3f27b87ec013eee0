use super::*;

/// Σᵢ f(θᵢ) with smooth f, and its gradient with `wrong` applied to one tensor.
struct Toy {
    parameters: Vec<Movable>,
    wrong: Option<(usize, fn(f32) -> f32)>,
    /// Whether the loss is rounded as a runtime's is, on top of a large constant.
    coarse: bool,
}

fn movable(name: &str, dtype: DType, values: Vec<f32>) -> Movable {
    Movable { name: name.into(), dtype, values }
}

impl Toy {
    fn new(dtype: DType) -> Self {
        let values = |n: usize, seed| {
            let mut random = Random::new(seed, 9);
            (0..n).map(|_| rounded(random.normal(), dtype)).collect::<Vec<_>>()
        };
        let parameters = vec![
            movable("weight", dtype, values(30, 1)),
            movable("bias", dtype, vec![0.0; 6]),
            movable("scale", dtype, values(10, 3)),
        ];
        Self { parameters, wrong: None, coarse: false }
    }

    fn wrong(at: usize, f: fn(f32) -> f32) -> Self {
        Self { wrong: Some((at, f)), ..Self::new(DType::F32) }
    }

    fn values(&self, moved: &Moved) -> Vec<Vec<f32>> {
        let one = |(at, p): (usize, &Movable)| moved.get(&at).unwrap_or(&p.values).clone();
        self.parameters.iter().enumerate().map(one).collect()
    }

    fn check(mut self) -> GradientReport {
        let parameters = self.parameters.clone();
        check(&parameters, &mut self, GradientOptions::default()).unwrap()
    }
}

impl Moving for Toy {
    fn loss(&mut self, moved: &Moved) -> Result<f64> {
        let values = self.values(moved).into_iter().flatten().map(f64::from);
        let loss: f64 = values.enumerate().map(|(i, x)| (x + i as f64).sin() * 0.1 + 0.05 * x * x * x).sum();
        Ok(if self.coarse { f64::from((loss + 3.0) as f32) } else { loss })
    }

    fn gradient(&mut self, moved: &Moved) -> Result<Vec<Vec<f32>>> {
        let mut i = 0;
        let mut one = |x: f64| {
            i += 1;
            ((x + f64::from(i - 1)).cos() * 0.1 + 0.15 * x * x) as f32
        };
        let values = self.values(moved).into_iter();
        let mut gradient: Vec<Vec<f32>> = values.map(|v| v.into_iter().map(|x| one(x.into())).collect()).collect();
        if let Some((at, f)) = self.wrong {
            gradient[at].iter_mut().for_each(|g| *g = f(*g));
        }
        Ok(gradient)
    }
}

#[test]
fn a_right_gradient_passes() {
    let report = Toy::new(DType::F32).check();
    assert!(report.passed, "{report:?}");
    assert_eq!((report.directions, report.checks.len()), (3, 3));
    assert!(report.max_rel_error < 2e-3, "{report:?}");
    assert!(report.failing.is_empty());
}

#[test]
fn half_precision_parameters_are_checked_along_what_rounding_leaves_of_the_direction() {
    for dtype in [DType::F16, DType::BF16] {
        let report = Toy::new(dtype).check();
        assert!(report.passed && report.max_rel_error < 0.01, "{dtype}: {report:?}");
    }
}

#[test]
fn the_wrong_tensor_is_named() {
    for (wrong, name) in ["weight", "bias", "scale"].into_iter().enumerate() {
        let report = Toy::wrong(wrong, |g| 1.5 * g).check();
        assert!(!report.passed, "{name}: {report:?}");
        let names: Vec<_> = report.failing.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, [name]);
        assert!(report.verdict().contains(name));
    }
}

#[test]
fn a_missing_gradient_a_flipped_sign_and_nan_fail() {
    for f in [|_: f32| 0.0, |g: f32| -g, |_: f32| f32::NAN] {
        let report = Toy::wrong(0, f).check();
        assert!(!report.passed);
        assert_eq!(report.failing[0].name, "weight");
    }
}

/// A loss of one parameter tensor, given by functions.
struct Given<L, G>(Vec<f32>, L, G);

impl<L: Fn(f64) -> f64, G: Fn(f64) -> f64> Moving for Given<L, G> {
    fn loss(&mut self, moved: &Moved) -> Result<f64> {
        Ok(moved.get(&0).unwrap_or(&self.0).iter().map(|&x| (self.1)(x.into())).sum())
    }
    fn gradient(&mut self, moved: &Moved) -> Result<Vec<Vec<f32>>> {
        Ok(vec![moved.get(&0).unwrap_or(&self.0).iter().map(|&x| (self.2)(x.into()) as f32).collect()])
    }
}

fn one_tensor(loss: impl Fn(f64) -> f64, gradient: impl Fn(f64) -> f64) -> GradientReport {
    let mut random = Random::new(5, 5);
    let values: Vec<f32> = (0..2000).map(|_| random.normal() as f32).collect();
    let parameters = [movable("w", DType::F32, values.clone())];
    check(&parameters, &mut Given(values, loss, gradient), GradientOptions::default()).unwrap()
}

#[test]
fn a_loss_that_is_nan_fails() {
    assert!(!one_tensor(|_| f64::NAN, |_| 1.0).passed);
}

#[test]
fn rounding_of_the_loss_is_told_from_a_wrong_gradient() {
    let right = Toy { coarse: true, ..Toy::new(DType::F32) }.check();
    assert!(right.passed, "{right:?}");
    let wrong = Toy { coarse: true, ..Toy::wrong(2, |g| 1.3 * g) }.check();
    assert!(!wrong.passed, "{wrong:?}");
    assert_eq!(wrong.failing[0].name, "scale");
}

#[test]
fn kinks_are_not_taken_for_errors() {
    // Kinks every 0.01: a thousand of them within one root mean square.
    let saw = |x: f64| if (x * 100.0).rem_euclid(2.0) < 1.0 { 1.0 } else { 3.0 };
    let area = |x: f64| {
        let (whole, part) = ((x * 100.0).div_euclid(2.0), (x * 100.0).rem_euclid(2.0));
        (4.0 * whole + if part < 1.0 { part } else { 3.0 * part - 2.0 }) / 100.0
    };
    let report = one_tensor(area, saw);
    assert!(report.passed, "{report:?}");
    let report = one_tensor(area, |x| saw(x) * 1.05);
    assert!(!report.passed, "{report:?}");
}
