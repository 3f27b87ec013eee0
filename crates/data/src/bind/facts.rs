//! What the label columns hold, before it is known what they mean.

use super::{
    labels::{self, Seen},
    target,
};
use crate::{
    DataConfig, Places, Result, Signature,
    column::{self, Class},
    decode::{Encoded, Words, look},
    fault::Fault,
    label_facts::LabelFacts,
    open::train_source,
    rows::Rows,
    source::{self, Source},
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
        let ty = source.require(name, "the label")?.data_type();
        let tags = labels::is_text(ty) && column::classify(ty) != Class::Text;
        if tags || column::classify(ty) == Class::Image {
            return if columns.len() == 1 { of_lists(source, name, tags).map(Some) } else { Ok(None) };
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

/// Of lists of words, or of masks, that stand for classes: whole numbers, of which it is not told yet which.
fn of_lists(source: &Source, name: &str, tags: bool) -> Result<LabelFacts> {
    let mut lengths: Option<(usize, usize)> = None;
    let highest = match tags {
        true => labels::words(source, name)?.map_or(0, |words| words.len().saturating_sub(1)),
        false => 0,
    };
    source.scan(&[name], &Rows::all(source.rows()), |_, batch| {
        let array = batch.columns().first().ok_or("no label column")?;
        let mut add = |n: usize| {
            let (low, high) = lengths.unwrap_or((n, n));
            lengths = Some((low.min(n), high.max(n)));
        };
        if tags {
            column::flatten(array)?.lengths().for_each(add);
            return Ok(());
        }
        let images = Encoded::of(array, &source::folder_of(batch))?;
        for row in 0..images.len() {
            let seen = images
                .get(row)
                .and_then(|bytes| look(&bytes))
                .map_err(|problem| Fault::at(row, format!("label column `{name}` {problem}")))?;
            add(seen.height * seen.width);
        }
        Ok(())
    })?;
    let width = lengths.filter(|(low, high)| low == high).map(|(n, _)| n);
    let (columns, longest) = (vec![name.to_string()], lengths.map_or(0, |(_, high)| high));
    Ok(LabelFacts { columns, whole: true, lowest: 0.0, highest: highest as f64, lists: true, width, longest })
}
