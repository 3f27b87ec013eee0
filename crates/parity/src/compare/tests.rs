use super::*;

fn floats(name: &str, dims: &[usize], values: &[f32]) -> (String, HostTensor) {
    (name.into(), HostTensor::new(dims, values.to_vec()).unwrap())
}

fn one(reference: &[f32], candidate: &[f32]) -> Comparison {
    let n = reference.len();
    compare(&[floats("y", &[n], reference)], &[floats("y", &[n], candidate)], Tolerance::RUNTIMES, None)
}

#[test]
fn equal_outputs_pass_and_count() {
    let c = one(&[1.0, -2.0, 0.0], &[1.0, -2.0, -0.0]);
    assert!(c.passed());
    assert_eq!((c.max_abs_diff, c.max_rel_diff, c.elements, c.beyond), (0.0, 0.0, 3, 0));
}

#[test]
fn differences_are_measured_against_the_reference() {
    let c = one(&[100.0, 0.0], &[100.05, 0.00009]);
    assert!(c.passed(), "{}", c.verdict());
    assert!((c.max_abs_diff - 0.05).abs() < 1e-4);
    assert!((c.max_rel_diff - 0.0005).abs() < 1e-6, "a zero reference has no relative difference");
}

#[test]
fn the_tolerance_that_would_have_passed_passes() {
    let (a, b) = ([10.0, 1.0, -3.0], [10.5, 1.0, -3.1]);
    let c = one(&a, &b);
    assert!(!c.passed());
    assert_eq!(c.beyond, 2);
    let again = |t| compare(&[floats("y", &[3], &a)], &[floats("y", &[3], &b)], t, None).passed();
    let (atol, rtol) = (c.atol_needed.unwrap(), c.rtol_needed.unwrap());
    assert!(again(Tolerance { atol: atol * (1.0 + 1e-9), ..Tolerance::RUNTIMES }));
    assert!(again(Tolerance { rtol: rtol * (1.0 + 1e-9), ..Tolerance::RUNTIMES }));
    assert!(!again(Tolerance { atol: atol * 0.99, ..Tolerance::RUNTIMES }));
    assert!(!again(Tolerance { rtol: rtol * 0.99, ..Tolerance::RUNTIMES }));
    let text = c.verdict();
    let printed =
        |flag: &str| -> f64 { text.split(flag).nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap() };
    assert!(again(Tolerance { atol: printed("--atol "), ..Tolerance::RUNTIMES }), "{text}");
    assert!(again(Tolerance { rtol: printed("--rtol "), ..Tolerance::RUNTIMES }), "{text}");
}

#[test]
fn a_zero_reference_is_mended_by_atol_alone() {
    let c = one(&[0.0], &[0.5]);
    assert_eq!(c.rtol_needed, None);
    assert_eq!(c.atol_needed, Some(0.5));
    assert!(c.verdict().contains("--atol") && !c.verdict().contains("--rtol"));
}

#[test]
fn nan_fails_on_either_side_and_on_both() {
    for (a, b) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::NAN, f32::NAN)] {
        let c = one(&[a, 1.0], &[b, 1.0]);
        assert!(!c.passed());
        assert!(c.verdict().contains("NaN"));
    }
}

#[test]
fn infinities_agree_only_with_the_same_sign() {
    let inf = f32::INFINITY;
    assert!(one(&[inf, -inf], &[inf, -inf]).passed());
    for (a, b) in [(inf, -inf), (inf, 1e30), (0.0, inf)] {
        assert!(!one(&[a], &[b]).passed(), "{a} {b}");
    }
}

#[test]
fn missing_extra_and_no_outputs_fail() {
    let (x, y) = (floats("x", &[1], &[1.0]), floats("y", &[1], &[1.0]));
    let both = [x.clone(), y.clone()];
    let missing = compare(&both, std::slice::from_ref(&x), Tolerance::RUNTIMES, None);
    assert!(!missing.passed() && missing.verdict().contains("output y is missing"));
    let extra = compare(&[x], &both, Tolerance::RUNTIMES, None);
    assert!(!extra.passed() && extra.verdict().contains("output y"));
    let none = compare(&[], &[], Tolerance::RUNTIMES, None);
    assert!(!none.passed() && none.verdict().contains("nothing was compared"));
    let empty = compare(&[floats("e", &[0], &[])], &[floats("e", &[0], &[])], Tolerance::RUNTIMES, None);
    assert!(!empty.passed(), "an empty tensor is no comparison");
    assert!(!Comparison::default().passed());
}

#[test]
fn order_of_outputs_does_not_matter() {
    let (x, y) = (floats("x", &[1], &[1.0]), floats("y", &[1], &[2.0]));
    assert!(compare(&[x.clone(), y.clone()], &[y, x], Tolerance::RUNTIMES, None).passed());
}

#[test]
fn shape_and_type_must_be_the_same() {
    let row = floats("y", &[1, 2], &[1.0, 2.0]);
    let column = floats("y", &[2, 1], &[1.0, 2.0]);
    let c = compare(std::slice::from_ref(&row), &[column], Tolerance::RUNTIMES, None);
    assert!(!c.passed() && c.verdict().contains("[2, 1]"));
    let double = ("y".to_string(), HostTensor::new(&[1, 2], vec![1.0f64, 2.0]).unwrap());
    let c = compare(&[row], &[double], Tolerance::RUNTIMES, None);
    assert!(!c.passed() && c.verdict().contains("f64"));
}

#[test]
fn integers_and_booleans_are_exact() {
    let ints = |v: Vec<i64>| ("y".to_string(), HostTensor::vector(v));
    let loose = Tolerance { atol: 10.0, rtol: 10.0 };
    assert!(compare(&[ints(vec![1, 2])], &[ints(vec![1, 2])], loose, None).passed());
    let c = compare(&[ints(vec![1, 2])], &[ints(vec![1, 3])], loose, None);
    assert!(!c.passed());
    assert_eq!(c.max_abs_diff, 1.0);
    let bools = |v: Vec<bool>| ("y".to_string(), HostTensor::vector(v));
    assert!(!compare(&[bools(vec![true])], &[bools(vec![false])], loose, None).passed());
}

#[test]
fn half_precision_gets_its_own_rounding() {
    let half = |x: f32| ("y".to_string(), HostTensor::vector(vec![half::f16::from_f32(x)]));
    assert!(compare(&[half(1.0)], &[half(1.003)], Tolerance::RUNTIMES, None).passed());
    assert!(!compare(&[half(1.0)], &[half(1.02)], Tolerance::RUNTIMES, None).passed());
    assert!(!compare(&[half(1.0)], &[half(1.003)], Tolerance::EXACT, None).passed());
}

#[test]
fn classes_are_counted_per_row() {
    let scores = ScoreOutput { name: "y".into(), threshold: 0.0 };
    let wide = Tolerance { atol: 10.0, rtol: 0.0 };
    let c = compare(
        &[floats("y", &[2, 2], &[0.0, 1.0, 1.0, 0.0])],
        &[floats("y", &[2, 2], &[0.0, 1.0, 0.0, 1.0])],
        wide,
        Some(&scores),
    );
    assert!(c.passed());
    assert_eq!(c.top1_agreement(), Some(0.5));
    let logit = compare(
        &[floats("y", &[3, 1], &[0.2, -0.2, 0.1])],
        &[floats("y", &[3, 1], &[0.3, -0.1, -0.1])],
        wide,
        Some(&scores),
    );
    assert_eq!((logit.rows, logit.same_class), (3, 2));
    assert_eq!(one(&[1.0], &[1.0]).top1_agreement(), None);
}

#[test]
fn batches_merge_to_the_worst() {
    let mut all = Comparison::default();
    all.merge(one(&[1.0], &[1.0]));
    all.merge(one(&[1.0], &[2.0]));
    all.merge(one(&[f32::NAN], &[2.0]));
    all.merge(one(&[f32::NAN], &[2.0]));
    assert_eq!((all.elements, all.beyond, all.problems.len()), (4, 1, 1));
    assert_eq!(all.max_abs_diff, 1.0);
    assert!(!all.passed());
    assert!(all.atol_needed.unwrap() > 0.9);
}
