//! Which rows are trained on, which give τ, and which the audit compares with.

use super::{
    DataConfig, Note, Places, Rows, ids,
    source::{Part, Source},
};
use crate::{Error, Result};
use arrow_array::cast::AsArray;
use std::{collections::BTreeSet, path::Path, sync::Arc};

/// The files that hold rows the model was not trained on.
pub struct HeldOut {
    pub validation: Option<Arc<Source>>,
    pub test: Option<Arc<Source>>,
    /// The column of the training file that tells, in place of files.
    pub split_column: Option<String>,
}

/// The rows of each part: a table, and which of its rows.
pub struct Parts {
    pub train: Rows,
    pub validation: (Arc<Source>, Rows),
    pub test: (Arc<Source>, Rows),
    pub warnings: Vec<String>,
}

/// Opens the held-out files, or finds the split column.
///
/// # Errors
/// There is neither; or there are both.
pub fn files(config: &DataConfig, train: &Source, notes: &mut Vec<Note>) -> Result<HeldOut> {
    let data = &config.files;
    let open = |places: Option<&Places>, part: Part| match places {
        Some(places) => Source::open_part(places, part).map(|source| Some(Arc::new(source))),
        None => Ok(None),
    };
    let given = data.validation.is_some() || data.test.is_some();
    if train.has_part(Part::Train) {
        let how = format!("of {}, only the files whose names say train", train.path().display());
        notes.push(Note { what: "train".into(), how, inferred: true });
    }
    if let Some(name) = &data.split {
        train.require(name, "`split` under `[data]`")?;
        if given {
            let problem = "`split` and separate validation or test files exclude each other; leave one out";
            return Err(Error::Data(problem.into()));
        }
        return Ok(HeldOut { validation: None, test: None, split_column: Some(name.clone()) });
    }
    if given {
        let validation = open(data.validation.as_ref(), Part::Validation)?;
        let test = open(data.test.as_ref(), Part::Test)?;
        return Ok(HeldOut { validation, test, split_column: None });
    }
    let named = |part| train.has_part(part).then(|| train.places());
    if train.has_part(Part::Validation) || train.has_part(Part::Test) {
        let how = "the files' names, which say train, validation and test, as no other file is given".into();
        notes.push(Note { what: "split".into(), how, inferred: true });
        let validation = open(named(Part::Validation), Part::Validation)?;
        return Ok(HeldOut { validation, test: open(named(Part::Test), Part::Test)?, split_column: None });
    }
    let usual = train.field("split").filter(|f| super::column::classify(f.data_type()) == super::column::Class::Text);
    if usual.is_some() {
        let how = "column `split` of the training file, as no other file is given".into();
        notes.push(Note { what: "split".into(), how, inferred: true });
        return Ok(HeldOut { validation: None, test: None, split_column: Some("split".into()) });
    }
    Err(Error::Data(
        "no validation data: forgetting needs rows that the model was not trained on, to know how high the loss of unseen \
         rows is. Give --validation (and --test), or `validation = \"...\"` under `[data]`; one held-out file is split in half; \
         or name a column of the training file that says train, validation or test: `split = \"...\"`"
            .into(),
    ))
}

/// Decides about every row.
///
/// # Errors
/// [`Error::Data`] if a part has no rows, or if a file is in two parts; [`Error::ReadData`] if the split column or the
/// ids cannot be read.
pub fn parts(train: &Arc<Source>, files: HeldOut, id: Option<&str>, notes: &mut Vec<Note>) -> Result<Parts> {
    let mut note = |how: String| notes.push(Note { what: "split".into(), how, inferred: true });
    let HeldOut { validation, test, split_column } = files;
    let (train_rows, validation, test) = match split_column {
        Some(column) => {
            let [rows, validation, test] = by_column(train, &column)?;
            if rows.is_empty() {
                return Err(Error::Data(format!(
                    "{}: column `{column}` marks no row as train",
                    train.path().display()
                )));
            }
            let held = |rows: Rows| (!rows.is_empty()).then(|| (train.clone(), rows));
            (rows, held(validation), held(test))
        }
        None => {
            let whole = |source: Arc<Source>| {
                let rows = Rows::all(source.rows());
                (source, rows)
            };
            (Rows::all(train.rows()), validation.map(whole), test.map(whole))
        }
    };
    let mut warnings = train.warnings().to_vec();
    let (validation, test) = match (validation, test) {
        (Some(validation), Some(test)) => (validation, test),
        (Some((source, rows)), None) | (None, Some((source, rows))) => {
            let (a, b) = halves(&source, &rows, id)?;
            let by = match id.filter(|id| source.field(id).is_some()) {
                Some(id) => format!("a hash of `{id}`"),
                None => "a hash of the row's number".into(),
            };
            note(format!("one held-out part: half of it is validation, half test, by {by}"));
            ((source.clone(), a), (source, b))
        }
        (None, None) => {
            let path = train.path().display();
            return Err(Error::Data(format!("{path}: the split column marks no validation and no test row")));
        }
    };
    for (what, (source, rows)) in [("validation", &validation), ("test", &test)] {
        if rows.is_empty() {
            return Err(Error::Data(format!("{}: no rows for {what}", source.path().display())));
        }
        let new: Vec<_> = source.warnings().iter().filter(|w| !warnings.contains(w)).cloned().collect();
        warnings.extend(new);
        if id.is_some_and(|id| id != ids::ROW && source.field(id).is_none()) {
            let id = id.unwrap_or_default();
            let problem = "cannot be checked for rows that are also in another part";
            warnings.push(format!("{}: no column `{id}`, so that {what} {problem}", source.path().display()));
        }
        // Without ids, the same file is the least that can be noticed.
        if !Arc::ptr_eq(source, train) && share_a_file(source, train) {
            let problem = "is also training data; the model must not have been trained on it";
            return Err(Error::Data(format!("{}: {what} {problem}", source.path().display())));
        }
    }
    if !Arc::ptr_eq(&validation.0, &test.0) && share_a_file(&validation.0, &test.0) {
        let problem = "is both validation and test; give it once, and it is split in half";
        return Err(Error::Data(format!("{}: {problem}", test.0.path().display())));
    }
    Ok(Parts { train: train_rows, validation, test, warnings })
}

fn share_a_file(a: &Source, b: &Source) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.into());
    let files: BTreeSet<_> = a.files().map(real).collect();
    b.files().any(|path| files.contains(&real(path)))
}

/// Rows by the words of a column: train, validation, test.
fn by_column(source: &Source, name: &str) -> Result<[Rows; 3]> {
    let mut parts: [Vec<usize>; 3] = Default::default();
    let mut other = 0usize;
    let ty = source.require(name, "the split")?.data_type();
    if super::column::classify(ty) != super::column::Class::Text {
        let problem = "has to hold the words train, validation and test";
        return Err(Error::Data(format!(
            "{}: column `{name}` {problem}, but its type is {ty}",
            source.path().display()
        )));
    }
    source.scan(&[name], &Rows::all(source.rows()), |first, batch| {
        let array = super::column::text(batch.columns().first().ok_or("no split column")?)?;
        for (i, word) in array.as_string::<i64>().iter().enumerate() {
            let part = match Part::of_word(word.unwrap_or_default()) {
                Some(Part::Train) => 0,
                Some(Part::Validation) => 1,
                Some(Part::Test) => 2,
                None => {
                    other += 1;
                    continue;
                }
            };
            if let Some(rows) = parts.get_mut(part) {
                rows.push(first + i);
            }
        }
        Ok(())
    })?;
    if other > 0 {
        let problem = "have another word than train, validation (valid, val, dev) or test";
        return Err(Error::Data(format!("{}: column `{name}`: {other} rows {problem}", source.path().display())));
    }
    Ok(parts.map(|rows| Rows::listed(source.rows(), rows)))
}

/// Two halves by the rank of a fixed hash of the id: the same in every run, with rows of one id on one side. Without
/// ids, the row's number takes their place.
fn halves(source: &Source, rows: &Rows, id: Option<&str>) -> Result<(Rows, Rows)> {
    let mut ranked: Vec<(u128, usize)> = Vec::new();
    match id.filter(|id| source.field(id).is_some()) {
        Some(id) => {
            let kind = ids::require_kind(source, id)?;
            ids::scan(source, id, rows, kind, |row, key| ranked.push((key.hash(), row)))?;
        }
        None => ranked.extend(rows.iter().map(|row| (ids::Key::Integer(row as i128).hash(), row))),
    }
    ranked.sort_unstable();
    // One id is never on both sides: the cut is the nearest one between two ids, the later one if there are two.
    let hash = |i: usize| ranked.get(i).map(|r| r.0);
    let between = |cut: &usize| cut.checked_sub(1).and_then(hash) != hash(*cut);
    let half = ranked.len() / 2;
    let cut = (half..ranked.len()).find(between).or_else(|| (1..half).rev().find(between)).unwrap_or(half);
    let (a, b) = ranked.split_at(cut);
    let part = |half: &[(u128, usize)]| Rows::listed(source.rows(), half.iter().map(|r| r.1).collect());
    Ok((part(a), part(b)))
}
