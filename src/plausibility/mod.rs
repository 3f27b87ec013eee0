//! Does the model know these rows? Asked before anything is changed, since a model that is fed rows in another form than at
//! training is not unlearned but trained on nonsense.
//!
//! [`examine`] compares the model's answers on training rows with answers that ignore the inputs, with labels permuted among the
//! rows, and with answers on unseen rows. It tries other readings of labels (`labels`) and of inputs (`inputs`), and names those
//! under which the model would be right far more often. No message holds a value of a row.

mod answers;
mod inputs;
mod labels;
mod losses;
mod reading;
#[cfg(test)]
mod tests;
mod verdict;

pub use answers::{Answers, Task};
pub use inputs::{Alternative, OwnScales, alternatives};
pub use losses::{Losses, examine_losses};
pub use reading::{InputReading, Reading, Statistics, TargetReading};
pub use verdict::{Examined, Figures, Problem, Sample, examine};

use crate::audit::Paired;
use answers::mean;
use serde::Serialize;

/// Another reading of the rows under which the model is right far more often.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestion {
    /// What the rows seem to be.
    pub what: String,
    /// What to do.
    pub mend: String,
    /// Accuracy, or R² of numbers, under this reading.
    pub quality: f64,
    /// Mean loss under this reading.
    pub loss: f64,
    /// Rows that it was tried on.
    pub rows: usize,
}

/// By how much more of the answers must be right for a reading to be suggested.
const GAIN: f64 = 0.05;
/// So many standard errors that must be: several dozen readings are tried.
const SURE: f64 = 4.0;

impl Suggestion {
    /// The better one first: by quality, then by loss.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        other.quality.total_cmp(&self.quality).then(self.loss.total_cmp(&other.loss))
    }

    /// `other` in the place of `answers`, if it is better by more than chance.
    fn if_better(answers: &Answers, other: &Answers, what: String, mend: String) -> Option<Self> {
        let (now, then) = (answers.right(), other.right());
        let lead = Paired::of(&then, &now);
        // Better than now, and good: not only less wrong.
        let constant = Paired::of(&then, &other.constant().right());
        let better = lead.mean >= GAIN && lead.z() >= SURE && constant.mean >= GAIN && constant.z() >= SURE;
        better.then(|| Self {
            what,
            mend,
            quality: mean(then.iter().copied()),
            loss: mean(other.losses().into_iter()),
            rows: now.len(),
        })
    }
}
