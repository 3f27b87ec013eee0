//! The judgment on answers that are made up: no model runs here.

use super::{
    answers::Answers,
    labels::suggestions,
    verdict::{Examined, Problem, Sample, examine},
};
use crate::{
    audit::Outcome,
    data::{Batch, TargetKind, Targets},
    graph::{
        ValueId,
        loss::{LossKind, LossPlan},
    },
    tensor::HostTensor,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn plan(kind: LossKind) -> LossPlan {
    LossPlan::new(kind, ValueId(0))
}

fn answers(kind: LossKind, target: TargetKind, logits: &[f32], targets: &Targets) -> Answers {
    let rows = targets.rows();
    let losses = vec![0.0; rows];
    let width = logits.len() / rows;
    let outcome =
        Outcome { losses: &losses, weights: &[], logits, width, targets, kind: target, answered: None, figures: None };
    Answers::of(&outcome, &plan(kind)).unwrap()
}

/// Scores of `rows` rows of three classes, of which nine in ten are right.
fn three_classes(rows: usize) -> (Vec<f32>, Vec<i64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let classes: Vec<i64> = (0..rows).map(|i| (i % 3) as i64).collect();
    let row = |&class: &i64| {
        let best = if rng.random_range(0..10) == 0 { (class + 1) % 3 } else { class };
        (0..3).map(|c| if c == best { 2.0 } else { -1.0 }).collect::<Vec<f32>>()
    };
    (classes.iter().flat_map(row).collect(), classes)
}

fn judged(answers: &Answers) -> Examined {
    let inputs = [("x".to_string(), HostTensor::vector(vec![0f32; answers.rows()]))].into();
    let train = Batch { inputs, targets: Targets::Classes(vec![0; answers.rows()]) };
    let rows = train.rows();
    let whole = |batch: &Batch| Ok((batch.rows() == rows).then(|| answers.clone()));
    examine(&Sample { train, unseen: Vec::new(), seed: 0 }, false, &[], &whole).unwrap()
}

#[test]
fn right_answers_are_known_and_readings_of_labels_are_found() {
    let (scores, classes) = three_classes(300);
    let of = |map: &dyn Fn(i64) -> i64| {
        let targets = Targets::Classes(classes.iter().map(|&c| map(c)).collect());
        answers(LossKind::CrossEntropy, TargetKind::Class, &scores, &targets)
    };
    let right = judged(&of(&|c| c));
    assert!(right.confirmed() && right.suggestions.is_empty(), "{right:?}");
    for (map, word) in [
        (&(|c: i64| 2 - c) as &dyn Fn(i64) -> i64, "reverse"),
        (&|c: i64| (c + 1) % 3, "one too high"),
        (&|c| [1, 0, 2][c as usize], "another order"),
    ] {
        let wrong = judged(&of(map));
        assert!(wrong.problems.contains(&Problem::ReadOtherwise), "{word}: {wrong:?}");
        let names: Vec<_> = wrong.suggestions.iter().map(|s| s.what.as_str()).collect();
        assert!(names.iter().any(|what| what.contains(word)), "{word}: {names:?}");
    }
}

#[test]
fn chance_is_not_known_and_no_reading_is_made_up() {
    let (scores, classes) = three_classes(300);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let random = Targets::Classes(classes.iter().map(|_| rng.random_range(0..3)).collect());
    let found = judged(&answers(LossKind::CrossEntropy, TargetKind::Class, &scores, &random));
    assert!(found.problems.contains(&Problem::NoBetterThanConstant), "{found:?}");
    assert!(found.problems.contains(&Problem::NoBetterThanPermuted) && found.suggestions.is_empty(), "{found:?}");
}

#[test]
fn labels_in_another_unit_are_found() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let truth: Vec<f32> = (0..200).map(|_| rng.random_range(-1.0..1.0)).collect();
    let scores: Vec<f32> = truth.iter().map(|y| y + rng.random_range(-0.1..0.1)).collect();
    let of = |map: &dyn Fn(f32) -> f32| {
        let targets = Targets::Values { width: 1, values: truth.iter().map(|&y| map(y)).collect() };
        judged(&answers(LossKind::Mse, TargetKind::Value, &scores, &targets))
    };
    assert!(of(&|y| y).confirmed());
    for (map, word) in [
        (&(|y: f32| y * 50.0 + 20.0) as &dyn Fn(f32) -> f32, "another unit"),
        (&|y: f32| -y, "another unit"),
        (&|y: f32| (3.0 * y).exp(), "logarithm"),
    ] {
        let found = of(map);
        assert!(found.suggestions.iter().any(|s| s.what.contains(word) && s.quality > 0.9), "{word}: {found:?}");
    }
}

#[test]
fn label_columns_in_another_order_are_found() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let labels: Vec<f32> = (0..200 * 4).map(|_| f32::from(rng.random_range(0..2u8))).collect();
    let scores: Vec<f32> =
        labels.chunks(4).flat_map(|row| [row[2], row[0], row[3], row[1]]).map(|y| 2.0 * y - 1.0).collect();
    let targets = Targets::Values { width: 4, values: labels };
    let found = suggestions(&answers(LossKind::Bce, TargetKind::MultiLabel, &scores, &targets));
    assert_eq!(found.first().map(|s| s.quality), Some(1.0), "{found:?}");
}

#[test]
fn probabilities_are_no_logits() {
    let (scores, classes) = three_classes(90);
    let softmax: Vec<f32> = scores
        .chunks(3)
        .flat_map(|row| {
            let sum: f32 = row.iter().map(|x| x.exp()).sum();
            row.iter().map(move |x| x.exp() / sum).collect::<Vec<_>>()
        })
        .collect();
    let targets = Targets::Classes(classes.clone());
    let problem = |scores: &[f32], kind, target, targets: &Targets| {
        judged(&answers(kind, target, scores, targets)).problems.contains(&Problem::Probabilities)
    };
    let percent: Vec<f32> = softmax.iter().map(|p| p * 100.0).collect();
    let classified = |scores: &[f32]| problem(scores, LossKind::CrossEntropy, TargetKind::Class, &targets);
    assert!(classified(&softmax) && classified(&percent) && !classified(&scores));
    let yes = Targets::Classes(classes.iter().map(|&c| i64::from(c == 0)).collect());
    let binary = |map: &dyn Fn(f32) -> f32| {
        let scores: Vec<f32> = classes.iter().map(|&c| map(if c == 0 { 2.0 } else { -2.0 })).collect();
        problem(&scores, LossKind::Bce, TargetKind::Binary, &yes)
    };
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    assert!(binary(&sigmoid) && binary(&|x| 100.0 * sigmoid(x)) && !binary(&|x| x));
}
