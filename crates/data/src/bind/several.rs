//! Labels that a loss graph takes: each is fed like an input of the model.

use super::{
    super::{
        DataConfig, InputConfig, InputSpec, Signature, TargetKind,
        decode::{Feed, Labels, TargetFeed},
        source::Source,
    },
    Bound, BoundTarget, Note, Plan, feeds, inputs, positions, say, target,
};
use crate::{Error, Result};

/// The label of padding where a loss graph takes lists.
const IGNORED: i64 = -100;

/// Binds the columns of a model whose loss is the user's own graph, or is made of several targets.
///
/// # Errors
/// As [`super::bind`].
pub fn bind(source: &Source, config: &DataConfig, signature: &Signature, taken: &[&str]) -> Result<Bound> {
    let mut notes = Vec::new();
    let mut used: Vec<&str> = taken.to_vec();
    let own = signature.labels.as_deref().unwrap_or_default();
    if let Some(name) = signature.taken.iter().find(|name| source.field(name).is_some()) {
        return Err(Error::Data(format!(
            "{}: `{name}`, an input of the loss graph, is a value of the model and also a column of the rows: which one is meant is not told. \
             Give the column, or the input and what it stands for in the loss graph, another name",
            source.path().display()
        )));
    }
    let labels = own.iter().map(|spec| columns(source, config, spec)).collect::<Result<Vec<_>>>()?;
    used.extend(labels.iter().flatten().map(String::as_str));
    let parts: Vec<DataConfig> = config.parts();
    for part in signature.several.iter().zip(&parts).map(|(_, part)| &part.target) {
        used.extend(part.column.iter().chain(part.columns.iter().flatten()).chain(&part.mask).map(String::as_str));
    }
    let assigned = inputs::assign(source, config, signature, &used, false)?;
    let mut feeds = feeds::make(source, config, signature, &assigned, &mut notes)?;
    let length = feeds.iter().find_map(|(_, feed)| if let Feed::Tokens(tokens) = feed { tokens.length } else { None });
    for (spec, columns) in own.iter().zip(&labels) {
        let given = config.inputs.get(&spec.name).cloned().unwrap_or_default();
        let given = InputConfig { padding: given.padding.or(lists(source, spec, columns).then_some(IGNORED)), ..given };
        let (mut feed, how) = feeds::one(source, spec, &given, columns)?;
        if let Feed::Tokens(tokens) = &mut feed {
            tokens.length = tokens.length.or(length);
        }
        let what = format!("label {} ({} {})", spec.name, spec.dtype, spec.shape());
        notes.push(Note { what, how, inferred: !config.inputs.contains_key(&spec.name) });
        feeds.push((spec.name.clone(), feed));
    }
    let mut targets = Vec::new();
    for ((name, signature), part) in signature.several.iter().zip(&parts) {
        let first = notes.len();
        let bound = one_of_several(source, part, signature, (taken, &feeds), &mut notes)?;
        let output = part.target.output.as_deref().unwrap_or(name);
        notes.iter_mut().skip(first).for_each(|note| note.what = format!("target of {output}"));
        let (feed, kind) = bound;
        let same = match feed.labels {
            Labels::Same(of) => feeds.get(of).map(|(name, _)| name.clone()),
            _ => None,
        };
        let names = feed.words.names();
        if same.is_none() {
            feeds.push((name.clone(), Feed::Label(Box::new(feed))));
        }
        targets.push(BoundTarget { kind, same, names });
    }
    let plan = Plan { feeds, target: TargetFeed::of_inputs() };
    Ok(Bound { plan, notes, kind: TargetKind::LossGraph, targets })
}

/// The columns that feed a label of a loss graph: those that the configuration names, else the one of its name.
fn columns(source: &Source, config: &DataConfig, spec: &InputSpec) -> Result<Vec<String>> {
    let given = config.inputs.get(&spec.name);
    let named = match given.map(|given| (&given.column, &given.columns)) {
        Some((Some(_), Some(_))) => {
            return Err(Error::Data(format!("`[inputs.{}]`: give `column` or `columns`, not both", spec.name)));
        }
        Some((Some(one), None)) => vec![one.clone()],
        Some((None, Some(several))) => several.clone(),
        _ => match source.field(&spec.name) {
            Some(_) => vec![spec.name.clone()],
            None => {
                return Err(Error::Data(format!(
                    "{}: the loss graph's input `{}` is neither a value of the model nor a column of the rows (columns are {}): \
                     give it the name of one of both, or {}",
                    source.path().display(),
                    spec.name,
                    source.names(),
                    say(&spec.name, "column = \"...\"")
                )));
            }
        },
    };
    for name in &named {
        source.require(name, &format!("the loss graph's input `{}`", spec.name))?;
    }
    Ok(named)
}

/// Whether a label is a column of lists of integers, which are padded.
fn lists(source: &Source, spec: &InputSpec, columns: &[String]) -> bool {
    use super::super::column::{Class, Number, classify};
    let ([name], true) = (columns, spec.row_dims().is_none_or(|dims| dims.len() == 1)) else { return false };
    source.field(name).is_some_and(|field| matches!(classify(field.data_type()), Class::List(Number::Int, None)))
}

/// One of several targets, which names its column unless its labels are inputs of the model.
fn one_of_several(
    source: &Source,
    config: &DataConfig,
    signature: &Signature,
    (taken, feeds): (&[&str], &[(String, Feed)]),
    notes: &mut Vec<Note>,
) -> Result<(TargetFeed, TargetKind)> {
    if matches!(config.target.kind, Some(TargetKind::Next | TargetKind::Same)) {
        return positions::own(source, config, signature, feeds, notes);
    }
    if config.target.column.is_none() && config.target.columns.is_none() {
        return Err(Error::Data("a `[[target]]` names no label: write `column = \"...\"` in each of them".into()));
    }
    let Some((columns, inferred)) = target::named(source, config, signature, taken)? else {
        return Err(Error::Internal("a named label that is not named".into()));
    };
    match signature.class_axis {
        Some(axis) => positions::make(source, config, signature, (axis, feeds), (columns, inferred), notes),
        None => target::make(source, config, signature, columns, inferred, notes),
    }
}
