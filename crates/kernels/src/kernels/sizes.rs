//! Whether the results of kernels are of a size that may be allocated, asked before they are.

use super::{ConvSpec, shape::broadcast};
use crate::{error::Result, limits};

/// Of a matrix product over the last two axes.
pub(super) fn matmul(a: &[usize], b: &[usize], ta: bool, tb: bool) -> Result<()> {
    let (Some((lead_a, &[m, k])), Some((lead_b, &[p, n]))) = (a.split_last_chunk::<2>(), b.split_last_chunk::<2>())
    else {
        return Ok(());
    };
    let (rows, columns) = (if ta { k } else { m }, if tb { p } else { n });
    limits::count(&[broadcast(&[lead_a, lead_b])?, vec![rows, columns]].concat()).map(|_| ())
}

/// Of x·w.
pub(super) fn linear(x: &[usize], w: &[usize], transposed: bool) -> Result<()> {
    let columns = if transposed { w.first() } else { w.last() };
    let lead = x.split_last().map_or(&[][..], |(_, lead)| lead);
    let dims: Vec<usize> = lead.iter().chain(columns).copied().collect();
    limits::count(&dims).map(|_| ())
}

/// The first extent, as a list.
fn first(dims: &[usize]) -> &[usize] {
    dims.get(..1).unwrap_or_default()
}

/// Of a convolution.
pub(super) fn conv(x: &[usize], w: &[usize], spec: &ConvSpec) -> Result<()> {
    let (space, kernel) = (x.get(2..).unwrap_or_default(), w.get(2..).unwrap_or_default());
    let output = spec.output(space, kernel)?;
    limits::count(&[first(x), first(w), output.as_slice()].concat()).map(|_| ())
}

/// Of tensors in a row.
pub(super) fn concat(shapes: &[&[usize]], axis: usize) -> Result<()> {
    let extents = shapes.iter().filter_map(|dims| dims.get(axis));
    let extent = extents.fold(0usize, |all, &extent| all.saturating_add(extent));
    let first = shapes.first().copied().unwrap_or_default();
    let dims: Vec<usize> = first.iter().enumerate().map(|(a, &d)| if a == axis { extent } else { d }).collect();
    limits::count(&dims).map(|_| ())
}

/// Of slices of `axis`.
pub(super) fn gather(x: &[usize], axis: usize, indices: &[usize]) -> Result<()> {
    let (before, after) = x.split_at(axis.min(x.len()));
    limits::count(&[before, indices, after.get(1..).unwrap_or_default()].concat()).map(|_| ())
}

/// `x` with pads.
pub(super) fn pad(x: &[usize], pads: &[[isize; 2]]) -> Result<()> {
    let extents = x.iter().zip(pads).map(|(&n, pads)| pads.iter().fold(n, |n, &pad| n.saturating_add_signed(pad)));
    limits::count(&extents.collect::<Vec<_>>()).map(|_| ())
}
