//! Decoded values of one input.

/// Decoded values of one input: rows of one width, or of their own lengths.
#[derive(Clone, Debug)]
pub enum Store {
    /// Nothing yet, or an input that is made from another one's values.
    None,
    /// Pixels, not yet scaled.
    U8(usize, Vec<u8>),
    /// Numbers.
    F32(usize, Vec<f32>),
    /// Numbers.
    F64(usize, Vec<f64>),
    /// Integers.
    I64(usize, Vec<i64>),
    /// Lists: row `i` is `values[ends[i]..ends[i + 1]]`.
    Lists {
        /// One more than there are rows.
        ends: Vec<usize>,
        /// All lists, end to end.
        values: Vec<i64>,
    },
    /// The items of a group.
    Group(Vec<Store>),
}

/// Rows of one width, in the order given; `None` if one lies beyond the values.
pub fn gather<T: Copy>(values: &[T], width: usize, rows: &[usize]) -> Option<Vec<T>> {
    let mut out = Vec::with_capacity(rows.len() * width);
    for &row in rows {
        let start = row.checked_mul(width)?;
        out.extend_from_slice(values.get(start..start.checked_add(width)?)?);
    }
    Some(out)
}

/// One row of [`Store::Lists`].
pub fn list<'a>(ends: &[usize], values: &'a [i64], row: usize) -> Option<&'a [i64]> {
    values.get(*ends.get(row)?..*ends.get(row + 1)?)
}

impl Store {
    /// Bytes that the values take.
    pub fn bytes(&self) -> usize {
        match self {
            Store::None => 0,
            Store::U8(_, v) => v.len(),
            Store::F32(_, v) => v.len() * 4,
            Store::F64(_, v) => v.len() * 8,
            Store::I64(_, v) => v.len() * 8,
            Store::Lists { ends, values } => (ends.len() + values.len()) * 8,
            Store::Group(items) => items.iter().map(Store::bytes).sum(),
        }
    }

    /// Makes room for `rows` rows in all, so that more of them are not moved again and again.
    pub fn reserve(&mut self, rows: usize) {
        // The number of rows is what a file says: where there is no room for them, each batch makes its own.
        fn room<T>(values: &mut Vec<T>, wanted: usize) {
            let _ = values.try_reserve_exact(wanted.saturating_sub(values.len()));
        }
        match self {
            Store::None => {}
            Store::U8(n, v) => room(v, rows.saturating_mul(*n)),
            Store::F32(n, v) => room(v, rows.saturating_mul(*n)),
            Store::F64(n, v) => room(v, rows.saturating_mul(*n)),
            Store::I64(n, v) => room(v, rows.saturating_mul(*n)),
            // How long the lists are is not known.
            Store::Lists { ends, .. } => room(ends, rows.saturating_add(1)),
            Store::Group(items) => items.iter_mut().for_each(|item| item.reserve(rows)),
        }
    }

    /// Puts `other`'s rows behind these; `None` if they are of another kind or width.
    pub fn append(&mut self, other: Store) -> Option<()> {
        match (self, other) {
            (_, Store::None) => {}
            (mine @ Store::None, other) => *mine = other,
            (Store::U8(n, a), Store::U8(m, b)) if *n == m => a.extend(b),
            (Store::F32(n, a), Store::F32(m, b)) if *n == m => a.extend(b),
            (Store::F64(n, a), Store::F64(m, b)) if *n == m => a.extend(b),
            (Store::I64(n, a), Store::I64(m, b)) if *n == m => a.extend(b),
            (Store::Lists { ends, values }, Store::Lists { ends: theirs, values: more }) => {
                let base = values.len();
                ends.extend(theirs.into_iter().skip(1).map(|e| e + base));
                values.extend(more);
            }
            (Store::Group(mine), Store::Group(theirs)) if mine.len() == theirs.len() => {
                return mine.iter_mut().zip(theirs).try_for_each(|(mine, theirs)| mine.append(theirs));
            }
            _ => return None,
        }
        Some(())
    }

    /// The given rows, in the order given; `None` if one lies beyond the values.
    pub fn take(&self, rows: &[usize]) -> Option<Store> {
        Some(match self {
            Store::None => Store::None,
            Store::Group(items) => Store::Group(items.iter().map(|item| item.take(rows)).collect::<Option<_>>()?),
            Store::U8(n, v) => Store::U8(*n, gather(v, *n, rows)?),
            Store::F32(n, v) => Store::F32(*n, gather(v, *n, rows)?),
            Store::F64(n, v) => Store::F64(*n, gather(v, *n, rows)?),
            Store::I64(n, v) => Store::I64(*n, gather(v, *n, rows)?),
            Store::Lists { ends, values } => {
                let mut taken = vec![0];
                let mut out = Vec::new();
                for &row in rows {
                    out.extend_from_slice(list(ends, values, row)?);
                    taken.push(out.len());
                }
                Store::Lists { ends: taken, values: out }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_values_through_append_and_take() {
        let mut store = Store::None;
        store.append(Store::Lists { ends: vec![0, 2, 2], values: vec![1, 2] }).unwrap();
        store.append(Store::Lists { ends: vec![0, 3], values: vec![7, 8, 9] }).unwrap();
        let Some(Store::Lists { ends, values }) = store.take(&[2, 0, 1]) else { panic!("lists stay lists") };
        assert_eq!((ends, values), (vec![0, 3, 5, 5], vec![7, 8, 9, 1, 2]));
        assert!(store.take(&[3]).is_none());
        assert!(store.append(Store::U8(1, vec![0])).is_none());
        let Some(Store::U8(2, pixels)) = Store::U8(2, vec![1, 2, 3, 4]).take(&[1, 1]) else {
            panic!("pixels stay pixels")
        };
        assert_eq!(pixels, [3, 4, 3, 4]);
        assert!(Store::F32(2, vec![1.0; 3]).take(&[1]).is_none());
    }
}
