//! What the faces of a comparison say of rows that are too few, of seeds that failed, and of a comparison that was cut off.

use super::*;

fn spread(values: &[f64]) -> Spread {
    Spread::of(values.iter().map(|value| Some(*value))).unwrap()
}

fn method(name: MethodName, outcome: MethodOutcome, seeds: &[u64]) -> MethodRow {
    let values = vec![0.6; seeds.len()];
    let keys = ["test_accuracy", "mia_loss"].into_iter().filter(|_| !seeds.is_empty());
    MethodRow {
        method: name.to_string(),
        title: name.title().into(),
        outcome,
        seeds: seeds.to_vec(),
        settings: None,
        figures: keys.map(|key| (key, spread(&values))).collect(),
        seconds: None,
    }
}

fn report(rows_a_side: usize, methods: Vec<MethodRow>) -> CompareReport {
    CompareReport {
        schema: COMPARE_SCHEMA,
        finished: true,
        left: Vec::new(),
        model: ModelFile { path: "model.onnx".into(), sha256: "0".repeat(64) },
        forget_rows: rows_a_side,
        retain_rows: 900,
        validation_rows: 400,
        test_rows: 400,
        loss: "cross-entropy".into(),
        seeds: vec![0, 1, 2],
        attack: AttackRows {
            rows_a_side,
            rows_needed: 50,
            coin_margin: (rows_a_side > 0).then(|| 1.96 * (0.25 / rows_a_side as f64).sqrt()),
            informative: rows_a_side >= 50,
        },
        reference: None,
        reference_models: Vec::new(),
        methods,
        notes: Vec::new(),
        device: "cpu".into(),
        environment: Environment { version: "0", os: "linux", arch: "x86_64", threads: 1, kernels: "native".into() },
    }
}

#[test]
fn an_outcome_counts_seeds_and_names_those_that_failed() {
    let failed = [(4, "a loss became NaN".to_string()), (5, "a weight did".to_string())];
    let reason = "seed 4: a loss became NaN; seed 5: a weight did".to_string();
    assert_eq!(MethodOutcome::of(3, &[]), MethodOutcome::Measured);
    assert_eq!(MethodOutcome::of(3, &failed), MethodOutcome::PartlyMeasured { reason: reason.clone() });
    assert_eq!(MethodOutcome::of(0, &failed), MethodOutcome::Failed { reason });
}

#[test]
fn attacks_on_few_rows_are_said_to_mean_nothing() {
    let measured = || vec![method(MethodName::Ssd, MethodOutcome::Measured, &[0, 1, 2])];
    let (few, enough) = (report(10, measured()), report(100, measured()));
    for face in [markdown(&few), html(&few)] {
        assert!(face.contains("Too few rows: with 10 of 50 rows a side") && face.contains("0.5 ± 0.310"), "{face}");
    }
    for face in [markdown(&enough), html(&enough)] {
        assert!(!face.contains("Too few rows") && face.contains("0.5 ± 0.098"), "{face}");
    }
    // The chart says so, too, and shows how far a coin may come.
    assert!(html(&few).contains("MIA_L (too few rows to say anything)") && html(&few).contains("<rect"));
    assert!(html(&enough).contains("MIA_L (0.5 is ideal)"));
    assert!(csv(&few).lines().nth(1).unwrap().ends_with(",10,false"), "{}", csv(&few));
    assert_eq!(serde_json::to_value(&few).unwrap()["attack"]["informative"], false);
    let none = markdown(&report(0, measured()));
    assert!(none.contains("nothing was attacked"), "{none}");
}

#[test]
fn a_method_that_failed_with_a_seed_keeps_the_others() {
    let outcome = MethodOutcome::of(2, &[(2, "a loss became NaN".into())]);
    let found = report(100, vec![method(MethodName::Scrub, outcome, &[0, 1])]);
    for face in [markdown(&found), html(&found)] {
        assert!(face.contains("SCRUB (2 of 3 seeds)"), "{face}");
        assert!(face.contains("2 of 3 seeds have figures; the others failed: seed 2: a loss became NaN"), "{face}");
    }
    assert!(csv(&found).contains("scrub,partly-measured,2,"), "{}", csv(&found));
    let row = &serde_json::to_value(&found).unwrap()["methods"][0];
    assert_eq!((&row["outcome"], &row["seeds"]), (&"partly-measured".into(), &serde_json::json!([0, 1])));
    let none = report(100, vec![method(MethodName::Scrub, MethodOutcome::of(0, &[(2, "it diverged".into())]), &[])]);
    let text = markdown(&none);
    assert!(text.contains("- SCRUB: failed: seed 2: it diverged") && !text.contains("| SCRUB"), "{text}");
}

#[test]
fn a_comparison_that_is_not_finished_says_so() {
    let whole = report(100, vec![method(MethodName::Ssd, MethodOutcome::Measured, &[0, 1, 2])]);
    let part = CompareReport { finished: false, left: vec![MethodName::SalUn, MethodName::Retrain], ..whole.clone() };
    for face in [markdown(&part), html(&part)] {
        assert!(face.contains("Not finished") && face.contains("without SalUn, retrain"), "{face}");
    }
    assert!(!markdown(&whole).contains("Not finished"));
    let json = |report: &CompareReport| serde_json::to_value(report).unwrap();
    assert_eq!((&json(&whole)["finished"], json(&whole).get("left")), (&true.into(), None));
    assert_eq!((&json(&part)["finished"], &json(&part)["left"][1]), (&false.into(), &"retrain".into()));
}
