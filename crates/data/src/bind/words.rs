//! Which class a label's word stands for: from the configuration, the model, or the file.

use super::{
    super::{DataConfig, Signature, column, decode::Words, source::Source},
    labels,
};
use crate::{Error, Result, decode::number};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Words for no and yes.
const NO_YES: [[&str; 2]; 7] =
    [["no", "yes"], ["n", "y"], ["false", "true"], ["f", "t"], ["negative", "positive"], ["neg", "pos"], ["off", "on"]];

/// The classes of a label column's words, and what is said of where they are from.
///
/// # Errors
/// Names that do not fit the model; text that nothing says the classes of.
pub fn find(
    source: &Source,
    config: &DataConfig,
    signature: &Signature,
    column: &str,
    width: Option<usize>,
) -> Result<(Words, Option<String>)> {
    let text = labels::is_text(source.require(column, "the label")?.data_type());
    if let Some(words) = configured(config, width, text)? {
        let how = format!("{} classes by the names that `[target]` gives", words.map.len());
        return Ok((words, Some(how)));
    }
    let model = signature.classes.as_deref().filter(|names| distinct(names));
    let file = class_label(source, column).filter(|names| distinct(names));
    if !text && let Some(names) = model.filter(|names| names.iter().all(|name| name.parse::<i64>().is_ok())) {
        let numbers = labels::numbers(source, column)?;
        if !numbers.is_empty() && numbers.iter().all(|number| names.contains(number)) {
            let words = Words { map: by_place(names), numbers: true };
            return Ok((words, Some("classes by the model's own numbers of them".into())));
        }
    }
    if !text {
        return Ok(renumbered(file.as_deref(), model));
    }
    let found = labels::words(source, column)?;
    let known = |names: &[String]| found.as_ref().is_some_and(|f| f.iter().all(|word| names.contains(word)));
    let listed = |names: &[String]| Words { map: by_place(names), numbers: false };
    if let Some(names) = model.filter(|names| known(names)) {
        return Ok((listed(names), Some("classes by the model's own names of them".into())));
    }
    if let Some(names) = file.filter(|names| known(names) && width.is_none_or(|w| w == names.len())) {
        return Ok((listed(&names), Some("classes by the names in the file (Hugging Face's ClassLabel)".into())));
    }
    let found = found.unwrap_or_default();
    if !found.is_empty() && found.iter().all(|word| number(word).is_some()) {
        return Ok((Words::default(), Some("text that is read as numbers".into())));
    }
    if let Some(words) = no_yes(&found).filter(|_| width.is_none_or(|w| w <= 2)) {
        return Ok((words, Some("words for no and yes, read as 0 and 1".into())));
    }
    Err(ask(source, column, width, &found))
}

fn distinct(names: &[String]) -> bool {
    names.iter().collect::<BTreeSet<_>>().len() == names.len()
}

fn by_place(names: &[String]) -> BTreeMap<String, i64> {
    names.iter().map(|n| n.trim().to_owned()).zip(0..).collect()
}

/// What the configuration says.
fn configured(config: &DataConfig, width: Option<usize>, text: bool) -> Result<Option<Words>> {
    let target = &config.target;
    let outputs = width.map(|w| w.max(2));
    let fail = |problem: String| Err(Error::Data(format!("`[target]`: {problem}")));
    match (&target.classes, target.map.is_empty()) {
        (Some(_), false) => fail("give `classes` or `map`, not both".into()),
        (Some(names), true) => {
            let n = names.len();
            if !distinct(names) {
                return fail("`classes` names a class twice; use `[target.map]` for several words of one class".into());
            }
            if outputs.is_some_and(|w| w != n) {
                let w = outputs.unwrap_or_default();
                return fail(format!("`classes` names {n} classes, but the model has {w}"));
            }
            Ok(Some(Words { map: by_place(names), numbers: false }).filter(|_| text))
        }
        (None, false) => {
            let beyond = |class: &i64| usize::try_from(*class).map_or(true, |c| outputs.is_some_and(|w| c >= w));
            if target.map.values().any(beyond) {
                let last = outputs.map_or("0, 1, 2, …".into(), |w| format!("0 to {}", w.saturating_sub(1)));
                return fail(format!("`map` gives a class that is not one of the model's {last}"));
            }
            let map = target.map.iter().map(|(word, class)| (word.trim().to_owned(), *class)).collect();
            Ok(Some(Words { map, numbers: true }))
        }
        (None, true) => Ok(None),
    }
}

/// Numbers that the file has names for, where the model has the same names in another order.
fn renumbered(file: Option<&[String]>, model: Option<&[String]>) -> (Words, Option<String>) {
    let (Some(file), Some(model)) = (file, model) else { return (Words::default(), None) };
    let (theirs, ours): (BTreeSet<_>, BTreeSet<_>) = (file.iter().collect(), model.iter().collect());
    if theirs != ours || file == model {
        return (Words::default(), None);
    }
    let place = by_place(model);
    let map = file.iter().enumerate().filter_map(|(i, n)| Some((i.to_string(), *place.get(n.trim())?))).collect();
    let how = "renumbered: the file's names of the classes are the model's in another order".to_owned();
    (Words { map, numbers: true }, Some(how))
}

/// The names of a column's classes as Hugging Face's `datasets` stores them beside the schema.
fn class_label(source: &Source, column: &str) -> Option<Vec<String>> {
    let stored: Value = serde_json::from_str(&source.metadata("huggingface")?).ok()?;
    let mut feature = stored.get("info")?.get("features")?;
    for part in column.split('.') {
        feature = feature.get(part)?;
    }
    let feature = feature.get("feature").unwrap_or(feature);
    let names = feature.get("names")?.as_array()?;
    names.iter().map(|n| n.as_str().map(ToOwned::to_owned)).collect()
}

fn no_yes(found: &BTreeSet<String>) -> Option<Words> {
    let pair = NO_YES.iter().find(|pair| found.iter().all(|w| pair.contains(&w.to_lowercase().as_str())))?;
    let class = |w: &String| i64::from(pair.last() == Some(&w.to_lowercase().as_str()));
    let map: BTreeMap<_, _> = found.iter().map(|w| (w.clone(), class(w))).collect();
    (!map.is_empty()).then_some(Words { map, numbers: false })
}

fn ask(source: &Source, name: &str, width: Option<usize>, found: &BTreeSet<String>) -> Error {
    let path = source.path().display();
    let held = source.field(name).map_or_else(|| "text".into(), |f| column::described(f.data_type()));
    let outputs = width.map_or("an unknown number of outputs".into(), |w| format!("{w} outputs"));
    let words = if found.is_empty() { String::new() } else { format!(", {} different words", found.len()) };
    let numbers = match !found.is_empty() && found.iter().all(|w| w.parse::<f64>().is_ok()) {
        true => "; if these are values, store the column as numbers",
        false => "",
    };
    Error::Data(format!(
        "{path}: label column `{name}` holds {held}{words}, and the model has {outputs}; nothing tells which class each word \
         is. Write `classes = [\"...\", \"...\"]` under `[target]`, in the order of the model's outputs (scikit-learn numbers \
         classes in alphabetical order; the order of categories in a file need not be that of the training), or \
         `word = number` for each word under `[target.map]`{numbers}"
    ))
}
