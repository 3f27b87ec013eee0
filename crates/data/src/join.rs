//! Which training rows the listed ids are.

use super::{
    DataConfig, Note, Rows, bind,
    digest::Salt,
    ids::{self, IdSet},
    list::{self, Lists},
    near::Near,
    open::{Counts, MissingIds, Request},
    source::Source,
    split::Parts,
};
use crate::{Error, Result};
use std::sync::Arc;

/// Marks of an id.
const FORGET: u8 = 1;
const VALIDATION: u8 = 2;
const TEST: u8 = 4;
const TRAIN: u8 = 8;

/// The column of ids of the training data: the configured one, the one that the lists have, or `id`.
///
/// # Errors
/// Nothing tells which column it is; or it holds no ids.
pub fn id_column(
    config: &DataConfig,
    train: &Source,
    lists: Option<&Lists>,
    notes: &mut Vec<Note>,
) -> Result<Option<String>> {
    let names: Vec<&str> = train.fields().map(|f| f.name().as_str()).collect();
    let mut asked: Vec<&str> = lists.iter().flat_map(|l| l.columns()).collect();
    asked.sort_unstable();
    asked.dedup();
    let of_lists: Vec<&str> = asked.iter().filter_map(|column| list::find(&names, column)).collect();
    let (name, inferred) = match (&config.files.id, of_lists.as_slice()) {
        (Some(id), _) if id == ids::ROW || train.field(id).is_some() => (id.clone(), false),
        (Some(id), _) => (list::find(&names, id).unwrap_or(id).to_owned(), true),
        (None, [first, ..]) if bind::is_models(config, first) && !list::alike(first, "id") => {
            let problem =
                "is the model's label or feature, and no id; name the training data's column of ids by --id COLUMN";
            return Err(Error::Data(format!(
                "{}: column `{first}`, which the list has too, {problem}",
                train.path().display()
            )));
        }
        (None, [first, rest @ ..]) if rest.iter().all(|name| name == first) => ((*first).to_owned(), true),
        (None, [_, ..]) => {
            let problem =
                "the lists have different columns of ids; name the training data's by `id = \"...\"` under `[data]`";
            return Err(Error::Data(format!("{}: {problem}", train.path().display())));
        }
        (None, []) if train.field("id").is_some() => ("id".into(), true),
        (None, []) if lists.is_none() => return Ok(None),
        (None, []) => return Err(no_ids(train)),
    };
    let kind = match lists {
        // Only used to notice rows that are in two parts: a column that is no id is no reason to stop.
        None if config.files.id.is_none() => match train.field(&name).and_then(|f| ids::kind_of(f.data_type())) {
            Some(kind) => kind,
            None => return Ok(None),
        },
        _ => ids::require_kind(train, &name)?,
    };
    let how = match ids::are_rows(train, &name) {
        true => "the row's number in the training data, from 0, over all files in their order".into(),
        false => format!("column `{name}` ({kind})"),
    };
    notes.push(Note { what: "id".into(), how, inferred });
    Ok(Some(name))
}

/// Training data without a column of ids.
fn no_ids(train: &Source) -> Error {
    let path = train.path().display();
    let hint = "name it by --id COLUMN (or `id = \"...\"` under `[data]`; a field of a struct by its path, as in `image.path`), \
                or give row numbers as ids by --id '#row' (from 0, over all files in their order)";
    Error::Data(format!("{path}: nothing tells which column holds the ids (columns are {}): {hint}", train.names()))
}

/// What the join found.
pub struct Joined {
    /// Training rows to forget, numbered within the training rows.
    pub forget: Rows,
    pub counts: Counts,
    pub digest: Option<String>,
    pub warnings: Vec<String>,
    pub notes: Vec<Note>,
}

/// Finds the rows to forget: one pass over the training ids, memory in proportion to the listed and held-out ids.
///
/// # Errors
/// Ids that are missing (unless they are to be ignored); rows to forget, or validation rows, that are in another part
/// too; nothing to forget.
pub fn join(
    train: &Arc<Source>,
    parts: &Parts,
    id: Option<&str>,
    lists: Option<&Lists>,
    class_rows: Option<&Rows>,
    request: &Request,
    salt: &Salt,
) -> Result<Joined> {
    let mut set = IdSet::default();
    let mut counts = Counts::default();
    let (mut warnings, mut notes) = (Vec::new(), Vec::new());
    let kind = id.map(|id| ids::require_kind(train, id)).transpose()?;
    let mut other_kind = 0usize;
    if let (Some(lists), Some(kind)) = (lists, kind) {
        lists.scan(kind, &mut notes, |key, of_kind| match set.insert(key, FORGET) & FORGET {
            0 => other_kind += usize::from(!of_kind),
            _ => counts.duplicate_ids += 1,
        })?;
        counts.forget_ids = set.count(FORGET, 0);
        if counts.forget_ids == 0 && class_rows.is_none() {
            return Err(Error::Data(format!("{}: no id to forget", lists.names())));
        }
    }
    if let Some(id) = id {
        held_out(train, parts, id, &mut set)?;
    }
    let mut forget: Vec<usize> = Vec::new();
    let (mut forgotten_held_out, mut listed_rows) = (0usize, 0usize);
    let of_class = |position: usize| class_rows.is_some_and(|rows| rows.contains(position));
    match id.zip(kind) {
        None => forget.extend(class_rows.iter().flat_map(|rows| rows.iter())),
        Some((id, kind)) => {
            let mut position = 0;
            ids::scan(train, id, &parts.train, kind, |_, key| {
                let marks = set.get_mut(key);
                let marks = marks.map_or(0, |m| {
                    *m |= TRAIN;
                    *m
                });
                let held_out = marks & (VALIDATION | TEST) != 0;
                counts.shared_with_held_out += usize::from(held_out);
                listed_rows += usize::from(marks & FORGET != 0);
                if marks & FORGET != 0 || of_class(position) {
                    forget.push(position);
                    forgotten_held_out += usize::from(held_out);
                }
                position += 1;
            })?;
        }
    }
    let listed_held_out = set.count(FORGET | VALIDATION, 0) + set.count(FORGET | TEST, VALIDATION);
    if listed_held_out > 0 || forgotten_held_out > 0 {
        return Err(Error::Data(format!(
            "{} ids to forget also occur in validation or test (column `{}`): the model would be measured against what it forgets. \
             Remove these rows there, or make ids unique across the files",
            listed_held_out.max(forgotten_held_out),
            id.unwrap_or_default()
        )));
    }
    counts.missing_ids = set.count(FORGET, TRAIN);
    if counts.missing_ids > 0 {
        let (missing, all) = (counts.missing_ids, counts.forget_ids);
        let (lists, train_path) = (lists.map_or_else(String::new, Lists::names), train.path().display());
        let mut problem =
            format!("{missing} of {all} ids to forget ({lists}) are not in the training data ({train_path})");
        if let Some((near, how)) =
            id.zip(kind).map(|(id, kind)| nearly(train, id, kind, parts, &set)).transpose()?.flatten()
        {
            problem += &format!("; {near} of the missing ones would match {how}: write them as the training data does");
        }
        if let (Some(kind), 1..) = (kind, other_kind) {
            problem += &format!("; {other_kind} are text that is not one of the {kind} that the training data has");
        }
        match request.missing_ids {
            MissingIds::Stop => {
                return Err(Error::Data(format!(
                    "{problem}; check the id column, or pass --missing-ids ignore to forget the others"
                )));
            }
            MissingIds::Ignore => warnings.push(problem),
        }
    }
    let found = set.count(FORGET | TRAIN, 0);
    if let (Some(id), true) = (id, listed_rows > found && lists.is_some_and(Lists::guessed)) {
        return Err(Error::Data(format!(
            "column `{id}` was taken for the ids because it is the only one that the lists and the training data have in common, but \
             {listed_rows} training rows have {found} listed ids: if it holds the ids, say so by --id {id}; else name another"
        )));
    }
    if listed_rows > found {
        let how = format!("{found} ids to forget are those of {listed_rows} training rows: all of these are forgotten");
        notes.push(Note { what: "forget".into(), how, inferred: false });
    }
    if forget.is_empty() {
        return Err(Error::Data("no training row is to be forgotten".into()));
    }
    if counts.shared_with_held_out > 0 {
        warnings.push(format!(
            "{} training rows have the id of a validation or test row: if these are the same rows, τ and the audit are too low",
            counts.shared_with_held_out
        ));
    }
    let digest = lists.map(|_| set.digest(FORGET, salt.bytes()));
    let forget = Rows::listed(parts.train.len(), forget);
    Ok(Joined { forget, counts, digest, warnings, notes })
}

/// How many of the missing ids would match, and how they would have to be compared.
fn nearly(
    train: &Source,
    id: &str,
    kind: ids::IdKind,
    parts: &Parts,
    set: &IdSet,
) -> Result<Option<(usize, &'static str)>> {
    let mut near = Near::default();
    set.each(FORGET, TRAIN, |key| near.miss(&key));
    ids::scan(train, id, &parts.train, kind, |_, key| near.row(&key))?;
    Ok(near.found())
}

/// Marks the held-out rows' ids.
///
/// # Errors
/// Validation and test share ids.
fn held_out(train: &Source, parts: &Parts, id: &str, set: &mut IdSet) -> Result<()> {
    // Row numbers tell nothing of other files, and a row of one file is in one part.
    if ids::are_rows(train, id) {
        return Ok(());
    }
    let kind = ids::require_kind(train, id)?;
    let mut shared = 0usize;
    for (mark, (source, rows)) in [(VALIDATION, &parts.validation), (TEST, &parts.test)] {
        if source.field(id).is_none() {
            continue;
        }
        ids::scan(source, id, rows, kind, |_, key| {
            if set.insert(key, mark) & (VALIDATION | TEST) & !mark != 0 {
                shared += 1;
            }
        })?;
    }
    if shared > 0 {
        return Err(Error::Data(format!(
            "{shared} test rows have the id (column `{id}`) of a validation row; no row may serve both. Remove them from one of the \
             files, or make ids unique across the files"
        )));
    }
    Ok(())
}
