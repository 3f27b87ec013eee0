//! A class for each of several positions of a row: tags of tokens, masks, next words.

use super::{Encoded, Tokens, column, open_mask};
use crate::{
    IGNORED, Targets,
    column::{Lists, doubles, flatten, integers},
    fault::Fault,
};
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use std::{path::Path, sync::Arc};

/// How the classes of a row's positions are made.
#[derive(Clone, Debug)]
pub struct Positions {
    /// Labels that do not count, such as −100.
    pub ignore: Vec<i64>,
    /// Columns with a number for each position: where it is 0, the position does not count.
    pub masks: Vec<String>,
    /// The tokens that the positions are those of, if they are.
    pub tokens: Option<Tokens>,
    /// Positions a row, if the model has a fixed number of them and takes no tokens.
    pub fixed: Option<usize>,
    /// Height and width, if the labels are masks: images whose pixels are the classes.
    pub image: Option<(usize, usize)>,
    /// Classes of the model; 0 where they are not known.
    pub classes: usize,
}

impl Positions {
    /// The columns that are read beside that of the labels.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.masks.iter().map(String::as_str).chain(self.tokens.iter().map(|tokens| tokens.column.as_str()))
    }

    /// From labels.
    ///
    /// # Errors
    /// A row of another number of labels than it has positions; a label that is no class and is not ignored; a row of which nothing counts.
    pub(super) fn labeled(&self, batch: &RecordBatch, lists: &Lists) -> Result<Targets, Fault> {
        let values = doubles(&lists.values)?;
        let (values, lengths): (&[f64], Vec<usize>) = (values.values(), lists.lengths().collect());
        self.require_lengths(batch, &lengths)?;
        let mut classes = Vec::with_capacity(values.len());
        for (at, &value) in values.iter().enumerate() {
            classes.push(self.class(value).ok_or_else(|| {
                let range = match self.classes {
                    0 => "0, 1, 2, …".into(),
                    n => format!("0 to {}", n - 1),
                };
                let problem = format!("a label is not one of the model's classes {range}; name labels that do not count by `ignore = [...]`");
                Fault::at(lists.row_of(at), problem)
            })?);
        }
        self.counted(batch, &lengths, classes, 0)
    }

    /// The numbers of masks of this size, as lists.
    ///
    /// # Errors
    /// A row that holds no mask, or one of another size.
    pub(super) fn masks((h, w): (usize, usize), array: &ArrayRef, folder: &Path) -> Result<Lists, Fault> {
        let images = Encoded::of(array, folder)?;
        let (mut ends, mut values) = (vec![0], Vec::new());
        for row in 0..images.len() {
            let fits = |height: usize, width: usize| match (h, w) == (height, width) {
                true => Ok(()),
                false => Err(format!("is a mask of {height}×{width} pixels, and not of {h}×{w}")),
            };
            let mask =
                images.get(row).and_then(|bytes| open_mask(&bytes, fits)).map_err(|problem| Fault::at(row, problem))?;
            values.extend(mask.numbers);
            ends.push(values.len());
        }
        Ok(Lists { ends, values: Arc::new(Int64Array::from(values)), nested: Vec::new() })
    }

    /// # Errors
    /// A row of another number of labels than it has positions; tokens that are padding need none.
    fn require_lengths(&self, batch: &RecordBatch, lengths: &[usize]) -> Result<(), Fault> {
        let Some((lists, values)) = self.tokens(batch)? else {
            let wrong = |n: &usize| self.fixed.is_some_and(|fixed| fixed != *n);
            return match (lengths.iter().position(wrong), self.fixed) {
                (Some(row), Some(fixed)) => {
                    let n = lengths.get(row).copied().unwrap_or(0);
                    Err(Fault::at(row, format!("{n} labels for {fixed} positions in the model's output")))
                }
                _ => Ok(()),
            };
        };
        let (column, padding) = self.tokens.as_ref().map_or(("", 0), |tokens| (tokens.column.as_str(), tokens.padding));
        for (row, (own, &n)) in lists.rows(&values).zip(lengths).enumerate() {
            if own.get(n..).is_none_or(|rest| rest.iter().any(|&token| token != padding)) {
                return Err(Fault::at(row, format!("{n} labels for {} tokens in column `{column}`", own.len())));
            }
        }
        Ok(())
    }

    /// From the tokens themselves, or from `labels` that say of each token whether it counts: at each position the one that follows. The last
    /// position does not count, nor, without labels, do those before padding.
    ///
    /// # Errors
    /// A token that is none of the model's classes; a row of fewer than two tokens that count; labels that are not one for each token.
    pub(super) fn next(&self, batch: &RecordBatch, labels: Option<&Lists>) -> Result<Targets, Fault> {
        let (Some(feed), Some((lists, mut values))) = (&self.tokens, self.tokens(batch)?) else {
            return Err("no input of tokens".into());
        };
        if let Some(labels) = labels {
            if let Some(row) = labels.lengths().zip(lists.lengths()).position(|(a, b)| a != b) {
                return Err(Fault::at(row, format!("not one label for each token in column `{}`", feed.column)));
            }
            values = integers(&labels.values)?.values().to_vec();
        }
        let mut classes = Vec::with_capacity(values.len());
        for (row, own) in lists.rows(&values).enumerate() {
            let padded = feed.padded && labels.is_none();
            let padding = if padded { own.iter().rev().take_while(|&&t| t == feed.padding).count() } else { 0 };
            let real = own.len() - padding;
            for at in 0..own.len() {
                let next = own.get(at + 1).filter(|_| at + 1 < real);
                let class = next.map_or(Some(IGNORED), |&token| self.class(token as f64)).ok_or_else(|| {
                    Fault::at(row, format!("a token is not one of the model's {} answers", self.classes))
                })?;
                classes.push(class);
            }
        }
        self.counted(batch, &lists.lengths().collect::<Vec<_>>(), classes, 1)
    }

    /// What is wrong with rows whose labels are their tokens, with the tokens' column.
    pub(super) fn of_tokens(&self, fault: Fault) -> Fault {
        match self.tokens.as_ref().filter(|_| fault.row.is_some()) {
            Some(tokens) => Fault { problem: format!("column `{}`: {}", tokens.column, fault.problem), ..fault },
            None => fault,
        }
    }

    /// The class of a label, [`IGNORED`] where it does not count; `None` where it is no class.
    fn class(&self, label: f64) -> Option<i64> {
        let whole = Some(label as i64).filter(|whole| *whole as f64 == label)?;
        if self.ignore.contains(&whole) {
            return Some(IGNORED);
        }
        let within = self.classes == 0 || usize::try_from(whole).is_ok_and(|class| class < self.classes);
        (whole >= 0 && within).then_some(whole)
    }

    /// The tokens' lists and all their values.
    fn tokens(&self, batch: &RecordBatch) -> Result<Option<(Lists, Vec<i64>)>, Fault> {
        let Some(feed) = &self.tokens else { return Ok(None) };
        let lists = flatten(column(batch, &feed.column)?)?;
        let values = integers(&lists.values).map_err(|problem| format!("column `{}` {problem}", feed.column))?;
        let values = values.values().to_vec();
        Ok(Some((lists, values)))
    }

    /// Leaves out what the masks say, and what the model is not fed. The class at a position is that of the position `ahead` of it.
    fn counted(
        &self,
        batch: &RecordBatch,
        lengths: &[usize],
        mut classes: Vec<i64>,
        ahead: usize,
    ) -> Result<Targets, Fault> {
        for name in &self.masks {
            let lists = flatten(column(batch, name)?)?;
            if let Some(row) = lists.lengths().zip(lengths).position(|(a, &b)| a < b) {
                return Err(Fault::at(row, format!("column `{name}` has not one number for each position")));
            }
            let marks = doubles(&lists.values).map_err(|problem| format!("column `{name}` {problem}"))?;
            let mut rest = classes.as_mut_slice();
            for (marks, &length) in lists.rows(marks.values()).zip(lengths) {
                let (own, behind) = rest.split_at_mut(length.min(rest.len()));
                rest = behind;
                for (at, class) in own.iter_mut().enumerate() {
                    if marks.get(at + ahead).is_none_or(|&mark| mark == 0.0) {
                        *class = IGNORED;
                    }
                }
            }
        }
        let most = self.tokens.as_ref().and_then(|tokens| tokens.length).unwrap_or(usize::MAX);
        let (mut ends, mut kept, mut rest) = (vec![0], Vec::with_capacity(classes.len()), classes.as_slice());
        for (row, &length) in lengths.iter().enumerate() {
            let (own, behind) = rest.split_at(length.min(rest.len()));
            rest = behind;
            // What follows the last token that is fed is known, but the model is not asked for more than it is fed.
            let own = own.get(..length.min(most)).unwrap_or(own);
            if own.iter().all(|&class| class == IGNORED) {
                let why = match ahead {
                    0 => "all labels are ignored, masked, or cut off",
                    _ => "after the first token, there is none that counts",
                };
                return Err(Fault::at(row, format!("no position that counts: {why}; remove the row")));
            }
            kept.extend(own);
            ends.push(kept.len());
        }
        Ok(Targets::Positions { ends, classes: kept })
    }
}
