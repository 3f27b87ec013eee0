//! The rows to train a model on, without anything to forget: held-out rows are welcome, but need not be.

use super::{
    DataConfig, Dataset, MissingIds, Places, Request, Rows, Signature, TargetKind,
    bind::{Bound, BoundTarget, bind},
    digest::Salt,
    join,
    list::Lists,
    open::train_source,
    source::{Part, Source},
    split::{self, Parts},
};
use crate::{Error, Result};
use std::sync::Arc;

/// Rows to train on.
#[derive(Debug)]
pub struct TrainingData {
    /// All training rows.
    pub train: Arc<Dataset>,
    /// Those of them that are trained on.
    pub rows: Rows,
    /// Rows that were held out, with what they are called.
    pub held_out: Vec<(&'static str, Arc<Dataset>)>,
    /// What the labels are.
    pub target: TargetKind,
    /// What they are for each of several targets.
    pub targets: Vec<BoundTarget>,
    /// What the user should know, though it stops nothing.
    pub warnings: Vec<String>,
}

/// Opens the training rows, without those whose ids `exclude` lists.
///
/// # Errors
/// As [`super::open`], but nothing has to be held out.
pub fn open_training(
    config: &DataConfig,
    exclude: Option<Places>,
    missing_ids: MissingIds,
    signature: &Signature,
) -> Result<TrainingData> {
    let train = train_source(config)?;
    let mut notes = Vec::new();
    let held_out = config.files.validation.is_some() || config.files.test.is_some() || config.files.split.is_some();
    let named = train.has_part(Part::Validation) || train.has_part(Part::Test);
    let files = match held_out || named || train.field("split").is_some() {
        true => Some(split::files(config, &train, &mut notes)?),
        false => None,
    };
    let list =
        exclude.as_ref().map(|path| Lists::open(config, &train, std::slice::from_ref(path), &mut notes)).transpose()?;
    let id = join::id_column(config, &train, list.as_ref(), &mut notes)?;
    let mut taken: Vec<&str> = id.iter().map(String::as_str).collect();
    taken.extend(files.as_ref().and_then(|f| f.split_column.as_deref()));
    let Bound { plan, kind, targets, .. } = bind(&train, config, signature, &taken)?;
    let parts = match files {
        Some(files) => {
            for source in [&files.validation, &files.test].into_iter().flatten() {
                for column in plan.columns() {
                    source.require(column, "the model")?;
                }
            }
            split::parts(&train, files, id.as_deref(), &mut notes)?
        }
        None => {
            let none: (Arc<Source>, Rows) = (train.clone(), Rows::listed(train.rows(), Vec::new()));
            Parts { train: Rows::all(train.rows()), validation: none.clone(), test: none, warnings: Vec::new() }
        }
    };
    let mut warnings = parts.warnings.clone();
    let rows = match &list {
        None => Rows::all(parts.train.len()),
        Some(list) => {
            let request = Request { forget: exclude.into_iter().collect(), missing_ids, ..Request::default() };
            let (salt, _) = Salt::new(train.contents(), request.seed)?;
            let joined = join::join(&train, &parts, id.as_deref(), Some(list), None, &request, &salt)?;
            warnings.extend(joined.warnings);
            joined.forget.complement()
        }
    };
    if rows.is_empty() {
        return Err(Error::Data("every training row is excluded: nothing is left to train on".into()));
    }
    let (plan, memory) = (Arc::new(plan), config.memory());
    let mut others = Vec::new();
    for (name, (source, rows)) in [("validation", parts.validation), ("test", parts.test)] {
        if !rows.is_empty() {
            others.push((name, Arc::new(Dataset::open(source, plan.clone(), rows, memory)?)));
        }
    }
    let train = Arc::new(Dataset::open(train, plan, parts.train, memory)?);
    Ok(TrainingData { train, rows, held_out: others, target: kind, targets, warnings })
}
