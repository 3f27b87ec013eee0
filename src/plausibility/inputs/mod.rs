//! Other ways in which inputs may have been meant: pixels on another scale, columns in another order, padding on the other side.

mod images;
mod tables;
mod tokens;

use crate::{
    data::{Batch, Feed, Plan},
    graph::input_scale::Affine,
    tensor::HostTensor,
};
use std::{collections::BTreeMap, rc::Rc};

/// Another reading of an input.
#[derive(Clone)]
pub struct Alternative {
    /// What the rows seem to be.
    pub what: String,
    /// What to do.
    pub mend: String,
    change: Rc<dyn Fn(&Batch) -> Option<Batch>>,
}

impl Alternative {
    /// The rows of `batch` in this reading; none where it does not apply to them.
    pub fn apply(&self, batch: &Batch) -> Option<Batch> {
        (self.change)(batch)
    }
}

/// What a model does to the scale of its inputs by itself, by name.
pub type OwnScales = BTreeMap<String, Affine>;

/// All that is tried for rows that were decoded by `plan`. `sample` are training rows; `order` are the table's columns as they stand
/// in the file; `own` says what the model does to its inputs by itself.
pub fn alternatives(plan: &Plan, sample: &Batch, order: &[String], own: &OwnScales) -> Vec<Alternative> {
    let mut all = Vec::new();
    for (index, (name, feed)) in plan.feeds.iter().enumerate() {
        match feed {
            Feed::Image(pictures) => images::images(name, pictures, &mut all),
            Feed::Numbers(numbers) => {
                if let Some(range) = tables::Range::of(sample, name, numbers) {
                    images::lists(name, numbers, &range, &mut all);
                    all.extend(own.get(name).map(|affine| tables::scaled_twice(name, numbers, affine)));
                    tables::columns(name, numbers, &range, order, &mut all);
                }
            }
            Feed::Tokens(tokens) => tokens::token_lists((plan, index), name, tokens, sample, &mut all),
            Feed::Derived(_) | Feed::Label(_) | Feed::Group(_) => {}
        }
        tokens::masks(name, feed, sample, &mut all);
    }
    swapped(plan, sample, &mut all);
    all
}

/// The `[inputs.NAME]` table in which an entry is to be written.
fn table(name: &str) -> String {
    format!("`[inputs.{name}]`")
}

/// The numbers of one input changed by `map`, which gets the position in the row and the value.
fn mapped(batch: &Batch, name: &str, map: impl Fn(usize, f64) -> f64) -> Option<Batch> {
    rows_changed(batch, name, |row, out| {
        out.extend(row.iter().enumerate().map(|(i, &x)| map(i, x)));
    })
}

/// One input with each row's elements rewritten.
fn rows_changed(batch: &Batch, name: &str, change: impl Fn(&[f64], &mut Vec<f64>)) -> Option<Batch> {
    let tensor = batch.inputs.get(name)?;
    let (dims, values) = (tensor.dims().to_vec(), tensor.to_f64());
    let mut out = Vec::with_capacity(values.len());
    for row in values.chunks_exact(values.len().checked_div(*dims.first()?)?.max(1)) {
        change(row, &mut out);
    }
    replaced(batch, name, HostTensor::of_type(&dims, out, tensor.dtype())?)
}

fn replaced(batch: &Batch, name: &str, tensor: HostTensor) -> Option<Batch> {
    let mut batch = batch.clone();
    *batch.inputs.get_mut(name)? = tensor;
    Some(batch)
}

/// Two inputs of one type and shape exchanged.
fn swapped(plan: &Plan, sample: &Batch, all: &mut Vec<Alternative>) {
    let fed: Vec<&String> =
        plan.feeds.iter().filter(|(_, f)| !matches!(f, Feed::Derived(_))).map(|(name, _)| name).collect();
    for (i, one) in fed.iter().enumerate() {
        for other in fed.iter().skip(i + 1) {
            let of = |name: &str| sample.inputs.get(name).map(|t| (t.dtype(), t.dims().to_vec()));
            if of(one).is_none() || of(one) != of(other) {
                continue;
            }
            let (a, b) = (one.to_string(), other.to_string());
            let change = move |batch: &Batch| {
                let mut batch = batch.clone();
                let (x, y) = (batch.inputs.remove(&a)?, batch.inputs.remove(&b)?);
                batch.inputs.extend([(a.clone(), y), (b.clone(), x)]);
                Some(batch)
            };
            all.push(Alternative {
                what: format!("inputs `{one}` and `{other}` exchanged"),
                mend: format!("exchange their columns under {} and {}", table(one), table(other)),
                change: Rc::new(change),
            });
        }
    }
}
