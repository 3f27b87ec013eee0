//! Lists of tokens, and inputs that mark them.

use super::{Alternative, replaced, table};
use crate::{
    data::{Batch, Feed, Plan, Rule, Tokens},
    tensor::HostTensor,
};
use std::rc::Rc;

/// The integers of one input changed row by row.
fn integers_changed(batch: &Batch, name: &str, change: impl Fn(&[i64]) -> Option<Vec<i64>>) -> Option<Batch> {
    let tensor = batch.inputs.get(name)?;
    let (dims, values) = (tensor.dims().to_vec(), tensor.to_i64()?);
    let mut out = Vec::with_capacity(values.len());
    for row in values.chunks_exact(values.len().checked_div(*dims.first()?)?.max(1)) {
        out.extend(change(row)?);
    }
    let out = out.into_iter().map(|x| x as f64).collect();
    replaced(batch, name, HostTensor::of_type(&dims, out, tensor.dtype())?)
}

/// Token ids of another vocabulary, padding on the other side.
pub(super) fn token_lists(
    (plan, index): (&Plan, usize),
    name: &str,
    tokens: &Tokens,
    sample: &Batch,
    all: &mut Vec<Alternative>,
) {
    let padding = tokens.padding;
    for (what, by) in [("one too high", -1), ("one too low", 1)] {
        let own = name.to_string();
        let change = move |batch: &Batch| {
            integers_changed(batch, &own, |row| {
                row.iter().map(|&t| Some(if t == padding { t } else { t + by }).filter(|t| *t >= 0)).collect()
            })
        };
        all.push(Alternative {
            what: format!("input `{name}`: token ids that are {what}"),
            mend: "tokenize with the tokenizer of the model".into(),
            change: Rc::new(change),
        });
    }
    let own = name.to_string();
    let reversed = move |batch: &Batch| {
        integers_changed(batch, &own, |row| {
            let filled = row.len() - row.iter().rev().take_while(|&&t| t == padding).count();
            let (tokens, rest) = row.split_at_checked(filled)?;
            Some(tokens.iter().rev().chain(rest).copied().collect())
        })
    };
    all.push(Alternative {
        what: format!("input `{name}`: tokens in reverse order"),
        mend: "store each row's tokens in the order of training".into(),
        change: Rc::new(reversed),
    });
    // Begin and end of a longer text, exchanged.
    let own = name.to_string();
    let halves = move |batch: &Batch| integers_changed(batch, &own, halves_exchanged);
    all.push(Alternative {
        what: format!("input `{name}`: the second half of the tokens in front"),
        mend: "store each row's tokens in the order of training".into(),
        change: Rc::new(halves),
    });
    let masks: Vec<String> = plan
        .feeds
        .iter()
        .filter(|(name, feed)| match feed {
            Feed::Derived(mask) => mask.of == index && mask.rule == Rule::Mask,
            Feed::Tokens(mask) => mask.padding == 0 && zero_one(sample, name),
            _ => false,
        })
        .map(|(name, _)| name.clone())
        .collect();
    let own = name.to_string();
    let left = move |batch: &Batch| {
        let shift = |row: &[i64], by: usize| [row.get(row.len() - by..)?, row.get(..row.len() - by)?].concat().into();
        let trailing = |row: &[i64], fill: i64| row.iter().rev().take_while(|&&t| t == fill).count();
        let mut batch = integers_changed(batch, &own, |row| shift(row, trailing(row, padding)))?;
        for mask in &masks {
            batch = integers_changed(&batch, mask, |row| shift(row, trailing(row, 0)))?;
        }
        Some(batch)
    };
    all.push(Alternative {
        what: format!("input `{name}`: padding in front of the tokens"),
        mend: "store lists of one length, padded in front as at training".into(),
        change: Rc::new(left),
    });
}

/// The second half of a row in front of the first one, if both are as long.
fn halves_exchanged(row: &[i64]) -> Option<Vec<i64>> {
    let (front, back) = row.split_at_checked(row.len() / 2)?;
    (front.len() == back.len()).then(|| [back, front].concat())
}

/// Whether an input holds integers of 0 and 1 alone.
fn zero_one(sample: &Batch, name: &str) -> bool {
    let values = sample.inputs.get(name).and_then(HostTensor::to_i64).unwrap_or_default();
    !values.is_empty() && values.iter().all(|x| (0..=1).contains(x))
}

/// Inputs of 0 and 1 that mark tokens: everything marked, or the other way round.
pub(super) fn masks(name: &str, feed: &Feed, sample: &Batch, all: &mut Vec<Alternative>) {
    let may_mark = match feed {
        Feed::Derived(derived) => derived.rule == Rule::Mask,
        Feed::Numbers(numbers) => numbers.row_len() > 1,
        Feed::Tokens(_) => true,
        Feed::Image(_) | Feed::Label(_) | Feed::Group(_) => false,
    };
    if !may_mark || !zero_one(sample, name) {
        return;
    }
    for (what, map) in [("1 for padding, 0 for tokens", (|x| 1 - x) as fn(i64) -> i64), ("1 everywhere", |_| 1)] {
        let own = name.to_string();
        let change =
            move |batch: &Batch| integers_changed(batch, &own, |row| Some(row.iter().map(|&x| map(x)).collect()));
        all.push(Alternative {
            what: format!("input `{name}`: a mask with {what}"),
            mend: format!(
                "store the mask of training in a column, and name it by `column = \"...\"` under {}",
                table(name)
            ),
            change: Rc::new(change),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begin_and_end_of_a_text_are_exchanged() {
        assert_eq!(halves_exchanged(&[1, 2, 9, 8]), Some(vec![9, 8, 1, 2]));
        assert_eq!(halves_exchanged(&[1, 2, 3]), None);
    }
}
