//! What label columns hold.

use super::super::{
    Rows,
    column::{self, Class},
    decode::Words,
    fault::Fault,
    source::Source,
};
use crate::Result;
use arrow_array::{ArrayRef, RecordBatch, cast::AsArray};
use std::collections::BTreeSet;

/// How far the sum of soft labels may be from 1.
const SUM: f64 = 1e-3;

/// Words that are told apart.
const MOST_WORDS: usize = 1 << 16;

/// What the label columns hold, over all rows.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whether all are whole numbers.
    pub whole: bool,
    /// Whether all are 0 or 1.
    pub zero_one: bool,
    /// Whether one is below 0.
    pub negative: bool,
    /// The lowest.
    pub lowest: f64,
    /// The highest.
    pub highest: f64,
    /// Whether each row holds a single 1 among zeros.
    pub one_hot: bool,
    /// Whether each row's values are not below 0, and their sum is 1.
    pub shares: bool,
    /// The first row whose list holds a number twice.
    pub repeats: Option<usize>,
    /// Shortest and longest list.
    pub lengths: Option<(usize, usize)>,
}

/// Looks at the label columns of all rows.
///
/// # Errors
/// A label that is no number and no known word.
pub fn look(source: &Source, columns: &[String], words: &Words) -> Result<Seen> {
    let mut seen = Seen {
        whole: true,
        zero_one: true,
        negative: false,
        lowest: f64::INFINITY,
        highest: f64::NEG_INFINITY,
        one_hot: true,
        shares: true,
        repeats: None,
        lengths: None,
    };
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    source.scan(&names, &Rows::all(source.rows()), |first, batch| seen.add(first, batch, &names, words))?;
    Ok(seen)
}

impl Seen {
    fn add(&mut self, first: usize, batch: &RecordBatch, names: &[&str], words: &Words) -> Result<(), Fault> {
        // Of each row: the sum of its values, and how many are 1.
        let mut rows = vec![(0.0f64, 0usize); batch.num_rows()];
        for name in names {
            let lists = column::flatten(batch.column_by_name(name).ok_or("a label column was not read")?)?;
            let values = words.apply(&lists).map_err(|f| named(name, f))?;
            let values = column::doubles(&values).map_err(|p| format!("label column `{name}` {p}"))?;
            let ends = lists.ends.iter().zip(lists.ends.iter().skip(1));
            for ((row, (start, end)), (sum, ones)) in ends.enumerate().zip(&mut rows) {
                let n = end - start;
                let (low, high) = self.lengths.unwrap_or((n, n));
                self.lengths = Some((low.min(n), high.max(n)));
                let values = values.values().get(*start..*end).unwrap_or(&[]);
                if values.iter().any(|x| !x.is_finite()) {
                    return Err(named(name, Fault::at(row, "NaN or infinite; remove the row, or fill it")));
                }
                for &x in values {
                    self.whole &= x.fract() == 0.0;
                    self.zero_one &= x == 0.0 || x == 1.0;
                    self.negative |= x < 0.0;
                    self.lowest = self.lowest.min(x);
                    self.highest = self.highest.max(x);
                    *sum += x;
                    *ones += usize::from(x == 1.0);
                }
                let different: BTreeSet<u64> = values.iter().map(|x| x.to_bits()).collect();
                if self.repeats.is_none() && different.len() < values.len() {
                    self.repeats = Some(first + row);
                }
            }
        }
        for (sum, ones) in rows {
            self.one_hot &= self.zero_one && ones == 1;
            self.shares &= !self.negative && (sum - 1.0).abs() <= SUM;
        }
        Ok(())
    }
}

/// Whether a column of lists holds the same numbers as that of the `tokens`, those that are to be ignored apart.
///
/// # Errors
/// Those of reading the rows.
pub fn are_tokens(source: &Source, column: &str, tokens: &str, ignored: &[i64]) -> Result<bool> {
    let (mut same, mut some) = (true, false);
    source.scan(&[column, tokens], &Rows::all(source.rows()), |_, batch| {
        let lists = |name: &str| column::flatten(batch.column_by_name(name).ok_or("a column was not read")?);
        let (labels, tokens) = (lists(column)?, lists(tokens)?);
        let (Ok(own), Ok(theirs)) = (column::integers(&labels.values), column::integers(&tokens.values)) else {
            same = false;
            return Ok(());
        };
        let pairs = || own.values().iter().zip(theirs.values()).filter(|(label, _)| !ignored.contains(label));
        same &= labels.ends == tokens.ends && pairs().all(|(label, token)| label == token);
        some |= pairs().next().is_some();
        Ok(())
    })?;
    Ok(same && some)
}

/// The different whole numbers of a column, as text; empty where one is not whole, or there are too many to be classes.
///
/// # Errors
/// [`crate::Error::ReadData`] if the column cannot be read, has rows without a value, or holds anything but numbers.
pub fn numbers(source: &Source, column: &str) -> Result<BTreeSet<String>> {
    let (mut found, mut whole) = (BTreeSet::new(), true);
    source.scan(&[column], &Rows::all(source.rows()), |_, batch| {
        let lists = column::flatten(batch.column_by_name(column).ok_or("a label column was not read")?)?;
        for &x in column::doubles(&lists.values)?.values() {
            whole &= x.fract() == 0.0;
            if found.len() <= MOST_WORDS {
                found.insert(format!("{x:.0}"));
            }
        }
        Ok(())
    })?;
    Ok(if whole && found.len() <= MOST_WORDS { found } else { BTreeSet::new() })
}

/// The different words of a text column, without the spaces around them; `None` where there are too many to be classes.
///
/// # Errors
/// [`crate::Error::ReadData`] if the column cannot be read, has rows without a value, or holds what is no text.
pub fn words(source: &Source, name: &str) -> Result<Option<BTreeSet<String>>> {
    let mut found = BTreeSet::new();
    source.scan(&[name], &Rows::all(source.rows()), |_, batch| {
        let lists = column::flatten(batch.columns().first().ok_or("no label column")?)?;
        let text: ArrayRef = column::text(&lists.values)?;
        for word in text.as_string::<i64>().iter().flatten().map(str::trim) {
            if found.len() <= MOST_WORDS && !found.contains(word) {
                found.insert(word.to_owned());
            }
        }
        Ok(())
    })?;
    Ok((found.len() <= MOST_WORDS).then_some(found))
}

/// Whether a column holds text, categories of text, or lists of text.
pub fn is_text(ty: &arrow_schema::DataType) -> bool {
    use arrow_schema::DataType::*;
    match ty {
        List(f) | LargeList(f) | ListView(f) | LargeListView(f) | FixedSizeList(f, _) => is_text(f.data_type()),
        ty => column::classify(ty) == Class::Text,
    }
}

fn named(name: &str, fault: Fault) -> Fault {
    Fault { problem: format!("label column `{name}`: {}", fault.problem), ..fault }
}
