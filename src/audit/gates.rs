//! Gates: limits, and the measured figures compared with them.

use super::{
    drift::Drift,
    membership::Attack,
    readings::readings,
    record::{Audit, Change},
    reference::Comparison,
    relearning::Deep,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A figure that can be limited; a figure up to the limit passes. For a model that never saw the rows, each is 0 except
/// for chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Fall of test accuracy, or of R² for numbers (0.05 is five points).
    MaxTestAccuracyDrop,
    /// Fall of accuracy, or R², on retained rows.
    MaxRetainAccuracyDrop,
    /// Fall of balanced test accuracy.
    MaxBalancedAccuracyDrop,
    /// Relative rise of the mean loss of test rows.
    MaxTestLossIncrease,
    /// Rise of the mean loss of test rows and of retained rows, in standard deviations of the rows' losses before; where a loss graph
    /// tells no accuracy.
    MaxLossShift,
    /// How far an output that no target names moved on test rows, relative to what told rows apart there; the worst of them.
    MaxDrift,
    /// How much further from 0.5 each attack's accuracy is than before. Rises that random guessing reaches count as 0.
    MaxMiaIncrease,
    /// Distance of each attack's accuracy from 0.5 after the run.
    MaxMiaDistance,
    /// Rise of the Kolmogorov-Smirnov distance, beyond chance, between the losses of forgotten and unseen rows.
    MaxKsIncrease,
    /// That distance after the run.
    MaxKsDistance,
    /// That distance after the run, in the worst class.
    MaxClassKsDistance,
    /// Share of forgotten rows found at a false positive rate of 1 %: its lower confidence bound, minus what the choice
    /// of the threshold among the unseen rows explains.
    #[serde(rename = "max_tpr_at_1pct_fpr")]
    MaxTprAt1pctFpr,
    /// The same at 0.1 %.
    #[serde(rename = "max_tpr_at_01pct_fpr")]
    MaxTprAt01pctFpr,
    /// Difference between the shares of forgotten and of unseen rows that the transfer attack takes for members.
    MaxTransferGap,
    /// Share of forgotten rows, beyond chance, with a lower loss than nearly all unseen rows of their class.
    MaxUnderForgotten,
    /// Share of forgotten rows, beyond chance, with a higher loss than nearly all unseen rows of their class.
    MaxOverForgotten,
    /// Relative fall of the loss of rows to forget, and rise of accuracy on them, beyond chance.
    MaxForgetGain,
    /// Rise of accuracy on test rows beyond chance, or relative fall of the error for numbers.
    MaxTestGain,
    /// 1 if no weight changed, else 0.
    MaxUnchanged,
    /// Rise of the AUC of retained rows against unseen rows.
    MaxRetainedAucIncrease,
    /// How much more, or less, the loss of forgotten rows falls than that of unseen rows, when each are learned
    /// (`--audit deep`).
    MaxRelearnAdvantage,
    /// How much more it falls when only retained rows are learned.
    MaxRecovery,
    /// Mean difference from the reference models in three accuracies and the attack's (`--reference`).
    MaxAverageGap,
    /// How far from 0.5 the AUC of the attack with reference models is, beyond chance.
    MaxRmiaDistance,
}

impl Gate {
    /// The key in the configuration.
    pub fn key(self) -> String {
        let key = serde_json::to_value(self).ok();
        key.as_ref().and_then(|k| k.as_str()).unwrap_or_default().to_owned()
    }

    /// Whether too few rows for this figure make the overall verdict "insufficient".
    pub(super) fn carries_the_verdict(self) -> bool {
        matches!(
            self,
            Self::MaxTestAccuracyDrop
                | Self::MaxLossShift
                | Self::MaxMiaIncrease
                | Self::MaxMiaDistance
                | Self::MaxUnderForgotten
                | Self::MaxOverForgotten
        )
    }
}

/// The limits that stop publication, and the limits that warn. A limit of infinity switches a gate off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Table")]
pub struct Gates {
    /// Limits that stop publication.
    #[serde(flatten)]
    pub fail: BTreeMap<Gate, f64>,
    /// Limits that warn.
    pub warn: BTreeMap<Gate, f64>,
}

/// The gates as written in the configuration. A gate that it does not name keeps its default.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Table {
    #[serde(flatten)]
    fail: BTreeMap<Gate, f64>,
    warn: BTreeMap<Gate, f64>,
}

impl From<Table> for Gates {
    fn from(table: Table) -> Self {
        let mut gates = Self::default();
        gates.fail.extend(table.fail);
        gates.warn.extend(table.warn);
        gates
    }
}

impl Default for Gates {
    /// Fails if the run did harm, warns if forgotten rows still stand out.
    fn default() -> Self {
        let fail = [
            (Gate::MaxTestAccuracyDrop, 0.05),
            (Gate::MaxRetainAccuracyDrop, 0.05),
            (Gate::MaxBalancedAccuracyDrop, 0.1),
            (Gate::MaxLossShift, 0.2),
            (Gate::MaxDrift, 0.5),
            (Gate::MaxMiaIncrease, 0.05),
            (Gate::MaxKsIncrease, 0.1),
            (Gate::MaxForgetGain, 0.01),
            (Gate::MaxTestGain, 0.01),
            (Gate::MaxUnchanged, 0.0),
        ];
        let warn = [
            (Gate::MaxDrift, 0.2),
            (Gate::MaxMiaDistance, 0.05),
            (Gate::MaxKsDistance, 0.05),
            (Gate::MaxClassKsDistance, 0.05),
            (Gate::MaxTprAt1pctFpr, 0.02),
            (Gate::MaxTransferGap, 0.1),
            (Gate::MaxUnderForgotten, 0.05),
            (Gate::MaxOverForgotten, 0.05),
            (Gate::MaxRetainedAucIncrease, 0.05),
            (Gate::MaxRelearnAdvantage, 0.1),
            (Gate::MaxRecovery, 0.1),
            (Gate::MaxAverageGap, 0.05),
            (Gate::MaxRmiaDistance, 0.05),
        ];
        Self { fail: fail.into(), warn: warn.into() }
    }
}

/// The judgment of a figure, or of all figures together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgment {
    /// Within the limit.
    Pass,
    /// Too few rows to decide.
    Insufficient,
    /// Beyond a limit that only warns.
    Warn,
    /// Beyond a limit.
    Fail,
}

impl Judgment {
    /// In capitals, for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Insufficient => "INSUFFICIENT",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// The number of rows that a figure needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// Rows that exist.
    pub have: usize,
    /// Rows that would be enough.
    pub needed: usize,
    /// Which rows.
    pub of: &'static str,
}

/// What a verdict is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// A figure with a limit, and which of several such figures it is; empty if there is one.
    Gate(Gate, &'static str),
    /// Whether the model knows the rows as they were read.
    RowsKnown,
}

/// The key in the `[gates]` table, and the figure that it was applied to.
impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gate(gate, "") => f.write_str(&gate.key()),
            Self::Gate(gate, of) => write!(f, "{} ({of})", gate.key()),
            Self::RowsKnown => f.write_str("rows_known"),
        }
    }
}

impl Serialize for Check {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A limit and what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// What it is on.
    pub gate: Check,
    /// The measured figure; it passes up to `limit`. None if there are too few rows for a figure.
    pub value: Option<f64>,
    /// The limit that decided.
    pub limit: f64,
    /// The judgment.
    pub outcome: Judgment,
    /// Whether the figure is within the limit, and from enough rows.
    pub passed: bool,
    /// The rows of which there are too few.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub need: Option<Need>,
    #[serde(skip)]
    carries: bool,
}

impl Verdict {
    /// Whether the model knows the rows as they were read. It warns if not, and the user continued anyway.
    pub fn rows_known(known: bool) -> Self {
        Self {
            gate: Check::RowsKnown,
            value: Some(f64::from(!known)),
            limit: 0.0,
            outcome: if known { Judgment::Pass } else { Judgment::Warn },
            passed: known,
            need: None,
            carries: true,
        }
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The model that was given.
    pub before: &'a Audit,
    /// The new model.
    pub after: &'a Audit,
    /// What changed for the retained rows.
    pub change: &'a Change,
    /// Whether the run changed any weight.
    pub changed: bool,
    /// The result of further training, if requested.
    pub deep: Option<&'a Deep>,
    /// The new model compared with reference models, if there are any.
    pub reference: Option<&'a Comparison>,
    /// What became of outputs that no target names.
    pub drifts: &'a [Drift],
}

/// The attacks of an audit, by name.
pub fn attacks(audit: &Audit) -> Vec<(&'static str, Attack)> {
    let entropy = audit.mia.entropy.map(|attack| ("entropy", attack));
    let min_k = audit.mia.min_k.map(|attack| ("Min-K%", attack));
    std::iter::once(("loss", audit.mia.loss)).chain(entropy).chain(min_k).collect()
}

/// Tolerance for rounding: from 100 of 100 rows to 95 of 100 is a drop of exactly 0.05.
const ROUNDING: f64 = 1e-9;

/// Compares the figures with the limits, in the order of the gates.
pub fn judge(gates: &Gates, evidence: &Evidence) -> Vec<Verdict> {
    let keys: std::collections::BTreeSet<Gate> = gates.fail.keys().chain(gates.warn.keys()).copied().collect();
    let limited = |gate: Gate| {
        let limit = |limits: &BTreeMap<Gate, f64>| limits.get(&gate).copied().filter(|l| l.is_finite());
        (gate, limit(&gates.fail), limit(&gates.warn))
    };
    let mut verdicts = Vec::new();
    for (gate, fail, warn) in keys.into_iter().map(limited) {
        let Some(tightest) = warn.or(fail) else { continue };
        for reading in readings(gate, evidence) {
            // The difference of two shares has a rounding error.
            let beyond = |limit: Option<f64>| reading.value.zip(limit).filter(|(v, limit)| !(*v <= limit + ROUNDING));
            let enough = reading.need.have >= reading.need.needed;
            let (outcome, limit) = match (enough && reading.value.is_some(), beyond(fail), beyond(warn)) {
                (false, ..) => (Judgment::Insufficient, tightest),
                (true, Some((_, limit)), _) => (Judgment::Fail, limit),
                (true, None, Some((_, limit))) => (Judgment::Warn, limit),
                (true, None, None) => (Judgment::Pass, tightest),
            };
            verdicts.push(Verdict {
                gate: Check::Gate(gate, reading.of),
                value: reading.value,
                limit,
                outcome,
                passed: outcome == Judgment::Pass,
                need: (!enough).then_some(reading.need),
                carries: gate.carries_the_verdict(),
            });
        }
    }
    verdicts
}

/// The overall verdict: the worst of all verdicts. Too few rows make it "insufficient" only if there are too few for
/// the figures that every audit rests on: test accuracy, the attacks' accuracy, and single rows.
pub fn overall(verdicts: &[Verdict]) -> Judgment {
    let counted = verdicts.iter().filter(|v| v.outcome != Judgment::Insufficient || v.carries);
    let rank = |outcome: &Judgment| match outcome {
        Judgment::Pass => 0,
        Judgment::Insufficient => 1,
        Judgment::Warn => 2,
        Judgment::Fail => 3,
    };
    counted.map(|v| v.outcome).max_by_key(rank).unwrap_or(Judgment::Insufficient)
}
