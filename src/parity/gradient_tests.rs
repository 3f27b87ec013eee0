use super::*;

/// Σᵢ cᵢ·f(θᵢ) with smooth f, and its gradient.
struct Toy {
    parameters: Vec<Movable>,
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
        Self { parameters }
    }

    fn values(&self, moved: &Moved) -> Vec<f64> {
        let one = |(at, p): (usize, &Movable)| moved.get(&at).unwrap_or(&p.values).clone();
        self.parameters.iter().enumerate().flat_map(one).map(f64::from).collect()
    }

    fn loss(&self, moved: &Moved) -> f64 {
        self.values(moved).iter().enumerate().map(|(i, x)| (x + i as f64).sin() * 0.1 + 0.05 * x * x * x).sum()
    }

    fn gradient(&self) -> Vec<Vec<f32>> {
        let flat: Vec<f32> = self
            .values(&Moved::new())
            .iter()
            .enumerate()
            .map(|(i, x)| ((x + i as f64).cos() * 0.1 + 0.15 * x * x) as f32)
            .collect();
        vec![flat[..30].to_vec(), flat[30..36].to_vec(), flat[36..].to_vec()]
    }

    fn check(&self, gradient: &[Vec<f32>]) -> GradientReport {
        check(&self.parameters, gradient, &mut |m| Ok(self.loss(m)), GradientOptions::default()).unwrap()
    }
}

#[test]
fn a_right_gradient_passes() {
    let toy = Toy::new(DType::F32);
    let report = toy.check(&toy.gradient());
    assert!(report.passed, "{report:?}");
    assert_eq!((report.directions, report.checks.len()), (3, 3));
    assert!(report.max_rel_error < 1e-4, "{report:?}");
    assert!(report.failing.is_empty());
}

#[test]
fn half_precision_parameters_are_checked_along_what_rounding_leaves_of_the_direction() {
    for dtype in [DType::F16, DType::BF16] {
        let toy = Toy::new(dtype);
        let report = toy.check(&toy.gradient());
        assert!(report.passed && report.max_rel_error < 0.01, "{dtype}: {report:?}");
    }
}

#[test]
fn the_wrong_tensor_is_named() {
    let toy = Toy::new(DType::F32);
    for (wrong, name) in ["weight", "bias", "scale"].into_iter().enumerate() {
        let mut gradient = toy.gradient();
        gradient[wrong].iter_mut().for_each(|g| *g *= 1.5);
        let report = toy.check(&gradient);
        assert!(!report.passed, "{name}: {report:?}");
        let names: Vec<_> = report.failing.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, [name]);
        assert!(report.verdict().contains(name));
    }
}

#[test]
fn a_missing_gradient_a_flipped_sign_and_nan_fail() {
    let toy = Toy::new(DType::F32);
    for f in [|_: f32| 0.0, |g: f32| -g, |_: f32| f32::NAN] {
        let mut gradient = toy.gradient();
        gradient[0].iter_mut().for_each(|g| *g = f(*g));
        let report = toy.check(&gradient);
        assert!(!report.passed);
        assert_eq!(report.failing[0].name, "weight");
    }
}

#[test]
fn a_loss_that_is_nan_fails() {
    let toy = Toy::new(DType::F32);
    let report = check(&toy.parameters, &toy.gradient(), &mut |_| Ok(f64::NAN), GradientOptions::default()).unwrap();
    assert!(!report.passed);
}

#[test]
fn rounding_of_the_loss_is_told_from_a_wrong_gradient() {
    let toy = Toy::new(DType::F32);
    let coarse = |m: &Moved| Ok(f64::from((toy.loss(m) + 3.0) as f32));
    let right = check(&toy.parameters, &toy.gradient(), &mut { coarse }, GradientOptions::default()).unwrap();
    assert!(right.passed, "{right:?}");
    let mut gradient = toy.gradient();
    gradient[2].iter_mut().for_each(|g| *g *= 1.2);
    let wrong = check(&toy.parameters, &gradient, &mut { coarse }, GradientOptions::default()).unwrap();
    assert!(!wrong.passed, "{wrong:?}");
    assert_eq!(wrong.failing[0].name, "scale");
}

#[test]
fn kinks_are_not_taken_for_errors() {
    let mut random = Random::new(5, 5);
    let values: Vec<f32> = (0..2000).map(|_| random.normal() as f32).collect();
    let parameters = [movable("w", DType::F32, values.clone())];
    let gradient = [values.iter().map(|&x| if x > 0.0 { 2.0 } else { 0.0 }).collect::<Vec<f32>>()];
    let mut relu = |m: &Moved| Ok(m.get(&0).unwrap_or(&values).iter().map(|&x| 2.0 * f64::from(x.max(0.0))).sum());
    let report = check(&parameters, &gradient, &mut relu, GradientOptions::default()).unwrap();
    assert!(report.passed, "{report:?}");
}
