//! Methods beside each other: the record, and its faces for people and machines.

mod chart;
mod html;
mod table;

pub use html::html;
pub use table::{csv, markdown};

use super::{Environment, ModelFile};
use crate::{
    audit::{Key, Spread},
    unlearn::Described,
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
    /// It cannot be used here.
    NotApplicable {
        /// Why.
        reason: String,
    },
    /// It ended in an error.
    Failed {
        /// Which.
        reason: String,
    },
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
    /// Its settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Described>,
    /// Figures over the seeds; those that there are.
    pub figures: IndexMap<Key, Spread>,
    /// Wall time of the method alone, without the audit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<Spread>,
}

/// A comparison.
#[derive(Clone, Debug, Serialize)]
pub struct CompareReport {
    /// [`COMPARE_SCHEMA`].
    pub schema: &'static str,
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
    column("test_accuracy", "test acc.", Form::Percent, "on unseen rows: higher is better"),
    column("forget_loss", "forget loss", Form::Number, "mean loss of rows to forget: ideal is that of unseen rows"),
    column("retain_loss", "retain loss", Form::Number, "of the other training rows: lower is better"),
    column("test_loss", "test loss", Form::Number, "of unseen rows: lower is better"),
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

    /// Why methods are missing from the tables.
    fn left_out(&self) -> Vec<(&str, String)> {
        let why = |row: &MethodRow| match &row.outcome {
            MethodOutcome::Measured => None,
            MethodOutcome::NotApplicable { reason } => Some(format!("not applicable: {reason}")),
            MethodOutcome::Failed { reason } => Some(format!("failed: {reason}")),
        };
        self.methods.iter().filter_map(|row| Some((row.title.as_str(), why(row)?))).collect()
    }

    fn measured(&self) -> impl Iterator<Item = &MethodRow> {
        self.methods.iter().filter(|row| row.outcome == MethodOutcome::Measured)
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
