//! How the rows were read, in full: for the report. Numbers about inputs are of many rows together, never of one.

use crate::data::{Batch, Feed, Layout, Plan, Rule};
use serde::Serialize;

/// How inputs and labels are made from the rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Reading {
    /// Each input of the model.
    pub inputs: Vec<InputReading>,
    /// The labels.
    pub target: Option<TargetReading>,
}

/// How one input is made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputReading {
    /// Its name.
    pub input: String,
    /// `image`, `numbers`, `tokens`, or what follows from another input.
    pub kind: &'static str,
    /// The columns, in order.
    pub columns: Vec<String>,
    /// What a value is multiplied by, channel by channel or position by position; one number if it is the same for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub factor: Vec<f64>,
    /// What is then added.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub offset: Vec<f64>,
    /// Order of an image's axes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// The token that fills short rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub padding: Option<i64>,
    /// Tokens a row, if they are as many in every batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// What the model gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<Statistics>,
}

/// Statistics of an input over the rows that were looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// Extents of one row.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: String,
    /// Rows that were looked at.
    pub rows: usize,
    /// Least value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Mean of all values.
    pub mean: f64,
    /// Standard deviation of all values.
    pub std: f64,
}

/// How the labels are made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetReading {
    /// The columns, in order.
    pub columns: Vec<String>,
    /// How they are read.
    pub labels: String,
    /// Classes, labels or values a row; 0 where the number of classes is not known.
    pub width: usize,
}

/// Rows below which statistics would tell too much of single rows.
const ENOUGH: usize = 20;

impl Reading {
    /// How `plan` makes inputs and labels, with the statistics of `sample`.
    pub fn of(plan: &Plan, sample: &Batch) -> Self {
        let inputs = plan.feeds.iter().map(|(name, feed)| input(name, feed, sample)).collect();
        let target = TargetReading {
            columns: plan.target.columns.clone(),
            labels: plan.target.labels.to_string(),
            width: plan.target.width,
        };
        Self { inputs, target: Some(target) }
    }
}

fn input(name: &str, feed: &Feed, sample: &Batch) -> InputReading {
    let bare = InputReading {
        input: name.into(),
        kind: "numbers",
        columns: Vec::new(),
        factor: Vec::new(),
        offset: Vec::new(),
        layout: None,
        padding: None,
        length: None,
        example: statistics(name, sample),
    };
    match feed {
        Feed::Image(f) => {
            let (factor, offset) = short(&f.affine);
            InputReading {
                kind: "image",
                columns: vec![f.column.clone()],
                factor,
                offset,
                layout: Some(f.layout),
                ..bare
            }
        }
        Feed::Numbers(f) => {
            let (factor, offset) = f.affine.as_deref().map(short).unwrap_or_default();
            InputReading { columns: f.columns.clone(), factor, offset, ..bare }
        }
        Feed::Tokens(f) => InputReading {
            kind: "tokens",
            columns: vec![f.column.clone()],
            padding: Some(f.padding),
            length: f.length,
            ..bare
        },
        Feed::Derived(f) => InputReading {
            kind: match f.rule {
                Rule::Mask => "mask of the tokens",
                Rule::Zeros => "zeros",
                Rule::Positions => "positions of the tokens",
            },
            ..bare
        },
        // All items are read alike.
        Feed::Group(f) => {
            let of_items = f.items.iter().map(|item| input(name, item, sample));
            let columns = of_items.clone().flat_map(|item| item.columns).collect();
            of_items.into_iter().next().map_or_else(|| bare.clone(), |item| InputReading { columns, ..item })
        }
        // Labels show no statistics: they are what the rows are told apart by.
        Feed::Label(f) => InputReading { kind: "labels", columns: f.columns.clone(), example: None, ..bare },
    }
}

/// Factors and terms, each as one number if all are the same.
fn short(affine: &[(f64, f64)]) -> (Vec<f64>, Vec<f64>) {
    let one = |all: Vec<f64>| {
        if all.windows(2).all(|w| w.first() == w.last()) { all.into_iter().take(1).collect() } else { all }
    };
    (one(affine.iter().map(|a| a.0).collect()), one(affine.iter().map(|a| a.1).collect()))
}

fn statistics(name: &str, sample: &Batch) -> Option<Statistics> {
    let tensor = sample.inputs.get(name).filter(|_| sample.rows() >= ENOUGH)?;
    let values = tensor.to_f64();
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    Some(Statistics {
        shape: tensor.dims().get(1..).unwrap_or_default().to_vec(),
        dtype: tensor.dtype().to_string(),
        rows: sample.rows(),
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        mean,
        std: (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt(),
    })
}
