//! Elements in another order, repeated, left out or joined. All are gathers by indices computed on the host; what
//! dfdx can do by strides alone (a swap of two blocks of axes, repetition along up to three runs) is done by strides.

use super::view::{filled, spread};
use crate::{
    engine::{Context, Float, Taped, Tensor},
    error::{Error, Result},
    kernels::{
        PadMode,
        shape::{BroadcastAxes, around, broadcast_strides, offsets, require, strides},
    },
};
use dfdx::prelude::{Axes4, Axis, Device, GatherTo, PermuteTo, ReshapeTo, TryConcatAlong, TryMul};

/// See [`crate::kernels::Backend::gather_flat`].
///
/// # Errors
/// Those of [`Backend::gather_flat`](crate::kernels::Backend::gather_flat).
pub fn gather_flat<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    indices: &[usize],
    dims: &[usize],
) -> Result<Tensor<E, D>> {
    require(indices.iter().all(|&i| i < x.len()), || format!("index beyond a tensor of {:?}", x.dims()))?;
    gather_or(cx, x, indices.to_vec(), 0., dims.to_vec())
}

/// The same, where the index `x.len()` stands for the value `fill`.
pub(super) fn gather_or<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    indices: Vec<usize>,
    fill: f64,
    dims: Vec<usize>,
) -> Result<Tensor<E, D>> {
    let (n, len) = (indices.len(), x.len());
    require(n == dims.iter().product::<usize>(), || format!("{n} indices for a tensor of {dims:?}"))?;
    require(indices.iter().all(|&i| i <= len), || format!("index beyond a tensor of {:?}", x.dims()))?;
    if n == 0 || len == 0 {
        return filled(cx, &dims, fill);
    }
    let filler = if indices.contains(&len) { Some(filled(cx, &[1], fill)?) } else { None };
    let indices = cx.upload_indices(indices)?;
    cx.compose(&[x], dims, |x| {
        let x = match filler {
            Some(filler) => (x, filler.flat().clone()).try_concat_along(Axis::<0>)?,
            None => x,
        };
        x.try_gather::<(usize,), (usize,)>(indices)
    })
}

/// See [`crate::kernels::Backend::gather`]. Where nothing lies outside of `axis`, whole rows are gathered.
///
/// # Errors
/// Those of [`Backend::gather`](crate::kernels::Backend::gather).
pub fn gather<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    axis: usize,
    indices: &[usize],
    index_dims: &[usize],
) -> Result<Tensor<E, D>> {
    let (outer, n, inner) = around(x.dims(), axis)?;
    let picked = indices.len();
    require(picked == index_dims.iter().product::<usize>(), || format!("{picked} indices of {index_dims:?}"))?;
    require(indices.iter().all(|&i| i < n), || format!("index beyond axis {axis} of {:?}", x.dims()))?;
    let mut dims = x.dims().to_vec();
    dims.splice(axis..=axis, index_dims.iter().copied());
    let len = outer * picked * inner;
    if outer == 1 && len > 0 {
        let indices = cx.upload_indices(indices.to_vec())?;
        return cx.compose(&[x], dims, |x| {
            let rows = x.try_reshape_like(&(n, inner))?;
            rows.try_gather::<(usize, usize), (usize,)>(indices)?.try_reshape_like(&(len,))
        });
    }
    let flat = (0..outer).flat_map(|o| indices.iter().map(move |i| (o * n + i) * inner));
    let flat = flat.flat_map(|start| start..start + inner).collect();
    gather_or(cx, x, flat, 0., dims)
}

/// See [`crate::kernels::Backend::permute`].
///
/// # Errors
/// Those of [`Backend::permute`](crate::kernels::Backend::permute).
pub fn permute<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    perm: &[usize],
) -> Result<Tensor<E, D>> {
    let mut seen = perm.to_vec();
    seen.sort_unstable();
    require(seen.iter().copied().eq(0..x.rank()), || format!("permutation {perm:?} of {:?}", x.dims()))?;
    let pick = |from: &[usize]| -> Vec<usize> { perm.iter().filter_map(|&p| from.get(p).copied()).collect() };
    let dims = pick(x.dims());
    let len = x.len();
    match blocks(x.dims(), perm).as_deref() {
        _ if len == 0 => x.reshaped(dims),
        Some([]) => x.reshaped(dims),
        Some(&[a, b, c, d]) => cx.compose(&[x], dims, |x| {
            let swapped = x.try_reshape_like(&(a, b, c, d))?.try_permute::<_, Axes4<0, 2, 1, 3>>()?;
            swapped.try_reshape_like(&(len,))
        }),
        _ => {
            let from: Vec<isize> = pick(&strides(x.dims())).into_iter().map(|s| s as isize).collect();
            let indices = offsets(&dims, &from, 0);
            gather_or(cx, x, indices, 0., dims)
        }
    }
}

/// The extents (a, b, c, d) if `perm` is (a, b, c, d) → (a, c, b, d) after axes that stay together are joined; nothing
/// if it moves no element; `None` if it is more than that.
fn blocks(dims: &[usize], perm: &[usize]) -> Option<Vec<usize>> {
    let wide: Vec<usize> = perm.iter().copied().filter(|&p| dims.get(p) != Some(&1)).collect();
    let breaks: Vec<usize> =
        wide.windows(2).enumerate().filter(|(_, w)| !follows(dims, w)).map(|(i, _)| i + 1).collect();
    let extent = |axes: Option<&[usize]>| axes.map(|axes| axes.iter().filter_map(|&a| dims.get(a)).product::<usize>());
    // In the order of the result: [a] c | b [d], with up to three breaks.
    let starts_in_place = wide.first() == dims.iter().position(|&d| d != 1).as_ref();
    let ends_in_place = wide.last() == dims.iter().rposition(|&d| d != 1).as_ref();
    let (a_end, c_end, b_end) = match (&*breaks, starts_in_place, ends_in_place) {
        ([], ..) => return Some(vec![]),
        (&[c], ..) => (0, c, wide.len()),
        (&[a, c], true, false) => (a, c, wide.len()),
        (&[c, b], false, true) => (0, c, b),
        (&[a, c, b], true, true) => (a, c, b),
        _ => return None,
    };
    let (a, c) = (extent(wide.get(..a_end))?, extent(wide.get(a_end..c_end))?);
    let (b, d) = (extent(wide.get(c_end..b_end))?, extent(wide.get(b_end..))?);
    Some(vec![a, b, c, d])
}

/// Whether only axes of extent 1 lie between two axes.
fn follows(dims: &[usize], pair: &[usize]) -> bool {
    matches!(pair, &[p, q] if q > p && dims.get(p + 1..q).is_some_and(|between| between.iter().all(|&d| d == 1)))
}

/// See [`crate::kernels::Backend::expand`].
///
/// # Errors
/// Those of [`Backend::expand`](crate::kernels::Backend::expand).
pub fn expand<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    dims: &[usize],
) -> Result<Tensor<E, D>> {
    let len: usize = dims.iter().product();
    let fits = x.rank() <= dims.len() && x.dims().iter().rev().zip(dims.iter().rev()).all(|(&f, &t)| f == t || f == 1);
    require(fits, || format!("{:?} does not expand to {dims:?}", x.dims()))?;
    if len == 0 {
        return cx.upload(dims.to_vec(), vec![]);
    }
    match BroadcastAxes::of(x.dims(), dims, dims) {
        _ if len == x.len() => x.reshaped(dims.to_vec()),
        Some(BroadcastAxes { dims: runs, has: [has, _] }) => {
            // dfdx's reshape of repeated elements gives a wrong gradient on a GPU: its product takes them.
            let ones = filled(cx, dims, 1.)?;
            cx.compose(&[x], dims.to_vec(), |x| {
                let ones = ones.flat().clone().try_reshape_like(&runs)?;
                spread(x, runs, has)?.try_mul(ones)?.try_reshape_like(&(len,))
            })
        }
        None => {
            let indices = offsets(dims, &broadcast_strides(x.dims(), dims), 0);
            gather_or(cx, x, indices, 0., dims.to_vec())
        }
    }
}

/// See [`crate::kernels::Backend::concat`]. Parts are joined two by two.
///
/// # Errors
/// Those of [`Backend::concat`](crate::kernels::Backend::concat).
pub fn concat<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    xs: &[&Tensor<E, D>],
    axis: usize,
) -> Result<Tensor<E, D>> {
    let first = xs.first().ok_or_else(|| Error::Internal("concatenation of nothing".into()))?;
    let (outer, _, inner) = around(first.dims(), axis)?;
    let mut dims = first.dims().to_vec();
    let mut parts: Vec<Tensor<E, D>> = Vec::new();
    let mut total = 0;
    for x in xs {
        let fits = x.rank() == first.rank()
            && x.dims().iter().zip(first.dims()).enumerate().all(|(i, (a, b))| i == axis || a == b);
        require(fits, || format!("concatenation of {:?} and {:?} along {axis}", first.dims(), x.dims()))?;
        total += around(x.dims(), axis)?.1;
        if !x.is_empty() {
            let twice = parts.iter().any(|p| p.is(x));
            parts.push(if twice { cx.alias(x)? } else { (*x).clone() });
        }
    }
    dims.splice(axis..=axis, [total]);
    let len = outer * total * inner;
    let refs: Vec<&Tensor<E, D>> = parts.iter().collect();
    let Some((_, rest)) = refs.split_first() else { return cx.upload(dims, vec![]) };
    cx.compose(&refs, dims, |x| {
        let rows = |x: Taped<E, D>, n: usize| x.try_reshape_like(&(outer, n / outer));
        let n = len - rest.iter().map(|x| x.len()).sum::<usize>();
        let mut parts = vec![rows(x, n)?];
        for x in rest {
            parts.push(rows(x.flat().retaped(), x.len())?);
        }
        while parts.len() > 1 {
            let mut pairs = std::mem::take(&mut parts).into_iter();
            while let Some(left) = pairs.next() {
                parts.push(match pairs.next() {
                    Some(right) => (left, right).try_concat_along(Axis::<1>)?,
                    None => left,
                });
            }
        }
        parts.remove(0).try_reshape_like(&(len,))
    })
}

/// See [`crate::kernels::Backend::slice`].
///
/// # Errors
/// Those of [`Backend::slice`](crate::kernels::Backend::slice).
pub fn slice<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    starts: &[usize],
    steps: &[isize],
    out_dims: &[usize],
) -> Result<Tensor<E, D>> {
    let ranks = [starts.len(), steps.len(), out_dims.len()];
    require(ranks == [x.rank(); 3], || format!("slice of {:?} by {ranks:?} axes", x.dims()))?;
    if out_dims.contains(&0) {
        return cx.upload(out_dims.to_vec(), vec![]);
    }
    let own = strides(x.dims());
    let (mut base, mut by) = (0, Vec::new());
    for ((&d, &stride), ((&start, &step), &n)) in x.dims().iter().zip(&own).zip(starts.iter().zip(steps).zip(out_dims))
    {
        let last = start as isize + (n as isize - 1) * step;
        let inside = start < d && usize::try_from(last).is_ok_and(|last| last < d);
        require(inside, || format!("slice from {start} by {step} to {last} of {d}"))?;
        base += (start * stride) as isize;
        by.push(step * stride as isize);
    }
    gather_or(cx, x, offsets(out_dims, &by, base), 0., out_dims.to_vec())
}

/// See [`crate::kernels::Backend::pad`].
///
/// # Errors
/// Those of [`Backend::pad`](crate::kernels::Backend::pad).
pub fn pad<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    pads: &[[isize; 2]],
    mode: PadMode,
) -> Result<Tensor<E, D>> {
    let (from, dims) = padded(x.dims(), pads, mode)?;
    let fill = if let PadMode::Constant(fill) = mode { fill } else { 0. };
    let len = x.len();
    gather_or(cx, x, from.into_iter().map(|i| i.unwrap_or(len)).collect(), fill, dims)
}

/// Where each element of a padded tensor comes from, `None` for the constant, and its dimensions. Cropping comes before
/// padding: what is mirrored, repeated or wrapped around is what the crop leaves.
pub(in crate::kernels) fn padded(
    dims: &[usize],
    pads: &[[isize; 2]],
    mode: PadMode,
) -> Result<(Vec<Option<usize>>, Vec<usize>)> {
    require(pads.len() == dims.len(), || format!("{} pads for {dims:?}", pads.len()))?;
    let mut axes = Vec::new();
    for (&d, &[before, after]) in dims.iter().zip(pads) {
        let (low, high) = ((-before).max(0), d as isize + after.min(0));
        let kept = high - low;
        require(d as isize + before + after >= 0, || format!("pads {before} and {after} of {d}"))?;
        let out = (-before.max(0)..kept.max(0) + after.max(0)).take((d as isize + before + after) as usize);
        let source = |i: isize| match mode {
            _ if (0..kept).contains(&i) => Some(i),
            _ if kept <= 0 => None,
            PadMode::Constant(_) => None,
            PadMode::Edge => Some(i.clamp(0, kept - 1)),
            PadMode::Reflect if kept == 1 => Some(0),
            PadMode::Reflect => Some((kept - 1) - ((kept - 1) - i.rem_euclid(2 * (kept - 1))).abs()),
            PadMode::Wrap => Some(i.rem_euclid(kept)),
        };
        axes.push(out.map(|i| source(i).map(|i| (i + low) as usize)).collect::<Vec<_>>());
    }
    let mut from = vec![Some(0)];
    for (axis, &d) in axes.iter().zip(dims) {
        from = from.iter().flat_map(|at| axis.iter().map(move |i| Some((*at)? * d + (*i)?))).collect();
    }
    let filled = !matches!(mode, PadMode::Constant(_)) && from.contains(&None);
    require(!filled, || format!("nothing to pad {dims:?} with by {pads:?}"))?;
    Ok((from, axes.iter().map(Vec::len).collect()))
}
