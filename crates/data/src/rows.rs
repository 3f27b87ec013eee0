//! Sets of row numbers, held compactly where they are nearly all rows.

use std::sync::Arc;

/// Row numbers, ascending, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    total: usize,
    listed: Option<Arc<[usize]>>,
    /// `listed` are the rows that are *not* in the set.
    inverted: bool,
}

impl Rows {
    /// All of `total` rows.
    pub fn all(total: usize) -> Self {
        Self { total, listed: None, inverted: false }
    }

    /// The given rows of `total`, in any order; repeated ones count once, those beyond `total` are left out.
    pub fn listed(total: usize, mut rows: Vec<usize>) -> Self {
        rows.sort_unstable();
        rows.dedup();
        rows.truncate(rows.partition_point(|&r| r < total));
        Self { total, listed: Some(rows.into()), inverted: false }
    }

    /// The rows that are not in this set. Needs no memory of its own.
    pub fn complement(&self) -> Self {
        match &self.listed {
            None => Self::listed(self.total, Vec::new()),
            Some(rows) => Self { total: self.total, listed: Some(rows.clone()), inverted: !self.inverted },
        }
    }

    /// Number of rows in the set.
    pub fn len(&self) -> usize {
        let listed = self.listed.as_ref().map_or(0, |r| r.len());
        match (&self.listed, self.inverted) {
            (None, _) => self.total,
            (Some(_), false) => listed,
            (Some(_), true) => self.total - listed,
        }
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows of the table that the set is taken from.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.range(0, self.total)
    }

    /// The rows as a list, ascending.
    pub fn to_vec(&self) -> Vec<usize> {
        self.iter().collect()
    }

    /// Whether `row` is in the set.
    pub fn contains(&self, row: usize) -> bool {
        row < self.total
            && match &self.listed {
                None => true,
                Some(rows) => rows.binary_search(&row).is_ok() != self.inverted,
            }
    }

    /// The rows from `first` on, `count` numbers of them.
    pub(super) fn range(&self, first: usize, count: usize) -> impl Iterator<Item = usize> + '_ {
        let end = first.saturating_add(count).min(self.total);
        let mut listed = self.between(first, end).iter().copied().peekable();
        let plain = self.listed.is_some() && !self.inverted;
        let mut next = first;
        std::iter::from_fn(move || {
            if plain {
                return listed.next();
            }
            while next < end && listed.next_if_eq(&next).is_some() {
                next += 1;
            }
            (next < end).then(|| {
                next += 1;
                next - 1
            })
        })
    }

    /// How many rows of the set lie before `row`.
    pub(super) fn rank(&self, row: usize) -> usize {
        let row = row.min(self.total);
        let listed = self.between(0, row).len();
        match (&self.listed, self.inverted) {
            (None, _) => row,
            (Some(_), false) => listed,
            (Some(_), true) => row - listed,
        }
    }

    fn between(&self, first: usize, end: usize) -> &[usize] {
        let Some(rows) = &self.listed else { return &[] };
        let a = rows.partition_point(|&r| r < first);
        let b = rows.partition_point(|&r| r < end).max(a);
        rows.get(a..b).unwrap_or(&[])
    }

    /// The part of the set that lies in a row group.
    pub(super) fn within(&self, first: usize, count: usize) -> Within {
        match self.rank(first.saturating_add(count)) - self.rank(first) {
            0 => Within::None,
            n if n == count => Within::All,
            _ => Within::Some(self.range(first, count).map(|r| r - first).collect()),
        }
    }
}

/// Rows of a row group.
pub(super) enum Within {
    None,
    All,
    /// Counted within the group.
    Some(Vec<usize>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_and_its_complement_share_the_rows() {
        let some = Rows::listed(10, vec![7, 2, 2, 3, 11]);
        let rest = some.complement();
        assert_eq!(some.to_vec(), [2, 3, 7]);
        assert_eq!(rest.to_vec(), [0, 1, 4, 5, 6, 8, 9]);
        assert_eq!((some.len(), rest.len(), rest.total()), (3, 7, 10));
        assert!(some.contains(7) && !rest.contains(7) && rest.contains(9) && !rest.contains(10));
        assert_eq!(rest.range(2, 4).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(some.range(3, 5).collect::<Vec<_>>(), [3, 7]);
        assert_eq!(rest.complement(), some);
        assert_eq!((some.rank(3), rest.rank(3), some.rank(99), Rows::all(5).rank(2)), (1, 2, 3, 2));
        assert_eq!(Rows::all(3).complement().len(), 0);
        assert_eq!(Rows::all(3).range(1, 9).collect::<Vec<_>>(), [1, 2]);
    }
}
