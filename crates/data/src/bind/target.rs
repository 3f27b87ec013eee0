//! Which columns are the labels, and what they mean.

use super::super::{
    DataConfig, Signature, TargetKind,
    column::{self, Class, Number},
    decode::{Labels, TargetFeed, Words},
    source::Source,
};
use super::{
    Note,
    labels::{self, Seen},
    words,
};
use crate::{Error, Result};

/// Names that label columns have where nobody says otherwise.
const USUAL: [&str; 8] = ["label", "labels", "target", "targets", "y", "class", "Label", "Target"];

/// Whether a column is a label: one that the configuration names, or one of the usual names where it names none.
pub fn is_label(config: &DataConfig, name: &str) -> bool {
    match (&config.target.column, &config.target.columns) {
        (None, None) => USUAL.contains(&name),
        (one, several) => one.as_deref() == Some(name) || several.iter().flatten().any(|c| c == name),
    }
}

/// The label's columns where the configuration or their name tells; and whether that was inferred.
///
/// # Errors
/// [`Error::Data`] if `[target]` has both `column` and `columns`, an empty list, or a column that the table does not
/// have.
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
///
/// # Errors
/// [`Error::Data`] if none or several columns are left.
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

/// What is known of label columns when their meaning is decided.
struct Known<'a> {
    source: &'a Source,
    signature: &'a Signature,
    columns: &'a [String],
    lists: bool,
    number: Number,
    seen: Seen,
    /// Values a row, if every row has as many.
    fixed: Option<usize>,
    /// Outputs a row.
    width: Option<usize>,
}

/// Decides what the labels mean.
///
/// # Errors
/// [`Error::Data`] if the columns hold what no label has, or labels that the model's outputs cannot be compared with;
/// [`Error::ReadData`] if they cannot be read.
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
    let scores = signature.scores.as_ref();
    let width = scores.and_then(|s| s.row_len()).filter(|&w| w > 0);
    let (mut lists, mut number) = (false, Number::Int);
    let (mut words, mut from) = (Words::default(), None);
    for name in &columns {
        let ty = source.require(name, "the label")?.data_type();
        match column::classify(ty) {
            _ if columns.len() == 1 && labels::is_text(ty) => lists = column::classify(ty) != Class::Text,
            Class::Scalar(n) => number = n,
            Class::List(n, _) if columns.len() == 1 => (number, lists) = (n, true),
            _ => {
                let held = column::described(ty);
                let problem = format!("holds {held}, which no label has; {}", column::advice(ty));
                return Err(Error::Data(format!("{path}: label column `{name}` {problem}")));
            }
        }
    }
    if let [name] = columns.as_slice() {
        (words, from) = words::find(source, config, signature, name, width)?;
    }
    let seen = labels::look(source, &columns, &words)?;
    let fixed = seen.lengths.filter(|(a, b)| a == b).map(|(a, _)| if lists { a } else { columns.len() });
    // A list of one is its only value, but where each output is a yes or no of its own.
    let single = lists && fixed == Some(1) && !(signature.independent && width.is_some_and(|w| w > 1));
    let several = !single && (lists || columns.len() > 1);
    let known = Known { source, signature, columns: &columns, lists, number, seen, fixed, width };
    let class_in_graph = signature.label.as_ref().is_some_and(|l| !l.dtype.is_float());
    let one_hot = several && known.one_hot();
    let kind = match config.target.kind {
        Some(kind) => kind,
        None if class_in_graph && !several => TargetKind::Class,
        None if several => known.several(one_hot)?,
        None if width == Some(1) && known.seen.zero_one => TargetKind::Binary,
        None if width == Some(1) => TargetKind::Value,
        None if number == Number::Float && !known.seen.whole => TargetKind::Value,
        None => known.class()?,
    };
    let fail = |problem: String| Error::Data(format!("{path}: label column {shown} {problem}"));
    let outputs = width.map_or("an unknown number of outputs".into(), |w| format!("{w} outputs"));
    let (labels, label_width) = match kind {
        TargetKind::Class if one_hot => (Labels::OneHot, fixed.unwrap_or(0)),
        TargetKind::Class | TargetKind::Binary if several => {
            return Err(fail("holds several values a row, which is neither a class nor binary".into()));
        }
        TargetKind::Class if width == Some(1) && !class_in_graph => {
            return Err(fail("cannot hold classes, as the model has one output; write `kind = \"binary\"` or \"value\" under `[target]`".into()));
        }
        TargetKind::Class if width.is_some_and(|w| known.seen.lowest == 1.0 && known.seen.highest == w as f64) => {
            return Err(fail(format!(
                "counts classes from 1, and the model's {outputs} are counted from 0: write the class of each label under \
                 `[target.map]`, as in `1 = 0`"
            )));
        }
        TargetKind::Class => (Labels::Class, width.unwrap_or(0)),
        TargetKind::Binary if width.is_some_and(|w| w != 1) => {
            return Err(fail(format!(
                "cannot be binary, as the model has {outputs}; write `kind = \"class\"` under `[target]`"
            )));
        }
        TargetKind::Binary => (Labels::Binary, 1),
        TargetKind::MultiLabel if known.seen.zero_one && fixed.is_some() && (width.is_none() || fixed == width) => {
            (Labels::MultiHot, fixed.unwrap_or(1))
        }
        TargetKind::MultiLabel => match width {
            Some(width) if lists && number == Number::Int => (Labels::LabelNumbers, width),
            _ => return Err(fail(format!("does not hold a 0 or 1 for each of the model's {outputs}"))),
        },
        TargetKind::Value if known.beyond_probabilities() => {
            return Err(fail(
                "holds values below 0 or above 1, and the model's output is a probability (a Sigmoid): write the class of each \
                 label under `[target.map]`, as in `-1 = 0` and `1 = 1`; or give --loss mse"
                    .into(),
            ));
        }
        TargetKind::Value => match fixed {
            Some(n) if width.is_none_or(|w| w == n) => (Labels::Value, n),
            Some(n) => return Err(fail(format!("holds {n} values a row, but the model has {outputs}"))),
            None => return Err(fail("holds lists of different lengths, which no output has".into())),
        },
        TargetKind::Masked | TargetKind::Next | TargetKind::Same | TargetKind::LossGraph => {
            return Err(fail(format!("has a class for each position, and the model has {outputs} that are none")));
        }
    };
    let meaning = match &labels {
        Labels::Class => match width {
            Some(_) => format!("a class of {outputs}"),
            None => "a class; the model leaves open of how many".into(),
        },
        Labels::OneHot => format!("a single 1 among zeros in every row, read as a class of {label_width}"),
        Labels::Binary => "0 or 1 for the only output".into(),
        Labels::MultiHot => format!("0 or 1 for each of {label_width} labels"),
        Labels::LabelNumbers => format!("lists of label numbers, of {label_width} labels"),
        _ => format!("{label_width} value(s) a row"),
    };
    let from = from.map_or(String::new(), |from| format!(" ({from})"));
    let how = format!("column {shown}: {meaning}{from}");
    notes.push(Note { what: "target".into(), how, inferred: inferred || config.target.kind.is_none() });
    Ok((TargetFeed { columns, labels, words, width: label_width }, kind))
}

impl Known<'_> {
    fn fail(&self, problem: &str) -> Error {
        let shown: Vec<_> = self.columns.iter().map(|c| format!("`{c}`")).collect();
        let (path, shown) = (self.source.path().display(), shown.join(", "));
        Error::Data(format!("{path}: label column {shown} {problem}"))
    }

    /// Whether each row holds a single 1, for one of several outputs that exclude each other.
    fn one_hot(&self) -> bool {
        let excluding = !self.signature.independent && self.signature.label.is_none();
        let wide = self.fixed.is_some_and(|n| n > 1 && self.width.is_none_or(|w| w == n));
        self.seen.one_hot && wide && excluding && !self.positions()
    }

    /// Whether the labels are compared with probabilities, and one can be none.
    fn beyond_probabilities(&self) -> bool {
        let seen = &self.seen;
        self.signature.independent && self.signature.label.is_none() && (seen.lowest < 0.0 || seen.highest > 1.0)
    }

    /// Whether the model has scores for each of several positions of a row.
    fn positions(&self) -> bool {
        let dims = self.signature.scores.as_ref().and_then(|s| s.row_dims());
        dims.is_some_and(|dims| dims.iter().filter(|d| **d != Some(1)).count() > 1)
    }

    /// The kind of several values a row.
    fn several(&self, one_hot: bool) -> Result<TargetKind> {
        let (seen, whole) = (&self.seen, self.number != Number::Float);
        let fits = self.fixed.is_some() && (self.width.is_none() || self.fixed == self.width);
        if one_hot {
            return Ok(TargetKind::Class);
        }
        if self.signature.label.is_some() && !seen.zero_one {
            return Ok(TargetKind::Value);
        }
        if seen.zero_one && fits {
            return Ok(TargetKind::MultiLabel);
        }
        if self.lists && whole {
            return self.label_numbers(fits);
        }
        let soft = seen.shares && fits && self.fixed.is_some_and(|n| n > 1);
        if soft && self.signature.label.is_none() && !self.signature.values {
            return Err(self.fail(
                "holds shares of classes that add up to 1 (soft labels), which are not supported yet: give one class a row; \
                 or write `kind = \"value\"` under `[target]` if the model is to give these values themselves",
            ));
        }
        Ok(if seen.zero_one { TargetKind::MultiLabel } else { TargetKind::Value })
    }

    /// Lists of whole numbers: those of the labels that hold, or values. Lists with a class for each position are neither.
    fn label_numbers(&self, fits: bool) -> Result<TargetKind> {
        let (seen, known) = (&self.seen, self.width.is_some() && fits);
        let within = self.width.is_none_or(|w| seen.highest < w as f64);
        let place =
            seen.repeats.map_or(String::new(), |row| format!(" (row {row}, counted from 0, holds a number twice)"));
        match (seen.negative || seen.repeats.is_some(), self.positions()) {
            (_, false) if known && (seen.negative || seen.repeats.is_some() || !within) => Ok(TargetKind::Value),
            (false, false) => Ok(TargetKind::MultiLabel),
            _ => Err(self.fail(&format!(
                "holds lists of whole numbers that are no sets of labels{place}, and the model's output does not hold a class for each of several positions. For values, write `kind = \
                 \"value\"` under `[target]`"
            ))),
        }
    }

    /// A class a row, unless the column is one of as many as there are outputs.
    fn class(&self) -> Result<TargetKind> {
        let ([name], Some(width)) = (self.columns, self.width) else { return Ok(TargetKind::Class) };
        let suspicious = self.seen.zero_one && (width > 2 || width == 2 && self.signature.independent);
        if !suspicious || self.signature.label.is_some() || self.lists {
            return Ok(TargetKind::Class);
        }
        let whole = |f: &&arrow_schema::Field| {
            matches!(column::classify(f.data_type()), Class::Scalar(Number::Int | Number::Bool))
        };
        let named: Vec<String> = self
            .source
            .fields()
            .filter(whole)
            .filter(|f| stem(f.name()) == stem(name))
            .map(|f| f.name().clone())
            .collect();
        if named.len() != width
            || !named.contains(name)
            || !labels::look(self.source, &named, &Words::default())?.zero_one
        {
            return Ok(TargetKind::Class);
        }
        let all = named.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ");
        Err(self.fail(&format!(
            "holds 0 and 1, and the model has {width} outputs, as many as there are columns of that kind. If each output is one \
             of them, write `columns = [{all}]` under `[target]`; if it is a class, write `kind = \"class\"`"
        )))
    }
}

/// What the names of a series of columns have in common.
fn stem(name: &str) -> &str {
    match name.rfind(['_', '-', '.', ' ']) {
        Some(at) if at > 0 => name.get(..at).unwrap_or(name),
        _ => name.trim_end_matches(|c: char| c.is_ascii_digit()),
    }
}
