//! The figures for the comparison of methods, and their spread over seeds.

use super::{record::Audit, reference::Comparison};
use serde::Serialize;

/// A figure's name in files.
pub type Key = &'static str;

/// The main figures of an audit, in the order in which they are shown. With reference models also the distance from
/// them.
pub fn figures(audit: &Audit, comparison: Option<&Comparison>) -> Vec<(Key, Option<f64>)> {
    let entropy = audit.mia.entropy.as_ref();
    let transfer = audit.mia.entropy_transfer.as_ref();
    vec![
        ("forget_accuracy", audit.forget.accuracy),
        ("retain_accuracy", audit.retain.accuracy),
        ("test_accuracy", audit.useful().accuracy),
        ("test_balanced_accuracy", audit.useful().balanced_accuracy),
        ("test_mean_iou", audit.useful().mean_iou),
        ("test_entity_f1", audit.useful().entity_f1),
        ("test_perplexity", audit.useful().perplexity),
        ("forget_r2", audit.forget.r2),
        ("retain_r2", audit.retain.r2),
        ("test_r2", audit.useful().r2),
        ("forget_loss", Some(audit.forget.loss)),
        ("retain_loss", Some(audit.retain.loss)),
        ("test_loss", Some(audit.useful().loss)),
        ("mia_loss", audit.mia.loss.accuracy),
        ("mia_entropy", entropy.and_then(|e| e.accuracy)),
        ("mia_min_k", audit.mia.min_k.and_then(|attack| attack.accuracy)),
        ("auc_loss", audit.mia.loss.auc),
        ("auc_entropy", entropy.and_then(|e| e.auc)),
        ("ks_loss", audit.mia.loss.ks.map(|ks| ks.statistic)),
        ("tpr_at_1pct_fpr", audit.mia.loss.tpr_at_1pct_fpr),
        ("transfer_gap", transfer.and_then(|t| Some(t.forget - t.unseen?))),
        ("under_forgotten", audit.records.under_forgotten.map(|s| s.share)),
        ("over_forgotten", audit.records.over_forgotten.map(|s| s.share)),
        ("retained_auc", audit.retained.auc),
        ("average_gap", comparison.and_then(|c| c.average_gap)),
        ("tug_of_war", comparison.and_then(|c| c.tug_of_war)),
        ("rmia_auc", comparison.and_then(|c| c.rmia.map(|r| r.auc))),
    ]
}

/// A figure over the seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation; 0 for one seed.
    pub deviation: f64,
    /// The figure of each seed.
    pub values: Vec<f64>,
}

impl Spread {
    /// The spread, if every seed has the figure.
    pub fn of(values: impl IntoIterator<Item = Option<f64>>) -> Option<Self> {
        let values = values.into_iter().collect::<Option<Vec<f64>>>().filter(|v| !v.is_empty())?;
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        Some(Self { mean, deviation: (squares / (n - 1.0).max(1.0)).sqrt(), values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_those_of_samples() {
        let spread = Spread::of([Some(1.0), Some(2.0), Some(6.0)]).unwrap();
        assert_eq!((spread.mean, spread.deviation), (3.0, 7f64.sqrt()));
        assert_eq!(Spread::of([Some(2.0)]).unwrap().deviation, 0.0);
        assert_eq!(Spread::of([Some(2.0), None]), None);
        assert_eq!(Spread::of([]), None);
    }
}
