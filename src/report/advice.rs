//! What to try after a run that was rejected, or that could not say enough.

use super::{Report, words};
use crate::audit::{Check, Gate, Judgment, Need, Verdict};

/// A sentence or two for each kind of failed check, and for rows that the verdict needs and lacks.
pub fn advice(report: &Report) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut add = |text: String| {
        if !all.contains(&text) {
            all.push(text);
        }
    };
    for gate in report.gates.iter().filter(|gate| gate.outcome == Judgment::Fail) {
        add(format!("{}: {}", missed(gate), remedy(gate.gate)));
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

/// By how much a gate was missed.
fn missed(gate: &Verdict) -> String {
    let Some(value) = gate.value else { return format!("`{}` was not met", gate.gate) };
    let (measured, limit) = words::apart(value, gate.limit);
    let by = if gate.limit < 0.0
        || matches!(gate.gate, Check::Gate(Gate::MaxTestLossIncrease | Gate::MaxLossShift | Gate::MaxDrift, _))
    {
        String::new()
    } else {
        format!(", {} points beyond it", words::points(value - gate.limit))
    };
    format!("`{}` was {measured}, and may be {limit}{by}", gate.gate)
}

const OTHER: &str = "the report has the figures; [gates] in the configuration sets the limit";

fn remedy(check: Check) -> &'static str {
    let Check::Gate(gate, _) = check else { return OTHER };
    match gate {
        Gate::MaxTestAccuracyDrop
        | Gate::MaxRetainAccuracyDrop
        | Gate::MaxBalancedAccuracyDrop
        | Gate::MaxTestLossIncrease
        | Gate::MaxLossShift => {
            "forgetting took more than the rows. Give all retained training rows in --data; forget fewer rows at once; try half of the \
             --learning-rate with twice the --epochs, or a smaller --alpha. If the drop is acceptable, [gates] in the configuration sets the limit"
        }
        Gate::MaxDrift => {
            "the run moved outputs that no target names, since they share weights with the one that it trained. Name them as further \
             `[[target]]` if there are labels for them; keep the shared weights by --freeze; or try half of the --learning-rate"
        }
        Gate::MaxMiaIncrease
        | Gate::MaxMiaDistance
        | Gate::MaxKsIncrease
        | Gate::MaxKsDistance
        | Gate::MaxClassKsDistance
        | Gate::MaxTprAt1pctFpr
        | Gate::MaxTprAt01pctFpr
        | Gate::MaxTransferGap
        | Gate::MaxRmiaDistance => {
            "forgotten rows stand out from unseen ones. See in the report whether they are still known (try more --epochs) or were driven \
             too far (try fewer --epochs, or a smaller --learning-rate), and whether --validation has rows like them, since these set the goal"
        }
        Gate::MaxUnderForgotten | Gate::MaxRelearnAdvantage | Gate::MaxRecovery => {
            "some rows are still known. Try more --epochs, or a larger --alpha"
        }
        Gate::MaxOverForgotten => {
            "some rows were driven away too far. Try fewer --epochs, or a smaller --learning-rate"
        }
        Gate::MaxRetainedAucIncrease => {
            "retained rows were learned further. Try fewer --epochs, or a smaller --learning-rate"
        }
        Gate::MaxForgetGain | Gate::MaxTestGain | Gate::MaxUnchanged | Gate::MaxAverageGap => OTHER,
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
