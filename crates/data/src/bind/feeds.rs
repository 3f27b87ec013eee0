//! From an input, its configuration and its columns to the way it is made.

use super::super::{
    DataConfig, InputConfig, InputKind, InputSpec, PerChannel, Signature,
    column::{self, Class, Number},
    decode::{Derived, Feed, Group, Tokens},
    source::Source,
};
use super::{
    Note, TOKENIZE,
    inputs::{Choice, follows, goes_with},
    numeric::{numeric, table},
    peek::Peek,
    pictures, say,
};
use crate::{Error, Result};
use arrow_schema::DataType;

/// Makes a feed for every input.
///
/// # Errors
/// [`Error::Data`] if the configuration of an input contradicts the model or its columns, or if the columns cannot feed
/// the input; [`Error::ReadData`] if their first rows cannot be read.
pub fn make(
    source: &Source,
    config: &DataConfig,
    signature: &Signature,
    choices: &[Choice],
    notes: &mut Vec<Note>,
) -> Result<Vec<(String, Feed)>> {
    let default = InputConfig::default();
    let mut feeds = Vec::with_capacity(choices.len());
    for (spec, choice) in signature.inputs.iter().zip(choices) {
        let given = config.inputs.get(&spec.name).unwrap_or(&default);
        let (feed, how, inferred) = match choice {
            Choice::Derived(of, rule) => {
                let tokens = signature.inputs.get(*of).map_or("", |s| s.name.as_str());
                let feed = Feed::Derived(Derived { of: *of, rule: *rule, dtype: spec.dtype });
                (feed, format!("{} of the tokens of `{tokens}`", format!("{rule:?}").to_lowercase()), true)
            }
            Choice::Columns(columns, inferred) => {
                let (mut feed, how) = one(source, spec, given, columns).map_err(|e| of_items(spec, e))?;
                if let Feed::Tokens(tokens) = &mut feed {
                    tokens.follows = followed(signature, spec);
                }
                (feed, how, *inferred)
            }
        };
        let what = format!("input {} ({} {})", spec.name, spec.dtype, spec.shape());
        notes.push(Note { what, how, inferred });
        feeds.push((spec.name.clone(), feed));
    }
    Ok(feeds)
}

/// What to say beyond an error where a row is a group of items.
fn of_items(spec: &InputSpec, error: Error) -> Error {
    match (spec.items, error) {
        (Some(items), Error::Data(problem)) => Error::Data(format!(
            "{problem}; a row is a group of {items} items for the loss graph: {}",
            say(&spec.name, &format!("columns = [...], with a column for each of {items} items,"))
        )),
        (_, error) => error,
    }
}

/// Which input's tokens the lists of `spec` go with.
fn followed(signature: &Signature, spec: &InputSpec) -> Option<usize> {
    follows(spec)?;
    let tokens = |(_, s): &(usize, &InputSpec)| follows(s).is_none() && !s.dtype.is_float();
    goes_with(spec, &signature.inputs.iter().enumerate().filter(tokens).collect::<Vec<_>>())
}

/// The feed of one input from its columns.
///
/// # Errors
/// As [`make`].
pub fn one(source: &Source, spec: &InputSpec, given: &InputConfig, columns: &[String]) -> Result<(Feed, String)> {
    if let (Some(item), Some(items)) = (spec.of_item(), spec.items)
        && columns.len() == items
        && item.row_len() != Some(1)
    {
        return group(source, &item, given, columns);
    }
    let [name] = columns else { return table(source, spec, given, columns) };
    let peek = Peek::at(source, name)?;
    let kind = match (given.kind, peek.class) {
        (Some(kind), _) => kind,
        (None, Class::Image) => InputKind::Image,
        (None, Class::List(Number::Int, _))
            if !spec.dtype.is_float() && spec.row_dims().is_none_or(|d| d.len() == 1) =>
        {
            InputKind::Tokens
        }
        (None, Class::Scalar(_) | Class::List(..)) => InputKind::Numeric,
        // Paths of images: nothing else that is text goes into such a shape.
        (None, Class::Text) if spec.dtype.is_float() && spec.row_dims().is_some_and(|d| d.len() == 3) => {
            InputKind::Image
        }
        (None, Class::Text | Class::Other) => {
            let ty = source.require(name, "the model")?.data_type();
            return Err(unfit(source, spec, name, ty));
        }
    };
    unused(spec, given, kind)?;
    match (kind, peek.class) {
        (InputKind::Image, Class::Image | Class::Text) => pictures::image(source, spec, given, name),
        (InputKind::Tokens, Class::List(Number::Int | Number::Bool, _)) => tokens(spec, given, name, &peek),
        (InputKind::Numeric, Class::Scalar(_) | Class::List(..)) => numeric(source, spec, given, name, &peek),
        (kind, _) => {
            let ty = source.require(name, "the model")?.data_type();
            Err(wrong(
                source,
                spec,
                name,
                &format!("has type {ty}, from which no {kind:?} input is made").to_lowercase(),
            ))
        }
    }
}

/// A column for each item of a row.
fn group(source: &Source, item: &InputSpec, given: &InputConfig, columns: &[String]) -> Result<(Feed, String)> {
    let mut items = Vec::with_capacity(columns.len());
    let mut first = String::new();
    for name in columns {
        let (feed, how) = one(source, item, given, std::slice::from_ref(name))?;
        if first.is_empty() {
            first = how;
        }
        items.push(feed);
    }
    let others: Vec<String> = columns.iter().skip(1).map(|name| format!("`{name}`")).collect();
    Ok((
        Feed::Group(Group { items }),
        format!("a group of {} items: {first}; likewise {}", columns.len(), others.join(", ")),
    ))
}

/// A column of a type that the input is not made from.
fn unfit(source: &Source, spec: &InputSpec, column: &str, ty: &DataType) -> Error {
    let advice = match column::classify(ty) {
        Class::Text if !spec.dtype.is_float() => TOKENIZE,
        Class::List(..) | Class::Image if spec.row_len() == Some(1) => "the input takes one number a row",
        _ => column::advice(ty),
    };
    let problem =
        format!("holds {}, and the input takes {} {}; {advice}", column::described(ty), spec.dtype, spec.shape());
    wrong(source, spec, column, &problem)
}

pub fn wrong(source: &Source, spec: &InputSpec, column: &str, problem: &str) -> Error {
    Error::Data(format!("{}: input `{}`: column `{column}` {problem}", source.path().display(), spec.name))
}

/// # Errors
/// Entries that the kind of input has no use for.
pub fn unused(spec: &InputSpec, given: &InputConfig, kind: InputKind) -> Result<()> {
    let image = kind == InputKind::Image;
    let tokens = kind == InputKind::Tokens;
    let entries = [
        ("layout", given.layout.is_some() && tokens),
        ("resize", given.resize.is_some() && !image),
        ("crop", given.crop.is_some() && !image),
        ("interpolation", given.interpolation.is_some() && !image),
        ("antialias", given.antialias.is_some() && !image),
        ("channels", given.channels.is_some() && !image),
        ("padding", given.padding.is_some() && !tokens),
        ("length", given.length.is_some() && !tokens),
        ("scale", given.scale.is_some() && tokens),
        ("mean", given.mean.is_some() && tokens),
        ("std", given.std.is_some() && tokens),
    ];
    match entries.iter().find(|(_, there)| *there) {
        None => Ok(()),
        Some((entry, _)) => {
            let kind = format!("{kind:?}").to_lowercase();
            Err(Error::Data(format!("`[inputs.{}]`: `{entry}` means nothing for an input of kind `{kind}`", spec.name)))
        }
    }
}

/// `(value · scale − mean) / std` as a factor and a term, for each of `n` channels.
///
/// # Errors
/// [`Error::Data`] if `mean` or `std` has another count than `n`, if a value is not finite, or if a `std` is 0.
pub fn affine(spec: &InputSpec, given: &InputConfig, n: usize, scale: f64) -> Result<Vec<(f64, f64)>> {
    let each = |entry: &str, value: &Option<PerChannel>, default: f64| match value {
        None => Ok(vec![default; n]),
        Some(v) => v.expand(n).ok_or_else(|| {
            Error::Data(format!("`[inputs.{}]`: `{entry}` needs one number, or {n} of them", spec.name))
        }),
    };
    let scale = given.scale.unwrap_or(scale);
    let (mean, std) = (each("mean", &given.mean, 0.0)?, each("std", &given.std, 1.0)?);
    if !scale.is_finite() || mean.iter().any(|m| !m.is_finite()) || std.iter().any(|s| !s.is_finite() || *s == 0.0) {
        let problem = "`scale`, `mean` and `std` have to be finite, and `std` not 0";
        return Err(Error::Data(format!("`[inputs.{}]`: {problem}", spec.name)));
    }
    Ok(mean.iter().zip(&std).map(|(m, s)| (scale / s, -m / s)).collect())
}

fn tokens(spec: &InputSpec, given: &InputConfig, name: &str, peek: &Peek) -> Result<(Feed, String)> {
    let model = match spec.row_dims() {
        None => None,
        Some([length]) => *length,
        Some(_) => {
            let problem = format!("tokens go into [rows, length], but it has shape {}", spec.shape());
            return Err(Error::Data(format!("input `{}`: {problem}", spec.name)));
        }
    };
    if let (Some(asked), Some(model)) = (given.length, model)
        && asked != model
    {
        let problem = format!("`length = {asked}`, but the model takes rows of {model}");
        return Err(Error::Data(format!("`[inputs.{}]`: {problem}", spec.name)));
    }
    let length = given.length.or(model);
    let padding = given.padding.unwrap_or(0);
    if let Some(table) = spec.table
        && usize::try_from(padding).map_or(true, |p| p >= table)
    {
        let problem = format!("`padding = {padding}` is not among the model's tokens 0 to {}", table.saturating_sub(1));
        return Err(Error::Data(format!("`[inputs.{}]`: {problem}", spec.name)));
    }
    if length == Some(0) {
        return Err(Error::Data(format!("input `{}`: rows of no token", spec.name)));
    }
    let same = peek.rows > 1 && peek.uniform().is_some_and(|n| n > 1);
    let padded = given.padding.is_some() || same || matches!(peek.class, Class::List(_, Some(_)));
    let cut = match length {
        Some(n) => format!("cut or padded with {padding} to {n}"),
        None => format!("padded with {padding} to the longest of a batch"),
    };
    let column = name.to_owned();
    let how = format!("column `{name}`, lists of tokens, {cut}");
    Ok((
        Feed::Tokens(Tokens { column, length, padding, padded, limit: spec.table, follows: None, dtype: spec.dtype }),
        how,
    ))
}
