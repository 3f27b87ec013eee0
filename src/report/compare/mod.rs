//! Methods beside each other: the record, and its faces for people and machines.

mod chart;
mod html;
mod table;
#[cfg(test)]
mod tests;

pub use html::html;
pub use table::{csv, markdown};

use super::{Environment, ModelFile};
use crate::{
    audit::{Attack, INFORMATIVE_ROWS, Key, Spread},
    unlearn::{MethodName, MethodSettings},
};
use indexmap::IndexMap;
use serde::Serialize;

/// Name and version of the record's form.
pub const COMPARE_SCHEMA: &str = "onnx-forget/compare/v1";

/// What became of a method.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum MethodOutcome {
    /// It ran with every seed.
    Measured,
    /// It ran with some seeds, from which the figures are, and ended in an error with others.
    PartlyMeasured {
        /// The seeds that it failed with, and why.
        reason: String,
    },
    /// It cannot be used here.
    NotApplicable {
        /// Why.
        reason: String,
    },
    /// It ended in an error, whatever the seed.
    Failed {
        /// The seeds, and which error.
        reason: String,
    },
}

impl MethodOutcome {
    /// Of a method that ended well with so many seeds, and with these in an error.
    pub fn of(ended_well: usize, failed: &[(u64, String)]) -> Self {
        let reasons: Vec<String> = failed.iter().map(|(seed, why)| format!("seed {seed}: {why}")).collect();
        let reason = reasons.join("; ");
        match (ended_well, failed.len()) {
            (_, 0) => Self::Measured,
            (0, _) => Self::Failed { reason },
            _ => Self::PartlyMeasured { reason },
        }
    }
}

/// One method, or a model that no method made.
#[derive(Clone, Debug, Serialize)]
pub struct MethodRow {
    /// `original`, `reference`, or the method as it is given on the command line.
    pub method: String,
    /// As papers write it.
    pub title: String,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: MethodOutcome,
    /// The seeds that it ended well with: those of the figures, in their order. None of a model that no method made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    /// Its settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<MethodSettings>,
    /// Figures over the seeds; those that there are.
    pub figures: IndexMap<Key, Spread>,
    /// Wall time of the method alone, without the audit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<Spread>,
}

/// How much the attacks' figures say. Every model is attacked on the same rows, whatever the seed of the method: how the figures spread
/// over seeds says nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AttackRows {
    /// Forgotten rows that are attacked, and as many unseen ones.
    pub rows_a_side: usize,
    /// As many as are enough.
    pub rows_needed: usize,
    /// [`Attack::coin_margin`].
    pub coin_margin: Option<f64>,
    /// Whether there are enough, as the audit decides it.
    pub informative: bool,
}

impl AttackRows {
    /// Of any of the models' attacks.
    pub fn of(attack: &Attack) -> Self {
        Self {
            rows_a_side: attack.rows_a_side,
            rows_needed: INFORMATIVE_ROWS,
            coin_margin: attack.coin_margin,
            informative: attack.informative,
        }
    }
}

/// A comparison.
#[derive(Clone, Debug, Serialize)]
pub struct CompareReport {
    /// [`COMPARE_SCHEMA`].
    pub schema: &'static str,
    /// Whether every method has had its turn. A report is written after each, so that one that was interrupted leaves what there is.
    pub finished: bool,
    /// Methods that have not had their turn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<MethodName>,
    /// The trained model, which every method started from.
    pub model: ModelFile,
    /// Rows to forget.
    pub forget_rows: usize,
    /// The other training rows.
    pub retain_rows: usize,
    /// Rows that τ comes from.
    pub validation_rows: usize,
    /// Unseen rows that the audit compares with.
    pub test_rows: usize,
    /// The task loss and why it was chosen.
    pub loss: String,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// How much the attacks' figures say.
    pub attack: AttackRows,
    /// What distances from a model without the rows are measured from; none without such a model.
    pub reference: Option<String>,
    /// The models that were given for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reference_models: Vec<ModelFile>,
    /// The methods.
    pub methods: Vec<MethodRow>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Where it ran.
    pub device: String,
    /// Where it ran.
    pub environment: Environment,
}

/// How a figure is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As percentage.
    Percent,
    /// As it is.
    Number,
}

/// A column: the figure's key, its title, how it is shown, and what it means.
struct Column {
    key: Key,
    title: &'static str,
    form: Form,
    meaning: &'static str,
}

const fn column(key: Key, title: &'static str, form: Form, meaning: &'static str) -> Column {
    Column { key, title, form, meaning }
}

/// What the model still does.
const UTILITY: &[Column] = &[
    column(
        "forget_accuracy",
        "forget acc.",
        Form::Percent,
        "right answers on rows to forget: ideal is that of a retrained model",
    ),
    column("retain_accuracy", "retain acc.", Form::Percent, "on the other training rows: higher is better"),
    column(
        "test_accuracy",
        "test acc.",
        Form::Percent,
        "on unseen rows of the classes that are kept: higher is better",
    ),
    column("forget_r2", "forget R²", Form::Number, "R² on rows to forget: ideal is that of a retrained model"),
    column("retain_r2", "retain R²", Form::Number, "on the other training rows: higher is better"),
    column("test_r2", "test R²", Form::Number, "on unseen rows: higher is better"),
    column("forget_loss", "forget loss", Form::Number, "mean loss of rows to forget: ideal is that of unseen rows"),
    column("retain_loss", "retain loss", Form::Number, "of the other training rows: lower is better"),
    column("test_loss", "test loss", Form::Number, "of unseen rows of the classes that are kept: lower is better"),
];

/// What it gives away.
const ATTACKS: &[Column] = &[
    column(
        "mia_loss",
        "MIA_L",
        Form::Number,
        "accuracy of an attacker who tells rows to forget from unseen ones by their loss: 0.5 is ideal",
    ),
    column("mia_entropy", "MIA_E", Form::Number, "the same by the entropy of the answer: 0.5 is ideal"),
    column(
        "mia_min_k",
        "MIA_K",
        Form::Number,
        "the same by the least probable fifth of the tokens (Min-K%): 0.5 is ideal",
    ),
    column(
        "auc_loss",
        "AUC_L",
        Form::Number,
        "probability that a row to forget has a lower loss than an unseen one: 0.5 is ideal",
    ),
    column("ks_loss", "KS", Form::Number, "distance of both distributions of the loss: 0 is ideal, chance leaves some"),
    column(
        "transfer_gap",
        "transfer",
        Form::Number,
        "by what more rows to forget are taken for members than unseen rows: 0 is ideal",
    ),
    column(
        "under_forgotten",
        "under",
        Form::Percent,
        "single rows with a lower loss than nearly all unseen ones: 5 % is ideal",
    ),
    column(
        "over_forgotten",
        "over",
        Form::Percent,
        "single rows with a higher loss than nearly all unseen ones: 5 % is ideal",
    ),
    column(
        "average_gap",
        "avg. gap",
        Form::Number,
        "mean distance from the model without the rows in accuracies and MIA_L: 0 is ideal",
    ),
    column("tug_of_war", "ToW", Form::Number, "closeness to that model's accuracies: 1 is ideal"),
    column("rmia_auc", "RMIA", Form::Number, "AUC of an attacker who has that model: 0.5 is ideal"),
];

impl CompareReport {
    /// The columns for which a method has a figure.
    fn shown<'a>(&self, columns: &'a [Column]) -> Vec<&'a Column> {
        let has = |column: &&Column| self.methods.iter().any(|row| row.figures.contains_key(column.key));
        columns.iter().filter(has).collect()
    }

    /// Why methods are missing from the tables, or seeds from their figures.
    fn left_out(&self) -> Vec<(&str, String)> {
        let why = |row: &MethodRow| match &row.outcome {
            MethodOutcome::Measured => None,
            MethodOutcome::PartlyMeasured { reason } => {
                Some(format!("{} have figures; the others failed: {reason}", self.share_of_seeds(row)))
            }
            MethodOutcome::NotApplicable { reason } => Some(format!("not applicable: {reason}")),
            MethodOutcome::Failed { reason } => Some(format!("failed: {reason}")),
        };
        self.methods.iter().filter_map(|row| Some((row.title.as_str(), why(row)?))).collect()
    }

    /// The rows that have figures.
    fn measured(&self) -> impl Iterator<Item = &MethodRow> {
        let measured =
            |row: &&MethodRow| matches!(row.outcome, MethodOutcome::Measured | MethodOutcome::PartlyMeasured { .. });
        self.methods.iter().filter(measured)
    }

    fn share_of_seeds(&self, row: &MethodRow) -> String {
        format!("{} of {} seeds", row.seeds.len(), self.seeds.len())
    }

    /// What a row of a table is called: where not all seeds are in its figures, it says so.
    fn label(&self, row: &MethodRow) -> String {
        match row.outcome {
            MethodOutcome::PartlyMeasured { .. } => format!("{} ({})", row.title, self.share_of_seeds(row)),
            _ => row.title.clone(),
        }
    }

    /// How uncertain the attacks are, in a sentence without its full stop.
    fn certainty(&self) -> String {
        let AttackRows { rows_a_side, coin_margin, .. } = self.attack;
        match coin_margin {
            None => "There are no unseen rows of the classes that rows to forget have: nothing was attacked".into(),
            Some(margin) => format!(
                "MIA is measured on {rows_a_side} rows to forget and as many unseen ones, the same whatever the seed: whoever tosses \
                 a coin comes to 0.5 ± {margin:.3} in 19 of 20 cases, and the deviation over seeds does not include that"
            ),
        }
    }

    /// That the attacks' figures say nothing, if so.
    fn too_few(&self) -> Option<String> {
        let AttackRows { rows_a_side, rows_needed, informative, .. } = self.attack;
        (!informative).then(|| {
            format!(
                "Too few rows: with {rows_a_side} of {rows_needed} rows a side, MIA_L, MIA_E, AUC_L, KS, transfer, avg. gap and RMIA say \
                 nothing about the methods"
            )
        })
    }

    /// That methods are missing, if so.
    fn unfinished(&self) -> Option<String> {
        let names: Vec<&str> = self.left.iter().map(|name| name.title()).collect();
        (!self.finished).then(|| {
            format!("Not finished: the comparison goes on, or ended before its time, without {}", names.join(", "))
        })
    }
}

/// Mean ± standard deviation in as many digits as make sense; without the deviation where there is one value.
fn shown(spread: &Spread, form: Form) -> String {
    let (factor, digits) = match form {
        Form::Percent => (100.0, 1),
        Form::Number => (1.0, 3),
    };
    let mean = format!("{:.digits$}", factor * spread.mean);
    // A tiny negative number is shown as 0.
    let mean = if mean.trim_start_matches('-').chars().all(|c| c == '0' || c == '.') {
        mean.trim_start_matches('-').to_string()
    } else {
        mean
    };
    match spread.values.len() {
        1 => mean,
        _ => format!("{mean} ± {:.digits$}", factor * spread.deviation),
    }
}

/// The same of seconds.
fn seconds(spread: &Spread) -> String {
    let digits = if spread.mean < 9.95 { 2 } else { 0 };
    match spread.values.len() {
        1 => format!("{:.digits$}", spread.mean),
        _ => format!("{:.digits$} ± {:.digits$}", spread.mean, spread.deviation),
    }
}
