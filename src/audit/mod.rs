//! Did it forget, did it keep: accuracy and membership inference, from each row's loss and logits.
//!
//! What these figures are, and are not: the attack is the population attack of the method's paper, one threshold on one
//! number a row. It says whether forgotten rows still stand out among unseen ones on average; it bounds nothing for a
//! single row, and τ is chosen so that this very statistic comes out even.

mod accuracy;
mod histogram;
mod logistic;
mod membership;
mod record;

pub use accuracy::{Outcome, SplitScore, score};
pub use histogram::{Histogram, histogram};
pub use logistic::Logistic;
pub use membership::{Attack, INFORMATIVE_ROWS, attack, auc, entropies, tpr_at_fpr};
pub use record::{Audit, Mia, Record, measure};
