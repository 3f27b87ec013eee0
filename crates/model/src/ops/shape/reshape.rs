//! Reshape-5/13/14/19 on, Flatten-1/9/11/13 on: other dimensions for the same elements, of any type.
//!
//! Reshape: 0 keeps an extent (unless `allowzero`, 14 on), one −1 is inferred.

use crate::{
    engine::Float,
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, common::reshaped, one, problem, shapes},
};

/// Reshape.
pub fn reshape<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let allow_zero = node.opset() >= 14 && node.flag("allowzero", false)?;
    one(move |_, inputs| {
        let x = inputs.value(0)?;
        reshaped(x, target(x.dims(), &inputs.ints(1)?, allow_zero)?)
    })
}

/// The dimensions that `shape` asks for.
fn target(dims: &[usize], shape: &[i64], allow_zero: bool) -> Result<Vec<usize>> {
    let misfit = || problem(format!("shape {dims:?} cannot become {shape:?}"));
    let mut inferred = None;
    let mut target = Vec::with_capacity(shape.len());
    for (i, &extent) in shape.iter().enumerate() {
        target.push(match extent {
            0 if !allow_zero => *dims.get(i).ok_or_else(misfit)?,
            -1 if inferred.is_none() => {
                inferred = Some(i);
                1
            }
            _ => usize::try_from(extent).map_err(|_| misfit())?,
        });
    }
    if let Some(place) = inferred.and_then(|i| target.get_mut(i)) {
        *place = 0;
        let known =
            shape.iter().zip(&target).filter(|(s, _)| **s != -1).try_fold(1usize, |n, (_, &d)| n.checked_mul(d));
        let known = known.filter(|&n| n > 0).ok_or_else(misfit)?;
        let total: usize = dims.iter().product();
        if !total.is_multiple_of(known) {
            return Err(misfit());
        }
        if let Some(place) = inferred.and_then(|i| target.get_mut(i)) {
            *place = total / known;
        }
    }
    Ok(target)
}

/// Flatten: two axes, split before `axis` (default 1; negative from 11 on).
pub fn flatten<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let axis = node.int("axis")?.unwrap_or(1);
    one(move |_, inputs| {
        let x = inputs.value(0)?;
        let rank = x.dims().len();
        let axis = if axis == rank as i64 { rank } else { shapes::axis(axis, rank)? };
        reshaped(x, shapes::two_axes(x.dims(), axis).to_vec())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_inferred() {
        assert_eq!(target(&[2, 3, 4], &[0, -1], false).unwrap(), [2, 12]);
        assert_eq!(target(&[2, 3, 4], &[-1, 2], false).unwrap(), [12, 2]);
        assert_eq!(target(&[0, 3], &[3, 0], true).unwrap(), [3, 0]);
        assert_eq!(target(&[0, 3], &[0, 4, -1], false).ok(), None, "0 extents leave nothing to infer from");
        assert!(target(&[2, 3], &[-1, -1], false).is_err());
        assert!(target(&[2, 3], &[4, -1], false).is_err());
        assert!(target(&[2], &[2, 0], false).is_err(), "no extent to keep");
    }
}
