//! Which columns are the labels, and what they mean.

use super::super::{
    DataConfig, Rows, Signature, TargetKind,
    column::{self, Class, Number},
    decode::{Labels, TargetFeed},
    source::Source,
};
use super::Note;
use crate::{Error, Result};

/// Names that label columns have where nobody says otherwise.
const USUAL: [&str; 8] = ["label", "labels", "target", "targets", "y", "class", "Label", "Target"];

/// The label's columns where the configuration or their name tells; and whether that was inferred.
pub fn named(
    source: &Source,
    config: &DataConfig,
    signature: &Signature,
    taken: &[&str],
) -> Result<Option<(Vec<String>, bool)>> {
    let columns = match (&config.target.column, &config.target.columns) {
        (Some(_), Some(_)) => return Err(Error::Data("`[target]`: give `column` or `columns`, not both".into())),
        (Some(one), None) => Some(vec![one.clone()]),
        (None, Some(several)) if several.is_empty() => {
            return Err(Error::Data("`[target]`: `columns` is empty".into()));
        }
        (None, several) => several.clone(),
    };
    if let Some(columns) = columns {
        for name in &columns {
            source.require(name, "`[target]`")?;
        }
        return Ok(Some((columns, false)));
    }
    let of_input = |name: &str| {
        let configured = config
            .inputs
            .values()
            .any(|i| i.column.as_deref() == Some(name) || i.columns.iter().flatten().any(|c| c == name));
        configured || signature.inputs.iter().any(|i| i.name == name)
    };
    let usable = |name: &str| source.field(name).is_some() && !taken.contains(&name) && !of_input(name);
    let label = signature.label.iter().map(|l| l.name.as_str());
    let found = label.chain(USUAL).find(|name| usable(name));
    Ok(found.map(|name| (vec![name.to_owned()], true)))
}

/// The only column left that can be a label.
pub fn left(source: &Source, used: &[&str]) -> Result<Vec<String>> {
    let usable = |f: &&arrow_schema::Field| {
        !used.contains(&f.name().as_str())
            && !super::is_index(f.name())
            && matches!(column::classify(f.data_type()), Class::Scalar(_) | Class::List(..))
    };
    let left: Vec<_> = source.fields().filter(usable).map(|f| f.name().clone()).collect();
    match left.as_slice() {
        [one] => Ok(vec![one.clone()]),
        _ => Err(Error::Data(format!(
            "{}: nothing tells which column is the label; write `column = \"...\"` under `[target]` (columns are {})",
            source.path().display(),
            source.names()
        ))),
    }
}

/// What the label columns hold.
struct Seen {
    whole: bool,
    zero_one: bool,
    negative: bool,
    lengths: Option<(usize, usize)>,
}

fn look(source: &Source, columns: &[String]) -> Result<Seen> {
    let mut seen = Seen { whole: true, zero_one: true, negative: false, lengths: None };
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    source.scan(&names, &Rows::all(source.rows()), |_, batch| {
        for array in batch.columns() {
            let lists = column::flatten(array)?;
            for n in lists.lengths() {
                let (low, high) = seen.lengths.unwrap_or((n, n));
                seen.lengths = Some((low.min(n), high.max(n)));
            }
            for &x in column::doubles(&lists.values).map_err(|p| format!("a label column {p}"))?.values() {
                seen.whole &= x.fract() == 0.0;
                seen.zero_one &= x == 0.0 || x == 1.0;
                seen.negative |= x < 0.0;
            }
        }
        Ok(())
    })?;
    Ok(seen)
}

/// Decides what the labels mean.
pub fn make(
    source: &Source,
    config: &DataConfig,
    signature: &Signature,
    columns: Vec<String>,
    inferred: bool,
    notes: &mut Vec<Note>,
) -> Result<(TargetFeed, TargetKind)> {
    let path = source.path().display();
    let shown = columns.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ");
    let mut lists = false;
    let mut number = Number::Int;
    for name in &columns {
        let ty = source.require(name, "the label")?.data_type();
        match column::classify(ty) {
            Class::Scalar(n) => number = n,
            Class::List(n, _) if columns.len() == 1 => (number, lists) = (n, true),
            Class::Text => {
                let problem = "holds text; labels are numbers: map each class to its output's position, from 0";
                return Err(Error::Data(format!("{path}: label column `{name}` {problem}")));
            }
            _ => return Err(Error::Data(format!("{path}: label column `{name}` has type {ty}, which no label has"))),
        }
    }
    let seen = look(source, &columns)?;
    let scores = signature.scores.as_ref();
    let width = scores.and_then(|s| s.row_len()).filter(|&w| w > 0);
    let several = lists || columns.len() > 1;
    let fixed = seen.lengths.filter(|(a, b)| a == b).map(|(a, _)| if lists { a } else { columns.len() });
    let class_in_graph = signature.label.as_ref().is_some_and(|l| !l.dtype.is_float());
    let kind = match config.target.kind {
        Some(kind) => kind,
        None if class_in_graph && !several => TargetKind::Class,
        None if signature.label.is_some() && several && !seen.zero_one => TargetKind::Value,
        None if several && (seen.zero_one || (number == Number::Int && !seen.negative && lists)) => {
            TargetKind::MultiLabel
        }
        None if several => TargetKind::Value,
        None if width == Some(1) && seen.zero_one => TargetKind::Binary,
        None if width == Some(1) => TargetKind::Value,
        None if number == Number::Float && !seen.whole => TargetKind::Value,
        None => TargetKind::Class,
    };
    let fail = |problem: String| Error::Data(format!("{path}: label column {shown} {problem}"));
    let outputs = width.map_or("an unknown number of outputs".into(), |w| format!("{w} outputs"));
    let (labels, label_width) = match kind {
        TargetKind::Class | TargetKind::Binary if several => {
            return Err(fail("holds several values a row, which is neither a class nor binary".into()));
        }
        TargetKind::Class if width == Some(1) && !class_in_graph => {
            return Err(fail("cannot hold classes, as the model has one output; write `kind = \"binary\"` or \"value\" under `[target]`".into()));
        }
        TargetKind::Class => (Labels::Class, width.unwrap_or(0)),
        TargetKind::Binary if width.is_some_and(|w| w != 1) => {
            return Err(fail(format!(
                "cannot be binary, as the model has {outputs}; write `kind = \"class\"` under `[target]`"
            )));
        }
        TargetKind::Binary => (Labels::Binary, 1),
        TargetKind::MultiLabel if seen.zero_one && fixed.is_some() && (width.is_none() || fixed == width) => {
            (Labels::MultiHot, fixed.unwrap_or(1))
        }
        TargetKind::MultiLabel => match width {
            Some(width) if lists && number == Number::Int => (Labels::LabelNumbers, width),
            _ => return Err(fail(format!("does not hold a 0 or 1 for each of the model's {outputs}"))),
        },
        TargetKind::Value => match fixed {
            Some(n) if width.is_none_or(|w| w == n) => (Labels::Value, n),
            Some(n) => return Err(fail(format!("holds {n} values a row, but the model has {outputs}"))),
            None => return Err(fail("holds lists of different lengths, which no output has".into())),
        },
    };
    let meaning = match labels {
        Labels::Class => format!("a class of {outputs}"),
        Labels::Binary => "0 or 1 for the only output".into(),
        Labels::MultiHot => format!("0 or 1 for each of {label_width} labels"),
        Labels::LabelNumbers => format!("lists of label numbers, of {label_width} labels"),
        Labels::Value => format!("{label_width} value(s) a row"),
    };
    let how = format!("column {shown}: {meaning}");
    notes.push(Note { what: "target".into(), how, inferred: inferred || config.target.kind.is_none() });
    Ok((TargetFeed { columns, labels, width: label_width }, kind))
}
