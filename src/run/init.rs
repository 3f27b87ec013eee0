//! A configuration file for a model and its rows, with what was inferred written out and explained.

use super::{
    options::Options,
    read::{self, Look, ReadModel},
};
use crate::{
    data::{self, DataConfig, Feed, InputConfig, InputKind, Note, Places, Plan, TargetConfig, TargetKind},
    error::{Error, Result},
    graph::{
        Dim, Graph, ValueId,
        loss::{self, LossKind, LossPlan},
        tables,
    },
    shown,
};
use serde::Serialize;
use std::{fmt::Write, path::Path};

/// What stands in front of every file.
const HEAD: &str =
    "# Written by `onnx-forget init`. Every key may be left out; docs/configuration.md explains all of them.\n";
/// What follows.
const TAIL: &str =
    "\n# [gates]            # what must hold to publish: docs/audit.md\n# max_test_accuracy_drop = 0.05\n";

/// The configuration of the model and the rows of `options`, for a file in `folder`.
///
/// # Errors
/// Those of reading model and rows; [`Error::Data`] without rows, or where nothing tells which columns are meant.
pub fn configuration(options: &Options, folder: &Path) -> Result<String> {
    options.scope()?.enter(|| {
        let read = ReadModel::new(read::open(options)?, options, Look::Training)?;
        let places = options.data.files.train.as_ref();
        let places = places.ok_or_else(|| Error::Data("no rows: give --data".into()))?;
        let opened = data::open_rows(&options.data, places, &read.signature()).map_err(|e| {
            match (e, read.without_labels(options)) {
                (Error::Data(problem), Some(hint)) => Error::Data(format!("{problem}; {hint}")),
                (e, _) => e,
            }
        })?;
        let model = read.labeled(opened.target, &opened.targets)?;
        written(options, (opened.rows.plan(), &opened.notes), opened.target, &model.plan.why, folder)
    })
}

/// The file, from how the rows are read.
pub(super) fn written(
    options: &Options,
    (plan, notes): (&Plan, &[Note]),
    target: TargetKind,
    why: &str,
    folder: &Path,
) -> Result<String> {
    let data = &options.data;
    let mut text = format!("{HEAD}\n[data]\n");
    let mut files = data.files.clone();
    for places in [&mut files.train, &mut files.validation, &mut files.test].into_iter().flatten() {
        *places = beside(places, folder)?;
    }
    text += &toml(&files)?;
    for (given, key) in [(&files.validation, "validation"), (&files.test, "test")] {
        if given.is_none() && files.split.is_none() {
            let _ = writeln!(text, "# {key} = \"...\"   # rows that the model was not trained on");
        }
    }
    for (name, feed) in &plan.feeds {
        let how = notes.iter().find(|note| note.what.starts_with(&format!("input {name} (")));
        let how = how.or_else(|| notes.iter().find(|note| note.what.starts_with(&format!("label {name} ("))));
        let given = data.inputs.get(name).cloned().unwrap_or_default();
        let Some(input) = filled(feed, given) else {
            if let Some(note) = how {
                let _ = writeln!(text, "\n{}", comment(&format!("{}: {}", note.what, note.how)));
            }
            continue;
        };
        let how = how.map_or(String::new(), |note| format!("{}\n", comment(&note.how)));
        let _ = write!(text, "\n{how}[inputs.{}]\n{}{}", key(name), toml(&input)?, suggestions(feed, &input));
    }
    for (name, input) in data.inputs.iter().filter(|(name, _)| !plan.feeds.iter().any(|(fed, _)| fed == *name)) {
        let _ = write!(text, "\n[inputs.{}]\n{}", key(name), toml(input)?);
    }
    text += &targets(data, plan, target)?;
    let _ = writeln!(text, "\n{}", comment(&format!("The loss: {why}.")));
    let loss = (options.loss, options.loss_graph.as_ref().map(|path| relative(path, folder)).transpose()?);
    match &loss {
        (_, Some(graph)) => text += &format!("[loss]\ngraph = {}\n", quoted(graph)),
        (Some(kind), None) => text += &format!("[loss]\n{}", toml(&Kind { kind: *kind })?),
        (None, None) => {}
    }
    Ok(text + TAIL)
}

#[derive(Serialize)]
struct Kind {
    kind: LossKind,
}

/// The `[target]` table, or several.
fn targets(data: &DataConfig, plan: &Plan, kind: TargetKind) -> Result<String> {
    let mut text = String::new();
    for target in &data.targets {
        let _ = write!(text, "\n[[target]]\n{}", toml(target)?);
    }
    if kind == TargetKind::LossGraph {
        return Ok(text);
    }
    let columns = &plan.target.columns;
    let target = TargetConfig {
        column: if let [one] = columns.as_slice() { Some(one.clone()) } else { None },
        columns: (columns.len() > 1).then(|| columns.clone()),
        kind: Some(kind),
        ..data.target.clone()
    };
    let _ = write!(text, "\n# {}\n[target]\n{}", meaning(kind), toml(&target)?);
    if kind.has_positions() && plan.target.has_positions() && target.ignore.is_none() {
        text += "# ignore = [-100]   # labels of positions that do not count\n# mask = \"...\"       # a column with 0 for positions that do not count\n";
    }
    Ok(text)
}

/// What a kind of label is, in a line.
pub fn meaning(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Class => {
            "One class a row, counted from 0; or one for each of several positions of a row (tags of tokens, masks)."
        }
        TargetKind::Binary => "0 or 1 a row.",
        TargetKind::MultiLabel => "0 or 1 for each of several labels a row.",
        TargetKind::Value => "Numbers to be fitted (regression).",
        TargetKind::Next => {
            "The token that follows at each position (causal language models): no label column is needed."
        }
        TargetKind::Masked => "The tokens behind those that were masked, -100 elsewhere.",
        TargetKind::Same => "The input itself (autoencoders): no label column is needed.",
        TargetKind::LossGraph => "Whatever the loss graph takes.",
    }
}

/// An input's table with what was inferred; none for one that is made from another input.
fn filled(feed: &Feed, given: InputConfig) -> Option<InputConfig> {
    Some(match feed {
        Feed::Image(f) => InputConfig {
            column: Some(f.column.clone()),
            kind: Some(InputKind::Image),
            layout: Some(f.layout),
            ..given
        },
        Feed::Tokens(f) => InputConfig { column: Some(f.column.clone()), kind: Some(InputKind::Tokens), ..given },
        Feed::Numbers(f) => {
            let one = if let [one] = f.columns.as_slice() { Some(one.clone()) } else { None };
            let several = one.is_none().then(|| f.columns.clone());
            InputConfig { column: one, columns: several, kind: Some(InputKind::Numeric), ..given }
        }
        Feed::Group(_) => given,
        Feed::Derived(_) | Feed::Label(_) => return None,
    })
}

/// Keys that only somebody who knows the training can fill in.
fn suggestions(feed: &Feed, input: &InputConfig) -> &'static str {
    let scaled = input.scale.is_some() || input.mean.is_some() || input.std.is_some();
    match feed {
        Feed::Image(_) if !scaled => {
            "# mean = [0.485, 0.456, 0.406]   # of each channel, after pixels are divided by 255, as at training\n# std = [0.229, 0.224, 0.225]\n"
        }
        Feed::Numbers(f) if f.dtype.is_float() && !scaled => {
            "# mean = ...   # only if the rows were standardized outside the model at training\n# std = ...\n"
        }
        Feed::Tokens(f) if f.length.is_none() && input.length.is_none() => {
            "# padding = 0    # the token that fills short rows, also where the column holds it already\n# length = 128   # tokens that a row is cut to, if it was at training\n"
        }
        _ => "",
    }
}

/// What a file for `graph` would say where no rows are known: which inputs need columns, and the kind of label that fits its loss.
pub fn outline(graph: &Graph, plan: &LossPlan) -> String {
    let mut text = String::from("[data]\n# train = \"train.parquet\"\n");
    let shape = |value: ValueId| loss::listed(graph, &[value]);
    let labels: &[ValueId] = plan.loss_graph.as_ref().map_or(&[], |own| own.labels.as_slice());
    for &input in graph.inputs.iter().filter(|input| Some(**input) != plan.label_input && !labels.contains(input)) {
        let _ = write!(text, "\n{}\n[inputs.{}]\n# column = \"...\"\n", comment(&shape(input)), key(graph.name(input)));
    }
    if plan.loss_graph.is_some() {
        return text;
    }
    let kind = fitting(graph, plan);
    let _ = write!(text, "\n# {}\n[target]\n", meaning(kind));
    let column = if matches!(kind, TargetKind::Next | TargetKind::Same) { "" } else { "# column = \"...\"\n" };
    let other = match kind {
        TargetKind::Value if plan.head.width == Some(1) => "       # or \"binary\", if the labels are 0 and 1",
        TargetKind::Next => "        # or \"masked\", or \"class\" with a column of labels at their own positions",
        _ => "",
    };
    let _ = write!(text, "kind = {}{other}\n{column}", quoted(kind_name(kind)));
    text
}

/// The kind of label that the loss and the shapes suggest.
fn fitting(graph: &Graph, plan: &LossPlan) -> TargetKind {
    let output = plan.output.unwrap_or(plan.scores);
    let dims = graph.declared_dims(output);
    let whole = |input: &&ValueId| graph.declared_dtype(**input).is_some_and(|dtype| !dtype.is_float());
    let tokens = graph.inputs.iter().any(|input| whole(&input));
    let same =
        graph.inputs.iter().any(|&input| dims.is_some_and(|dims| dims.len() > 1) && graph.declared_dims(input) == dims);
    match plan.kind {
        // Words of a vocabulary, not a few tags.
        _ if plan.head.positions.is_some() && tokens && vocabulary(graph, plan) => TargetKind::Next,
        _ if plan.head.positions.is_some() && !same => TargetKind::Class,
        LossKind::Mse if same => TargetKind::Same,
        LossKind::Mse => TargetKind::Value,
        LossKind::Bce if plan.head.width == Some(1) => TargetKind::Binary,
        LossKind::Bce => TargetKind::MultiLabel,
        LossKind::CrossEntropy | LossKind::Graph | LossKind::LossGraph => TargetKind::Class,
    }
}

/// Whether a position has as many scores as the table of the tokens has rows.
fn vocabulary(graph: &Graph, plan: &LossPlan) -> bool {
    let links = graph.links();
    let tables = graph.inputs.iter().filter_map(|&input| tables::rows(graph, &links, input));
    let dims = graph.declared_dims(plan.scores).or_else(|| graph.declared_dims(plan.output?)).unwrap_or_default();
    let extent = |dim: &Dim| if let Dim::Fixed(n) = dim { Some(*n) } else { None };
    let scores: Vec<usize> = dims.iter().skip(1).filter_map(extent).collect();
    tables.into_iter().any(|rows| scores.contains(&rows))
}

fn kind_name(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Class => "class",
        TargetKind::Binary => "binary",
        TargetKind::MultiLabel => "multilabel",
        TargetKind::Value => "value",
        TargetKind::Next => "next",
        TargetKind::Masked => "masked",
        TargetKind::Same => "same",
        TargetKind::LossGraph => "loss-graph",
    }
}

fn toml<T: Serialize>(table: &T) -> Result<String> {
    ::toml::to_string(table).map_err(|e| Error::Internal(format!("a configuration that cannot be written: {e}")))
}

/// A text in TOML's quotes, on one line: JSON's escapes are among TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Text of a comment: names of columns may hold line ends, which would end it.
fn comment(text: &str) -> String {
    format!("# {}", shown::line(text))
}

/// A key, in quotes where it needs them.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { name.into() } else { quoted(name) }
}

/// The same places, as a file in `folder` names them.
fn beside(places: &Places, folder: &Path) -> Result<Places> {
    let named = places.paths().iter().map(|path| relative(path, folder)).collect::<Result<Vec<String>>>()?;
    Places::of(&named).ok_or_else(|| Error::Data("rows in memory have no place that a configuration could name".into()))
}

fn relative(path: &Path, folder: &Path) -> Result<String> {
    let whole = |path: &Path| {
        std::path::absolute(path).map_err(|e| Error::ReadData { path: path.into(), problem: e.to_string() })
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let (path, folder) = (whole(path)?, whole(folder)?);
    let text = path.strip_prefix(&folder).unwrap_or(&path);
    let named = text.to_str().ok_or_else(|| Error::Usage(format!("{}: the path is not UTF-8", path.display())))?;
    Ok(named.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_columns_stay_within_their_quotes_and_comments() {
        let name = "a\"b\n[gates]\nmax_test_accuracy_drop = inf";
        let text = format!("{}\n[inputs.{}]\ncolumn = {}\n", comment(name), key(name), quoted(name));
        let table: ::toml::Table = text.parse().unwrap();
        assert_eq!(table.keys().collect::<Vec<_>>(), ["inputs"]);
        assert_eq!(table["inputs"][name]["column"].as_str(), Some(name));
        assert_eq!(key("x_1-b"), "x_1-b");
    }
}
