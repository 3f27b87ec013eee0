//! What must hold for a new model to be published.

use crate::audit::{Attack, Audit};
use serde::{Deserialize, Serialize};

/// Limits, as the `[gates]` table of the configuration gives them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// Test accuracy may fall by so much (0.05 is five points).
    pub max_test_accuracy_drop: f64,
    /// Accuracy on retained rows may fall by so much.
    pub max_retain_accuracy_drop: f64,
    /// Each attack's accuracy may be so much further from 0.5 than before. Judged only where the sets are large enough
    /// for the figure to mean anything.
    pub max_mia_increase: f64,
    /// Each attack's accuracy may be so far from 0.5 at the end, if given.
    pub max_mia_distance: Option<f64>,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            max_test_accuracy_drop: 0.05,
            max_retain_accuracy_drop: 0.05,
            max_mia_increase: 0.05,
            max_mia_distance: None,
        }
    }
}

/// A limit and what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Key in the `[gates]` table, and what it was applied to.
    pub gate: String,
    /// The measured figure; at most `limit` passes.
    pub value: f64,
    /// The limit.
    pub limit: f64,
    /// Whether the figure is within the limit.
    pub passed: bool,
}

/// The attacks of an audit, by name.
pub fn attacks(audit: &Audit) -> Vec<(&'static str, Attack)> {
    let entropy = audit.mia.entropy.map(|attack| ("entropy", attack));
    std::iter::once(("loss", audit.mia.loss)).chain(entropy).collect()
}

/// Holds the audit after against the audit before.
pub fn judge(gates: &Gates, before: &Audit, after: &Audit) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut at_most = |gate: &str, value: f64, limit: f64| {
        verdicts.push(Verdict { gate: gate.into(), value, limit, passed: value <= limit });
    };
    let drops = [
        ("max_test_accuracy_drop", before.test.accuracy, after.test.accuracy, gates.max_test_accuracy_drop),
        ("max_retain_accuracy_drop", before.retain.accuracy, after.retain.accuracy, gates.max_retain_accuracy_drop),
    ];
    for (name, was, is, limit) in drops {
        if let (Some(was), Some(is)) = (was, is) {
            at_most(name, was - is, limit);
        }
    }
    for ((name, was), (_, is)) in attacks(before).into_iter().zip(attacks(after)) {
        let distance = |attack: Attack| attack.accuracy.filter(|_| attack.informative).map(|a| (a - 0.5).abs());
        let (Some(was), Some(is)) = (distance(was), distance(is)) else { continue };
        at_most(&format!("max_mia_increase ({name})"), is - was, gates.max_mia_increase);
        if let Some(limit) = gates.max_mia_distance {
            at_most(&format!("max_mia_distance ({name})"), is, limit);
        }
    }
    verdicts
}
