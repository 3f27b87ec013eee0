//! The `audit` part of a report.

use super::{
    accuracy::{Outcome, SplitScore, score},
    membership::{Attack, attack, entropies, losses},
};
use crate::Result;
use serde::Serialize;

/// The attacks on the forgotten rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mia {
    /// On the loss (MIA_L).
    pub loss: Attack,
    /// On the entropy of the answer (MIA_E); none for regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy: Option<Attack>,
}

/// What one model makes of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// Rows to forget.
    pub forget: SplitScore,
    /// The other training rows.
    pub retain: SplitScore,
    /// Unseen rows.
    pub test: SplitScore,
    /// Rows to forget against unseen rows.
    pub mia: Mia,
}

/// The model as it was, and as it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Record {
    /// The model that was given.
    pub before: Audit,
    /// The model that forgot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Audit>,
}

/// Measures one model. The same seed gives the same rows and splits to the attacks before and after.
///
/// # Errors
/// Losses that are not finite ([`crate::Error::Unlearning`]); parts that are not of the same rows (a defect).
pub fn measure(forget: &Outcome, retain: &Outcome, test: &Outcome, seed: u64) -> Result<Audit> {
    let scores = (score(forget, "forget")?, score(retain, "retain")?, score(test, "test")?);
    let loss = attack(&losses(forget), &losses(test), seed);
    let entropy = entropies(forget).zip(entropies(test)).map(|(members, others)| attack(&members, &others, seed));
    Ok(Audit { forget: scores.0, retain: scores.1, test: scores.2, mia: Mia { loss, entropy } })
}
