//! Several classifications a row (tags of tokens, masks, next words): along which axis the classes lie.

use super::{LabelKind, Labels, heads::Head, tracer::Tracer};
use crate::{
    graph::{Dim, ValueId, shapes::Extent},
    label_facts::LabelFacts,
};
use std::ops::Range;

/// Why an output holds several classifications a row, and what is told of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Several {
    /// A sentence.
    pub(super) problem: String,
    /// The axis of the classes, if a Softmax or an ArgMax tells it; 0 is that of the rows.
    pub(super) classes: Option<usize>,
}

/// Whether a value of `dims` holds several classifications a row: an axis that is neither the rows nor among `classes`
/// (by default the one after the rows, if others have extent 1) has more than one entry.
pub(super) fn several(dims: &[Dim], classes: Option<Range<usize>>) -> Option<Several> {
    let wide = |dim: &Dim| *dim != Dim::Fixed(1);
    let after_rows: Vec<usize> =
        dims.iter().enumerate().skip(1).filter(|(_, dim)| wide(dim)).map(|(axis, _)| axis).collect();
    let many = match &classes {
        Some(classes) => after_rows.iter().any(|axis| !classes.contains(axis)),
        None => after_rows.len() > 1,
    };
    let one = classes.filter(|classes| classes.len() == 1).map(|classes| classes.start);
    many.then(|| Several {
        problem: format!("it has {} axes, so several classifications a row", dims.len()),
        classes: one,
    })
}

/// What the labels are beside this output: lists of whole numbers are a class for each position, unless they have as many numbers as the
/// output has values.
pub(super) fn label_kind(tracer: &Tracer<'_>, labels: &Labels, head: &Head) -> LabelKind {
    let Some(facts) = labels.facts.as_ref().filter(|_| head.several_a_row.is_some()) else { return labels.kind };
    let elementwise = facts.width.is_some() && facts.width == head.width;
    // A mask of one channel: a yes or no for each position.
    let channel = extents(tracer, head.logits).is_some_and(|dims| dims.get(1) == Some(&Some(1)));
    match labels.kind {
        LabelKind::Class | LabelKind::Unknown if facts.lists && facts.whole && !elementwise && !channel => {
            LabelKind::Positions
        }
        kind => kind,
    }
}

/// The axis of the classes in `scores`: the one `asked` for, the one that a Softmax tells, else the one that shapes leave.
///
/// The candidates are the second axis and the last one. A class axis has a fixed extent, above every label; the others together
/// have as many entries as a row has labels, or no fewer if rows differ. Where a label or a row is wrong, the shape alone decides, so
/// that reading the rows can name it. An axis as long as the lists of tokens that the model takes is none.
///
/// # Errors
/// What to do, if no candidate is left, or both are.
pub(super) fn class_axis(
    tracer: &Tracer<'_>,
    scores: ValueId,
    told: Option<usize>,
    asked: Option<i64>,
    facts: Option<&LabelFacts>,
) -> Result<usize, String> {
    let dims = extents(tracer, scores).ok_or("the file does not tell how many axes it has; export it with shapes")?;
    let rank = dims.len();
    let shape = || dims.iter().map(|d| d.map_or("?".into(), |n| n.to_string())).collect::<Vec<_>>().join(", ");
    let last = rank.saturating_sub(1);
    if let Some(asked) = asked {
        let axis = usize::try_from(if asked < 0 { asked + rank as i64 } else { asked }).ok();
        return axis.filter(|axis| (1..rank).contains(axis)).ok_or_else(|| {
            format!("`class_axis = {asked}` is none of its axes 1 to {last}, or -{last} to -1, of shape [{}]", shape())
        });
    }
    match told {
        Some(0) => return Err("its classes lie along the axis of the rows".into()),
        Some(axis) => return Ok(axis),
        None => {}
    }
    let positions_without = |axis: usize| {
        let others = dims.iter().enumerate().skip(1).filter(|(i, _)| *i != axis);
        others.map(|(_, d)| *d).try_fold(1usize, |all, d| all.checked_mul(d?))
    };
    let lengths = token_lengths(tracer);
    let of_tokens = |axis: usize, n: usize| axis == 1 && lengths.contains(&n);
    let extent = |axis: usize| dims.get(axis).copied().flatten().filter(|&n| n > 1 && !of_tokens(axis, n));
    let above = |axis: usize| facts.is_none_or(|facts| extent(axis).is_some_and(|n| facts.highest < n as f64));
    let as_many = |axis: usize| match (positions_without(axis), facts) {
        (Some(here), Some(facts)) => facts.width.map_or(facts.longest <= here, |width| width == here),
        _ => true,
    };
    // Rows of tokens are cut and padded, and then have as many labels as they like.
    let any_length = !lengths.is_empty() || facts.is_some_and(|facts| facts.width.is_none());
    let fitting = |fits: &dyn Fn(usize) -> bool| -> Vec<usize> {
        [1, last].into_iter().filter(|&axis| extent(axis).is_some() && fits(axis)).collect()
    };
    let all = [fitting(&|axis| above(axis) && as_many(axis)), fitting(&as_many), fitting(&|_| any_length)];
    let mut candidates = all.into_iter().find(|candidates| !candidates.is_empty()).unwrap_or_default();
    candidates.dedup();
    match candidates.as_slice() {
        [axis] => Ok(*axis),
        [] => Err(format!(
            "neither its second axis nor its last one fits the labels as that of the classes; its shape is [{}]: write \
             `class_axis = N` under `[target]`",
            shape()
        )),
        _ => Err(format!(
            "its classes may lie along axis 1 or along axis {last}; its shape is [{}]: write `class_axis = 1` or `class_axis = -1` \
             under `[target]`",
            shape()
        )),
    }
}

/// The extents of a value, where they are fixed: as declared, else as inferred.
fn extents(tracer: &Tracer<'_>, value: ValueId) -> Option<Vec<Option<usize>>> {
    let declared = tracer.dims(value).map(|dims| {
        let extent = |dim: &Dim| if let Dim::Fixed(n) = dim { Some(*n) } else { None };
        dims.iter().map(extent).collect::<Vec<_>>()
    });
    let inferred = tracer.shapes.dims(value).map(|dims| {
        let extent = |dim: &Extent| if let Extent::Fixed(n) = dim { Some(*n) } else { None };
        dims.iter().map(extent).collect::<Vec<_>>()
    });
    match (declared, inferred) {
        (Some(declared), Some(inferred)) if declared.len() == inferred.len() => {
            Some(declared.into_iter().zip(inferred).map(|(a, b)| a.or(b)).collect())
        }
        (declared, inferred) => declared.or(inferred),
    }
}

/// How many tokens a row has, by the inputs that take lists of integers of a fixed length.
fn token_lengths(tracer: &Tracer<'_>) -> Vec<usize> {
    let graph = tracer.graph;
    let lists = graph.inputs.iter().filter(|&&input| graph.declared_dtype(input).is_some_and(|t| !t.is_float()));
    let length = |input: &ValueId| match graph.declared_dims(*input)? {
        [_, Dim::Fixed(n)] => Some(*n),
        _ => None,
    };
    lists.filter_map(length).collect()
}
