//! Which columns feed which inputs, and what the labels mean: taken from the configuration, inferred from names, types
//! and shapes where it says nothing, asked for by name where that does not decide.

mod facts;
mod feeds;
mod inputs;
mod labels;
mod numeric;
mod peek;
mod pictures;
mod positions;
mod several;
mod target;
mod words;

pub use facts::{fed_names, label_facts};

use super::{DataConfig, InputSpec, Signature, TargetKind, column, decode::Plan, source::Source};
use crate::{Error, Result, nearest::nearest};
use serde::Serialize;

/// One decision about the data, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What was decided: `input x`, `target`, `id`, `split`, …
    pub what: String,
    /// How: columns, kinds, shapes.
    pub how: String,
    /// Whether it was inferred; else the configuration says it.
    pub inferred: bool,
}

/// A plan, and what was decided on the way.
pub(super) struct Bound {
    pub plan: Plan,
    pub notes: Vec<Note>,
    pub kind: TargetKind,
    /// Of several targets, each.
    pub targets: Vec<BoundTarget>,
}

/// What the labels of one of several targets are.
#[derive(Clone, Debug)]
pub struct BoundTarget {
    /// Their kind.
    pub kind: TargetKind,
    /// The input of the model that they are, if they are one.
    pub same: Option<String>,
    /// The names of the classes, in their order, if the labels are words.
    pub names: Option<Vec<String>>,
}

/// Binds a table's columns to a model. `taken` are columns that are not the model's: the id, the split.
///
/// # Errors
/// [`Error::Usage`] for an input that the model does not have. [`Error::Data`]: columns that are missing, of an unfit type, or that nothing tells apart; it says what to write.
pub(super) fn bind(source: &Source, config: &DataConfig, signature: &Signature, taken: &[&str]) -> Result<Bound> {
    if let Some(name) = config
        .inputs
        .iter()
        .filter(|(_, input)| input.value.is_none())
        .map(|(name, _)| name)
        .find(|name| !signature.fed().any(|i| i.name == **name))
    {
        let names = || signature.fed().map(|i| i.name.as_str());
        let meant = nearest(name, names()).map_or(String::new(), |meant| format!("; did you mean `[inputs.{meant}]`?"));
        let names = names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(Error::Usage(format!(
            "`[inputs.{name}]` in the configuration: the model has no such input; its inputs are {names}{meant}"
        )));
    }
    if signature.labels.is_some() || !signature.several.is_empty() {
        return several::bind(source, config, signature, taken);
    }
    let mut notes = Vec::new();
    let own = matches!(config.target.kind, Some(TargetKind::Next | TargetKind::Same));
    let early = if own { None } else { target::named(source, config, signature, taken)? };
    let mut used: Vec<&str> = taken.to_vec();
    used.extend(config.target.mask.as_deref());
    if let Some((columns, _)) = &early {
        used.extend(columns.iter().map(String::as_str));
    }
    let assigned = inputs::assign(source, config, signature, &used, early.is_none() && !own)?;
    let feeds = feeds::make(source, config, signature, &assigned, &mut notes)?;
    if own {
        let (target, kind) = positions::own(source, config, signature, &feeds, &mut notes)?;
        return Ok(Bound { plan: Plan { feeds, target }, notes, kind, targets: Vec::new() });
    }
    for choice in &assigned {
        used.extend(choice.columns().iter().map(String::as_str));
    }
    let (columns, inferred) = match early {
        Some(named) => named,
        None => (target::left(source, &used)?, true),
    };
    let (target, kind) = match signature.class_axis {
        Some(axis) => positions::make(source, config, signature, (axis, &feeds), (columns, inferred), &mut notes)?,
        None => target::make(source, config, signature, columns, inferred, &mut notes)?,
    };
    Ok(Bound { plan: Plan { feeds, target }, notes, kind, targets: Vec::new() })
}

/// What to do where an input of tokens has no column, but the table has text.
fn untokenized(source: &Source, spec: &InputSpec) -> Option<String> {
    let rank = spec.row_dims().is_none_or(|d| d.len() == 1);
    let text = source.fields().find(|f| column::classify(f.data_type()) == column::Class::Text)?;
    (rank && !spec.dtype.is_float()).then(|| format!("column `{}` holds text, and {TOKENIZE}", text.name()))
}

/// What to do about text where a model takes tokens.
const TOKENIZE: &str = "text is not tokenized here: write the lists of token ids that the model's own tokenizer makes of \
                        it into a column (docs/rows.md shows how)";

/// Whether pandas made the column of its row labels when it wrote the file: nobody meant it for a model.
pub(super) fn is_index(name: &str) -> bool {
    let number = name.strip_prefix("__index_level_").and_then(|rest| rest.strip_suffix("__"));
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a column is the model's: its label, by the configuration or by its name, or one that an input is fed from.
pub(super) fn is_models(config: &DataConfig, name: &str) -> bool {
    let fed = config.inputs.iter().any(|(input, given)| {
        input == name || given.column.as_deref() == Some(name) || given.columns.iter().flatten().any(|c| c == name)
    });
    fed || target::is_label(config, name)
}

/// The table that a message about input `name` tells to write.
pub(super) fn say(name: &str, entry: &str) -> String {
    // A TOML key that is not bare is quoted.
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare { name.to_owned() } else { format!("{name:?}") };
    format!("write `{entry}` under `[inputs.{key}]`")
}
