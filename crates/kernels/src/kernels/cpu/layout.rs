//! Kernels that move elements: permutations, broadcasts, slices, joins, padding.

use super::{
    F32, gather,
    par::{self, Shared},
    reduce,
    walk::Walk,
};
use crate::{
    engine::Context,
    error::Result,
    kernels::{
        shape::{broadcast_strides, require, strides},
        spec::PadMode,
    },
};
use dfdx::prelude::Cpu;

/// A box of elements of one buffer and where it lies in another.
struct Transfer {
    walk: Walk<2>,
    count: usize,
    bases: [isize; 2],
}

impl Transfer {
    fn new(dims: &[usize], from: &[isize], to: &[isize], bases: [isize; 2]) -> Self {
        Self { walk: Walk::new(dims, [from, to]), count: dims.iter().product(), bases }
    }

    /// From the second buffer to the first.
    fn back(self) -> Self {
        Self { walk: self.walk.swapped(), count: self.count, bases: [self.bases[1], self.bases[0]] }
    }

    /// Writes the elements to a buffer that may never have been written. Different elements have to go to different places.
    fn copy(&self, from: &[f32], to: &Shared<'_>) {
        let [step, to_step] = self.walk.steps();
        par::tasks(self.count.div_ceil(par::CHUNK), |task| {
            let start = task * par::CHUNK;
            self.walk.each(start, par::CHUNK.min(self.count - start), |_, [i, j], n| {
                let (i, j) = (i + self.bases[0], j + self.bases[1]);
                if to_step == 1 && step == 1 {
                    let from = &from[i as usize..][..n];
                    // SAFETY: different elements have different places, and none is read.
                    unsafe { to.pointer(j as usize, n).copy_from_nonoverlapping(from.as_ptr(), n) };
                    return;
                }
                for k in 0..n as isize {
                    let value = from[(i + k * step) as usize];
                    // SAFETY: likewise.
                    unsafe { to.pointer((j + k * to_step) as usize, 1).write(value) };
                }
            });
        });
    }

    /// Adds the elements. Different elements have to go to different places.
    fn add(&self, from: &[f32], to: &mut [f32]) {
        let to = Shared::new(to);
        let [step, to_step] = self.walk.steps();
        par::tasks(self.count.div_ceil(par::CHUNK), |task| {
            let start = task * par::CHUNK;
            self.walk.each(start, par::CHUNK.min(self.count - start), |_, [i, j], n| {
                let (i, j) = (i + self.bases[0], j + self.bases[1]);
                if to_step == 1 {
                    // SAFETY: different elements have different places.
                    let to = unsafe { to.slice(j as usize, n) };
                    match step {
                        0 => to.iter_mut().for_each(|to| *to += from[i as usize]),
                        1 => to.iter_mut().zip(&from[i as usize..][..n]).for_each(|(to, from)| *to += *from),
                        _ => {
                            to.iter_mut().enumerate().for_each(|(k, to)| *to += from[(i + k as isize * step) as usize])
                        }
                    }
                } else {
                    for k in 0..n as isize {
                        // SAFETY: likewise.
                        let to = unsafe { to.slice((j + k * to_step) as usize, 1) };
                        to[0] += from[(i + k * step) as usize];
                    }
                }
            });
        });
    }
}

/// Row-major strides, signed.
fn signed(dims: &[usize]) -> Vec<isize> {
    strides(dims).into_iter().map(|s| s as isize).collect()
}

/// Elements of `x` permuted; `None` if that leaves them in place.
fn permuted(x: &[f32], dims: &[usize], perm: &[usize]) -> Option<Vec<f32>> {
    let own = signed(dims);
    let (out, from): (Vec<usize>, Vec<isize>) = perm.iter().map(|&p| (dims[p], own[p])).unzip();
    let to = signed(&out);
    let walk = Walk::new(&out, [&from, &to]);
    let (extents, steps) = walk.axes();
    let last = extents.len() - 1;
    if last == 0 && steps[0][0] <= 1 {
        return None;
    }
    let Some(near) = steps.iter().position(|s| s[0] == 1).filter(|&near| near != last) else {
        let transfer = Transfer::new(&out, &from, &to, [0, 0]);
        // SAFETY: a permutation reaches every place.
        return Some(unsafe { par::assemble(x.len(), |y| transfer.copy(x, y)) });
    };
    // The axis that is innermost in the input is another one than in the output: transposition, tile by tile.
    const TILE: usize = 16;
    let (rows, columns) = (extents[near], extents[last]);
    let others: Vec<usize> = (0..last).filter(|&axis| axis != near).collect();
    let count: usize = others.iter().map(|&axis| extents[axis]).product();
    let bands = rows.div_ceil(TILE);
    let group = (par::CHUNK / (TILE * columns).max(1)).max(1);
    let tiles = |y: &Shared<'_>, task: usize| {
        for band in task * group..((task + 1) * group).min(count * bands) {
            let (mut rest, first) = (band / bands, band % bands * TILE);
            let (mut from, mut to) = (0, 0);
            for &axis in others.iter().rev() {
                let index = rest % extents[axis];
                rest /= extents[axis];
                from += index * steps[axis][0] as usize;
                to += index * steps[axis][1] as usize;
            }
            let stride = steps[last][0] as usize;
            for column in (0..columns).step_by(TILE) {
                let width = TILE.min(columns - column);
                for row in first..(first + TILE).min(rows) {
                    let (y, x) = (
                        y.pointer(to + row * steps[near][1] as usize + column, width),
                        &x[from + row + column * stride..],
                    );
                    for i in 0..width {
                        // SAFETY: each task has rows of its own.
                        unsafe { y.add(i).write(x[i * stride]) };
                    }
                }
            }
        }
    };
    // SAFETY: the tiles are all of the result.
    Some(unsafe { par::assemble(x.len(), |y| par::tasks((count * bands).div_ceil(group), |task| tiles(y, task))) })
}

/// Axis i of the result is axis `perm[i]` of x.
pub(in crate::kernels) fn permute(cx: &mut Context<f32, Cpu>, x: &F32, perm: &[usize]) -> Result<F32> {
    let mut inverse = vec![usize::MAX; x.rank()];
    for (i, &p) in perm.iter().enumerate() {
        require(p < x.rank() && inverse[p] == usize::MAX, || format!("permutation {perm:?} of {:?}", x.dims()))?;
        inverse[p] = i;
    }
    require(perm.len() == x.rank(), || format!("permutation {perm:?} of {:?}", x.dims()))?;
    let dims: Vec<usize> = perm.iter().map(|&p| x.dims()[p]).collect();
    let Some(values) = permuted(x.as_slice(), x.dims(), perm) else {
        return x.reshaped(dims);
    };
    let (slot, from) = (x.slot(), dims.clone());
    cx.record(&[x], dims, values, move |dy, sink| match slot {
        Some(slot) => par::give(sink, &slot, permuted(&dy, &from, &inverse).unwrap_or(dy)),
        None => Ok(()),
    })
}

/// Broadcasts x to `dims`.
pub(in crate::kernels) fn expand(cx: &mut Context<f32, Cpu>, x: &F32, dims: &[usize]) -> Result<F32> {
    let skip = dims.len().checked_sub(x.rank());
    let fits = skip.is_some_and(|skip| x.dims().iter().zip(&dims[skip..]).all(|(&a, &b)| a == b || a == 1));
    require(fits, || format!("broadcast of {:?} to {dims:?}", x.dims()))?;
    let count = dims.iter().product();
    if count == x.len() {
        return x.reshaped(dims.to_vec());
    }
    let transfer = Transfer::new(dims, &broadcast_strides(x.dims(), dims), &signed(dims), [0, 0]);
    // SAFETY: every element of the result is one of those that are copied.
    let values = unsafe { par::assemble(count, |y| transfer.copy(x.as_slice(), y)) };
    let (slot, from, to) = (x.slot(), dims.to_vec(), x.dims().to_vec());
    cx.record(&[x], dims.to_vec(), values, move |dy, sink| match slot {
        Some(slot) => par::give(sink, &slot, reduce::sum_to(&dy, &from, &to)),
        None => Ok(()),
    })
}

/// Joins tensors, equal in all other axes, along `axis`.
pub(in crate::kernels) fn concat(cx: &mut Context<f32, Cpu>, xs: &[&F32], axis: usize) -> Result<F32> {
    let fault = || format!("join of {:?} along axis {axis}", xs.iter().map(|x| x.dims()).collect::<Vec<_>>());
    let mut dims = xs.first().map(|x| x.dims().to_vec()).unwrap_or_default();
    require(axis < dims.len(), fault)?;
    dims[axis] = 0;
    for x in xs {
        let alike = x.rank() == dims.len() && (0..dims.len()).all(|a| a == axis || x.dims()[a] == dims[a]);
        require(alike, fault)?;
        dims[axis] += x.dims()[axis];
    }
    let to = signed(&dims);
    let mut at = 0;
    let mut place = |x: &F32| {
        let base = at as isize * to[axis];
        at += x.dims()[axis];
        Transfer::new(x.dims(), &signed(x.dims()), &to, [0, base])
    };
    let transfers: Vec<Transfer> = xs.iter().map(|x| place(x)).collect();
    let fill = |y: &Shared<'_>| xs.iter().zip(&transfers).for_each(|(x, transfer)| transfer.copy(x.as_slice(), y));
    // SAFETY: the parts are all of the result.
    let values = unsafe { par::assemble(dims.iter().product(), fill) };
    let parts: Vec<_> = xs.iter().map(|x| x.slot()).zip(transfers.into_iter().map(Transfer::back)).collect();
    cx.record(xs, dims, values, move |dy, sink| {
        for (slot, transfer) in parts {
            if let Some(slot) = slot {
                par::change(sink, &slot, |dx| transfer.add(&dy, dx))?;
            }
        }
        Ok(())
    })
}

/// Element i along axis a is element `starts[a] + i·steps[a]` of x.
pub(in crate::kernels) fn slice(
    cx: &mut Context<f32, Cpu>,
    x: &F32,
    starts: &[usize],
    steps: &[isize],
    out: &[usize],
) -> Result<F32> {
    let rank = x.rank();
    let inside = |axis: usize| {
        let (first, d) = (starts[axis] as isize, x.dims()[axis] as isize);
        let last = first + (out[axis] as isize - 1) * steps[axis];
        out[axis] == 0 || ((0..d).contains(&first) && (0..d).contains(&last) && (steps[axis] != 0 || out[axis] == 1))
    };
    let fits = [starts.len(), steps.len(), out.len()] == [rank; 3] && (0..rank).all(inside);
    require(fits, || format!("slice of {:?} from {starts:?} by {steps:?} to {out:?}", x.dims()))?;
    let own = signed(x.dims());
    let from: Vec<isize> = own.iter().zip(steps).map(|(s, step)| s * step).collect();
    let base = own.iter().zip(starts).map(|(s, &start)| s * start as isize).sum();
    let transfer = Transfer::new(out, &from, &signed(out), [base, 0]);
    // SAFETY: every element of the result is one of those that are copied.
    let values = unsafe { par::assemble(transfer.count, |y| transfer.copy(x.as_slice(), y)) };
    let (slot, back) = (x.slot(), transfer.back());
    cx.record(&[x], out.to_vec(), values, move |dy, sink| match slot {
        Some(slot) => par::change(sink, &slot, |dx| back.add(&dy, dx)),
        None => Ok(()),
    })
}

/// Adds `pads[a]` = [before, after] elements to axis a; negative ones are cut off.
pub(in crate::kernels) fn pad(cx: &mut Context<f32, Cpu>, x: &F32, pads: &[[isize; 2]], mode: PadMode) -> Result<F32> {
    let fault = || format!("padding of {:?} by {pads:?}", x.dims());
    require(pads.len() == x.rank(), fault)?;
    // What is kept of each axis, and the result's extent.
    let kept = |axis: usize| x.dims()[axis] as isize + pads[axis][0].min(0) + pads[axis][1].min(0);
    let extent = |axis: usize| kept(axis) + pads[axis][0].max(0) + pads[axis][1].max(0);
    require((0..x.rank()).all(|a| kept(a) >= 0), fault)?;
    let PadMode::Constant(value) = mode else {
        return pad_by_index(cx, x, pads, mode);
    };
    let dims: Vec<usize> = (0..x.rank()).map(|a| extent(a) as usize).collect();
    let inner: Vec<usize> = (0..x.rank()).map(|a| kept(a) as usize).collect();
    let (own, to) = (signed(x.dims()), signed(&dims));
    let base = own.iter().zip(pads).map(|(s, p)| s * (-p[0]).max(0)).sum();
    let to_base = to.iter().zip(pads).map(|(s, p)| s * p[0].max(0)).sum();
    let transfer = Transfer::new(&inner, &own, &to, [base, to_base]);
    let mut values = vec![value as f32; dims.iter().product()];
    transfer.copy(x.as_slice(), &Shared::new(&mut values));
    let (slot, back) = (x.slot(), transfer.back());
    cx.record(&[x], dims, values, move |dy, sink| match slot {
        Some(slot) => par::change(sink, &slot, |dx| back.add(&dy, dx)),
        None => Ok(()),
    })
}

/// Padding with elements of the tensor itself, axis by axis.
fn pad_by_index(cx: &mut Context<f32, Cpu>, x: &F32, pads: &[[isize; 2]], mode: PadMode) -> Result<F32> {
    let mut y = x.clone();
    for (axis, &[before, after]) in pads.iter().enumerate() {
        if (before, after) == (0, 0) {
            continue;
        }
        let kept = x.dims()[axis] as isize + before.min(0) + after.min(0);
        let out = kept + before.max(0) + after.max(0);
        require(kept > 0 || out == 0, || format!("padding of {:?} by {pads:?} from nothing", x.dims()))?;
        let source = |o: isize| {
            let i = o - before.max(0);
            let i = match mode {
                PadMode::Wrap => i.rem_euclid(kept),
                PadMode::Reflect if kept > 1 => {
                    let i = i.rem_euclid(2 * (kept - 1));
                    if i < kept { i } else { 2 * (kept - 1) - i }
                }
                _ => i.clamp(0, kept - 1),
            };
            (i + (-before).max(0)) as usize
        };
        let indices: Vec<usize> = (0..out).map(source).collect();
        y = gather::gather(cx, &y, axis, &indices, &[indices.len()])?;
    }
    Ok(y)
}
