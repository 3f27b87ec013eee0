//! Elements in another order, repeated, left out or joined.

use super::{
    Cx, F32,
    gpu::{Gpu, Grid, Uploaded, View, device_error, gpu, zeros},
    sum::{Sum, add_to},
};
use crate::{
    engine::Address,
    error::{Error, Result},
    kernels::{
        PadMode, compose,
        shape::{around, broadcast_strides, require, strides},
    },
};
use dfdx::tensor::CudaError;

/// Which side a view is of.
#[derive(Clone, Copy)]
enum Access {
    Read,
    Write,
}

/// y = x, or y += x if `add`: `n` elements of tensors of up to `len`, whose first lie at addresses of whole tensors.
struct CopyArgs {
    x: Address,
    y: Address,
    n: usize,
    len: usize,
    /// Of x where it is read, of y where it is written.
    view: View,
    add: bool,
}

fn copy(gpu: &Gpu, access: Access, CopyArgs { x, y, n, len, view, add }: CopyArgs) -> Result<(), CudaError> {
    let (name, n, view) = match (access, view.of_four()) {
        (Access::Read, Some(four)) => ("read_view_of_four", n / 4, four),
        (Access::Write, Some(four)) => ("write_view_of_four", n / 4, four),
        (Access::Read, None) => ("read_view", n, view),
        (Access::Write, None) => ("write_view", n, view),
    };
    gpu.launch(name, Grid::over(n), len, [x.into(), y.into(), n.into(), view.into(), 1.0_f32.into(), add.into()])
}

impl View {
    /// The same in steps of four elements, if always four lie beside each other from a place that four divides.
    fn of_four(&self) -> Option<Self> {
        let mut four = *self;
        let last = usize::try_from(self.rank).ok()?.checked_sub(1)?;
        let outer = four.strides.get_mut(..last)?;
        let whole = self.strides.get(last) == Some(&1) && self.dims.get(last)? % 4 == 0 && self.offset % 4 == 0;
        if !whole || outer.iter().any(|s| s % 4 != 0) {
            return None;
        }
        outer.iter_mut().for_each(|s| *s /= 4);
        four.offset /= 4;
        *four.dims.get_mut(last)? /= 4;
        Some(four)
    }
}

/// A tensor of `dims`, its element i the element of `x` that `view` says. The gradient is summed as `sum` says, or, without, every element
/// is read at most once.
fn read(cx: &mut Cx, x: &F32, dims: &[usize], view: View, sum: Option<Sum>) -> Result<F32> {
    let (gpu, n) = (gpu(cx)?, dims.iter().product::<usize>());
    let y = zeros(cx, dims)?;
    let (slot, dev, len) = (x.device_slot(), cx.dev.clone(), n.max(x.len()));
    let from = CopyArgs { x: x.address()?, y: y.address()?, n, len, view, add: false };
    copy(gpu, Access::Read, from).map_err(device_error)?;
    cx.record_on_device(&[x], y, move |dy, grads| {
        let Some(slot) = slot else { return Ok(()) };
        let dx = slot.address(grads)?;
        match &sum {
            Some(sum) => add_to(gpu, &dev, sum, dy, dx, 1.0),
            None => copy(gpu, Access::Write, CopyArgs { x: dy, y: dx, n, len, view, add: true }),
        }
    })
}

fn axes(dims: &[usize], strides: impl IntoIterator<Item = isize>) -> Vec<(usize, i64)> {
    dims.iter().copied().zip(strides.into_iter().map(|s| s as i64)).collect()
}

pub(in crate::kernels) fn permute(cx: &mut Cx, x: &F32, perm: &[usize]) -> Result<F32> {
    let own = strides(x.dims());
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    require(sorted.iter().copied().eq(0..x.rank()), || format!("permutation {perm:?} of {:?}", x.dims()))?;
    let of = |values: &[usize]| perm.iter().filter_map(|&p| values.get(p).copied()).collect::<Vec<usize>>();
    let dims = of(x.dims());
    match View::of(&axes(&dims, of(&own).into_iter().map(|s| s as isize)), 0) {
        Some(view) => read(cx, x, &dims, view, None),
        None => compose::permute(cx, x, perm),
    }
}

pub(in crate::kernels) fn expand(cx: &mut Cx, x: &F32, dims: &[usize]) -> Result<F32> {
    if x.dims() == dims {
        return Ok(x.clone());
    }
    let fits = x.rank() <= dims.len() && x.dims().iter().rev().zip(dims.iter().rev()).all(|(&a, &b)| a == b || a == 1);
    require(fits, || format!("{:?} does not broadcast to {dims:?}", x.dims()))?;
    match View::of(&axes(dims, broadcast_strides(x.dims(), dims)), 0) {
        Some(view) => {
            let sum = Sum::to(x.dims(), dims)?;
            read(cx, x, dims, view, Some(sum))
        }
        None => compose::expand(cx, x, dims),
    }
}

pub(in crate::kernels) fn slice(cx: &mut Cx, x: &F32, starts: &[usize], steps: &[isize], out: &[usize]) -> Result<F32> {
    let n = x.rank();
    require([starts.len(), steps.len(), out.len()] == [n; 3], || format!("slice of {:?}", x.dims()))?;
    let ranges = x.dims().iter().zip(starts).zip(steps.iter().zip(out));
    let inside = ranges.into_iter().all(|((&d, &start), (&step, &count))| {
        let last = start as isize + step * (count as isize - 1);
        count > 0 && start < d && (0..d as isize).contains(&last) && (step != 0 || count == 1)
    });
    require(inside, || format!("slice {starts:?} by {steps:?} to {out:?} of {:?}", x.dims()))?;
    let own = strides(x.dims());
    let offset: usize = starts.iter().zip(&own).map(|(a, b)| a * b).sum();
    let by: Vec<isize> = own.iter().zip(steps).map(|(&s, step)| s as isize * step).collect();
    match View::of(&axes(out, by), offset as i64) {
        Some(view) => read(cx, x, out, view, None),
        None => compose::slice(cx, x, starts, steps, out),
    }
}

/// Each of `xs` written into its part of a tensor of `dims`, which holds `value` elsewhere.
fn write(cx: &mut Cx, xs: &[(&F32, View)], dims: &[usize], value: f32) -> Result<F32> {
    let (gpu, len) = (gpu(cx)?, dims.iter().product::<usize>());
    let y = zeros(cx, dims)?;
    if value != 0.0 {
        gpu.launch("fill", Grid::over(len), len, [y.address()?.into(), value.into(), len.into()])
            .map_err(device_error)?;
    }
    let mut slots = Vec::with_capacity(xs.len());
    for &(x, view) in xs {
        let n = x.len();
        let to = CopyArgs { x: x.address()?, y: y.address()?, n, len, view, add: false };
        copy(gpu, Access::Write, to).map_err(device_error)?;
        slots.extend(x.device_slot().map(|slot| (slot, view, n)));
    }
    let inputs: Vec<&F32> = xs.iter().map(|x| x.0).collect();
    cx.record_on_device(&inputs, y, move |dy, grads| {
        for (slot, view, n) in &slots {
            let from = CopyArgs { x: dy, y: slot.address(grads)?, n: *n, len, view: *view, add: true };
            copy(gpu, Access::Read, from)?;
        }
        Ok(())
    })
}

pub(in crate::kernels) fn concat(cx: &mut Cx, xs: &[&F32], axis: usize) -> Result<F32> {
    let Some(first) = xs.first() else { return Err(Error::Internal("concatenation of nothing".into())) };
    let others = |x: &F32| x.dims().iter().enumerate().filter(|(a, _)| *a != axis).map(|(_, &d)| d).collect::<Vec<_>>();
    let alike = axis < first.rank() && xs.iter().all(|x| x.rank() == first.rank() && others(x) == others(first));
    require(alike, || format!("concatenation of {:?} along {axis}", xs.iter().map(|x| x.dims()).collect::<Vec<_>>()))?;
    let extent = |x: &F32| x.dims().get(axis).copied().unwrap_or(0);
    let total: usize = xs.iter().map(|x| extent(x)).sum();
    let dims: Vec<usize> = first.dims().iter().enumerate().map(|(a, &d)| if a == axis { total } else { d }).collect();
    let (own, mut at, mut parts) = (strides(&dims), 0, Vec::with_capacity(xs.len()));
    for x in xs {
        let offset = at * own.get(axis).copied().unwrap_or(0);
        let Some(view) = View::of(&axes(x.dims(), own.iter().map(|&s| s as isize)), offset as i64) else {
            return compose::concat(cx, xs, axis);
        };
        parts.push((*x, view));
        at += extent(x);
    }
    write(cx, &parts, &dims, 0.0)
}

pub(in crate::kernels) fn pad(cx: &mut Cx, x: &F32, pads: &[[isize; 2]], mode: PadMode) -> Result<F32> {
    let value = match mode {
        PadMode::Constant(value) if pads.iter().flatten().all(|&p| p >= 0) => value,
        _ => {
            let (from, dims) = compose::padded(x.dims(), pads, mode)?;
            return match from.iter().copied().collect::<Option<Vec<usize>>>() {
                Some(from) if !from.is_empty() => gather_flat(cx, x, &from, &dims),
                _ => compose::pad(cx, x, pads, mode),
            };
        }
    };
    require(pads.len() == x.rank(), || format!("{} pads for {:?}", pads.len(), x.dims()))?;
    let dims: Vec<usize> = x.dims().iter().zip(pads).map(|(&d, [a, b])| d + *a as usize + *b as usize).collect();
    let own = strides(&dims);
    let offset: i64 = own.iter().zip(pads).map(|(&s, [before, _])| s as i64 * *before as i64).sum();
    match View::of(&axes(x.dims(), own.iter().map(|&s| s as isize)), offset) {
        Some(view) => write(cx, &[(x, view)], &dims, value as f32),
        None => compose::pad(cx, x, pads, mode),
    }
}

pub(in crate::kernels) fn gather(
    cx: &mut Cx,
    x: &F32,
    axis: usize,
    indices: &[usize],
    index_dims: &[usize],
) -> Result<F32> {
    let (outer, extent, inner) = around(x.dims(), axis)?;
    let head = x.dims().get(..axis).unwrap_or_default();
    let dims = [head, index_dims, x.dims().get(axis + 1..).unwrap_or_default()].concat();
    rows(cx, x, (outer, extent, inner), indices, &dims)
}

pub(in crate::kernels) fn gather_flat(cx: &mut Cx, x: &F32, indices: &[usize], dims: &[usize]) -> Result<F32> {
    rows(cx, x, (1, x.len(), 1), indices, dims)
}

fn rows(cx: &mut Cx, x: &F32, around: (usize, usize, usize), indices: &[usize], dims: &[usize]) -> Result<F32> {
    let ((outer, extent, inner), count) = (around, indices.len());
    require(indices.iter().all(|&i| i < extent), || format!("index beyond {extent} in {:?}", x.dims()))?;
    let (n, len) = (outer * count * inner, x.len());
    require(n == dims.iter().product::<usize>(), || format!("{count} indices for a tensor of {dims:?}"))?;
    if let &[index] = indices
        && let Some(view) = View::of(&[(outer, (extent * inner) as i64), (inner, 1)], (index * inner) as i64)
    {
        return read(cx, x, dims, view, None);
    }
    let small = u32::try_from(extent.max(count)).is_ok();
    require(small, || format!("a gather of {count} from {extent}"))?;
    let gpu = gpu(cx)?;
    let upload = |values: Vec<u32>| -> Result<Uploaded<u32>> { gpu.upload(values).map_err(device_error) };
    let at = upload(indices.iter().map(|&i| i as u32).collect())?;
    let y = zeros(cx, dims)?;
    let arguments = [
        x.address()?.into(),
        at.address().into(),
        y.address()?.into(),
        n.into(),
        extent.into(),
        count.into(),
        inner.into(),
    ];
    gpu.launch("gather_rows", Grid::over(n), n.max(len), arguments).map_err(device_error)?;
    if !cx.records(&[x]) {
        return Ok(y);
    }
    let (starts, order) = readers(indices, extent);
    let (starts, order, slot) = (upload(starts)?, upload(order)?, x.device_slot());
    cx.record_on_device(&[x], y, move |dy, grads| {
        let Some(slot) = slot else { return Ok(()) };
        let arguments = [
            dy.into(),
            starts.address().into(),
            order.address().into(),
            slot.address(grads)?.into(),
            len.into(),
            extent.into(),
            count.into(),
            inner.into(),
        ];
        gpu.launch("gather_rows_backward", Grid::over(len), n.max(len), arguments)
    })
}

/// For each of `extent` rows the positions in `indices` that read it, in order: row r's are
/// `order[starts[r]..starts[r + 1]]`.
fn readers(indices: &[usize], extent: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0_u32; extent + 1];
    for &i in indices {
        if let Some(count) = starts.get_mut(i + 1) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum;
    }
    let mut next = starts.clone();
    let mut order = vec![0_u32; indices.len()];
    for (position, &i) in indices.iter().enumerate() {
        if let Some(place) = next.get_mut(i) {
            if let Some(slot) = order.get_mut(*place as usize) {
                *slot = position as u32;
            }
            *place += 1;
        }
    }
    (starts, order)
}

#[cfg(test)]
mod tests {
    use super::View;

    #[test]
    fn views_of_four_are_views_in_steps_of_four() {
        let four = |axes: &[(usize, i64)], offset| View::of(axes, offset).unwrap().of_four();
        let view = four(&[(5, 64), (3, 640), (8, 1)], 16).unwrap();
        assert_eq!(
            (view.rank, &view.dims[..3], &view.strides[..3], view.offset),
            (3, &[5, 3, 2][..], &[16, 160, 1][..], 4)
        );
        assert!(four(&[(6, 1)], 0).is_none() && four(&[(8, 2)], 0).is_none() && four(&[(8, 1)], 2).is_none());
        assert!(four(&[(3, 6), (4, 1)], 0).is_none() && four(&[], 0).is_none());
        assert!(four(&[(3, 0), (4, 1)], 0).is_some());
    }

    #[test]
    fn readers_are_listed_row_by_row() {
        assert_eq!(super::readers(&[2, 0, 2, 3], 4), (vec![0, 1, 1, 3, 4], vec![1, 0, 2, 3]));
    }
}
