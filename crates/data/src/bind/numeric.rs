//! Inputs of numbers: a column, lists, or several columns side by side.

use super::super::{
    InputConfig, InputKind, InputSpec, Layout, PerChannel,
    column::{self, Class, Number},
    decode::{Feed, Numbers},
    source::Source,
};
use super::{
    feeds::{affine, unused, wrong},
    peek::Peek,
    say,
};
use crate::{Error, Result};
use arrow_schema::DataType;

/// A column of numbers, or of lists of as many in every row.
///
/// # Errors
/// [`Error::Data`] if the column holds floats and the input takes none, if its lists differ in length, if their numbers
/// do not fill the input's shape, or if the scaling of the configuration does not fit.
pub fn numeric(
    source: &Source,
    spec: &InputSpec,
    given: &InputConfig,
    name: &str,
    peek: &Peek,
) -> Result<(Feed, String)> {
    let scalar = matches!(peek.class, Class::Scalar(_));
    if let Class::Scalar(Number::Float) | Class::List(Number::Float, _) = peek.class
        && !spec.dtype.is_float()
    {
        return Err(wrong(source, spec, name, &format!("holds floats, but the input takes {}", spec.dtype)));
    }
    let Some(length) = peek.uniform() else {
        let (low, high) = peek.lengths.unwrap_or((0, 0));
        let tokens = if spec.dtype.is_float() {
            String::new()
        } else {
            format!("; for tokens, {}", say(&spec.name, "kind = \"tokens\""))
        };
        let place =
            peek.ragged.map_or(String::new(), |row| format!(" (row {row}, counted from 0, differs from the first)"));
        let problem = format!("has lists of {low} to {high} numbers{place}, but every row needs as many{tokens}");
        return Err(wrong(source, spec, name, &problem));
    };
    let misfit = || {
        let problem = format!("has {length} numbers a row, but the input has shape {}", spec.shape());
        wrong(source, spec, name, &problem)
    };
    let dims: Vec<usize> = match spec.row_dims() {
        None if scalar => vec![1],
        None if !peek.nested.is_empty() => peek.nested.clone(),
        None => vec![length],
        Some(dims) => {
            let known = dims.iter().flatten().try_fold(1usize, |n, d| n.checked_mul(*d)).ok_or_else(misfit)?;
            match dims.iter().filter(|d| d.is_none()).count() {
                0 => dims.iter().flatten().copied().collect(),
                1 if known > 0 && length % known == 0 => dims.iter().map(|d| d.unwrap_or(length / known)).collect(),
                _ if peek.nested.len() == dims.len() => {
                    peek.nested.iter().zip(dims).map(|(seen, d)| d.unwrap_or(*seen)).collect()
                }
                _ => return Err(misfit()),
            }
        }
    };
    if dims.iter().product::<usize>() != length {
        return Err(misfit());
    }
    let affine = numeric_affine(spec, given, &dims)?;
    let what = if scalar { "a number a row".into() } else { format!("lists of {length} numbers") };
    let scaled = if affine.is_some() { ", scaled as the configuration says" } else { "" };
    let how = format!("column `{name}`, {what}{scaled}");
    Ok((
        Feed::Numbers(Numbers { columns: vec![name.to_owned()], dims, dtype: spec.dtype, limit: spec.table, affine }),
        how,
    ))
}

/// Factors and terms of every element of a row, where the configuration gives any: for each element, or for each
/// channel of an image.
fn numeric_affine(spec: &InputSpec, given: &InputConfig, dims: &[usize]) -> Result<Option<Vec<(f64, f64)>>> {
    if given.scale.is_none() && given.mean.is_none() && given.std.is_none() {
        return Ok(None);
    }
    if !spec.dtype.is_float() {
        return Err(Error::Data(format!(
            "`[inputs.{}]`: the input takes {}, which is not scaled",
            spec.name, spec.dtype
        )));
    }
    let length = dims.iter().product::<usize>();
    let count = |v: &Option<PerChannel>| match v {
        Some(PerChannel::Each(xs)) => Some(xs.len()),
        _ => None,
    };
    let channels = match (given.layout.unwrap_or(Layout::Nchw), dims) {
        (Layout::Nchw, [c, _, ..]) => Some(*c),
        (Layout::Nhwc, [.., c]) if dims.len() > 1 => Some(*c),
        _ => None,
    };
    let given_count = count(&given.mean).or(count(&given.std));
    match channels {
        Some(c) if c > 0 && given_count == Some(c) && c != length => {
            let each = affine(spec, given, c, 1.0)?;
            let run = if given.layout == Some(Layout::Nhwc) { 1 } else { length / c };
            let element = |i: usize| each.get(i / run % c).copied().unwrap_or((1.0, 0.0));
            Ok(Some((0..length).map(element).collect()))
        }
        _ => affine(spec, given, length, 1.0).map(Some),
    }
}

fn not_a_number(source: &Source, spec: &InputSpec, column: &str, ty: &DataType) -> Error {
    let advice = match column::classify(ty) {
        Class::List(..) => "a list has to be a column of its own input, named by `column`",
        _ => column::advice(ty),
    };
    wrong(source, spec, column, &format!("holds {}, and one number a row is needed; {advice}", column::described(ty)))
}

/// Columns of numbers, side by side.
///
/// # Errors
/// [`Error::Data`] if a column does not exist or does not hold one number a row, if it holds floats and the input takes
/// none, if the number of columns does not fill the input's shape, or if an entry of the configuration does not fit.
pub fn table(source: &Source, spec: &InputSpec, given: &InputConfig, columns: &[String]) -> Result<(Feed, String)> {
    unused(spec, given, InputKind::Numeric)?;
    if given.kind.is_some_and(|k| k != InputKind::Numeric) {
        return Err(Error::Data(format!("`[inputs.{}]`: several columns make a `numeric` input only", spec.name)));
    }
    for name in columns {
        let ty = source.require(name, "the model")?.data_type();
        match column::classify(ty) {
            Class::Scalar(Number::Float) if !spec.dtype.is_float() => {
                return Err(wrong(source, spec, name, &format!("holds floats, but the input takes {}", spec.dtype)));
            }
            Class::Scalar(_) => {}
            _ => return Err(not_a_number(source, spec, name, ty)),
        }
    }
    let n = columns.len();
    let dims: Vec<usize> = match spec.row_dims() {
        None | Some([None]) => vec![n],
        Some(dims) => dims.iter().map(|d| d.unwrap_or(0)).collect(),
    };
    if dims.iter().product::<usize>() != n {
        let problem = format!("{n} columns are given, but it has shape {}", spec.shape());
        return Err(Error::Data(format!("input `{}`: {problem}", spec.name)));
    }
    let affine = numeric_affine(spec, given, &dims)?;
    let shown: Vec<_> = columns.iter().take(6).map(|c| format!("`{c}`")).collect();
    let more = if n > 6 { format!(", … ({n} in all)") } else { String::new() };
    let how = format!("columns {}{more}, in this order", shown.join(", "));
    Ok((Feed::Numbers(Numbers { columns: columns.to_vec(), dims, dtype: spec.dtype, limit: spec.table, affine }), how))
}
