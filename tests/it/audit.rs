//! The audit's figures against scikit-learn's, on the losses that fixtures/audit/make.py stored.

use onnx_forget::{
    audit::{
        Audit, Evidence, Gate, Gates, Judgment, KolmogorovSmirnov, Logistic, LowFpr, Measured, Outcome, Rate, Signals,
        Unseen, attack, auc, change, entropies, judge, measure, overall, ratios, records, rmia_scores,
    },
    data::{TargetKind, Targets},
};
use serde_json::Value;

fn stored() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/audit/membership.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn close(found: f64, expected: &Value, tolerance: f64, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!(
        (found - expected).abs() <= tolerance * expected.abs().max(1.0),
        "{what}: {found}, scikit-learn {expected}"
    );
}

#[test]
fn every_stored_split_has_scikit_learns_line_and_accuracy() {
    for case in stored()["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let (members, others) = (numbers(&case["members"]), numbers(&case["others"]));
        let n = members.len().min(others.len());
        let rows: Vec<(f64, bool)> =
            members[..n].iter().map(|&x| (x, true)).chain(others[..n].iter().map(|&x| (x, false))).collect();
        for split in case["splits"].as_array().unwrap() {
            let pick =
                |part: &str| -> Vec<(f64, bool)> { numbers(&split[part]).iter().map(|&i| rows[i as usize]).collect() };
            let line = Logistic::fit(&pick("train")).unwrap();
            close(line.coefficient, &split["coefficient"], 1e-4, name);
            close(line.intercept, &split["intercept"], 1e-4, name);
            close(line.accuracy(&pick("test")), &split["accuracy"], 0.0, name);
        }
    }
}

#[test]
fn ranks_and_thresholds_are_scikit_learns() {
    for case in stored()["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let found = attack(&numbers(&case["members"]), &numbers(&case["others"]), 0);
        close(found.auc.unwrap(), &case["auc"], 1e-12, name);
        close(found.tpr_at_1pct_fpr.unwrap(), &case["tpr_at_1pct_fpr"], 1e-12, name);
        let rate = |found: Option<Rate>, expected: &Value| {
            let found = found.unwrap();
            close(found.rate, &expected["rate"], 1e-12, name);
            close(found.low, &expected["low"], 1e-9, name);
            close(found.high, &expected["high"], 1e-9, name);
        };
        for (found, expected) in found.low_fpr.iter().zip(case["low_fpr"].as_array().unwrap()) {
            rate(found.below, &expected["below"]);
            rate(found.above, &expected["above"]);
        }
        let ks = found.ks.unwrap();
        close(ks.statistic, &case["ks"]["statistic"], 1e-12, name);
        close(ks.p_value, &case["ks"]["p_value"], 1e-9, name);
    }
}

#[test]
fn balanced_sides_have_scikit_learns_line_and_choice() {
    for case in stored()["cases"].as_array().unwrap() {
        let (name, expected) = (case["name"].as_str().unwrap(), &case["balanced"]);
        let (members, others) = (numbers(&case["members"]), numbers(&case["others"]));
        let rows: Vec<(f64, bool)> =
            members.iter().map(|&x| (x, true)).chain(others.iter().map(|&x| (x, false))).collect();
        let line = Logistic::fit_balanced(&rows).unwrap();
        close(line.coefficient, &expected["coefficient"], 1e-5, name);
        close(line.intercept, &expected["intercept"], 1e-5, name);
        let share = |rows: &[f64]| rows.iter().filter(|&&x| line.predict(x)).count() as f64 / rows.len() as f64;
        close(share(&members), &expected["members"], 1e-12, name);
        close(share(&others), &expected["others"], 1e-12, name);
    }
}

#[test]
fn single_rows_have_numpys_p_values_and_scipys_margins() {
    let signals =
        |losses: &[f64]| Signals { rows: (0..losses.len()).collect(), losses: losses.to_vec(), ..Signals::default() };
    for case in stored()["cases"].as_array().unwrap() {
        let (name, expected) = (case["name"].as_str().unwrap(), &case["conformal"]);
        let (members, others) = (numbers(&case["members"]), numbers(&case["others"]));
        let unseen = Unseen::new(&signals(&others));
        for (i, loss) in members.iter().take(20).enumerate() {
            let p = unseen.judge(None, *loss).unwrap();
            close(p.under, &expected["under"][i], 1e-12, name);
            close(p.over, &expected["over"][i], 1e-12, name);
        }
        let found = records(&signals(&members), &unseen);
        let (under, over) = (found.under_forgotten.unwrap(), found.over_forgotten.unwrap());
        close(under.share, &expected["under_share"], 1e-12, name);
        close(over.share, &expected["over_share"], 1e-12, name);
        close(under.expected, &expected["expected"], 1e-12, name);
        close(under.margin, &expected["margin"], 1e-9, name);
        close(found.worst_decile.unwrap(), &expected["worst_decile"], 1e-12, name);
        assert_eq!(found.ranks.iter().sum::<usize>(), members.len());
    }
}

#[test]
fn scores_against_reference_models_are_numpys() {
    let case = &stored()["rmia"];
    let ratio = |set: &str| {
        let references: Vec<Vec<f64>> = case["reference"][set].as_array().unwrap().iter().map(numbers).collect();
        ratios(&numbers(&case["target"][set]), &references).unwrap()
    };
    let population = ratio("population");
    let score = |set: &str| {
        let found = rmia_scores(&ratio(set), &population);
        found.iter().zip(case["score"][set].as_array().unwrap()).for_each(|(a, b)| close(*a, b, 1e-12, set));
        found.into_iter().map(|score| -score).collect::<Vec<f64>>()
    };
    let (members, others) = (score("forget"), score("unseen"));
    close(auc(&members, &others).unwrap(), &case["auc"], 1e-12, "RMIA");
}

/// An audit of rows with these losses; logits of two classes that have them.
fn audit_of(forget: &[f64], retain: &[f64], test: &[f64]) -> (Audit, Measured) {
    let part = |losses: &[f64]| {
        let logits: Vec<f32> = losses.iter().flat_map(|&l| [-((l.exp() - 1.0).ln()) as f32, 0.0]).collect();
        (losses.iter().map(|&l| l as f32).collect::<Vec<f32>>(), logits, Targets::Classes(vec![0; losses.len()]))
    };
    let parts = [part(forget), part(retain), part(test)];
    let outcome = |i: usize| {
        let (losses, logits, targets) = &parts[i];
        Outcome {
            losses,
            weights: &[],
            logits,
            width: 2,
            targets,
            kind: TargetKind::Class,
            answered: None,
            figures: None,
        }
    };
    measure(&outcome(0), &outcome(1), &outcome(2), None, 3).unwrap()
}

/// `n` losses around `center`, evenly spread on a logarithmic scale.
fn spread(n: usize, center: f64) -> Vec<f64> {
    (0..n).map(|i| center * (2.0 * (i as f64 + 0.5) / n as f64 - 1.0).exp()).collect()
}

fn judged(before: &(Audit, Measured), after: &(Audit, Measured)) -> Vec<onnx_forget::audit::Verdict> {
    let change = change(&before.1, &after.1);
    let evidence = Evidence {
        before: &before.0,
        after: &after.0,
        change: &change,
        changed: true,
        deep: None,
        reference: None,
        drifts: &[],
    };
    judge(&Gates::default(), &evidence)
}

fn outcome_of(verdicts: &[onnx_forget::audit::Verdict], gate: &str) -> Judgment {
    verdicts.iter().find(|v| v.gate.to_string() == gate).unwrap_or_else(|| panic!("no {gate}")).outcome
}

#[test]
fn a_model_that_forgot_passes_and_one_that_did_not_is_warned_of() {
    let known = audit_of(&spread(400, 0.05), &spread(400, 0.05), &spread(1500, 1.0));
    let forgot = audit_of(&spread(400, 1.0), &spread(400, 0.05), &spread(1500, 1.0));
    let verdicts = judged(&known, &forgot);
    assert!(verdicts.iter().all(|v| v.outcome == Judgment::Pass && v.passed), "{verdicts:#?}");
    assert_eq!(overall(&verdicts), Judgment::Pass);
    let verdicts = judged(&known, &known);
    for gate in
        ["max_mia_distance (loss)", "max_ks_distance", "max_under_forgotten", "max_tpr_at_1pct_fpr", "max_transfer_gap"]
    {
        assert_eq!(outcome_of(&verdicts, gate), Judgment::Warn, "{gate}");
    }
    assert_eq!((outcome_of(&verdicts, "max_over_forgotten"), overall(&verdicts)), (Judgment::Pass, Judgment::Warn));
}

/// An audit in which all sets are these rows.
fn alike(losses: &[f32], logits: &[f32], targets: &Targets, kind: TargetKind) -> (Audit, Measured) {
    let width = logits.len() / losses.len();
    let rows = Outcome { losses, weights: &[], logits, width, targets, kind, answered: None, figures: None };
    measure(&rows, &rows, &rows, None, 3).unwrap()
}

/// No attack sees anything: what tells no row from another tells no forgotten one either.
#[test]
fn a_model_that_answers_the_same_to_every_row_fails() {
    let numbers: Vec<f32> = (0..400).map(|i| (i % 40) as f32 / 10.0).collect();
    let of_numbers = |answers: &[f32]| {
        let losses: Vec<f32> = answers.iter().zip(&numbers).map(|(x, y)| (x - y).powi(2)).collect();
        alike(&losses, answers, &Targets::Values { width: 1, values: numbers.clone() }, TargetKind::Value)
    };
    let near: Vec<f32> = numbers.iter().enumerate().map(|(i, y)| y + 0.3 * ((i * 7 % 11) as f32 / 5.0 - 1.0)).collect();
    let (good, ruined) = (of_numbers(&near), of_numbers(&[1.95; 400]));
    assert!(good.0.test.r2.unwrap() > 0.9 && ruined.0.test.r2.unwrap().abs() < 1e-6 && good.0.test.accuracy.is_none());
    assert_eq!(outcome_of(&judged(&good, &ruined), "max_test_accuracy_drop"), Judgment::Fail);
    assert_eq!(outcome_of(&judged(&good, &good), "max_test_accuracy_drop"), Judgment::Pass);

    // Each of 30 labels is true of one row in 30.
    let labels: Vec<f32> = (0..1800 * 30).map(|i| f32::from((i / 30) % 30 == i % 30)).collect();
    let of_labels = |logit: &dyn Fn(f32) -> f32| {
        let logits: Vec<f32> = labels.iter().map(|&y| logit(y)).collect();
        alike(&[0.1; 1800], &logits, &Targets::Values { width: 30, values: labels.clone() }, TargetKind::MultiLabel)
    };
    let (good, ruined) = (of_labels(&|y| 2.0 * y - 1.0), of_labels(&|_| -1.0));
    let verdicts = judged(&good, &ruined);
    assert_eq!(outcome_of(&verdicts, "max_test_accuracy_drop"), Judgment::Pass, "29 of 30 answers are right");
    assert_eq!(outcome_of(&verdicts, "max_balanced_accuracy_drop"), Judgment::Fail);
}

#[test]
fn over_forgetting_fails_as_harm() {
    let even = audit_of(&spread(400, 1.0), &spread(400, 0.05), &spread(1500, 1.0));
    let over = audit_of(&spread(400, 12.0), &spread(400, 0.05), &spread(1500, 1.0));
    let verdicts = judged(&even, &over);
    assert_eq!(outcome_of(&verdicts, "max_mia_increase (loss)"), Judgment::Fail);
    assert_eq!(outcome_of(&verdicts, "max_ks_increase"), Judgment::Fail);
    assert_eq!(outcome_of(&verdicts, "max_over_forgotten"), Judgment::Warn);
    assert_eq!(outcome_of(&verdicts, "max_under_forgotten"), Judgment::Pass);
    assert_eq!(overall(&verdicts), Judgment::Fail);
}

/// The mean and one threshold see nothing; the distance and the single rows do.
#[test]
fn half_under_and_half_over_is_no_pass() {
    let known = audit_of(&spread(400, 0.05), &spread(400, 0.05), &spread(1500, 1.0));
    let torn: Vec<f64> = spread(200, 0.05).into_iter().chain(spread(200, 12.0)).collect();
    let verdicts = judged(&known, &audit_of(&torn, &spread(400, 0.05), &spread(1500, 1.0)));
    for gate in ["max_ks_distance", "max_under_forgotten", "max_over_forgotten"] {
        assert_eq!(outcome_of(&verdicts, gate), Judgment::Warn, "{gate}");
    }
}

#[test]
fn few_rows_are_insufficient_and_neither_pass_nor_fail() {
    let known = audit_of(&spread(20, 0.05), &spread(400, 0.05), &spread(80, 1.0));
    let forgot = audit_of(&spread(20, 12.0), &spread(400, 0.05), &spread(80, 1.0));
    let verdicts = judged(&known, &forgot);
    for gate in [
        "max_mia_increase (loss)",
        "max_ks_increase",
        "max_tpr_at_1pct_fpr",
        "max_transfer_gap",
        "max_class_ks_distance",
    ] {
        let verdict = verdicts.iter().find(|v| v.gate.to_string() == gate).unwrap();
        assert!(verdict.outcome == Judgment::Insufficient && !verdict.passed, "{verdict:?}");
        assert!(verdict.need.unwrap().have < verdict.need.unwrap().needed, "{verdict:?}");
    }
    // The rows one by one can be judged all the same.
    assert_eq!(outcome_of(&verdicts, "max_over_forgotten"), Judgment::Warn);
    assert!(!verdicts.iter().any(|v| v.outcome == Judgment::Fail));
    let even = judged(&known, &audit_of(&spread(20, 1.0), &spread(400, 0.05), &spread(80, 1.0)));
    assert_eq!(overall(&even), Judgment::Insufficient);
    let three = || audit_of(&spread(400, 1.0), &spread(3, 0.05), &spread(3, 1.0));
    let verdicts = judged(&three(), &three());
    for gate in ["max_test_accuracy_drop", "max_retain_accuracy_drop", "max_retained_auc_increase", "max_transfer_gap"]
    {
        assert_eq!(outcome_of(&verdicts, gate), Judgment::Insufficient, "{gate}");
    }
    let mut strict = Gates::default();
    strict.fail.insert(Gate::MaxTprAt01pctFpr, 0.0);
    let change = change(&known.1, &forgot.1);
    let evidence = Evidence {
        before: &known.0,
        after: &forgot.0,
        change: &change,
        changed: true,
        deep: None,
        reference: None,
        drifts: &[],
    };
    let verdict = judge(&strict, &evidence).into_iter().find(|v| v.gate.to_string() == "max_tpr_at_01pct_fpr").unwrap();
    assert_eq!(verdict.outcome, Judgment::Insufficient);
    assert!(
        !LowFpr::at(&[1.0], &spread(999, 1.0), 1000).sufficient
            && LowFpr::at(&[1.0], &spread(1000, 1.0), 1000).sufficient
    );
}

#[test]
fn retained_rows_that_become_exposed_are_counted() {
    let before = audit_of(&spread(60, 0.05), &spread(200, 1.0), &spread(400, 1.0));
    let after = audit_of(&spread(60, 1.0), &spread(200, 0.01), &spread(400, 1.0));
    let found = change(&before.1, &after.1);
    assert!(found.newly_exposed.unwrap() > 0.9 && found.retained_auc.unwrap() > 0.4, "{found:?}");
    let back = change(&after.1, &before.1);
    assert_eq!((back.no_longer_exposed, back.newly_exposed), (found.newly_exposed, found.no_longer_exposed));
    assert_eq!(outcome_of(&judged(&before, &after), "max_retained_auc_increase"), Judgment::Warn);
}

#[test]
fn chance_is_not_called_a_distance() {
    let even = KolmogorovSmirnov::of(&spread(60, 1.0), &spread(500, 1.05), 1).unwrap();
    assert_eq!(even.beyond_chance, 0.0);
}

/// Splits are drawn by another generator than scikit-learn's, so that single runs differ by chance: the standard error of
/// 100 seeds on our side and 300 on the other is 0.003.
#[test]
fn the_protocol_has_scikit_learns_accuracy_on_average() {
    for case in stored()["cases"].as_array().unwrap() {
        let (members, others) = (numbers(&case["members"]), numbers(&case["others"]));
        let mean = (0..100).map(|seed| attack(&members, &others, seed).accuracy.unwrap()).sum::<f64>() / 100.0;
        let expected = case["accuracy_converged"].as_f64().unwrap();
        assert!((mean - expected).abs() <= 0.005, "{}: {mean}, scikit-learn {expected}", case["name"]);
    }
}

#[test]
fn entropies_are_those_of_the_stored_softmax() {
    let softmax = &stored()["softmax"];
    let logits: Vec<f32> = softmax["logits"].as_array().unwrap().iter().flat_map(numbers).map(|x| x as f32).collect();
    let expected = numbers(&softmax["entropy"]);
    let targets = Targets::Classes(vec![0; expected.len()]);
    let losses = vec![0.0; expected.len()];
    let width = logits.len() / expected.len();
    let outcome = Outcome {
        losses: &losses,
        weights: &[],
        logits: &logits,
        width,
        targets: &targets,
        kind: TargetKind::Class,
        answered: None,
        figures: None,
    };
    for (found, expected) in entropies(&outcome).unwrap().iter().zip(expected) {
        // The logits are rounded to f32 on our side.
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
}

#[test]
fn the_record_has_the_reports_keys() {
    let targets = Targets::Classes(vec![0, 1, 0]);
    let logits = [1.0, 0.0, 2.0, 1.0, 3.0, 4.0];
    let outcome = Outcome {
        losses: &[0.1, 0.2, 0.3],
        weights: &[],
        logits: &logits,
        width: 2,
        targets: &targets,
        kind: TargetKind::Class,
        answered: None,
        figures: None,
    };
    let (audit, _) = measure(&outcome, &outcome, &outcome, None, 1).unwrap();
    let json = serde_json::to_value(audit).unwrap();
    for split in ["forget", "retain", "test"] {
        assert!(json[split]["loss"].is_f64() && json[split]["accuracy"].is_f64(), "{json}");
    }
    for number in ["loss", "entropy"] {
        let attack = &json["mia"][number];
        assert!(attack["accuracy"].is_f64() && attack["auc"].is_f64() && attack["tpr_at_1pct_fpr"].is_f64(), "{json}");
        assert_eq!(attack["informative"], false);
    }
}
