//! Measures what a model forgot and what it kept: pure functions of each row's loss, logits, and class.
//!
//! [`measure`] makes an [`Audit`] of one model: accuracy and loss (`accuracy`), attacks on all rows together
//! (`membership`, `transfer`, `statistics`), on single rows (`conformal`), and class by class (`classes`). [`change`]
//! compares two models, and [`judge`] compares the figures with limits.
//!
//! Two further tests cost more: [`relearn`] trains the model further, and [`compare`] compares it with models that were
//! trained without the rows.
//!
//! The figures say whether forgotten rows still stand out from unseen rows for attackers who use the loss or the
//! entropy of the answer. τ is chosen so that the mean losses become equal, so attacks on all rows together flatter the
//! method. Single rows and the distance of the distributions do not. Every test looks both ways, since a row whose loss
//! is too high stands out as much as one whose loss is too low.

mod accuracy;
mod classes;
mod conformal;
mod drift;
mod entities;
mod figures;
mod gates;
mod histogram;
pub mod limits;
mod logistic;
mod membership;
mod positions;
mod readings;
mod record;
mod reference;
mod relearning;
mod remembered;
mod row_figures;
mod signals;
mod splits;
mod statistics;
mod transfer;

pub use accuracy::{Outcome, SplitScore, argmax, score};
pub use classes::{ClassScore, Classes, classes};
pub use conformal::{LEVEL, PValues, Records, Share, UNSEEN_NEEDED, Unseen, records};
pub use drift::Drift;
pub use entities::{Tag, tags};
pub use figures::{Key, Spread, figures};
pub use gates::{Check, Evidence, Gate, Gates, Judgment, Need, Verdict, attacks, judge, overall};
pub use histogram::Histogram;
pub use logistic::Logistic;
pub use membership::{Attack, INFORMATIVE_ROWS, attack};
pub use positions::{Answered, at_positions};
pub use record::{Audit, Change, Measured, Mia, Retained, change, loss_histogram, measure};
pub use reference::{Comparison, Gap, LossGap, Rmia, compare, ratios, rmia_scores};
pub use relearning::{Deep, Point, Seeded, Sets, Training, matched, relearn};
pub use remembered::Remembered;
pub use row_figures::RowFigures;
pub use signals::{Signals, entropies, softplus};
pub use splits::{Half, SplitDigest};
pub use statistics::{CONFIDENCE, KolmogorovSmirnov, LowFpr, Paired, Rate, auc, mean, variance};
pub use transfer::{Transfer, transfer};
