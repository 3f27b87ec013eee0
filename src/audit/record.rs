//! The `audit` part of a report.

use super::{
    accuracy::{Outcome, SplitScore, score, score_of_kept_classes},
    classes::{Classes, classes},
    conformal::{LEVEL, Records, Unseen, records},
    histogram::{Histogram, histogram},
    membership::{Attack, attack},
    signals::Signals,
    splits::Half,
    statistics::{KolmogorovSmirnov, LowFpr, Paired, auc, mean},
    transfer::{self, Transfer},
};
use crate::Result;
use serde::Serialize;
use std::collections::BTreeSet;

/// The attacks on the forgotten rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mia {
    /// Unseen rows of the classes of the rows to forget.
    pub unseen_rows: usize,
    /// On the loss (MIA_L).
    pub loss: Attack,
    /// On the entropy of the answer (MIA_E); none for regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy: Option<Attack>,
    /// On the hardest tokens (Min-K%, K = 20); of language models alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_k: Option<Attack>,
    /// On the entropy, by an attacker who learned from retained rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy_transfer: Option<Transfer>,
}

/// How well retained rows can be told from unseen rows of their classes by their loss. Some difference is normal, since
/// the model was trained on them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Retained {
    /// Rows that were measured.
    pub rows: usize,
    /// Probability that a retained row's loss is below an unseen row's.
    pub auc: Option<f64>,
    /// Retained rows found at a false positive rate of 1 %.
    pub low_fpr: LowFpr,
    /// Whether both have the same distribution.
    pub ks: Option<KolmogorovSmirnov>,
    /// Share of retained rows with a lower loss than nearly all unseen rows of their class; it is 0.05 for unseen rows.
    pub exposed: Option<f64>,
}

/// The audit of one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// Rows to forget.
    pub forget: SplitScore,
    /// The other training rows.
    pub retain: SplitScore,
    /// Unseen rows.
    pub test: SplitScore,
    /// Unseen rows of the kept classes, if a class is forgotten whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_of_kept_classes: Option<SplitScore>,
    /// Attacks on rows to forget, with unseen rows of the same classes.
    pub mia: Mia,
    /// The single rows to forget.
    pub records: Records,
    /// The attack class by class; none if rows have no class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Classes>,
    /// The retained rows.
    pub retained: Retained,
}

impl Audit {
    /// The score that still matters after the run: unseen rows of the kept classes.
    pub fn useful(&self) -> &SplitScore {
        self.test_of_kept_classes.as_ref().unwrap_or(&self.test)
    }

    /// Number of unseen rows that forgotten rows were compared with.
    pub fn unseen_rows(&self) -> usize {
        self.mia.unseen_rows
    }
}

/// The numbers behind an audit, which comparisons between models need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Rows to forget.
    pub forget: Signals,
    /// The other training rows.
    pub retain: Signals,
    /// Unseen rows.
    pub test: Signals,
}

impl Measured {
    /// Unseen rows of the classes of the rows to forget.
    pub fn unseen(&self) -> Signals {
        self.test.of_classes_in(&self.forget)
    }

    /// The retained and the unseen rows that attacks learn from. With one seed they are the same for every model.
    pub fn halves(&self, seed: u64) -> (Half, Half) {
        // Different seeds, so that both are not split alike.
        let draw = |s: &Signals, salt: u64| Half::draw(&s.rows, seed ^ salt);
        (draw(&self.retain, 0x7265_7461_696E), draw(&self.unseen(), 0x756E_7365_656E))
    }
}

/// Measures one model. With the same seed, attacks before and after have the same rows and splits. `kept` are the
/// classes of all retained rows; the classes of the measured ones if not given.
///
/// # Errors
/// [`crate::Error::Unlearning`] if a loss is not finite; [`crate::Error::Internal`] if parts belong to different rows.
pub fn measure(
    forget: &Outcome,
    retain: &Outcome,
    test: &Outcome,
    kept: Option<&BTreeSet<i64>>,
    seed: u64,
) -> Result<(Audit, Measured)> {
    let scores = (score(forget, "forget")?, score(retain, "retain")?, score(test, "test")?);
    let measured_classes = retain.targets.classes();
    let test_of_kept_classes = score_of_kept_classes(forget.targets, kept.unwrap_or(&measured_classes), test)?;
    let measured = Measured { forget: Signals::of(forget), retain: Signals::of(retain), test: Signals::of(test) };
    let Measured { forget, retain, test } = &measured;
    let unseen = measured.unseen();
    let entropies = forget.entropies.as_deref().zip(unseen.entropies.as_deref());
    let halves = measured.halves(seed);
    let audit = Audit {
        forget: scores.0,
        retain: scores.1,
        test: scores.2,
        test_of_kept_classes,
        mia: Mia {
            unseen_rows: unseen.len(),
            loss: attack(&forget.losses, &unseen.losses, seed),
            entropy: entropies.map(|(members, others)| attack(members, others, seed)),
            min_k: forget
                .min_k
                .as_deref()
                .zip(unseen.min_k.as_deref())
                .map(|(members, others)| attack(members, others, seed)),
            entropy_transfer: transfer::by_halves(forget, retain, &unseen, (&halves.0, &halves.1)),
        },
        records: records(forget, &Unseen::new(&unseen)),
        classes: classes(forget, &unseen),
        retained: retained(retain, test),
    };
    Ok((audit, measured))
}

/// Bins of the histograms.
const BINS: usize = 30;

/// Losses of forgotten and of unseen rows, before and after, in common bins.
pub fn loss_histogram(before: &Measured, after: &Measured) -> Option<Histogram> {
    let unseen = (before.unseen(), after.unseen());
    let sets = [
        ("before/forget", before.forget.losses.as_slice()),
        ("before/test", &unseen.0.losses),
        ("after/forget", &after.forget.losses),
        ("after/test", &unseen.1.losses),
    ];
    histogram(&sets, BINS)
}

fn retained(retain: &Signals, test: &Signals) -> Retained {
    let test = &test.of_classes_in(retain);
    let exposed: Vec<bool> = exposed(retain, &Unseen::new(test)).into_iter().flatten().collect();
    Retained {
        rows: retain.len(),
        auc: auc(&retain.losses, &test.losses),
        low_fpr: LowFpr::at(&retain.losses, &test.losses, 100),
        ks: KolmogorovSmirnov::of(&retain.losses, &test.losses, 1),
        exposed: share(&exposed),
    }
}

/// For each row, whether nearly all unseen rows of its class have a higher loss; none if there are too few of them.
fn exposed(rows: &Signals, unseen: &Unseen) -> Vec<Option<bool>> {
    let one = |(i, &loss): (usize, &f64)| Some(unseen.judge(rows.class(i), loss)?.under <= LEVEL + 1e-12);
    rows.losses.iter().enumerate().map(one).collect()
}

fn share(marks: &[bool]) -> Option<f64> {
    (!marks.is_empty()).then(|| marks.iter().filter(|m| **m).count() as f64 / marks.len() as f64)
}

/// What unlearning did to retained and unseen rows: to unlearn some rows can expose others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// AUC of retained against unseen rows, after minus before.
    pub retained_auc: Option<f64>,
    /// Share of retained rows that stand out by a low loss now, and did not before.
    pub newly_exposed: Option<f64>,
    /// Share of retained rows that stood out by a low loss before, and do not now.
    pub no_longer_exposed: Option<f64>,
    /// Relative fall of the mean loss of the rows to forget, beyond chance: they are known better than before.
    pub forget_loss_fall: Option<f64>,
    /// Rise of accuracy on the rows to forget, beyond chance.
    pub forget_accuracy_rise: Option<f64>,
    /// Rise of accuracy on unseen rows, beyond chance: the run taught the model something.
    pub test_accuracy_rise: Option<f64>,
    /// Relative fall of the mean squared error of unseen rows, beyond chance; for regression.
    pub test_error_fall: Option<f64>,
}

/// Standard errors of a paired mean that chance explains (99 %, both sides).
const PAIRED_CHANCE: f64 = 2.576;

/// The mean of `a − b`, row by row, minus what chance explains; at least 0. None if rows are missing.
fn rise(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() != b.len() || a.is_empty() {
        return None;
    }
    let paired = Paired::of(a, b);
    Some((paired.mean - PAIRED_CHANCE * paired.error).max(0.0))
}

/// Compares two models' retained rows.
pub fn change(before: &Measured, after: &Measured) -> Change {
    // Unseen rows of a class that is forgotten whole say nothing about the other classes.
    let area = |m: &Measured| auc(&m.retain.losses, &m.test.of_classes_in(&m.retain).losses);
    let marks = |m: &Measured| exposed(&m.retain, &Unseen::new(&m.test));
    let pairs: Vec<(bool, bool)> =
        marks(before).into_iter().zip(marks(after)).filter_map(|(was, is)| was.zip(is)).collect();
    let accuracy = |was: &Signals, is: &Signals| rise(is.right.as_deref()?, was.right.as_deref()?);
    let fall =
        |was: &Signals, is: &Signals| Some(rise(&was.losses, &is.losses)? / mean(&was.losses).max(f64::MIN_POSITIVE));
    let of = |which: fn(&(bool, bool)) -> bool| share(&pairs.iter().map(which).collect::<Vec<_>>());
    Change {
        retained_auc: area(after).zip(area(before)).map(|(is, was)| is - was),
        newly_exposed: of(|(was, is)| *is && !was),
        no_longer_exposed: of(|(was, is)| *was && !is),
        forget_loss_fall: fall(&before.forget, &after.forget),
        forget_accuracy_rise: accuracy(&before.forget, &after.forget),
        test_accuracy_rise: accuracy(&before.test, &after.test),
        test_error_fall: if before.test.right.is_none() { fall(&before.test, &after.test) } else { None },
    }
}
