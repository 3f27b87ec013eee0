//! Which columns feed which input.

use super::super::{
    DataConfig, InputConfig, InputKind, InputSpec, Signature,
    column::{Class, Number, classify},
    decode::Rule,
    source::Source,
};
use super::{peek::Peek, say, untokenized};
use crate::{Error, Result, tensor::DType};

/// What feeds an input.
#[derive(Clone, Debug)]
pub enum Choice {
    /// These columns; whether that was inferred.
    Columns(Vec<String>, bool),
    /// The tokens of another input, by its position.
    Derived(usize, Rule),
}

impl Choice {
    /// The columns that are read for it.
    pub fn columns(&self) -> &[String] {
        match self {
            Self::Columns(columns, _) => columns,
            Self::Derived(..) => &[],
        }
    }
}

/// Chooses for every input, in the model's order. `label_open` says that one column has to be left for the label.
///
/// # Errors
/// [`Error::Data`] if an input has both `column` and `columns`, names a column that the table does not have, or if
/// nothing tells which columns feed it.
pub fn assign(
    source: &Source,
    config: &DataConfig,
    signature: &Signature,
    used: &[&str],
    label_open: bool,
) -> Result<Vec<Choice>> {
    let default = InputConfig::default();
    let mut choices: Vec<Option<Choice>> = Vec::new();
    for spec in &signature.inputs {
        let given = config.inputs.get(&spec.name).unwrap_or(&default);
        choices.push(configured(source, spec, given, used)?);
    }
    let named = source.fields().map(|f| f.name().as_str());
    let mut free: Vec<&str> = named.filter(|n| !used.contains(n) && !super::is_index(n)).collect();
    fn take(free: &mut Vec<&str>, choices: &[Option<Choice>]) {
        free.retain(|n| !choices.iter().flatten().any(|c| c.columns().iter().any(|x| x == n)));
    }
    take(&mut free, &choices);
    // A column of the input's name.
    for (spec, choice) in signature.inputs.iter().zip(&mut choices) {
        let same =
            free.iter().find(|n| **n == spec.name).or_else(|| free.iter().find(|n| n.eq_ignore_ascii_case(&spec.name)));
        if let (None, Some(name)) = (&choice, same) {
            *choice = Some(Choice::Columns(vec![(*name).to_owned()], true));
        }
    }
    take(&mut free, &choices);
    let mut peeks = Vec::new();
    for name in &free {
        // Of what cannot be read, nothing is made; where it is asked for, it is read again.
        peeks.extend(Peek::at(source, name).ok().map(|peek| (*name, peek)));
    }
    let kind = |spec: &InputSpec| config.inputs.get(&spec.name).and_then(|c| c.kind);
    only_candidates(signature, &kind, &mut choices, &mut peeks);
    tables(signature, &mut choices, &peeks, label_open);
    derive(signature, &mut choices);
    let left: Vec<_> = peeks.iter().map(|(n, _)| *n).collect();
    signature.inputs.iter().zip(choices).map(|(spec, choice)| choice.ok_or_else(|| ask(source, spec, &left))).collect()
}

fn configured(source: &Source, spec: &InputSpec, given: &InputConfig, used: &[&str]) -> Result<Option<Choice>> {
    let columns = match (&given.column, &given.columns) {
        (Some(_), Some(_)) => {
            return Err(Error::Data(format!("`[inputs.{}]`: give `column` or `columns`, not both", spec.name)));
        }
        (Some(one), None) => vec![one.clone()],
        (None, Some(several)) => several.clone(),
        (None, None) => return Ok(None),
    };
    if columns.is_empty() {
        return Err(Error::Data(format!("`[inputs.{}]`: `columns` is empty", spec.name)));
    }
    for name in &columns {
        if let Err(missing) = source.require(name, &format!("input `{}`", spec.name)) {
            return Err(match untokenized(source, spec).filter(|_| follows(spec).is_none()) {
                Some(hint) => Error::Data(format!("{missing}; {hint}")),
                None => missing,
            });
        }
        if used.contains(&name.as_str()) {
            let problem = "is the id, the split or the label, and cannot feed the model too";
            return Err(Error::Data(format!("`[inputs.{}]`: column `{name}` {problem}", spec.name)));
        }
    }
    Ok(Some(Choice::Columns(columns, false)))
}

/// Inputs that follow the tokens: found by their names, as exporters of language models give them.
pub fn follows(spec: &InputSpec) -> Option<Rule> {
    let name = spec.name.to_ascii_lowercase();
    let ids = name.contains("token_type") || name.contains("segment_id");
    let axes = 1 + usize::from(spec.items.is_some());
    let flat = spec.row_dims().is_none_or(|d| d.len() == axes);
    match flat {
        true if name.contains("mask") => Some(Rule::Mask),
        true if ids => Some(Rule::Zeros),
        true if name.contains("position_id") => Some(Rule::Positions),
        _ => None,
    }
}

/// Gives each input its only candidate, as long as there is one.
fn only_candidates(
    signature: &Signature,
    kind: &impl Fn(&InputSpec) -> Option<InputKind>,
    choices: &mut [Option<Choice>],
    free: &mut Vec<(&str, Peek)>,
) {
    loop {
        let candidates: Vec<Vec<&str>> = signature
            .inputs
            .iter()
            .zip(choices.iter())
            .map(|(spec, choice)| match choice {
                Some(_) => Vec::new(),
                None if follows(spec).is_some() => Vec::new(),
                None => free.iter().filter(|(_, p)| fits(spec, kind(spec), p)).map(|(n, _)| *n).collect(),
            })
            .collect();
        let alone = candidates.iter().enumerate().find_map(|(i, mine)| match mine.as_slice() {
            [one] if !candidates.iter().enumerate().any(|(j, c)| j != i && c.as_slice() == [*one]) => Some((i, *one)),
            _ => None,
        });
        let Some((index, name)) = alone else { return };
        if let Some(choice) = choices.get_mut(index) {
            *choice = Some(Choice::Columns(vec![name.to_owned()], true));
        }
        free.retain(|(n, _)| *n != name);
    }
}

/// Whether a column's type and length can feed an input alone.
fn fits(spec: &InputSpec, kind: Option<InputKind>, peek: &Peek) -> bool {
    let rank = spec.row_dims().map(<[_]>::len);
    let numbers = |n: Number| spec.dtype.is_float() || n != Number::Float || spec.dtype == DType::Bool;
    match peek.class {
        Class::Image => {
            kind.is_none_or(|k| k == InputKind::Image)
                && (spec.dtype.is_float() || spec.dtype == DType::U8)
                && rank.is_none_or(|r| r == 2 || r == 3)
                && peek.picture.is_some()
        }
        Class::List(n, _) => {
            let tokens = kind.map_or(!spec.dtype.is_float(), |k| k == InputKind::Tokens);
            let length = tokens || spec.row_len().is_none_or(|len| peek.uniform().is_none_or(|n| n == len));
            kind != Some(InputKind::Image) && numbers(n) && rank.is_none_or(|r| r >= 1) && length
        }
        // Several columns of numbers are a table, which is looked at as a whole.
        Class::Scalar(n) => kind.is_none_or(|k| k == InputKind::Numeric) && numbers(n) && spec.row_len() == Some(1),
        Class::Text | Class::Other => false,
    }
}

/// A table: exactly as many columns of numbers are left as the only open input is wide.
fn tables(signature: &Signature, choices: &mut [Option<Choice>], free: &[(&str, Peek)], label_open: bool) {
    let open = signature.inputs.iter().zip(choices.iter_mut());
    let mut open: Vec<_> = open.filter(|(spec, c)| c.is_none() && follows(spec).is_none()).collect();
    let [(spec, choice)] = open.as_mut_slice() else { return };
    let numbers = |p: &Peek| match p.class {
        Class::Scalar(n) => spec.dtype.is_float() || n != Number::Float,
        _ => false,
    };
    let columns: Vec<_> = free.iter().filter(|(_, p)| numbers(p)).map(|(n, _)| (*n).to_owned()).collect();
    let other = free.iter().filter(|(_, p)| matches!(p.class, Class::List(..))).count();
    // The label may only be one of these if it is not known yet and nothing else could be it.
    let clear = !label_open || other > 0;
    if clear && !columns.is_empty() && spec.row_len() == Some(columns.len()) {
        **choice = Some(Choice::Columns(columns, true));
    }
}

fn derive(signature: &Signature, choices: &mut [Option<Choice>]) {
    let integer = |spec: &InputSpec| !spec.dtype.is_float() && spec.dtype != DType::Bool && follows(spec).is_none();
    let tokens: Vec<(usize, &InputSpec)> = signature
        .inputs
        .iter()
        .zip(choices.iter())
        .enumerate()
        .filter(|(_, (spec, choice))| {
            let items = spec.items.unwrap_or(1);
            integer(spec) && matches!(choice, Some(Choice::Columns(c, _)) if c.len() == items)
        })
        .map(|(i, (spec, _))| (i, spec))
        .collect();
    for (spec, choice) in signature.inputs.iter().zip(choices) {
        if let (None, Some(rule), Some(of)) = (&choice, follows(spec), goes_with(spec, &tokens)) {
            *choice = Some(Choice::Derived(of, rule));
        }
    }
}

/// Which of `tokens` an input goes with: the only ones, those whose name begins alike, as that of `query_mask` does with `query_ids`,
/// or those on its side of an encoder-decoder, as `attention_mask` beside `input_ids` and `decoder_input_ids`.
pub fn goes_with(spec: &InputSpec, tokens: &[(usize, &InputSpec)]) -> Option<usize> {
    let only = |alike: &dyn Fn(&InputSpec) -> bool| {
        let mut all = tokens.iter().filter(|(_, s)| alike(s)).map(|(at, _)| *at);
        all.next().filter(|_| all.next().is_none())
    };
    only(&|_| true)
        .or_else(|| only(&|s| s.name.split('_').next() == spec.name.split('_').next()))
        .or_else(|| only(&|s| of_decoder(&s.name) == of_decoder(&spec.name)))
}

/// Whether an input is the decoder's of an encoder-decoder, by its name.
pub fn of_decoder(name: &str) -> bool {
    name.to_ascii_lowercase().starts_with("decoder")
}

/// What to do about a cache that is not simply empty.
const CACHE: &str = "it seems to be a cache of earlier tokens, which is empty for whole rows only if its axis of tokens is open, and if it is no \
                     encoder's: export the model without caches (use_cache=False), or with that axis open";

/// Whether an input that nothing feeds is a cache of a language model, by its name.
fn is_cache(spec: &InputSpec) -> bool {
    let name = spec.name.to_ascii_lowercase();
    let called = name.contains("past") || name.contains("cache");
    spec.dtype.is_float() && called && spec.row_dims().is_none_or(|dims| dims.len() > 1)
}

fn ask(source: &Source, spec: &InputSpec, left: &[&str]) -> Error {
    let described: Vec<_> = source.fields().filter(|f| left.contains(&f.name().as_str())).collect();
    let described: Vec<_> = described.iter().map(|f| format!("`{}` ({})", f.name(), f.data_type())).collect();
    let there =
        if described.is_empty() { "no column is left".into() } else { format!("left are {}", described.join(", ")) };
    let usable: Vec<_> = source
        .fields()
        .filter(|f| left.contains(&f.name().as_str()) && matches!(classify(f.data_type()), Class::Scalar(_)))
        .collect();
    let several = match spec.row_len() {
        Some(n) if n > 1 && !usable.is_empty() => format!(
            "; for a table, `columns = [...]` in the model's order ({n} of them; there are {} columns of numbers)",
            usable.len()
        ),
        None if usable.len() > 1 => "; for a table, `columns = [...]` in the model's order".into(),
        _ => String::new(),
    };
    let hint = match untokenized(source, spec) {
        Some(hint) => hint,
        None if is_cache(spec) => CACHE.into(),
        None => say(&spec.name, "column = \"...\""),
    };
    let path = source.path().display();
    Error::Data(format!(
        "{path}: nothing tells which column feeds the model's input `{}` ({} {}): {there}; {hint}{several}",
        spec.name,
        spec.dtype,
        spec.shape()
    ))
}
