//! What the label columns hold, before it is known what they mean.

use super::{
    labels::{self, Seen},
    target,
};
use crate::{
    DataConfig, Places, Result, Signature,
    column::{self, Class},
    decode::Words,
    label_facts::LabelFacts,
    open::train_source,
    source::Source,
};
use std::sync::Arc;

/// What the label columns of `places`, or else of the training data, hold. `None` if nothing tells which they are, or if they
/// are no numbers.
///
/// # Errors
/// Those of reading the data.
pub fn label_facts(config: &DataConfig, places: Option<&Places>) -> Result<Option<LabelFacts>> {
    let source = match places {
        Some(places) => Arc::new(Source::open(places)?),
        None => train_source(config)?,
    };
    let id = config.files.id.as_deref().unwrap_or("id");
    let taken: Vec<&str> = [Some(id), config.files.split.as_deref()].into_iter().flatten().collect();
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
    let seen = labels::look(source, &columns, &Words::default())?;
    let width = match lists {
        true => seen.lengths.filter(|(low, high)| low == high).map(|(n, _)| n * columns.len()),
        false => Some(columns.len()),
    };
    let longest = width.or(seen.lengths.map(|(_, high)| high * columns.len())).unwrap_or(0);
    let Seen { whole, lowest, highest, .. } = seen;
    Ok(Some(LabelFacts { columns, whole, lowest, highest, lists, width, longest }))
}
