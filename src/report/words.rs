//! What gates and figures are called in plain words.

use crate::audit::{Check, Gate, Judgment, Need, Verdict};

/// What a gate asks, as a statement that holds or not.
pub fn gate(verdict: &Verdict) -> String {
    let (gate, of) = match verdict.gate {
        Check::Gate(gate, of) => (gate, of),
        Check::RowsKnown => return "The model knows the rows as they were read".into(),
    };
    match gate {
        Gate::MaxTestAccuracyDrop => "Accuracy on test rows is kept".into(),
        Gate::MaxRetainAccuracyDrop => "Accuracy on retained rows is kept".into(),
        Gate::MaxBalancedAccuracyDrop => "Rare classes or labels are still told on test rows".into(),
        Gate::MaxTestLossIncrease => "The loss of test rows is kept".into(),
        Gate::MaxDrift => "Outputs that no target names are kept".into(),
        Gate::MaxLossShift => format!("The loss of {of} rows is kept"),
        Gate::MaxMiaIncrease => format!("An attack on the {of} does not get better"),
        Gate::MaxMiaDistance => format!("An attack on the {of} does as badly as a coin"),
        Gate::MaxKsIncrease => "Losses of forgotten rows do not move away from those of unseen rows".into(),
        Gate::MaxKsDistance => "Losses of forgotten rows are spread like those of unseen rows".into(),
        Gate::MaxClassKsDistance => "The same holds in every class".into(),
        Gate::MaxTprAt1pctFpr => "Few forgotten rows are found with 1 % of false alarms".into(),
        Gate::MaxTprAt01pctFpr => "Few forgotten rows are found with 0.1 % of false alarms".into(),
        Gate::MaxTransferGap => "An attacker who learned on retained rows takes forgotten rows for unseen ones".into(),
        Gate::MaxUnderForgotten => "Single rows are not still known".into(),
        Gate::MaxOverForgotten => "Single rows are not suspiciously unknown".into(),
        Gate::MaxForgetGain => format!("Rows to forget are not known better than before, by their {of}"),
        Gate::MaxTestGain => "The run has not taught the model to answer test rows".into(),
        Gate::MaxUnchanged => "The run has changed the model".into(),
        Gate::MaxRetainedAucIncrease => "Retained rows are not more exposed than before".into(),
        Gate::MaxRelearnAdvantage => "Forgotten rows are learned again no faster than unseen rows".into(),
        Gate::MaxRecovery => "Further training on retained rows does not bring forgotten rows back".into(),
        Gate::MaxAverageGap => "The model is close to one that was trained without the rows".into(),
        Gate::MaxRmiaDistance => "An attack with reference models does as badly as a coin".into(),
    }
}

/// How a check came out, in a clause.
pub fn outcome(verdict: &Verdict) -> String {
    match (verdict.outcome, verdict.need) {
        (Judgment::Insufficient, Some(Need { have, needed, of })) => {
            format!("insufficient: {have} of {needed} {of}")
        }
        (Judgment::Insufficient, None) => "insufficient: could not be computed".into(),
        (other, _) => other.word().to_lowercase(),
    }
}

/// All checks together, in a sentence.
pub fn overall(verdict: Judgment, verdicts: &[Verdict]) -> String {
    let count = |which: Judgment| verdicts.iter().filter(|v| v.outcome == which).count();
    let few = match count(Judgment::Insufficient) {
        0 => String::new(),
        n => format!(" For {n} of {} checks there are too few rows: they say nothing.", verdicts.len()),
    };
    let said = match verdict {
        Judgment::Pass => "Every check that could be made was passed.".to_string(),
        Judgment::Warn => format!("{} of {} checks warn.", count(Judgment::Warn), verdicts.len()),
        Judgment::Fail => {
            format!("{} of {} checks failed: nothing was published.", count(Judgment::Fail), verdicts.len())
        }
        Judgment::Insufficient => "There are too few rows to say whether the rows were forgotten.".to_string(),
    };
    said + &few
}

/// A figure and its limit, the figure with as many digits as tell them apart, four at least.
pub fn apart(value: f64, limit: f64) -> (String, String) {
    let same = |text: &String| value != limit && text.parse() == Ok(limit);
    let shown = |digits: usize| format!("{value:.digits$}");
    let digits = (4..17).find(|digits| !same(&shown(*digits))).unwrap_or(17);
    (shown(digits), limit.to_string())
}

/// A share as points, with two digits or as many as it takes.
pub fn points(share: f64) -> String {
    let points = 100.0 * share;
    if points.abs() >= 0.005 { format!("{points:.2}") } else { format!("{points:.1e}") }
}

/// What a figure says beyond its number: many are differences, of which a negative one is good.
pub fn better(verdict: &Verdict) -> &'static str {
    let change = matches!(
        verdict.gate,
        Check::Gate(
            Gate::MaxTestAccuracyDrop
                | Gate::MaxRetainAccuracyDrop
                | Gate::MaxBalancedAccuracyDrop
                | Gate::MaxTestLossIncrease
                | Gate::MaxLossShift
                | Gate::MaxMiaIncrease
                | Gate::MaxKsIncrease
                | Gate::MaxRetainedAucIncrease,
            _
        )
    );
    if change && verdict.value.is_some_and(|value| value < 0.0) { "better than before" } else { "" }
}

/// Three digits, or a dash where there is no figure.
pub fn figure(x: Option<f64>) -> String {
    x.map_or("–".into(), |x| format!("{x:.3}"))
}

/// A share as percentage, or a dash.
pub fn percent(x: Option<f64>) -> String {
    x.map_or("–".into(), |x| format!("{:.2} %", 100.0 * x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_never_looks_like_the_limit_that_it_is_beyond() {
        for (value, shown) in
            [(0.05 + 1e-7, "0.0500001"), (0.0731, "0.0731"), (0.05, "0.0500"), (0.049_996, "0.049996")]
        {
            assert_eq!(apart(value, 0.05), (shown.to_string(), "0.05".to_string()));
        }
        assert_eq!(apart(f64::NAN, 0.05).0, "NaN");
        assert_eq!((points(0.0231), points(1e-7)), ("2.31".into(), "1.0e-5".into()));
    }
}
