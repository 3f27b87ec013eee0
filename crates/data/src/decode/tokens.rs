//! Token ids: lists of their own lengths, cut and padded to one when they are batched.

use super::{
    Store,
    numbers::{beyond, from_i64},
    store::list,
};
use crate::{
    Error, Result,
    column::{flatten, integers},
    fault::Fault,
    tensor::{DType, HostTensor},
};
use arrow_array::ArrayRef;

/// How an input is made from lists of token ids.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The column.
    pub column: String,
    /// Tokens of a row; `None` is the longest row of the batch.
    pub length: Option<usize>,
    /// What fills shorter rows.
    pub padding: i64,
    /// Whether the column's rows end in padding already, which a mask has to leave out.
    pub padded: bool,
    /// Numbers that the model takes: those in front of this one, from 0 on.
    pub limit: Option<usize>,
    /// Which of the plan's feeds has the tokens that these lists go with, one element a token.
    pub follows: Option<usize>,
    /// Element type of the input.
    pub dtype: DType,
}

/// What an input that follows the tokens holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// 1 where a token is, 0 where padding is.
    Mask,
    /// 0 everywhere (the only segment).
    Zeros,
    /// 0, 1, 2, …
    Positions,
}

/// How an input without a column is made from another one's tokens.
#[derive(Clone, Debug)]
pub struct Derived {
    /// Which of the plan's feeds has the tokens.
    pub of: usize,
    /// What it holds.
    pub rule: Rule,
    /// Element type of the input.
    pub dtype: DType,
}

impl Tokens {
    pub(super) fn decode(&self, array: &ArrayRef) -> Result<Store, Fault> {
        let fail = |problem: String| format!("column `{}` {problem}", self.column);
        let lists = flatten(array).map_err(fail)?;
        let values = integers(&lists.values).map_err(fail)?;
        if let Some((at, problem)) = beyond(values.values(), self.dtype, self.limit) {
            return Err(Fault::at(lists.row_of(at), fail(problem)));
        }
        Ok(Store::Lists { ends: lists.ends, values: values.values().to_vec() })
    }

    pub(super) fn stack(&self, store: &Store, rows: &[usize]) -> Result<HostTensor> {
        let (lists, length) = self.lists(store, rows)?;
        let mut values = Vec::with_capacity(rows.len() * length);
        for row in &lists {
            let kept = row.len().min(length);
            values.extend(row.iter().take(kept));
            values.extend(std::iter::repeat_n(self.padding, length - kept));
        }
        tensor(rows.len(), length, values, self.dtype)
    }

    /// Tokens of the longest of these rows, at least one.
    pub(super) fn longest(&self, store: &Store, rows: &[usize]) -> Result<usize> {
        self.lists(store, rows).map(|(_, length)| length)
    }

    /// The rows' lists, and the length that they are brought to.
    fn lists<'a>(&self, store: &'a Store, rows: &[usize]) -> Result<(Vec<&'a [i64]>, usize)> {
        let found = match store {
            Store::Lists { ends, values } => rows.iter().map(|&r| list(ends, values, r)).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        let lists = found.ok_or_else(|| Error::Internal("a row beyond the decoded ones".into()))?;
        // A model fails on rows of no token at all, so that a batch has at least one column.
        let length = self.length.unwrap_or_else(|| lists.iter().map(|l| l.len()).max().unwrap_or(0).max(1));
        Ok((lists, length))
    }
}

impl Derived {
    pub(super) fn stack(&self, tokens: &Tokens, store: &Store, rows: &[usize]) -> Result<HostTensor> {
        let (lists, length) = tokens.lists(store, rows)?;
        let mut values = Vec::with_capacity(rows.len() * length);
        for row in lists {
            let trailing =
                if tokens.padded { row.iter().rev().take_while(|&&t| t == tokens.padding).count() } else { 0 };
            let real = row.len() - trailing;
            values.extend((0..length).map(|i| match self.rule {
                Rule::Mask => i64::from(i < real),
                Rule::Zeros => 0,
                Rule::Positions => i as i64,
            }));
        }
        tensor(rows.len(), length, values, self.dtype)
    }
}

fn tensor(rows: usize, length: usize, values: Vec<i64>, dtype: DType) -> Result<HostTensor> {
    from_i64(&[rows, length], values, dtype)?.ok_or_else(|| Error::Internal("tokens of another shape".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(length: Option<usize>, padded: bool) -> (Tokens, Store) {
        let store = Store::Lists { ends: vec![0, 3, 4, 8], values: vec![5, 6, 7, 9, 4, 0, 3, 0] };
        (
            Tokens { column: "t".into(), length, padding: 0, padded, limit: None, follows: None, dtype: DType::I32 },
            store,
        )
    }

    #[test]
    fn short_rows_are_padded_and_long_ones_cut() {
        let (feed, store) = tokens(Some(3), false);
        let out = feed.stack(&store, &[1, 2]).unwrap();
        assert_eq!((out.dims(), out.dtype()), (&[2, 3][..], DType::I32));
        assert_eq!(out.to_i64().unwrap(), [9, 0, 0, 4, 0, 3]);
        let (feed, store) = tokens(None, false);
        assert_eq!(feed.stack(&store, &[0, 1]).unwrap().to_i64().unwrap(), [5, 6, 7, 9, 0, 0]);
    }

    #[test]
    fn a_mask_marks_the_tokens() {
        let mask = Derived { of: 0, rule: Rule::Mask, dtype: DType::I64 };
        let (feed, store) = tokens(None, false);
        assert_eq!(mask.stack(&feed, &store, &[1, 2]).unwrap().to_i64().unwrap(), [1, 0, 0, 0, 1, 1, 1, 1]);
        let (feed, store) = tokens(None, true);
        assert_eq!(mask.stack(&feed, &store, &[1, 2]).unwrap().to_i64().unwrap(), [1, 0, 0, 0, 1, 1, 1, 0]);
        let positions = Derived { of: 0, rule: Rule::Positions, dtype: DType::I64 };
        assert_eq!(positions.stack(&feed, &store, &[0]).unwrap().to_i64().unwrap(), [0, 1, 2]);
    }
}
