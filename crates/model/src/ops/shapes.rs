//! Shape arithmetic that operators share.

use super::problem;
use crate::{error::Result, limits};

/// The axis that `axis` names in a tensor of `rank` axes; negative ones count from the end.
pub fn axis(axis: i64, rank: usize) -> Result<usize> {
    let signed = if axis < 0 { axis.checked_add_unsigned(rank as u64) } else { Some(axis) };
    signed
        .and_then(|a| usize::try_from(a).ok())
        .filter(|&a| a < rank)
        .ok_or_else(|| problem(format!("axis {axis} is out of range for {rank} axes")))
}

/// The axes that `list` names, sorted.
pub fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>> {
    let mut axes = list.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>>>()?;
    axes.sort_unstable();
    if axes.windows(2).any(|w| w.first() == w.last()) {
        return Err(problem("an axis is named twice"));
    }
    Ok(axes)
}

/// The dimensions that `a` and `b` broadcast to, as in NumPy.
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at =
        |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).and_then(|j| dims.get(j).copied()).unwrap_or(1);
    let dims: Vec<usize> = (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => Err(problem(format!("shapes {a:?} and {b:?} do not broadcast"))),
        })
        .collect::<Result<_>>()?;
    // What is not larger than an operand is there already.
    if dims != a && dims != b {
        count(&dims)?;
    }
    Ok(dims)
}

/// Number of elements of `dims`, if a node's result may have that many.
pub fn count(dims: &[usize]) -> Result<usize> {
    limits::count(dims)
}

/// Extents from integers, which must not be negative.
pub fn extents(list: &[i64]) -> Result<Vec<usize>> {
    list.iter()
        .map(|&d| usize::try_from(d).map_err(|_| problem(format!("extent {d} is negative"))))
        .collect::<Result<Vec<_>>>()
}

/// `dims` with axes `axis..` flattened to one and those before it to another.
pub fn two_axes(dims: &[usize], axis: usize) -> [usize; 2] {
    let (outer, inner) = dims.split_at(axis.min(dims.len()));
    [outer.iter().product(), inner.iter().product()]
}

/// Row-major strides of `dims`.
pub fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    let mut n = 1;
    for (stride, dim) in strides.iter_mut().zip(dims).rev() {
        *stride = n;
        n *= dim;
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_count_from_both_ends() {
        assert_eq!(axis(-1, 3).unwrap(), 2);
        assert_eq!(axis(0, 3).unwrap(), 0);
        assert!(axis(3, 3).is_err() && axis(-4, 3).is_err() && axis(i64::MIN, 3).is_err());
        assert_eq!(axes(&[-1, 0], 3).unwrap(), [0, 2]);
        assert!(axes(&[2, -1], 3).is_err());
    }

    #[test]
    fn shapes_broadcast_as_in_numpy() {
        assert_eq!(broadcast(&[2, 1, 3], &[4, 1]).unwrap(), [2, 4, 3]);
        assert_eq!(broadcast(&[], &[4]).unwrap(), [4]);
        assert_eq!(broadcast(&[1], &[0]).unwrap(), [0]);
        assert!(broadcast(&[2], &[3]).is_err());
    }

    #[test]
    fn sizes_are_bounded() {
        assert!(count(&[usize::MAX, 2]).is_err() && count(&[1 << 40]).is_err());
        assert_eq!(count(&[3, 0, 5]).unwrap(), 0);
        assert_eq!(strides(&[2, 3, 4]), [12, 4, 1]);
    }
}
