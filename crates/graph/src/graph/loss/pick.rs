//! One of several outputs: by the labels where they are known, then by what names and the graph tell.

use super::{
    Labels,
    heads::{Ending, Head, listed},
};
use crate::{
    error::{Error, Result},
    graph::{Graph, Links, ValueId},
    label_facts::LabelFacts,
};
use std::collections::{BTreeMap, BTreeSet};

/// What was chosen.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) head: Head,
    /// How many outputs hold scores of their own.
    pub(super) heads: usize,
    /// Why this one, if there were several.
    pub(super) reason: Option<String>,
    /// What to ask, where nothing decided and no labels are known yet.
    pub(super) undecided: Option<String>,
}

/// How well labels fit a head; less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// As many scores as there are classes, or values.
    Exact,
    /// More scores than classes, or one logit for two.
    Wider,
    /// Numbers that could be values.
    Values,
    /// The file does not tell how many scores there are.
    Open,
}

/// One of `heads`, of which there are several.
///
/// # Errors
/// [`Error::Untrainable`] if the labels are known and no head fits them, or several do and nothing decides.
pub(super) fn pick(graph: &Graph, links: &Links, heads: &[Head], labels: &Labels) -> Result<Choice> {
    let count = graph.outputs.len();
    let chosen = |head: &Head, reason: &str| Choice {
        head: head.clone(),
        heads: heads.len(),
        reason: Some(format!("of {count} outputs `{}`, {reason}", graph.name(head.output))),
        undecided: None,
    };
    let ask = |which: &str, among: &[Head]| {
        let outputs: Vec<ValueId> = among.iter().map(|head| head.output).collect();
        format!(
            "{which}: {}; say which one by --output NAME, or `output = \"NAME\"` under `[target]`",
            listed(graph, &outputs)
        )
    };
    let mut left: Vec<Head> = heads.to_vec();
    if let Some(facts) = &labels.facts {
        let fits: Vec<Option<Fit>> = heads.iter().map(|head| fit(head, facts)).collect();
        let of_column = heads.iter().zip(&fits).filter(|(head, fit)| {
            fit.is_some() && facts.columns.iter().any(|column| is_called(graph.name(head.output), column))
        });
        if let [(head, _)] = of_column.collect::<Vec<_>>().as_slice() {
            return Ok(chosen(head, "which has the label column's name and a shape that fits"));
        }
        let best = fits.iter().flatten().min();
        left = heads
            .iter()
            .zip(&fits)
            .filter(|(_, fit)| fit.is_some() && fit.as_ref() == best)
            .map(|x| x.0.clone())
            .collect();
        match left.as_slice() {
            [] => {
                return Err(Error::Untrainable(ask(
                    &format!("the labels ({facts}) fit none of the model's outputs as they are"),
                    heads,
                )));
            }
            [head] => return Ok(chosen(head, "the one whose shape fits the labels")),
            _ => {}
        }
    }
    if let Some((head, reason)) = by_rules(graph, links, &left) {
        return Ok(chosen(&head, reason));
    }
    let question = ask("several outputs could take the labels", &left);
    match (&labels.facts, left.first()) {
        (None, Some(first)) => {
            let mut choice = chosen(first, "as the first one, for want of anything that decides");
            choice.undecided = Some(question);
            Ok(choice)
        }
        _ => Err(Error::Untrainable(question)),
    }
}

/// Whether an output is called after a label column: `emotion`, `emotion_logits`.
fn is_called(output: &str, column: &str) -> bool {
    let plain = |name: &str| name.to_lowercase().replace(['-', '.', ' ', '/'], "_");
    let (output, column) = (plain(output), plain(column));
    let column = column.trim_start_matches("label_").trim_end_matches("_label");
    let parts: Vec<&str> = output.split('_').collect();
    !column.is_empty() && (output == column || parts.first() == Some(&column) || parts.last() == Some(&column))
}

/// How well labels fit, if they do.
fn fit(head: &Head, facts: &LabelFacts) -> Option<Fit> {
    let width = head.width;
    if facts.lists || facts.width != Some(1) {
        return match (facts.width, width) {
            (Some(n), Some(width)) if n == width => Some(Fit::Exact),
            (None, Some(width)) if facts.whole && head.several_a_row.is_none() && facts.highest < width as f64 => {
                Some(Fit::Wider)
            }
            (_, None) => Some(Fit::Open),
            _ => None,
        };
    }
    let values = || (head.ending == Ending::Plain && width.is_none_or(|width| width == 1)).then_some(Fit::Values);
    if !facts.whole || facts.lowest < 0.0 {
        return values();
    }
    let classes = if facts.highest < 1.0 { 2.0 } else { facts.highest + 1.0 };
    let one_a_row = head.several_a_row.is_none() && head.bounded.is_none();
    match width {
        _ if !one_a_row => None,
        Some(1) if classes == 2.0 && head.ending == Ending::Sigmoid => Some(Fit::Exact),
        Some(width) if width > 1 && width as f64 == classes => Some(Fit::Exact),
        Some(width) if width > 1 && width as f64 > classes => Some(Fit::Wider),
        Some(1) if classes == 2.0 => Some(Fit::Wider),
        Some(1) => values(),
        None => Some(Fit::Open),
        _ => None,
    }
}

/// The head that a name or its place in the graph decides for.
fn by_rules(graph: &Graph, links: &Links, heads: &[Head]) -> Option<(Head, &'static str)> {
    let name = |head: &Head| graph.name(head.output).to_lowercase();
    let only = |test: &dyn Fn(&Head) -> bool| {
        let mut found = heads.iter().filter(|head| test(head));
        found.next().filter(|_| found.next().is_none()).cloned()
    };
    // The nodes before those that make logits, and how many logits each node makes.
    let makers: BTreeMap<usize, BTreeSet<ValueId>> = heads.iter().fold(BTreeMap::new(), |mut makers, head| {
        if let Some((n, _)) = links.producer(head.logits) {
            makers.entry(n).or_default().insert(head.logits);
        }
        makers
    });
    let taken = makers.keys().filter_map(|&n| graph.nodes.get(n)).flat_map(|node| node.dependencies().flatten());
    let before = graph.ancestors(&taken.collect::<Vec<_>>());
    let deepest = |head: &Head| {
        let own = links.producer(head.logits).map(|(n, _)| n);
        own.is_none_or(|n| !before.contains(&n) && makers.get(&n).is_none_or(|logits| logits.len() == 1))
    };
    type Rule<'a> = (&'a dyn Fn(&Head) -> bool, &'static str);
    let rules: [Rule<'_>; 5] = [
        (&|head| name(head).contains("logit"), "by its name"),
        (&|head| head.ending != Ending::Plain, "as the only one that shows classes"),
        (&|head| name(head).contains("score") || name(head).contains("prob"), "by its name"),
        (&|head| head.several_a_row.is_none() && head.width.is_some(), "as the only one with one row of values a row"),
        (&deepest, "as the last one: the others lead to it"),
    ];
    rules.into_iter().find_map(|(test, reason)| Some((only(test)?, reason)))
}
