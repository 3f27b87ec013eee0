//! Labels: what the rows should come out as.

use super::{Positions, Store, column};
use crate::{
    Error, IGNORED, Result, Targets,
    column::{self as columns, Class, Lists, doubles, flatten, integers},
    fault::Fault,
    source::folder_of,
    tensor::HostTensor,
};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, cast::AsArray};
use std::{collections::BTreeMap, sync::Arc};

/// How labels are stored.
#[derive(Clone, Debug)]
pub enum Labels {
    /// A class number from 0.
    Class,
    /// A list of 0 and a single 1, at the place of the class; or a column a class.
    OneHot,
    /// 0 or 1, for one logit.
    Binary,
    /// 0 or 1 for each label: a list, or a column a label.
    MultiHot,
    /// A list of the numbers of the labels that hold.
    LabelNumbers,
    /// Numbers: a column, a list, or several columns.
    Value,
    /// A list of classes, one for each position.
    Positions(Box<Positions>),
    /// None: the tokens themselves, each at the position before it.
    Next(Box<Positions>),
    /// None: the numbers of this one of the plan's feeds.
    Same(usize),
    /// None: the labels are among the plan's feeds.
    Inputs,
}

impl std::fmt::Display for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Class => "class",
            Self::OneHot => "onehot",
            Self::Binary => "binary",
            Self::MultiHot => "multihot",
            Self::LabelNumbers => "labelnumbers",
            Self::Value => "value",
            Self::Positions(_) => "a class for each position",
            Self::Next(_) => "the next token at each position",
            Self::Same(_) => "the input itself",
            Self::Inputs => "what the loss graph takes",
        })
    }
}

/// Which number stands for a label's word, or for its number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Words {
    /// The classes by word. Without any, words are digits.
    pub map: BTreeMap<String, i64>,
    /// Whether the map is for labels that are numbers, too.
    pub numbers: bool,
}

impl Words {
    /// The words in the order of their classes, if each class from 0 on has one.
    pub fn names(&self) -> Option<Vec<String>> {
        let mut pairs: Vec<(i64, &String)> = self.map.iter().map(|(word, &class)| (class, word)).collect();
        pairs.sort();
        let whole = !pairs.is_empty() && pairs.iter().zip(0..).all(|((class, _), n)| *class == n);
        whole.then(|| pairs.into_iter().map(|(_, word)| word.clone()).collect())
    }

    /// The number of a word.
    pub fn class(&self, word: &str) -> Option<i64> {
        let word = word.trim();
        match self.map.is_empty() {
            true => number(word),
            false => self.map.get(word).copied(),
        }
    }

    /// The lists' values as numbers.
    ///
    /// # Errors
    /// A label that is not among the classes.
    pub fn apply(&self, lists: &Lists) -> Result<ArrayRef, Fault> {
        let values = &lists.values;
        let text = columns::classify(values.data_type()) == Class::Text;
        let mapped = text || self.numbers && !self.map.is_empty();
        if !mapped {
            return Ok(values.clone());
        }
        let text = if text { columns::text(values)? } else { columns::text(&(Arc::new(integers(values)?) as _))? };
        let mut classes = Vec::with_capacity(text.len());
        for (at, word) in text.as_string::<i64>().iter().enumerate() {
            classes.push(word.and_then(|w| self.class(w)).ok_or_else(|| {
                let problem = match self.map.is_empty() {
                    true => "text that is no whole number",
                    false => "not one of the classes that `[target]`, the file or the model names",
                };
                Fault::at(lists.row_of(at), problem)
            })?);
        }
        Ok(Arc::new(Int64Array::from(classes)))
    }
}

/// A whole number that is written out, as `3`, `03` or `3.0`.
pub fn number(word: &str) -> Option<i64> {
    let whole = match word.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        _ => word,
    };
    whole.parse().ok()
}

/// How targets are made.
#[derive(Clone, Debug)]
pub struct TargetFeed {
    /// The column, or several side by side.
    pub columns: Vec<String>,
    /// How they are stored.
    pub labels: Labels,
    /// Which number stands for a label.
    pub words: Words,
    /// Classes (0 where they are not known), labels or values a row.
    pub width: usize,
}

impl TargetFeed {
    /// Of labels that a loss graph takes.
    pub fn of_inputs() -> Self {
        Self { columns: Vec::new(), labels: Labels::Inputs, words: Words::default(), width: 0 }
    }

    /// The targets of a label that a loss graph takes, as one of its inputs.
    pub(super) fn stored(&self, batch: &RecordBatch) -> Result<Store, Fault> {
        Ok(match self.decode(batch)? {
            Targets::Classes(classes) => Store::I64(1, classes),
            Targets::Values { width, values } => Store::F32(width, values),
            Targets::Positions { ends, classes } => Store::Lists { ends, values: classes },
            Targets::Inputs(_) => Store::None,
        })
    }

    /// Such labels as a tensor: (rows) of classes, (rows, values), or (rows, positions of the longest row) padded with [`IGNORED`].
    pub(super) fn stack(&self, store: &Store, rows: &[usize]) -> Result<HostTensor> {
        let n = rows.len();
        let tensor = match store.take(rows) {
            Some(Store::I64(1, classes)) => HostTensor::new(&[n], classes),
            Some(Store::F32(width, values)) => HostTensor::new(&[n, width], values),
            Some(Store::Lists { ends, values }) => {
                let lists = || ends.windows(2).filter_map(|end| values.get(*end.first()?..*end.last()?));
                let longest = lists().map(<[i64]>::len).max().unwrap_or(0);
                let padded = |list: &[i64]| {
                    let rest = std::iter::repeat_n(IGNORED, longest - list.len());
                    list.iter().copied().chain(rest).collect::<Vec<i64>>()
                };
                HostTensor::new(&[n, longest], lists().flat_map(padded).collect())
            }
            _ => None,
        };
        tensor.ok_or_else(|| Error::Internal("labels of another shape".into()))
    }

    /// The columns that are read.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let more = match &self.labels {
            Labels::Positions(positions) | Labels::Next(positions) => Some(positions.columns()),
            _ => None,
        };
        self.columns.iter().map(String::as_str).chain(more.into_iter().flatten())
    }

    /// Whether each position of the targets belongs to a place of the inputs, so that nothing may be moved there.
    pub fn has_places(&self) -> bool {
        match &self.labels {
            Labels::Positions(positions) => positions.tokens.is_none(),
            Labels::Same(_) | Labels::Inputs => true,
            _ => false,
        }
    }

    /// Whether rows have several positions.
    pub fn has_positions(&self) -> bool {
        self.positions().is_some()
    }

    /// Positions of a row, about, if rows have several.
    pub(crate) fn positions(&self) -> Option<usize> {
        const USUAL: usize = 512;
        match &self.labels {
            Labels::Positions(positions) | Labels::Next(positions) => {
                let length = positions.tokens.as_ref().and_then(|tokens| tokens.length);
                Some(positions.fixed.or(length).unwrap_or(USUAL))
            }
            _ => None,
        }
    }

    /// Bytes of a decoded row, where lists have as many elements as `values` says.
    pub(super) fn row_bytes(&self, values: impl Fn(&str) -> f64) -> f64 {
        match &self.labels {
            Labels::Positions(positions) | Labels::Next(positions) => {
                let listed = self.columns.first().map(String::as_str).or_else(|| positions.columns().last());
                8.0 + 8.0 * positions.fixed.map_or_else(|| listed.map_or(0.0, values), |fixed| fixed as f64)
            }
            Labels::Same(_) | Labels::Inputs => 0.0,
            _ => 8.0 + 4.0 * self.width as f64,
        }
    }

    /// No rows.
    pub(super) fn empty(&self) -> Targets {
        match self.labels {
            Labels::Class | Labels::OneHot | Labels::Binary => Targets::Classes(Vec::new()),
            Labels::Positions(_) | Labels::Next(_) => Targets::Positions { ends: vec![0], classes: Vec::new() },
            Labels::Same(_) => Targets::Values { width: 0, values: Vec::new() },
            Labels::Inputs => Targets::Inputs(0),
            _ => Targets::Values { width: self.width, values: Vec::new() },
        }
    }

    pub(super) fn decode(&self, batch: &RecordBatch) -> Result<Targets, Fault> {
        match (&self.labels, self.columns.as_slice()) {
            (Labels::Positions(positions), [name]) => {
                let lists = match positions.image {
                    Some(size) => Positions::masks(size, column(batch, name)?, &folder_of(batch))
                        .map_err(|fault| of_column(name, fault))?,
                    None => self.lists(batch, name)?,
                };
                positions.labeled(batch, &lists).map_err(|fault| of_column(name, fault))
            }
            (Labels::Next(positions), [name]) => {
                let lists = flatten(column(batch, name)?)?;
                positions.next(batch, Some(&lists)).map_err(|fault| of_column(name, fault))
            }
            (Labels::Next(positions), _) => positions.next(batch, None).map_err(|fault| positions.of_tokens(fault)),
            // The inputs are not decoded yet.
            (Labels::Same(_), _) => Ok(self.empty()),
            (Labels::Inputs, _) => Ok(Targets::Inputs(batch.num_rows())),
            (Labels::Class | Labels::Binary, [name]) => self.classes(batch, name).map(Targets::Classes),
            (Labels::LabelNumbers, [name]) => self.numbered(batch, name),
            (Labels::OneHot, _) => self.one_hot(batch),
            (Labels::MultiHot | Labels::Value, _) => self.values(batch),
            _ => Err("a class needs exactly one label column".into()),
        }
    }

    /// A column's lists, whose values are numbers.
    fn lists(&self, batch: &RecordBatch, name: &str) -> Result<Lists, Fault> {
        let mut lists = flatten(column(batch, name)?)?;
        lists.values = self.words.apply(&lists).map_err(|f| of_column(name, f))?;
        Ok(lists)
    }

    fn classes(&self, batch: &RecordBatch, name: &str) -> Result<Vec<i64>, Fault> {
        let lists = self.lists(batch, name)?;
        if let Some(row) = lists.lengths().position(|n| n != 1) {
            return Err(of_column(name, Fault::at(row, "no single class")));
        }
        // Classes are also taken from floats, as long as these are whole.
        let values = doubles(&lists.values).map_err(|p| format!("label column `{name}` {p}"))?;
        let limit = match self.labels {
            Labels::Binary => 2.0,
            _ if self.width == 0 => i64::MAX as f64,
            _ => self.width as f64,
        };
        let wrong = |x: &f64| !(x.fract() == 0.0 && *x >= 0.0 && *x < limit);
        if let Some(row) = values.values().iter().position(wrong) {
            let range = if limit > 1e18 { "0, 1, 2, …".into() } else { format!("0 to {}", limit - 1.0) };
            return Err(of_column(name, Fault::at(row, format!("not one of the model's classes {range}"))));
        }
        Ok(values.values().iter().map(|&x| x as i64).collect())
    }

    fn one_hot(&self, batch: &RecordBatch) -> Result<Targets, Fault> {
        let Targets::Values { values, .. } = self.values(batch)? else {
            return Err("one-hot labels without values".into());
        };
        let mut classes = Vec::with_capacity(batch.num_rows());
        for (row, marks) in values.chunks_exact(self.width.max(1)).enumerate() {
            let class = marks.iter().position(|x| *x == 1.0).and_then(|c| i64::try_from(c).ok());
            let single = marks.iter().filter(|x| **x == 1.0).count() == 1;
            let Some(class) = class.filter(|_| single) else {
                let problem = "not exactly one 1, as in the training rows; write `kind = \"multilabel\"` under `[target]` \
                               if rows have several labels";
                return Err(of_column(&self.columns.join("`, `"), Fault::at(row, problem)));
            };
            classes.push(class);
        }
        Ok(Targets::Classes(classes))
    }

    fn numbered(&self, batch: &RecordBatch, name: &str) -> Result<Targets, Fault> {
        let lists = self.lists(batch, name)?;
        let numbers = integers(&lists.values).map_err(|p| format!("label column `{name}` {p}"))?;
        let mut values = vec![0.0f32; batch.num_rows() * self.width];
        let ends = lists.ends.iter().zip(lists.ends.iter().skip(1));
        for (i, ((start, end), row)) in ends.zip(values.chunks_exact_mut(self.width.max(1))).enumerate() {
            for label in numbers.values().get(*start..*end).unwrap_or(&[]) {
                let Some(slot) = usize::try_from(*label).ok().and_then(|l| row.get_mut(l)) else {
                    let last = self.width.saturating_sub(1);
                    let problem = format!("a label number is not among the model's 0 to {last}");
                    return Err(of_column(name, Fault::at(i, problem)));
                };
                if *slot != 0.0 {
                    return Err(of_column(name, Fault::at(i, "a label number occurs twice")));
                }
                *slot = 1.0;
            }
        }
        Ok(Targets::Values { width: self.width, values })
    }

    fn values(&self, batch: &RecordBatch) -> Result<Targets, Fault> {
        let mut values = vec![0.0f32; batch.num_rows() * self.width];
        let each = if self.columns.len() == 1 { self.width } else { 1 };
        let hot = matches!(self.labels, Labels::MultiHot | Labels::OneHot);
        for (k, name) in self.columns.iter().enumerate() {
            let lists = self.lists(batch, name)?;
            if let Some((row, n)) = lists.lengths().enumerate().find(|(_, n)| *n != each) {
                let problem = format!("{n} values, but the model's output has {each}");
                return Err(of_column(name, Fault::at(row, problem)));
            }
            let numbers = doubles(&lists.values).map_err(|p| format!("label column `{name}` {p}"))?;
            let ok = |x: f64| if hot { x == 0.0 || x == 1.0 } else { (x as f32).is_finite() };
            if let Some(place) = numbers.values().iter().position(|&x| !ok(x)) {
                let wanted = if hot { "0 or 1" } else { "a finite 32-bit number" };
                return Err(of_column(name, Fault::at(place / each.max(1), format!("a value is not {wanted}"))));
            }
            let rows = values.chunks_exact_mut(self.width.max(1));
            for (row, from) in rows.zip(numbers.values().chunks_exact(each.max(1))) {
                for (to, x) in row.iter_mut().skip(k).zip(from) {
                    *to = *x as f32;
                }
            }
        }
        Ok(Targets::Values { width: self.width, values })
    }
}

fn of_column(name: &str, fault: Fault) -> Fault {
    Fault { problem: format!("label column `{name}`: {}", fault.problem), ..fault }
}
