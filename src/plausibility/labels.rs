//! Other ways in which labels may have been meant, judged by the scores that there are.

use super::{
    Suggestion,
    answers::{Answers, Task, mean},
};
use crate::audit::argmax;

/// A reading of the labels that would suit the model: what it is, and what to do.
struct Reading {
    what: String,
    mend: String,
    labels: Vec<f64>,
}

/// The readings of the labels under which the model is right far more often, the best first.
pub fn suggestions(answers: &Answers) -> Vec<Suggestion> {
    // What a reading takes from the rows is taken from one half of them and judged on the other.
    let (even, odd): (Vec<usize>, Vec<usize>) = (0..answers.rows()).partition(|row| row % 2 == 0);
    let (fitted, judged) = (answers.select(&even), answers.select(&odd));
    let whole = fixed(answers).into_iter().filter_map(|r| weigh(answers, r));
    let halves = matched(&fitted, &judged).into_iter().filter_map(|r| weigh(&judged, r));
    let mut found: Vec<Suggestion> = whole.chain(halves).collect();
    found.sort_by(Suggestion::order);
    found
}

fn weigh(answers: &Answers, reading: Reading) -> Option<Suggestion> {
    Suggestion::if_better(answers, &answers.labeled(reading.labels), reading.what, reading.mend)
}

/// Readings that nothing has to be estimated for.
fn fixed(answers: &Answers) -> Vec<Reading> {
    let (labels, last) = (&answers.labels, answers.width.saturating_sub(1) as f64);
    let of = |what: &str, mend: &str, map: &dyn Fn(f64) -> f64| Reading {
        what: what.into(),
        mend: mend.into(),
        labels: labels.iter().map(|&y| map(y)).collect(),
    };
    let lowest = labels.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = labels.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let numbers =
        "number the classes in the label column as at training: a class is the position of its output, from 0";
    match answers.task {
        Task::Class => {
            let mut all = vec![of("the classes are numbered in reverse", numbers, &|y| last - y)];
            if lowest >= 1.0 {
                all.push(of("the classes are numbered one too high", numbers, &|y| y - 1.0));
            }
            if highest < last {
                all.push(of("the classes are numbered one too low", numbers, &|y| y + 1.0));
            }
            all.push(of("the classes are numbered one too high, the first one last", numbers, &|y| {
                if y > 0.0 { y - 1.0 } else { last }
            }));
            all.push(of("the classes are numbered one too low, the last one first", numbers, &|y| {
                if y < last { y + 1.0 } else { 0.0 }
            }));
            all
        }
        Task::Binary => vec![of("0 and 1 are swapped", "swap 0 and 1 in the label column", &|y| 1.0 - y)],
        Task::MultiLabel => {
            let mut all = vec![of("0 and 1 are swapped", "swap 0 and 1 in the labels", &|y| 1.0 - y)];
            all.push(Reading {
                what: "the labels are in reverse order".into(),
                mend: "list the labels in the order of the model's outputs".into(),
                labels: answers.label_rows().flat_map(|row| row.iter().rev().copied()).collect(),
            });
            all
        }
        Task::Value => Vec::new(),
    }
}

/// Readings that are estimated on some rows, as labels of `judged`.
fn matched(fitted: &Answers, judged: &Answers) -> Vec<Reading> {
    match fitted.task {
        Task::Class => renumbered(fitted, judged).into_iter().collect(),
        Task::Binary => Vec::new(),
        Task::MultiLabel => reordered(fitted, judged).into_iter().collect(),
        Task::Value => {
            let mut all: Vec<Reading> = rescaled(fitted, judged).into_iter().collect();
            all.extend(reordered(fitted, judged));
            all
        }
    }
}

/// The numbering of the classes that fits the model's answers: each label is the class that the model mostly takes its rows for.
fn renumbered(fitted: &Answers, judged: &Answers) -> Option<Reading> {
    let width = fitted.width;
    if !(2..=1000).contains(&width) {
        return None;
    }
    let mut counts = std::collections::BTreeMap::<(usize, usize), usize>::new();
    for (label, row) in fitted.classes().into_iter().zip(fitted.score_rows()) {
        *counts.entry((label, argmax(row)?)).or_default() += 1;
    }
    let map = assigned(counts.into_iter().map(|(pair, n)| (pair, n as f64)).collect(), width);
    Some(Reading {
        what: "the classes are numbered in another order".into(),
        mend: "number the classes in the label column as at training: a class is the position of its output, from 0; \
               `[target] classes = [...]` maps names"
            .into(),
        labels: judged.classes().iter().map(|&c| map.get(c).copied().unwrap_or(c) as f64).collect(),
    })
}

/// The order of the label columns that fits the model's outputs, by correlation.
fn reordered(fitted: &Answers, judged: &Answers) -> Option<Reading> {
    let width = fitted.width;
    if !(2..=64).contains(&width) || fitted.labels_a_row != width {
        return None;
    }
    let column = |k: usize, of: &dyn Fn(&Answers) -> Vec<f64>| -> Vec<f64> {
        of(fitted).chunks_exact(width).filter_map(|row| row.get(k).copied()).collect()
    };
    let scores: Vec<Vec<f64>> = (0..width).map(|k| column(k, &|a| a.scores.clone())).collect();
    let labels: Vec<Vec<f64>> = (0..width).map(|k| column(k, &|a| a.labels.clone())).collect();
    let pairs = labels
        .iter()
        .enumerate()
        .flat_map(|(l, own)| scores.iter().enumerate().map(move |(s, score)| ((l, s), correlation(own, score))));
    // To which output each label column belongs.
    let map = assigned(pairs.collect(), width);
    let mut place = vec![0; width];
    for (label, &score) in map.iter().enumerate() {
        *place.get_mut(score)? = label;
    }
    Some(Reading {
        what: "the label columns are in another order than the model's outputs".into(),
        mend: "list the columns in the order of the model's outputs: `columns = [...]` under `[target]`".into(),
        labels: judged
            .label_rows()
            .flat_map(|row| place.iter().map(|&l| row.get(l).copied().unwrap_or(f64::NAN)).collect::<Vec<_>>())
            .collect(),
    })
}

/// Labels in the unit of the model's answers: `label = factor · answer + offset`, or the logarithm of the label is.
fn rescaled(fitted: &Answers, judged: &Answers) -> Vec<Reading> {
    let positive = |a: &Answers| a.labels.iter().all(|&y| y > -1.0);
    let maps: [(&str, fn(f64) -> f64, bool); 3] = [
        ("", |y| y, true),
        (
            "the model answers the logarithm of the label",
            |y: f64| y.max(1e-12).ln(),
            fitted.labels.iter().all(|&y| y > 0.0),
        ),
        ("the model answers the logarithm of 1 + the label", f64::ln_1p, positive(fitted) && positive(judged)),
    ];
    let mut all = Vec::new();
    for (what, map, applies) in maps {
        if !applies {
            continue;
        }
        let mapped = |a: &Answers| a.labeled(a.labels.iter().map(|&y| map(y)).collect());
        let (own, other) = (mapped(fitted), mapped(judged));
        let Some(lines) = (0..own.width).map(|k| line(&own, k)).collect::<Option<Vec<_>>>() else { continue };
        let labels: Vec<f64> = other
            .label_rows()
            .flat_map(|row| row.iter().zip(&lines).map(|(y, (a, b))| (y - b) / a).collect::<Vec<_>>())
            .collect();
        let unit = match lines.as_slice() {
            [(a, b)] => format!("label = {a:.4} · answer {} {:.4}", if *b < 0.0 { '−' } else { '+' }, b.abs()),
            _ => "a factor and an offset for each label column".into(),
        };
        let what = if what.is_empty() { "the labels are in another unit".to_string() } else { what.to_string() };
        all.push(Reading {
            what: format!("{what} ({unit})"),
            mend: "store the labels in the unit that the model was trained on".into(),
            labels,
        });
    }
    all
}

/// Factor and offset of the label column `k` as a function of the answer, by least squares.
fn line(answers: &Answers, k: usize) -> Option<(f64, f64)> {
    let pairs =
        || answers.score_rows().zip(answers.label_rows()).filter_map(move |(s, l)| Some((*s.get(k)?, *l.get(k)?)));
    let (x, y) = (mean(pairs().map(|p| p.0)), mean(pairs().map(|p| p.1)));
    let spread = mean(pairs().map(|p| (p.0 - x).powi(2)));
    let slope = mean(pairs().map(|p| (p.0 - x) * (p.1 - y))) / spread;
    (slope.is_finite() && slope.abs() > 1e-12).then_some((slope, y - slope * x))
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (x, y) = (mean(a.iter().copied()), mean(b.iter().copied()));
    let of = |p: &[f64], u: f64, q: &[f64], v: f64| mean(p.iter().zip(q).map(|(p, q)| (p - u) * (q - v)));
    let spread = (of(a, x, a, x) * of(b, y, b, y)).sqrt();
    if spread > 0.0 { of(a, x, b, y) / spread } else { 0.0 }
}

/// One partner for each of `n`: pairs of the highest worth first; who is left keeps their own place if it is free.
fn assigned(mut pairs: Vec<((usize, usize), f64)>, n: usize) -> Vec<usize> {
    pairs.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let (mut of, mut taken) = (vec![None; n], vec![false; n]);
    let identity = (0..n).map(|i| ((i, i), 0.0)).collect::<Vec<_>>();
    let rest = (0..n).flat_map(|i| (0..n).map(move |j| ((i, j), 0.0)));
    for ((one, other), _) in pairs.into_iter().chain(identity).chain(rest) {
        if let (Some(slot @ None), Some(free @ false)) = (of.get_mut(one), taken.get_mut(other)) {
            (*slot, *free) = (Some(other), true);
        }
    }
    of.into_iter().enumerate().map(|(i, found)| found.unwrap_or(i)).collect()
}
