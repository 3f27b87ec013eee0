//! The flow from paths to datasets: sources, split, columns, ids.

use super::{
    DataConfig, Dataset, Note, Places, Rows, Signature, TargetKind, Targets,
    bind::{Bound, BoundTarget, bind},
    decode::Plan,
    digest::{Content, Salt},
    join,
    list::Lists,
    source::{Part, Source},
    split::{self, Parts},
};
use crate::{Error, Result};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    path::{Path, PathBuf},
    sync::Arc,
};

/// What to do with ids that no training row has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingIds {
    /// Stop, and say how many there are.
    #[default]
    Stop,
    /// Forget the others.
    Ignore,
}

/// What is to be forgotten.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Lists of row ids: files, folders, globs, `-` for standard input, or tables in memory. What any of them lists is
    /// forgotten.
    pub forget: Vec<Places>,
    /// A class whose rows are to be forgotten.
    pub forget_class: Option<i64>,
    /// What to do with ids that no training row has.
    pub missing_ids: MissingIds,
    /// Seed of the run: the salt of digests depends on it.
    pub seed: u64,
}

/// Numbers of rows and ids, for the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Rows that the model was trained on.
    pub train_rows: usize,
    /// Of these, the rows to forget.
    pub forget_rows: usize,
    /// Of these, the others.
    pub retain_rows: usize,
    /// Rows that τ comes from.
    pub validation_rows: usize,
    /// Rows that the audit compares with.
    pub test_rows: usize,
    /// Ids to forget, each counted once.
    pub forget_ids: usize,
    /// Repeated ids in the list.
    pub duplicate_ids: usize,
    /// Ids that no training row has.
    pub missing_ids: usize,
    /// Training rows whose id is also one of a validation or test row.
    pub shared_with_held_out: usize,
}

/// All rows of a run.
#[derive(Debug)]
pub struct Data {
    /// The rows that the model was trained on.
    pub train: Arc<Dataset>,
    /// Rows that the model was not trained on: τ is their mean loss.
    pub validation: Arc<Dataset>,
    /// Other rows that the model was not trained on, for the audit.
    pub test: Arc<Dataset>,
    /// Rows of `train` to forget.
    pub forget: Rows,
    /// The other rows of `train`.
    pub retain: Rows,
    /// What the labels are.
    pub target: TargetKind,
    /// What they are for each of several targets.
    pub targets: Vec<BoundTarget>,
    /// Classes (0 if not known), labels or values a row.
    pub target_width: usize,
    /// Numbers of rows and ids.
    pub counts: Counts,
    /// Hides ids and rows in digests.
    pub salt: Salt,
    /// Every data file and its SHA-256: training first, then those held out. The list of ids is not among them, since it
    /// may be guessed.
    pub files: Vec<(PathBuf, String)>,
    /// Salted SHA-256 of the ids to forget, if they were given by ids.
    pub forget_ids_sha256: Option<String>,
    /// What the user should know, though it stops nothing.
    pub warnings: Vec<String>,
    /// What was decided about the data.
    pub notes: Vec<Note>,
}

/// Validation rows below which their mean loss says little.
const FEW_VALIDATION_ROWS: usize = 20;

/// Opens all data of a run.
///
/// # Errors
/// [`Error::Usage`] without anything to forget; [`Error::ReadData`] for files that cannot be read; [`Error::Data`] for
/// everything else: no validation data, columns that do not fit the model, unknown ids, rows to forget that are held
/// out too, an empty forget or retain set.
pub fn open(config: &DataConfig, request: &Request, signature: &Signature) -> Result<Data> {
    if request.forget.is_empty() && request.forget_class.is_none() {
        return Err(Error::Usage("nothing to forget: give --forget IDS or --forget-class N".into()));
    }
    let train = train_source(config)?;
    let mut notes = Vec::new();
    let files = split::files(config, &train, &mut notes)?;
    let lists = match request.forget.as_slice() {
        [] => None,
        paths => Some(Lists::open(config, &train, paths, &mut notes)?),
    };
    let id = join::id_column(config, &train, lists.as_ref(), &mut notes)?;
    let mut taken: Vec<&str> = id.iter().map(String::as_str).collect();
    taken.extend(files.split_column.as_deref());
    let Bound { plan, notes: more, kind, targets } = bind(&train, config, signature, &taken)?;
    notes.extend(more);
    for source in [&files.validation, &files.test].into_iter().flatten() {
        for column in plan.columns() {
            source.require(column, "the model")?;
        }
    }
    let parts = split::parts(&train, files, id.as_deref(), &mut notes)?;
    let class_rows = match request.forget_class {
        Some(class) => Some(class_rows(&train, &plan, kind, &parts.train, class)?),
        None => None,
    };
    let (salt, digests) = Salt::new(train.contents(), request.seed)?;
    let mut digested: Vec<(PathBuf, String)> = train.files().map(Into::into).zip(digests).collect();
    let joined = join::join(&train, &parts, id.as_deref(), lists.as_ref(), class_rows.as_ref(), request, &salt)?;
    notes.extend(joined.notes);
    let forget = joined.forget;
    let retain = forget.complement();
    if retain.is_empty() {
        return Err(Error::Data(
            "every training row is to be forgotten: without rows to retain, nothing keeps the model useful".into(),
        ));
    }
    let Parts { train: train_rows, validation, test, warnings } = parts;
    let mut warnings: Vec<String> = warnings;
    warnings.extend(joined.warnings);
    if validation.1.len() < FEW_VALIDATION_ROWS {
        warnings.push(format!(
            "τ, the goal of forgetting, is the mean loss of only {} validation rows: it may be far from that of unseen rows; give more of them",
            validation.1.len()
        ));
    }
    let counts = Counts {
        train_rows: train_rows.len(),
        forget_rows: forget.len(),
        retain_rows: retain.len(),
        validation_rows: validation.1.len(),
        test_rows: test.1.len(),
        ..joined.counts
    };
    warnings.extend(same_content(&digested));
    let trained: BTreeSet<PathBuf> = train.files().map(Into::into).collect();
    let held_out = validation.0.contents().chain(test.0.contents());
    let held_out: BTreeMap<&Path, Content<'_>> = held_out.map(|content| (content.path(), content)).collect();
    for (path, content) in held_out.into_iter().filter(|(path, _)| !trained.contains(*path)) {
        let sha256 = content.sha256()?;
        if let Some((twin, _)) = digested.iter().find(|(of, digest)| *digest == sha256 && trained.contains(of)) {
            let problem =
                format!("has the content of {}, but the model must not have been trained on it", twin.display());
            return Err(Error::ReadData { path: path.into(), problem });
        }
        digested.push((path.into(), sha256));
    }
    let (target_width, plan) = (plan.target.width, Arc::new(plan));
    let memory = config.memory();
    let mut train = Dataset::open(train, plan.clone(), train_rows, memory)?;
    train.keep(&forget, memory / 2)?;
    Ok(Data {
        train: Arc::new(train),
        validation: Arc::new(Dataset::open(validation.0, plan.clone(), validation.1, memory)?),
        test: Arc::new(Dataset::open(test.0, plan, test.1, memory)?),
        forget,
        retain,
        target: kind,
        targets,
        target_width,
        counts,
        salt,
        files: digested,
        forget_ids_sha256: joined.digest,
        warnings,
        notes,
    })
}

/// One table's rows, and what was decided about them.
pub struct OpenedRows {
    /// The rows.
    pub rows: Arc<Dataset>,
    /// What the labels are.
    pub target: TargetKind,
    /// What they are for each of several targets.
    pub targets: Vec<BoundTarget>,
    /// What was decided.
    pub notes: Vec<Note>,
}

/// Opens one table's rows alone, without any split or ids: for checks that need rows and nothing else.
///
/// # Errors
/// [`Error::ReadData`] if the files cannot be read; [`Error::Data`] if there are no rows, or if columns do not fit the
/// inputs and the labels of `signature`.
pub fn open_rows(config: &DataConfig, places: &Places, signature: &Signature) -> Result<OpenedRows> {
    let source = Arc::new(Source::open(places)?);
    let id = config.files.id.clone().or_else(|| source.field("id").map(|_| "id".into()));
    let mut taken: Vec<&str> = id.iter().map(String::as_str).collect();
    taken.extend(config.files.split.as_deref());
    let Bound { plan, notes, kind: target, targets } = bind(&source, config, signature, &taken)?;
    let rows = Rows::all(source.rows());
    if rows.is_empty() {
        return Err(Error::Data(format!("{places}: no rows")));
    }
    let rows = Arc::new(Dataset::open(source, Arc::new(plan), rows, config.memory())?);
    Ok(OpenedRows { rows, target, targets, notes })
}

/// A sentence for every file that has the content of one before it.
fn same_content(files: &[(PathBuf, String)]) -> Vec<String> {
    let mut first: BTreeMap<&str, &Path> = BTreeMap::new();
    let mut said = Vec::new();
    for (path, sha256) in files {
        match first.entry(sha256) {
            Entry::Vacant(place) => {
                place.insert(path);
            }
            Entry::Occupied(place) => {
                let twin = place.get().display();
                said.push(format!("{}: has the content of {twin}: are the same rows there twice?", path.display()));
            }
        }
    }
    said
}

/// The table of the training rows. Without a split column, only the files that are named as training data are taken.
///
/// # Errors
/// [`Error::Data`] if no training data is given, or if it has no rows; [`Error::ReadData`] if it cannot be read.
pub fn train_source(config: &DataConfig) -> Result<Arc<Source>> {
    let places = config.files.train.as_ref().ok_or_else(|| {
        Error::Data("no training data: give --data, or `train = \"...\"` under `[data]`, naming the rows that the model was trained on".into())
    })?;
    // A column that tells the parts does so for all files.
    let source = match &config.files.split {
        Some(_) => Source::open(places)?,
        None => Source::open_part(places, Part::Train)?,
    };
    if source.rows() == 0 {
        return Err(Error::Data(format!("{places}: no rows")));
    }
    Ok(Arc::new(source))
}

/// Training rows of a class, numbered within the training rows.
fn class_rows(source: &Arc<Source>, plan: &Plan, kind: TargetKind, rows: &Rows, class: i64) -> Result<Rows> {
    if !matches!(kind, TargetKind::Class | TargetKind::Binary) || plan.target.positions().is_some() {
        return Err(Error::Data("--forget-class needs labels of one class a row, but these are not".into()));
    }
    let width = plan.target.width;
    let classes = if kind == TargetKind::Binary { 2 } else { width };
    if class < 0 || (classes > 0 && usize::try_from(class).map_or(true, |c| c >= classes)) {
        return Err(Error::Data(format!(
            "--forget-class {class}: the model's classes are 0 to {}",
            classes.saturating_sub(1)
        )));
    }
    let plan = Arc::new(Plan { feeds: Vec::new(), target: plan.target.clone() });
    let labels = Dataset::open(source.clone(), plan, rows.clone(), 0)?;
    let Targets::Classes(found) = labels.targets(&Rows::all(rows.len()))? else {
        return Err(Error::Internal("classes without classes".into()));
    };
    let rows_of: Vec<usize> = found.iter().enumerate().filter(|(_, c)| **c == class).map(|(i, _)| i).collect();
    if rows_of.is_empty() {
        return Err(Error::Data(format!("--forget-class {class}: no training row has that class")));
    }
    Ok(Rows::listed(rows.len(), rows_of))
}
