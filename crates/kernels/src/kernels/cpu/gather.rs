//! Gathering by index, whose gradient adds up where an index occurs more than once, and running sums.

use super::{
    F32,
    par::{self, Shared},
};
use crate::{
    engine::Context,
    error::Result,
    kernels::shape::{around, require},
};
use dfdx::prelude::Cpu;

/// Slices of x along `axis`, in the order of `indices`, which have `index_dims`.
pub(in crate::kernels) fn gather(
    cx: &mut Context<f32, Cpu>,
    x: &F32,
    axis: usize,
    indices: &[usize],
    index_dims: &[usize],
) -> Result<F32> {
    let (outer, d, inner) = around(x.dims(), axis)?;
    let dims = [&x.dims()[..axis], index_dims, &x.dims()[axis + 1..]].concat();
    rows(cx, x, (outer, d, inner), indices, dims)
}

/// Element i of the result is element `indices[i]` of x.
pub(in crate::kernels) fn gather_flat(
    cx: &mut Context<f32, Cpu>,
    x: &F32,
    indices: &[usize],
    dims: &[usize],
) -> Result<F32> {
    rows(cx, x, (1, x.len(), 1), indices, dims.to_vec())
}

/// Of (outer, d, inner) the slices at `indices`: (outer, indices, inner).
fn rows(
    cx: &mut Context<f32, Cpu>,
    x: &F32,
    (outer, d, inner): (usize, usize, usize),
    indices: &[usize],
    dims: Vec<usize>,
) -> Result<F32> {
    let n = indices.len();
    require(dims.iter().product::<usize>() == outer * n * inner, || format!("{n} indices into {:?}", x.dims()))?;
    require(indices.iter().all(|&i| i < d), || format!("an index beyond axis of {d}"))?;
    let source = x.as_slice();
    let values = par::generate_rows(outer * n * inner, inner, inner, |first, out| {
        if inner == 1 {
            for (row, out) in (first..).zip(out) {
                *out = source[row / n * d + indices[row % n]];
            }
        } else {
            for (row, out) in (first..).zip(out.chunks_mut(inner)) {
                out.copy_from_slice(&source[(row / n * d + indices[row % n]) * inner..][..inner]);
            }
        }
    });
    let Some(slot) = x.slot() else {
        return cx.upload(dims, values);
    };
    let indices = indices.to_vec();
    cx.record(&[x], dims, values, move |dy, sink| {
        par::change(sink, &slot, |dx| scatter(dx, (outer, d, inner), &indices, &dy))
    })
}

/// dx[o, indices[i]] += dy[o, i], in the order of i for each index.
fn scatter(dx: &mut [f32], (outer, d, inner): (usize, usize, usize), indices: &[usize], dy: &[f32]) {
    let n = indices.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|&i| indices[i]);
    // Stretches of the sorted order that end where an index ends: each slice of dx belongs to one task.
    let least = (par::CHUNK / inner.max(1)).max(1);
    let mut stretches = Vec::new();
    let mut from = 0;
    while from < n {
        let mut to = (from + least).min(n);
        while to < n && indices[order[to]] == indices[order[to - 1]] {
            to += 1;
        }
        stretches.push(from..to);
        from = to;
    }
    let dx = Shared::new(dx);
    par::tasks(outer * stretches.len(), |task| {
        let (o, stretch) = (task / stretches.len(), &stretches[task % stretches.len()]);
        for &i in &order[stretch.clone()] {
            // SAFETY: all occurrences of an index are in one stretch.
            let dx = unsafe { dx.slice((o * d + indices[i]) * inner, inner) };
            dx.iter_mut().zip(&dy[(o * n + i) * inner..]).for_each(|(dx, dy)| *dx += dy);
        }
    });
}

/// Running sums along `axis`; `exclusive` leaves out the element itself, `reverse` runs from the end.
pub(in crate::kernels) fn cumsum(
    cx: &mut Context<f32, Cpu>,
    x: &F32,
    axis: usize,
    exclusive: bool,
    reverse: bool,
) -> Result<F32> {
    let (_, n, inner) = around(x.dims(), axis)?;
    let values = running(x.as_slice(), n, inner, exclusive, reverse);
    let slot = x.slot();
    cx.record(&[x], x.dims().to_vec(), values, move |dy, sink| match slot {
        Some(slot) => par::give(sink, &slot, running(&dy, n, inner, exclusive, !reverse)),
        None => Ok(()),
    })
}

/// Running sums along the middle axis of (…, n, inner).
fn running(x: &[f32], n: usize, inner: usize, exclusive: bool, reverse: bool) -> Vec<f32> {
    let mut out = par::zeros(x.len());
    par::rows(&mut out, n * inner, |first, out| {
        for (block, out) in (first..).zip(out.chunks_mut(n * inner)) {
            let x = &x[block * n * inner..][..n * inner];
            let mut sums = vec![0.0; inner];
            for step in 0..n {
                let row = if reverse { n - 1 - step } else { step } * inner;
                for ((out, sum), x) in out[row..row + inner].iter_mut().zip(&mut sums).zip(&x[row..]) {
                    let before = *sum;
                    *sum += x;
                    *out = if exclusive { before } else { *sum };
                }
            }
        }
    });
    out
}
