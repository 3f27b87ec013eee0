//! Rows that are groups of items: an input that several columns feed, each with one item of the row.

use super::{Derived, Feed, Store, Tokens};
use crate::{
    Error, Result,
    fault::Fault,
    tensor::{Element, HostTensor},
};
use arrow_array::RecordBatch;
use ndarray::{ArrayD, Axis};

/// How an input is made from several columns, one an item.
#[derive(Clone, Debug)]
pub struct Group {
    /// How each item is made, in the order of the items.
    pub items: Vec<Feed>,
}

impl Group {
    pub(super) fn decode(&self, batch: &RecordBatch) -> Result<Store, Fault> {
        let stores = self.items.iter().map(|item| item.decode(batch)).collect::<Result<_, Fault>>()?;
        Ok(Store::Group(stores))
    }

    /// (rows, items, …); lists of tokens are brought to the length of the longest one of all items.
    pub(super) fn stack(&self, store: &Store, rows: &[usize]) -> Result<HostTensor> {
        let (items, stores) = (self.of_one_length(store, rows)?, stores(store)?);
        let tensors = items.iter().zip(stores).map(|(item, store)| item.stack(store, rows)).collect::<Result<_>>()?;
        joined(tensors)
    }

    /// An input that follows the tokens of the items.
    pub(super) fn derived(&self, derived: &Derived, store: &Store, rows: &[usize]) -> Result<HostTensor> {
        let (items, stores) = (self.of_one_length(store, rows)?, stores(store)?);
        let one = |(item, store): (&Feed, &Store)| match item {
            Feed::Tokens(tokens) => derived.stack(tokens, store, rows),
            _ => Err(Error::Internal("an input follows items without tokens".into())),
        };
        joined(items.iter().zip(stores).map(one).collect::<Result<_>>()?)
    }

    fn of_one_length(&self, store: &Store, rows: &[usize]) -> Result<Vec<Feed>> {
        let (mut items, stores) = (self.items.clone(), stores(store)?);
        let mut longest = 0;
        for (item, store) in self.items.iter().zip(stores) {
            if let Feed::Tokens(tokens) = item {
                longest = longest.max(tokens.longest(store, rows)?);
            }
        }
        for item in &mut items {
            if let Feed::Tokens(Tokens { length, .. }) = item {
                *length = length.or(Some(longest));
            }
        }
        Ok(items)
    }
}

fn stores(store: &Store) -> Result<&[Store]> {
    match store {
        Store::Group(stores) => Ok(stores),
        _ => Err(Error::Internal("decoded rows of another plan".into())),
    }
}

/// The tensors, side by side along a new second axis.
fn joined(tensors: Vec<HostTensor>) -> Result<HostTensor> {
    fn go<T: Element>(first: &ArrayD<T>, all: &[HostTensor]) -> Option<HostTensor> {
        let views = all.iter().map(|tensor| T::array(tensor).map(|array| array.view())).collect::<Option<Vec<_>>>()?;
        let axis = if first.ndim() == 0 { 0 } else { 1 };
        ndarray::stack(Axis(axis), &views).ok().map(T::wrap)
    }
    let stacked = match tensors.first() {
        Some(first) => onnx_forget_base::each!(first, a => go(a, &tensors)),
        None => None,
    };
    stacked.ok_or_else(|| Error::Internal("items of several shapes".into()))
}
