//! Which training rows the listed ids are.

use super::{
    DataConfig, Note, Rows,
    digest::Salt,
    ids::{self, IdKind, IdSet},
    open::{Counts, MissingIds, Request},
    source::Source,
    split::Parts,
};
use crate::{Error, Result};
use std::{path::Path, sync::Arc};

/// Marks of an id.
const FORGET: u8 = 1;
const VALIDATION: u8 = 2;
const TEST: u8 = 4;
const TRAIN: u8 = 8;

/// The list of ids to forget.
pub struct List {
    source: Source,
    column: String,
}

impl List {
    /// Opens the list and finds its column of ids: the configured one, the only one, or the only one that the training
    /// data has too.
    pub fn open(config: &DataConfig, train: &Source, path: &Path) -> Result<Self> {
        let source = Source::open(path)?;
        let names: Vec<&str> = source.fields().map(|f| f.name().as_str()).collect();
        let shared: Vec<&str> = names.iter().copied().filter(|n| train.field(n).is_some()).collect();
        let configured = config.data.id.as_deref().filter(|id| names.contains(id));
        let column = match (configured, names.as_slice(), shared.as_slice()) {
            (Some(id), _, _) => id,
            (None, [only], _) => only,
            (None, _, [shared]) => shared,
            (None, _, _) if shared.contains(&"id") => "id",
            _ => {
                let hint = "name the column of ids by `id = \"...\"` under `[data]`, or leave only that one";
                let problem = format!("nothing tells which column holds the ids ({}); {hint}", source.names());
                return Err(Error::Data(format!("{}: {problem}", path.display())));
            }
        };
        let column = column.to_owned();
        Ok(Self { source, column })
    }
}

/// The column of ids of the training data: the configured one, the one that the list has, or `id`.
pub fn id_column(
    config: &DataConfig,
    train: &Source,
    list: Option<&List>,
    notes: &mut Vec<Note>,
) -> Result<Option<String>> {
    let (name, inferred) = match (&config.data.id, list) {
        (Some(id), _) => (id.clone(), false),
        (None, Some(list)) if train.field(&list.column).is_some() => (list.column.clone(), true),
        (None, _) if train.field("id").is_some() => ("id".into(), true),
        (None, None) => return Ok(None),
        (None, Some(list)) => {
            let path = train.path().display();
            return Err(Error::Data(format!(
                "{path}: neither `{}` nor `id` is a column; name the column of ids by `id = \"...\"` under `[data]` (columns are {})",
                list.column,
                train.names()
            )));
        }
    };
    let kind = match list {
        Some(_) => ids::require_kind(train, &name)?,
        // Only used to notice rows that are in two parts: a column that is no id is no reason to stop.
        None if config.data.id.is_none() => match train.field(&name).and_then(|f| ids::kind_of(f.data_type())) {
            Some(kind) => kind,
            None => return Ok(None),
        },
        None => ids::require_kind(train, &name)?,
    };
    if let Some(list) = list {
        let other = ids::require_kind(&list.source, &list.column)?;
        same_kind(train, &name, kind, &list.source, &list.column, other)?;
    }
    notes.push(Note { what: "id".into(), how: format!("column `{name}` ({kind})"), inferred });
    Ok(Some(name))
}

fn same_kind(a: &Source, a_name: &str, a_kind: IdKind, b: &Source, b_name: &str, b_kind: IdKind) -> Result<()> {
    if a_kind == b_kind {
        return Ok(());
    }
    let (a, b) = (a.path().display(), b.path().display());
    Err(Error::Data(format!(
        "ids of two kinds: {a}, column `{a_name}`, holds {a_kind}; {b}, column `{b_name}`, holds {b_kind}. Write both as one kind"
    )))
}

/// What the join found.
pub struct Joined {
    /// Training rows to forget, numbered within the training rows.
    pub forget: Rows,
    pub counts: Counts,
    pub digest: Option<String>,
    pub warnings: Vec<String>,
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
    list: Option<&List>,
    class_rows: Option<&Rows>,
    request: &Request,
    salt: &Salt,
) -> Result<Joined> {
    let mut set = IdSet::default();
    let mut counts = Counts::default();
    let mut warnings = Vec::new();
    if let Some(list) = list {
        let rows = Rows::all(list.source.rows());
        ids::scan(&list.source, &list.column, &rows, |_, key| {
            if set.insert(key, FORGET) & FORGET != 0 {
                counts.duplicate_ids += 1;
            }
        })?;
        counts.forget_ids = set.count(FORGET, 0);
        if counts.forget_ids == 0 && class_rows.is_none() {
            return Err(Error::Data(format!("{}: no id to forget", list.source.path().display())));
        }
    }
    if let Some(id) = id {
        held_out(train, parts, id, &mut set)?;
    }
    let mut forget: Vec<usize> = Vec::new();
    let mut forgotten_held_out = 0usize;
    let of_class = |position: usize| class_rows.is_some_and(|rows| rows.contains(position));
    match id {
        None => forget.extend(class_rows.iter().flat_map(|rows| rows.iter())),
        Some(id) => {
            let mut position = 0;
            ids::scan(train, id, &parts.train, |_, key| {
                let marks = set.get_mut(key);
                let marks = marks.map_or(0, |m| {
                    *m |= TRAIN;
                    *m
                });
                let held_out = marks & (VALIDATION | TEST) != 0;
                counts.shared_with_held_out += usize::from(held_out);
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
        let problem =
            format!("{missing} of {all} ids to forget are not in the training data ({})", train.path().display());
        match request.missing_ids {
            MissingIds::Stop => {
                return Err(Error::Data(format!(
                    "{problem}; check the id column, or pass --missing-ids ignore to forget the others"
                )));
            }
            MissingIds::Ignore => warnings.push(problem),
        }
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
    let digest = list.map(|_| set.digest(FORGET, salt.bytes()));
    let forget = Rows::listed(parts.train.len(), forget);
    Ok(Joined { forget, counts, digest, warnings })
}

/// Marks the held-out rows' ids.
///
/// # Errors
/// Validation and test share ids.
fn held_out(train: &Source, parts: &Parts, id: &str, set: &mut IdSet) -> Result<()> {
    let kind = ids::require_kind(train, id)?;
    let mut shared = 0usize;
    for (mark, (source, rows)) in [(VALIDATION, &parts.validation), (TEST, &parts.test)] {
        if source.field(id).is_none() {
            continue;
        }
        same_kind(train, id, kind, source, id, ids::require_kind(source, id)?)?;
        ids::scan(source, id, rows, |_, key| {
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
