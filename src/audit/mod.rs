//! Did it forget, did it keep: pure functions of each row's loss, logits and class.
//!
//! [`measure`] makes an [`Audit`] of one model: accuracy and loss (`accuracy`), attacks on all rows together
//! (`membership`, `transfer`, `statistics`), the rows one by one (`conformal`), class by class (`classes`). [`change`]
//! compares two models, and [`judge`] holds the figures against limits.
//!
//! Two further tests cost more: [`relearn`] trains the model on, and [`compare`] holds it against models that were trained
//! without the rows.
//!
//! What these figures are, and are not: they say whether forgotten rows still stand out among unseen ones for attackers
//! who look at the loss or the entropy of the answer. τ is chosen so that the mean of the losses comes out even, so that
//! the attacks on all rows together flatter the method; the rows one by one and the distance of the distributions do not.
//! Every test looks both ways, as a row that the model was driven away from stands out as much as one that it knows.

mod accuracy;
mod classes;
mod conformal;
mod figures;
mod gates;
mod histogram;
pub mod limits;
mod logistic;
mod membership;
mod readings;
mod record;
mod reference;
mod relearning;
mod remembered;
mod signals;
mod splits;
mod statistics;
mod transfer;

pub use accuracy::{Outcome, SplitScore, argmax, score};
pub use classes::{ClassScore, Classes, classes};
pub use conformal::{LEVEL, PValues, Records, Share, UNSEEN_NEEDED, Unseen, records};
pub use figures::{Key, Spread, figures};
pub use gates::{Evidence, Gate, Gates, Judgement, Need, Verdict, attacks, judge, overall};
pub use histogram::Histogram;
pub use logistic::Logistic;
pub use membership::{Attack, INFORMATIVE_ROWS, attack};
pub use record::{Audit, Change, Measured, Mia, Retained, change, loss_histogram, measure};
pub use reference::{Comparison, Gap, LossGap, Rmia, compare, ratios, rmia_scores};
pub use relearning::{Deep, Point, Seeded, Sets, Training, matched, relearn};
pub use remembered::Remembered;
pub use signals::{Signals, entropies, softplus};
pub use splits::{Half, SplitDigest};
pub use statistics::{CONFIDENCE, KolmogorovSmirnov, LowFpr, Paired, Rate, auc, mean, variance};
pub use transfer::{Transfer, transfer};
