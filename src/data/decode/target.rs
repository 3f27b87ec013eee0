//! Labels: what the rows should come out as.

use super::column;
use crate::data::{
    Targets,
    column::{doubles, flatten, integers},
    fault::Fault,
};
use arrow_array::RecordBatch;

/// How labels are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// A class number from 0.
    Class,
    /// 0 or 1, for one logit.
    Binary,
    /// 0 or 1 for each label: a list, or a column a label.
    MultiHot,
    /// A list of the numbers of the labels that hold.
    LabelNumbers,
    /// Numbers: a column, a list, or several columns.
    Value,
}

/// How targets are made.
#[derive(Clone, Debug)]
pub struct TargetFeed {
    /// The column, or several side by side.
    pub columns: Vec<String>,
    /// How they are stored.
    pub labels: Labels,
    /// Classes (0 where they are not known), labels or values a row.
    pub width: usize,
}

impl TargetFeed {
    pub(super) fn decode(&self, batch: &RecordBatch) -> Result<Targets, Fault> {
        match (self.labels, self.columns.as_slice()) {
            (Labels::Class | Labels::Binary, [name]) => self.classes(batch, name).map(Targets::Classes),
            (Labels::LabelNumbers, [name]) => self.numbered(batch, name),
            (Labels::MultiHot | Labels::Value, _) => self.values(batch),
            _ => Err("a class needs exactly one label column".into()),
        }
    }

    fn classes(&self, batch: &RecordBatch, name: &str) -> Result<Vec<i64>, Fault> {
        let lists = flatten(column(batch, name)?)?;
        if let Some(row) = lists.lengths().position(|n| n != 1) {
            return Err(Fault::at(row, format!("label column `{name}`: no single class")));
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
            return Err(Fault::at(row, format!("label column `{name}`: not one of the model's classes {range}")));
        }
        Ok(values.values().iter().map(|&x| x as i64).collect())
    }

    fn numbered(&self, batch: &RecordBatch, name: &str) -> Result<Targets, Fault> {
        let lists = flatten(column(batch, name)?)?;
        let numbers = integers(&lists.values).map_err(|p| format!("label column `{name}` {p}"))?;
        let mut values = vec![0.0f32; batch.num_rows() * self.width];
        let ends = lists.ends.iter().zip(lists.ends.iter().skip(1));
        for (i, ((start, end), row)) in ends.zip(values.chunks_exact_mut(self.width.max(1))).enumerate() {
            for label in numbers.values().get(*start..*end).unwrap_or(&[]) {
                let Some(slot) = usize::try_from(*label).ok().and_then(|l| row.get_mut(l)) else {
                    let last = self.width.saturating_sub(1);
                    let problem = format!("label column `{name}`: a label number is not among the model's 0 to {last}");
                    return Err(Fault::at(i, problem));
                };
                *slot = 1.0;
            }
        }
        Ok(Targets::Values { width: self.width, values })
    }

    fn values(&self, batch: &RecordBatch) -> Result<Targets, Fault> {
        let mut values = vec![0.0f32; batch.num_rows() * self.width];
        let each = if self.columns.len() == 1 { self.width } else { 1 };
        for (k, name) in self.columns.iter().enumerate() {
            let lists = flatten(column(batch, name)?)?;
            if let Some((row, n)) = lists.lengths().enumerate().find(|(_, n)| *n != each) {
                let problem = format!("label column `{name}`: {n} values, but the model's output has {each}");
                return Err(Fault::at(row, problem));
            }
            let numbers = doubles(&lists.values).map_err(|p| format!("label column `{name}` {p}"))?;
            let ok =
                |x: f64| if self.labels == Labels::MultiHot { x == 0.0 || x == 1.0 } else { (x as f32).is_finite() };
            if let Some(place) = numbers.values().iter().position(|&x| !ok(x)) {
                let wanted = if self.labels == Labels::MultiHot { "0 or 1" } else { "a finite 32-bit number" };
                let problem = format!("label column `{name}`: a value is not {wanted}");
                return Err(Fault::at(place / each.max(1), problem));
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
