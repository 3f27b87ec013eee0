//! What a loss graph says of each row beyond its loss.

use std::collections::BTreeMap;

/// How the names of figures begin that are a row's share of right answers.
const ACCURACY: &str = "accuracy";

/// The means that are told beside the accuracy: the only figure that is an accuracy is it.
pub(super) fn told(figures: &BTreeMap<String, f64>) -> impl Iterator<Item = (&str, f64)> {
    let only = figures.keys().filter(|name| is_accuracy(name)).count() == 1;
    let others = figures.iter().filter(move |(name, _)| !(only && is_accuracy(name)));
    others.map(|(name, value)| (name.as_str(), *value))
}

/// Whether a figure is a row's share of right answers.
fn is_accuracy(name: &str) -> bool {
    name.starts_with(ACCURACY)
}

/// Figures of rows, by name.
#[derive(Clone, Copy, Debug)]
pub struct RowFigures<'a> {
    /// Names of the figures.
    pub names: &'a [String],
    /// `rows × names` numbers, row-major.
    pub values: &'a [f32],
}

impl<'a> RowFigures<'a> {
    /// `values` of the figures `names`; none where there are none.
    pub fn of(names: &'a [String], values: &'a [f32]) -> Option<Self> {
        (!names.is_empty()).then_some(Self { names, values })
    }

    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.names.len().max(1))
    }

    /// The mean of each figure over the rows.
    pub(super) fn means(&self) -> BTreeMap<String, f64> {
        let n = self.rows().count().max(1) as f64;
        let sum = |at: usize| self.rows().filter_map(|row| row.get(at)).map(|&x| f64::from(x)).sum::<f64>();
        self.names.iter().enumerate().map(|(at, name)| (name.clone(), sum(at) / n)).collect()
    }

    /// Share of right answers of each row: the mean of its figures whose names begin with `accuracy`. None without such a figure.
    pub(super) fn right(&self) -> Option<Vec<f64>> {
        let which: Vec<usize> =
            self.names.iter().enumerate().filter(|(_, name)| is_accuracy(name)).map(|(at, _)| at).collect();
        let share = |row: &[f32]| {
            which.iter().filter_map(|&at| row.get(at)).map(|&x| f64::from(x)).sum::<f64>() / which.len() as f64
        };
        (!which.is_empty()).then(|| self.rows().map(share).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_right_by_what_is_called_accuracy() {
        let names = ["loss of a", "accuracy of a", "accuracy of b"].map(String::from);
        let rows = RowFigures { names: &names, values: &[0.5, 1.0, 0.0, 1.5, 1.0, 1.0] };
        assert_eq!(rows.right(), Some(vec![0.5, 1.0]));
        assert_eq!(rows.means().into_values().collect::<Vec<_>>(), [1.0, 0.5, 1.0]);
        assert_eq!(RowFigures { names: &names[..1], values: &[0.5] }.right(), None);
    }
}
