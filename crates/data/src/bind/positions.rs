//! Labels with a class for each of several positions, and labels that are the inputs themselves.

use super::{
    super::{
        DataConfig, Signature, TargetKind,
        column::{self, Class},
        decode::{Feed, Labels, Positions, Rule, TargetFeed, Tokens, Words},
        source::Source,
    },
    Note, inputs, labels, pictures, words,
};
use crate::{Error, Result};

/// What does not count where nobody says what does not: the label that PyTorch, Transformers and ONNX files leave out.
const IGNORED: i64 = -100;

type Feeds<'a> = &'a [(String, Feed)];

/// Labels that lie in a column of lists. The model's classes are along `axis` of its scores.
///
/// # Errors
/// [`Error::Data`]: a column of another type, several columns, a kind of label that has no positions, a mask that is not there.
pub fn make(
    source: &Source,
    config: &DataConfig,
    signature: &Signature,
    (axis, feeds): (usize, Feeds<'_>),
    (columns, inferred): (Vec<String>, bool),
    notes: &mut Vec<Note>,
) -> Result<(TargetFeed, TargetKind)> {
    let path = source.path().display();
    let kind = config.target.kind.unwrap_or(TargetKind::Class);
    let [name] = columns.as_slice() else {
        return Err(Error::Data(format!(
            "{path}: the model has a classification for each of several positions: the labels are one column of lists, not {} columns",
            columns.len()
        )));
    };
    let fail = |problem: String| Error::Data(format!("{path}: label column `{name}` {problem}"));
    if !kind.has_positions() {
        let problem =
            "has to hold a class for each position, as the model does: write `kind = \"class\"` under `[target]`";
        return Err(fail(problem.into()));
    }
    let ty = source.require(name, "the label")?.data_type();
    let text = labels::is_text(ty) && column::classify(ty) != Class::Text;
    let images = column::classify(ty) == Class::Image;
    if !text && !images && !matches!(column::classify(ty), Class::List(..)) {
        return Err(fail(format!(
            "holds {}, and the model has a classification for each of several positions: a list with a class for each is needed",
            column::described(ty)
        )));
    }
    let (classes, mut fixed) = shape(signature, axis);
    let image = match images {
        true => Some(size(signature, axis).map_or_else(|| pictures::size_of_first(source, name), Ok)?),
        false => None,
    };
    fixed = image.map(|(height, width)| height * width).or(fixed);
    let (words, from) = match kind {
        TargetKind::Class if !images => words::find(source, config, signature, name, classes)?,
        _ => (Words::default(), None),
    };
    let of_tokens = |fixed: usize| {
        let lists = signature.inputs.iter().filter(|spec| !spec.dtype.is_float());
        lists.filter_map(|spec| spec.row_dims()).any(|dims| dims == [Some(fixed)])
    };
    let tokens = match fixed.is_none_or(of_tokens) {
        true => tokens(signature, feeds, config.target.input.as_deref())?.map(|(_, tokens)| tokens.clone()),
        false => None,
    };
    let positions = Positions {
        ignore: config.target.ignore.clone().unwrap_or_else(|| vec![IGNORED]),
        masks: masks(source, config, None)?,
        fixed: fixed.filter(|_| tokens.is_none()),
        image,
        classes: classes.unwrap_or(0),
        tokens,
    };
    if let Some(tokens) = positions.tokens.as_ref().filter(|_| config.target.kind.is_none())
        && labels::are_tokens(source, name, &tokens.column, &positions.ignore)?
    {
        return Err(fail(format!(
            "holds the tokens of column `{}` themselves: if the model is a causal language model, whose labels are the tokens that follow, \
             write `kind = \"next\"` under `[target]`; if these are the answers at their own positions, write `kind = \"class\"`",
            tokens.column
        )));
    }
    let of = match (&positions.tokens, positions.fixed) {
        (Some(tokens), _) => format!("for each token of column `{}`", tokens.column),
        (None, Some(n)) => format!("for each of {n} positions"),
        (None, None) => "for each position".into(),
    };
    let how = format!(
        "column `{name}`: a class{} {of}{}{}",
        classes.map_or(String::new(), |n| format!(" of {n}")),
        left_out(&positions),
        from.map_or(String::new(), |from| format!(" ({from})")),
    );
    notes.push(Note { what: "target".into(), how, inferred: inferred || config.target.kind.is_none() });
    let width = positions.classes;
    Ok((TargetFeed { columns, labels: Labels::Positions(Box::new(positions)), words, width }, kind))
}

/// Labels that are the inputs themselves: of the kinds `next` and `same`.
///
/// # Errors
/// [`Error::Data`]: no input, or several, that they can be taken from; an output of another shape.
pub fn own(
    source: &Source,
    config: &DataConfig,
    signature: &Signature,
    feeds: Feeds<'_>,
    notes: &mut Vec<Note>,
) -> Result<(TargetFeed, TargetKind)> {
    let asked = config.target.input.as_deref();
    let (same_kind, column) = (config.target.kind == Some(TargetKind::Same), config.target.column.as_deref());
    if config.target.columns.is_some() || same_kind && column.is_some() {
        return Err(Error::Data(
            "`[target]`: the labels of the kinds `next` and `same` are the model's inputs; leave out `columns` and `column`, or name \
             another `kind`"
                .into(),
        ));
    }
    let columns: Vec<String> = column.map(str::to_owned).into_iter().collect();
    if let Some(column) = column {
        source.require(column, "`[target]`")?;
    }
    let mut note = |how: String| notes.push(Note { what: "target".into(), how, inferred: asked.is_none() });
    let target = |labels, width| TargetFeed { columns, labels, words: Words::default(), width };
    if same_kind {
        let (at, name) = same(signature, feeds, asked)?;
        note(format!("what the input `{name}` is fed"));
        let width = signature.scores.as_ref().and_then(|s| s.row_len()).unwrap_or(0);
        return Ok((target(Labels::Same(at), width), TargetKind::Same));
    }
    let Some(axis) = signature.class_axis else {
        return Err(Error::Data(
            "`[target]`: `kind = \"next\"` needs a model with scores for the next token at each position, and this one has none".into(),
        ));
    };
    let Some((at, tokens)) = tokens(signature, feeds, asked)? else {
        return Err(Error::Data("`[target]`: no input of the model takes lists of tokens".into()));
    };
    let positions = Positions {
        ignore: config.target.ignore.clone().unwrap_or_else(|| column.map(|_| IGNORED).into_iter().collect()),
        masks: masks(source, config, Some((signature, feeds, at)))?,
        tokens: Some(tokens.clone()),
        fixed: None,
        image: None,
        classes: shape(signature, axis).0.unwrap_or(0),
    };
    let from = column.unwrap_or(&tokens.column);
    note(format!("column `{from}`, at each token the one that follows{}", left_out(&positions)));
    let width = positions.classes;
    Ok((target(Labels::Next(Box::new(positions)), width), TargetKind::Next))
}

/// Which positions do not count, in words.
fn left_out(positions: &Positions) -> String {
    let ignored = positions.ignore.iter().map(|label| format!("; labels {label} do not count"));
    let masked = positions.masks.iter().map(|mask| format!("; positions where `{mask}` is 0 do not count"));
    ignored.chain(masked).collect()
}

/// Classes, and positions a row, of scores with the classes along `axis`, where they are fixed.
fn shape(signature: &Signature, axis: usize) -> (Option<usize>, Option<usize>) {
    let Some(dims) = signature.scores.as_ref().and_then(|scores| scores.dims.as_deref()) else { return (None, None) };
    let others = dims.iter().enumerate().skip(1).filter(|(at, _)| *at != axis);
    let positions = others.map(|(_, dim)| *dim).try_fold(1usize, |all, dim| all.checked_mul(dim?));
    (dims.get(axis).copied().flatten(), positions)
}

/// Height and width of the positions, if these have two axes of fixed extent.
fn size(signature: &Signature, axis: usize) -> Option<(usize, usize)> {
    let dims = signature.scores.as_ref()?.dims.as_deref()?;
    let others: Vec<_> = dims.iter().enumerate().skip(1).filter(|(at, _)| *at != axis).map(|(_, dim)| *dim).collect();
    match others.as_slice() {
        [Some(height), Some(width)] => Some((*height, *width)),
        _ => None,
    }
}

/// The tokens that positions are those of: of the input that is `asked` for, else of the only one, or of the decoder's.
///
/// # Errors
/// [`Error::Data`]: the one that is asked for takes no tokens, or there are several.
fn tokens<'a>(signature: &Signature, feeds: Feeds<'a>, asked: Option<&str>) -> Result<Option<(usize, &'a Tokens)>> {
    let follows = |name: &str| signature.inputs.iter().any(|s| s.name == name && inputs::follows(s).is_some());
    let all = feeds.iter().enumerate().filter_map(|(at, (name, feed))| match feed {
        Feed::Tokens(tokens) if !follows(name) => Some((at, name, tokens)),
        _ => None,
    });
    let mut fitting: Vec<_> = all.filter(|(_, name, _)| asked.is_none_or(|asked| asked == *name)).collect();
    if fitting.iter().filter(|(_, name, _)| inputs::of_decoder(name)).count() == 1 {
        fitting.retain(|(_, name, _)| inputs::of_decoder(name));
    }
    match fitting.as_slice() {
        [(at, _, tokens)] => Ok(Some((*at, tokens))),
        [] => match asked {
            Some(asked) => {
                Err(Error::Data(format!("`[target]`: `input = \"{asked}\"` is no input that lists of tokens feed")))
            }
            None => Ok(None),
        },
        several => {
            let names: Vec<String> = several.iter().map(|(_, name, _)| format!("`{name}`")).collect();
            let names = names.join(", ");
            Err(Error::Data(format!(
                "several inputs take lists of tokens ({names}): write `input = ...` under `[target]`"
            )))
        }
    }
}

/// The columns whose zeros are positions that do not count: the one that is configured, and that of the mask of `tokens`, if a column
/// feeds it.
fn masks(source: &Source, config: &DataConfig, tokens: Option<(&Signature, Feeds<'_>, usize)>) -> Result<Vec<String>> {
    let mut masks: Vec<String> = Vec::new();
    if let Some(mask) = &config.target.mask {
        source.require(mask, "`[target]`: `mask`")?;
        masks.push(mask.clone());
    }
    let Some((signature, feeds, of)) = tokens else { return Ok(masks) };
    let masking = |name: &str| {
        let spec = signature.inputs.iter().find(|s| s.name == name);
        spec.is_some_and(|s| inputs::follows(s) == Some(Rule::Mask))
    };
    masks.extend(feeds.iter().filter_map(|(name, feed)| match feed {
        Feed::Tokens(feed) if feed.follows == Some(of) && masking(name) => Some(feed.column.clone()),
        _ => None,
    }));
    Ok(masks)
}

/// The input that an autoencoder gives back.
fn same<'a>(signature: &Signature, feeds: Feeds<'a>, asked: Option<&str>) -> Result<(usize, &'a str)> {
    let len = |name: &str| signature.inputs.iter().find(|s| s.name == name).and_then(|s| s.row_len());
    let wanted = signature.scores.as_ref().and_then(|s| s.row_len());
    let fits = |name: &str| wanted.is_none() || len(name).is_none() || len(name) == wanted;
    let numbers = |feed: &Feed| matches!(feed, Feed::Numbers(_) | Feed::Image(_));
    let all =
        feeds.iter().enumerate().filter(|(_, (_, feed))| numbers(feed)).map(|(at, (name, _))| (at, name.as_str()));
    let fitting: Vec<_> = all.filter(|(_, name)| fits(name) && asked.is_none_or(|asked| asked == *name)).collect();
    match fitting.as_slice() {
        [one] => Ok(*one),
        [] => Err(Error::Data(
            "`[target]`: `kind = \"same\"` needs an input of numbers or images with as many values a row as the output"
                .into(),
        )),
        _ => Err(Error::Data(
            "`[target]`: several inputs have as many values a row as the output: write `input = ...`".into(),
        )),
    }
}
