//! What the label columns hold, before it is known what they mean.

use super::{
    labels::{self, Seen},
    pictures, target,
};
use crate::{
    DataConfig, Places, Result, Signature,
    column::{self, Class},
    decode::Words,
    label_facts::LabelFacts,
    open::train_source,
    rows::Rows,
    source::Source,
};
use std::{collections::BTreeSet, sync::Arc};

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

/// The names, in lower case, of the inputs that the configuration feeds from columns, and of the columns of the training data as
/// far as it can be read.
pub fn fed_names(config: &DataConfig) -> BTreeSet<String> {
    let source = config.files.train.as_ref().and_then(|_| train_source(config).ok());
    let columns = source.iter().flat_map(|source| source.fields()).map(|field| field.name().to_lowercase());
    let inputs = config.inputs.iter().filter(|(_, input)| input.value.is_none()).map(|(name, _)| name.to_lowercase());
    columns.chain(inputs).collect()
}

fn facts(source: &Source, columns: Vec<String>) -> Result<Option<LabelFacts>> {
    let mut lists = false;
    for name in &columns {
        let ty = source.require(name, "the label")?.data_type();
        let tags = labels::is_text(ty) && column::classify(ty) != Class::Text;
        match columns.len() {
            1 if tags => return of_tags(source, name).map(Some),
            // All masks have one size.
            1 if column::classify(ty) == Class::Image => {
                let (height, width) = pictures::size_of_first(source, name)?;
                return Ok(Some(of_lists(name, 0, Some((height * width, height * width)))));
            }
            _ => {}
        }
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

/// Of lists of words that stand for classes.
fn of_tags(source: &Source, name: &str) -> Result<LabelFacts> {
    let words = labels::words(source, name)?.map_or(0, |words| words.len());
    let mut lengths: Option<(usize, usize)> = None;
    source.scan(&[name], &Rows::all(source.rows()), |_, batch| {
        for n in column::flatten(batch.columns().first().ok_or("no label column")?)?.lengths() {
            let (low, high) = lengths.unwrap_or((n, n));
            lengths = Some((low.min(n), high.max(n)));
        }
        Ok(())
    })?;
    Ok(of_lists(name, words.saturating_sub(1), lengths))
}

/// Of lists of classes from 0 to at least `highest`, and the lengths of the shortest and the longest list.
fn of_lists(name: &str, highest: usize, lengths: Option<(usize, usize)>) -> LabelFacts {
    let width = lengths.filter(|(low, high)| low == high).map(|(n, _)| n);
    let (columns, longest) = (vec![name.to_string()], lengths.map_or(0, |(_, high)| high));
    LabelFacts { columns, whole: true, lowest: 0.0, highest: highest as f64, lists: true, width, longest }
}
