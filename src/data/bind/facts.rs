//! What the label columns hold, before it is known what they mean.

use super::target;
use crate::{
    Result,
    data::{
        DataConfig, Rows, Signature,
        column::{self, Class},
        open::train_source,
        source::Source,
    },
};
use std::{path::Path, sync::Arc};

/// What label columns hold: enough to tell which of a model's outputs they belong to.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelFacts {
    /// The columns.
    pub columns: Vec<String>,
    /// Whether all are whole numbers.
    pub whole: bool,
    /// The lowest.
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
    /// Whether they are lists.
    pub lists: bool,
    /// Values a row, if every row has as many.
    pub width: Option<usize>,
}

/// What the label columns of `path`, or else of the training data, hold. `None` if nothing tells which they are, or if they
/// are no numbers.
///
/// # Errors
/// Those of reading the data.
pub fn label_facts(config: &DataConfig, path: Option<&Path>) -> Result<Option<LabelFacts>> {
    let source = match path {
        Some(path) => Arc::new(Source::open(path)?),
        None => train_source(config)?,
    };
    let id = config.data.id.as_deref().unwrap_or("id");
    let taken: Vec<&str> = [Some(id), config.data.split.as_deref()].into_iter().flatten().collect();
    match target::named(&source, config, &Signature::default(), &taken)? {
        Some((columns, _)) => facts(&source, columns),
        None => Ok(None),
    }
}

fn facts(source: &Source, columns: Vec<String>) -> Result<Option<LabelFacts>> {
    let mut lists = false;
    for name in &columns {
        match column::classify(source.require(name, "the label")?.data_type()) {
            Class::Scalar(_) => {}
            Class::List(..) => lists = true,
            _ => return Ok(None),
        }
    }
    let mut facts = LabelFacts { whole: true, lowest: 0.0, highest: 0.0, lists, width: Some(columns.len()), columns };
    let mut length: Option<(usize, usize)> = None;
    let names: Vec<&str> = facts.columns.iter().map(String::as_str).collect();
    let (whole, lowest, highest) = (&mut facts.whole, &mut facts.lowest, &mut facts.highest);
    source.scan(&names, &Rows::all(source.rows()), |_, batch| {
        for array in batch.columns() {
            let lists = column::flatten(array)?;
            for n in lists.lengths() {
                let (low, high) = length.unwrap_or((n, n));
                length = Some((low.min(n), high.max(n)));
            }
            for &x in column::doubles(&lists.values).map_err(|p| format!("a label column {p}"))?.values() {
                *whole &= x.fract() == 0.0;
                *lowest = lowest.min(x);
                *highest = highest.max(x);
            }
        }
        Ok(())
    })?;
    if facts.lists {
        facts.width = length.filter(|(low, high)| low == high).map(|(n, _)| n * facts.columns.len());
    }
    Ok(Some(facts))
}
