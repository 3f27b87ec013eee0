//! What to try after a run that was rejected, or that could not say enough.

use super::{Report, words};
use crate::audit::{Judgment, Need, Verdict};

/// A sentence or two for each kind of failed check, and for rows that the verdict needs and lacks.
pub fn advice(report: &Report) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut add = |text: String| {
        if !all.contains(&text) {
            all.push(text);
        }
    };
    for gate in report.gates.iter().filter(|gate| gate.outcome == Judgment::Fail) {
        add(format!("{}: {}", missed(gate), remedy(key(gate))));
    }
    if report.audit.verdict == Some(Judgment::Insufficient) {
        for gate in report.gates.iter().filter(|gate| gate.outcome == Judgment::Insufficient) {
            if let Some(need) = gate.need {
                add(more_rows(need));
            }
        }
    }
    if report.parity.gradient.as_ref().is_some_and(|check| check.failed())
        || report.parity.before.as_ref().is_some_and(|check| !check.passed)
    {
        add("`onnx-forget verify MODEL --locate` names the first node that differs; please report it with the model's graph".into());
    }
    if report.error.as_ref().is_some_and(|error| error.contains("not finite")) {
        add("The steps were too large for this model: try a tenth of the --learning-rate, or leave it out".into());
    }
    all
}

fn key(gate: &Verdict) -> &str {
    gate.gate.split_once(" (").map_or(gate.gate.as_str(), |(key, _)| key)
}

/// By how much a gate was missed.
fn missed(gate: &Verdict) -> String {
    let Some(value) = gate.value else { return format!("`{}` was not met", gate.gate) };
    let (measured, limit) = words::apart(value, gate.limit);
    let by = if gate.limit < 0.0 || key(gate) == "max_test_loss_increase" {
        String::new()
    } else {
        format!(", {} points beyond it", words::points(value - gate.limit))
    };
    format!("`{}` was {measured}, and may be {limit}{by}", gate.gate)
}

fn remedy(key: &str) -> &'static str {
    match key {
        "max_test_accuracy_drop"
        | "max_retain_accuracy_drop"
        | "max_balanced_accuracy_drop"
        | "max_test_loss_increase" => {
            "forgetting took more than the rows. Give all retained training rows in --data; forget fewer rows at once; try half of the \
             --learning-rate with twice the --epochs, or a smaller --alpha. If the drop is acceptable, [gates] in the configuration sets the limit"
        }
        "max_mia_increase"
        | "max_mia_distance"
        | "max_ks_increase"
        | "max_ks_distance"
        | "max_class_ks_distance"
        | "max_tpr_at_1pct_fpr"
        | "max_tpr_at_01pct_fpr"
        | "max_transfer_gap"
        | "max_rmia_distance" => {
            "forgotten rows stand out from unseen ones. See in the report whether they are still known (try more --epochs) or were driven \
             too far (try fewer --epochs, or a smaller --learning-rate), and whether --validation has rows like them, since these set the goal"
        }
        "max_under_forgotten" | "max_relearn_advantage" | "max_recovery" => {
            "some rows are still known. Try more --epochs, or a larger --alpha"
        }
        "max_over_forgotten" => "some rows were driven away too far. Try fewer --epochs, or a smaller --learning-rate",
        "max_retained_auc_increase" => {
            "retained rows were learned further. Try fewer --epochs, or a smaller --learning-rate"
        }
        _ => "the report has the figures; [gates] in the configuration sets the limit",
    }
}

/// Which rows a verdict would take.
fn more_rows(need: Need) -> String {
    format!(
        "There are {} {}, and a verdict takes {}: give more rows by --test (and --validation), forget more rows together, or retrain \
         without them where they are so few",
        need.have, need.of, need.needed
    )
}
