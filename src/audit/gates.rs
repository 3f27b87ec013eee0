//! What must hold: limits, and what was measured beside them.

use super::{
    membership::Attack,
    readings::readings,
    record::{Audit, Change},
    reference::Comparison,
    relearning::Deep,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A figure that may be limited; at most the limit passes. Each is 0 for a model that never saw the rows, but for chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// By how much test accuracy, or R² of numbers, fell (0.05 is five points).
    MaxTestAccuracyDrop,
    /// By how much accuracy on retained rows, or R², fell.
    MaxRetainAccuracyDrop,
    /// By how much balanced test accuracy fell.
    MaxBalancedAccuracyDrop,
    /// By what share of itself the mean loss of test rows rose.
    MaxTestLossIncrease,
    /// How much further from 0.5 each attack's accuracy is than before, unless a coin comes as far.
    MaxMiaIncrease,
    /// How far from 0.5 it is at the end.
    MaxMiaDistance,
    /// How much larger the Kolmogorov-Smirnov distance of forgotten and unseen rows' losses, beyond chance, is than before.
    MaxKsIncrease,
    /// That distance at the end.
    MaxKsDistance,
    /// That distance at the end in the worst class.
    MaxClassKsDistance,
    /// Share of forgotten rows found at a false positive rate of 1 %: its lower confidence bound, less what unseen rows explain among
    /// which the threshold was chosen.
    #[serde(rename = "max_tpr_at_1pct_fpr")]
    MaxTprAt1pctFpr,
    /// The same at 0.1 %.
    #[serde(rename = "max_tpr_at_01pct_fpr")]
    MaxTprAt01pctFpr,
    /// By how much the shares of forgotten and of unseen rows differ that the transfer attack takes for members.
    MaxTransferGap,
    /// Share of forgotten rows, beyond chance, with a lower loss than nearly all unseen rows of their class.
    MaxUnderForgotten,
    /// Share of forgotten rows, beyond chance, with a higher loss than nearly all unseen rows of their class.
    MaxOverForgotten,
    /// By what share the loss of rows to forget fell, and by how much accuracy on them rose, beyond chance.
    MaxForgetGain,
    /// By how much accuracy on test rows rose beyond chance, or by what share the error of numbers fell.
    MaxTestGain,
    /// 1 where no weight changed, else 0.
    MaxUnchanged,
    /// By how much the AUC of retained against unseen rows rose.
    MaxRetainedAucIncrease,
    /// By what more the loss of forgotten rows falls than that of unseen rows, or less, where each are learnt (`--audit deep`).
    MaxRelearnAdvantage,
    /// By what more it falls where only retained rows are learnt.
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

    /// Whether the verdict over all is "insufficient" where there are too few rows for this figure.
    pub(super) fn carries_the_verdict(self) -> bool {
        matches!(
            self,
            Self::MaxTestAccuracyDrop
                | Self::MaxMiaIncrease
                | Self::MaxMiaDistance
                | Self::MaxUnderForgotten
                | Self::MaxOverForgotten
        )
    }
}

/// The limits beyond which nothing is published, and those beyond which the report warns. A limit of infinity switches a
/// gate off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Table")]
pub struct Gates {
    /// Beyond these, nothing is published.
    #[serde(flatten)]
    pub fail: BTreeMap<Gate, f64>,
    /// Beyond these, there is a warning.
    pub warn: BTreeMap<Gate, f64>,
}

/// As the configuration has it: what it does not name stays at its default.
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
    /// Fails where the run did harm, warns where forgotten rows still stand out.
    fn default() -> Self {
        let fail = [
            (Gate::MaxTestAccuracyDrop, 0.05),
            (Gate::MaxRetainAccuracyDrop, 0.05),
            (Gate::MaxBalancedAccuracyDrop, 0.1),
            (Gate::MaxMiaIncrease, 0.05),
            (Gate::MaxKsIncrease, 0.1),
            (Gate::MaxForgetGain, 0.01),
            (Gate::MaxTestGain, 0.01),
            (Gate::MaxUnchanged, 0.0),
        ];
        let warn = [
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

/// How a figure, or all of them together, is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// Within the limit.
    Pass,
    /// Too few rows to say.
    Insufficient,
    /// Beyond a limit that only warns.
    Warn,
    /// Beyond a limit.
    Fail,
}

impl Judgement {
    /// In capitals, as verdicts are read.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Insufficient => "INSUFFICIENT",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// Rows that a figure needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// Rows that there are.
    pub have: usize,
    /// Rows that would suffice.
    pub needed: usize,
    /// Which rows.
    pub of: &'static str,
}

/// A limit and what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Key in the `[gates]` table, and what it was applied to.
    pub gate: String,
    /// The measured figure; at most `limit` passes. None where there are too few rows for any.
    pub value: Option<f64>,
    /// The limit that decided.
    pub limit: f64,
    /// What the figure is judged to be.
    pub outcome: Judgement,
    /// Whether the figure is within the limit, and from enough rows.
    pub passed: bool,
    /// Rows that there are too few of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub need: Option<Need>,
    #[serde(skip)]
    carries: bool,
}

impl Verdict {
    /// Whether the model knows the rows as they were read: a warning where it does not, and the user goes on nevertheless.
    pub fn rows_known(known: bool) -> Self {
        Self {
            gate: "rows_known".into(),
            value: Some(f64::from(!known)),
            limit: 0.0,
            outcome: if known { Judgement::Pass } else { Judgement::Warn },
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
    /// The model that forgot.
    pub after: &'a Audit,
    /// What became of the retained rows.
    pub change: &'a Change,
    /// Whether the run changed any weight.
    pub changed: bool,
    /// What further training showed, if it was asked for.
    pub deep: Option<&'a Deep>,
    /// The model that forgot beside reference models, if there are any.
    pub reference: Option<&'a Comparison>,
}

/// The attacks of an audit, by name.
pub fn attacks(audit: &Audit) -> Vec<(&'static str, Attack)> {
    let entropy = audit.mia.entropy.map(|attack| ("entropy", attack));
    std::iter::once(("loss", audit.mia.loss)).chain(entropy).collect()
}

/// Rounding that does not decide: 95 of 100 rows less than 100 of 100 is a drop of 0.05.
const ROUNDING: f64 = 1e-9;

/// Holds the figures against the limits, in the order of the gates.
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
            // A difference of two shares is not exactly the share that it stands for.
            let beyond = |limit: Option<f64>| reading.value.zip(limit).filter(|(v, limit)| !(*v <= limit + ROUNDING));
            let enough = reading.need.have >= reading.need.needed;
            let (outcome, limit) = match (enough && reading.value.is_some(), beyond(fail), beyond(warn)) {
                (false, ..) => (Judgement::Insufficient, tightest),
                (true, Some((_, limit)), _) => (Judgement::Fail, limit),
                (true, None, Some((_, limit))) => (Judgement::Warn, limit),
                (true, None, None) => (Judgement::Pass, tightest),
            };
            verdicts.push(Verdict {
                gate: if reading.of.is_empty() { gate.key() } else { format!("{} ({})", gate.key(), reading.of) },
                value: reading.value,
                limit,
                outcome,
                passed: outcome == Judgement::Pass,
                need: (!enough).then_some(reading.need),
                carries: gate.carries_the_verdict(),
            });
        }
    }
    verdicts
}

/// All verdicts together: the worst of them. Too few rows make it "insufficient" only where they are too few for the
/// figures that every audit rests on: test accuracy, the attacks' accuracy and the rows one by one.
pub fn overall(verdicts: &[Verdict]) -> Judgement {
    let counted = verdicts.iter().filter(|v| v.outcome != Judgement::Insufficient || v.carries);
    let rank = |outcome: &Judgement| match outcome {
        Judgement::Pass => 0,
        Judgement::Insufficient => 1,
        Judgement::Warn => 2,
        Judgement::Fail => 3,
    };
    counted.map(|v| v.outcome).max_by_key(rank).unwrap_or(Judgement::Insufficient)
}
