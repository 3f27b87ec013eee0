//! Sums over axes.

use super::{
    Cx, F32,
    gpu::{AXES, Gpu, Grid, Scratch, View, device_error, gpu, zeros},
};
use crate::{
    engine::Address,
    error::{Error, Result},
    kernels::{
        Reduce, compose,
        shape::{broadcast_strides, require, strides},
    },
};
use dfdx::{prelude::Cuda, tensor::CudaError};

/// A sum of a row-major tensor over some of its axes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sum {
    /// Results, and terms of each.
    outs: usize,
    count: usize,
    /// Where the first term of each result lies, and how terms follow each other.
    kept: View,
    reduced: View,
    /// Whether neighboring results, and not neighboring terms, lie beside each other.
    columns: bool,
}

impl Sum {
    /// From a tensor of `from`, over the axes along which `to` is repeated to give `from`.
    ///
    /// # Errors
    /// [`Error::Internal`] if the sum takes more axes than a kernel walks.
    pub fn to(to: &[usize], from: &[usize]) -> Result<Self> {
        let repeats: Vec<bool> = broadcast_strides(to, from).iter().map(|&s| s == 0).collect();
        Self::over(&repeats, from).ok_or_else(|| Error::Internal(format!("a sum from {from:?} to {to:?}")))
    }

    /// Over the axes of `dims` that are marked; `None` if that takes too many axes.
    fn over(marked: &[bool], dims: &[usize]) -> Option<Self> {
        let all = || dims.iter().zip(strides(dims)).zip(marked).filter(|((d, _), _)| **d != 1);
        let pick =
            |want: bool| all().filter(move |(_, m)| **m == want).map(|((&d, s), _)| (d, s as i64)).collect::<Vec<_>>();
        let (kept, reduced) = (pick(false), pick(true));
        let product = |axes: &[(usize, i64)]| axes.iter().map(|a| a.0).product::<usize>();
        Some(Self {
            outs: product(&kept),
            count: product(&reduced),
            columns: kept.last().is_some_and(|k| k.1 == 1),
            kept: View::of(&kept, 0)?,
            reduced: View::of(&reduced, 0)?,
        })
    }
}

impl View {
    /// Of axes with their extents and strides, neighbors joined where they can be.
    pub(super) fn of(axes: &[(usize, i64)], offset: i64) -> Option<Self> {
        let mut joined: Vec<(u64, i64)> = Vec::new();
        for &(d, s) in axes.iter().filter(|a| a.0 != 1) {
            match joined.last_mut() {
                Some((n, stride)) if *stride == s * d as i64 => (*n, *stride) = (*n * d as u64, s),
                _ => joined.push((d as u64, s)),
            }
        }
        if joined.len() > AXES {
            return None;
        }
        let mut view = Self { rank: joined.len() as u64, offset, ..Self::default() };
        for ((dim, stride), (d, s)) in view.dims.iter_mut().zip(&mut view.strides).zip(joined) {
            (*dim, *stride) = (d, s);
        }
        Some(view)
    }
}

/// In how many parts `blocks` results of `count` terms each are summed to keep a GPU busy.
pub(super) fn parts(blocks: usize, count: usize) -> usize {
    const ENOUGH: usize = 512;
    (ENOUGH / blocks.max(1)).min(count / 512).max(1)
}

/// y += scale·Σx.
pub(super) fn add_to(gpu: &Gpu, dev: &Cuda, sum: &Sum, x: Address, y: Address, scale: f32) -> Result<(), CudaError> {
    let Sum { outs, count, kept, reduced, columns } = *sum;
    let (name, threads, wide) = if columns { ("sum_columns", (32, 8), 32) } else { ("sum_rows", (256, 1), 1) };
    let first = Grid::blocks(outs.div_ceil(wide), 1).blocks.0;
    // Few results of many terms are summed in parts, and then the parts.
    let parts = parts(first as usize, count);
    let grid = |parts: usize| Grid { blocks: (first, parts as u32), threads };
    let len = outs * count;
    if parts == 1 {
        let arguments =
            [x.into(), y.into(), outs.into(), count.into(), kept.into(), reduced.into(), scale.into(), true.into()];
        return gpu.launch(name, grid(1), len, arguments);
    }
    let partial = Scratch::new(dev, outs * parts)?;
    let p = partial.address();
    let arguments =
        [x.into(), p.into(), outs.into(), count.into(), kept.into(), reduced.into(), 1.0_f32.into(), false.into()];
    gpu.launch(name, grid(parts), len, arguments)?;
    sum_parts(gpu, p, y, outs, parts, scale, true)
}

/// y = scale·Σx over the `parts` of x that lie behind each other, `outs` elements each; added to y if it says so.
pub(super) fn sum_parts(
    gpu: &Gpu,
    x: Address,
    y: Address,
    outs: usize,
    parts: usize,
    scale: f32,
    add: bool,
) -> Result<(), CudaError> {
    /// Results from which on a thread for each keeps a GPU busy.
    const MANY: usize = 1 << 14;
    if outs >= MANY {
        let arguments = [x.into(), y.into(), outs.into(), parts.into(), scale.into(), add.into()];
        return gpu.launch("sum_parts", Grid::over(outs), outs * parts, arguments);
    }
    let view = |n: usize, stride: usize| View::of(&[(n, stride as i64)], 0).unwrap_or_default();
    let (kept, reduced) = (view(outs, 1), view(parts, outs));
    let arguments =
        [x.into(), y.into(), outs.into(), parts.into(), kept.into(), reduced.into(), scale.into(), add.into()];
    let grid = Grid { blocks: (Grid::blocks(outs.div_ceil(32), 1).blocks.0, 1), threads: (32, 8) };
    gpu.launch("sum_columns", grid, outs * parts, arguments)
}

/// Whether the reduction has a kernel here.
pub(in crate::kernels) fn reduces(op: Reduce) -> bool {
    matches!(op, Reduce::Sum | Reduce::Mean)
}

pub(in crate::kernels) fn reduce(cx: &mut Cx, op: Reduce, x: &F32, axes: &[usize], keep_dims: bool) -> Result<F32> {
    require(axes.iter().all(|&a| a < x.rank()), || format!("axes {axes:?} of {:?}", x.dims()))?;
    let marked: Vec<bool> = (0..x.rank()).map(|a| axes.contains(&a)).collect();
    let Some(sum) = Sum::over(&marked, x.dims()) else { return compose::reduce(cx, op, x, axes, keep_dims) };
    let kept = x.dims().iter().zip(&marked);
    let dims: Vec<usize> = if keep_dims {
        kept.map(|(&d, &m)| if m { 1 } else { d }).collect()
    } else {
        kept.filter(|(_, m)| !**m).map(|(&d, _)| d).collect()
    };
    let (gpu, n) = (gpu(cx)?, x.len());
    let scale = if op == Reduce::Mean { 1.0 / sum.count as f32 } else { 1.0 };
    let y = zeros(cx, &dims)?;
    add_to(gpu, &cx.dev, &sum, x.address()?, y.address()?, scale).map_err(device_error)?;
    // The gradient is spread over the axes again.
    let ones: Vec<usize> = x.dims().iter().zip(&marked).map(|(&d, &m)| if m { 1 } else { d }).collect();
    let spread: Vec<_> =
        x.dims().iter().copied().zip(broadcast_strides(&ones, x.dims()).into_iter().map(|s| s as i64)).collect();
    let Some(view) = View::of(&spread, 0) else { return compose::reduce(cx, op, x, axes, keep_dims) };
    let slot = x.device_slot();
    cx.record_on_device(&[x], y, move |dy, grads| {
        let Some(slot) = slot else { return Ok(()) };
        let dx = slot.address(grads)?;
        gpu.launch(
            "read_view",
            Grid::over(n),
            n,
            [dy.into(), dx.into(), n.into(), view.into(), scale.into(), true.into()],
        )
    })
}
