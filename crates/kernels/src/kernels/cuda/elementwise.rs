//! Elementwise functions of one and of two tensors.

use super::{
    Cx, F32,
    codes::{BinaryCode, Code, SavedForBackward, code},
    gpu::{AXES, Grid, Pair, Scratch, device_error, gpu, zeros},
    sum::{Sum, add_to},
};
use crate::{
    engine::Address,
    error::Result,
    kernels::{
        Binary, Unary, compose,
        shape::{broadcast, broadcast_strides},
    },
};
use ndarray::ArrayD;

pub(in crate::kernels) fn unary(cx: &mut Cx, op: Unary, x: &F32) -> Result<F32> {
    let (gpu, n, (code, saved)) = (gpu(cx)?, x.len(), code(op));
    let y = zeros(cx, x.dims())?;
    let Code { op, a, b } = code;
    let arguments = [op.into(), a.into(), b.into(), x.address()?.into(), y.address()?.into(), n.into()];
    gpu.launch("unary_forward", Grid::over(n), n, arguments).map_err(device_error)?;
    let kept = if saved == SavedForBackward::Value { y.detached() } else { x.detached() };
    let slot = x.device_slot();
    cx.record_on_device(&[x], y, move |dy, grads| {
        let Some(slot) = slot else { return Ok(()) };
        let dx = slot.address(grads)?;
        let from = kept.address().unwrap_or(Address::NONE);
        let arguments = [op.into(), a.into(), b.into(), from.into(), dy.into(), dx.into(), n.into()];
        gpu.launch("unary_backward", Grid::over(n), n, arguments)
    })
}

pub(in crate::kernels) fn binary(cx: &mut Cx, op: Binary, a: &F32, b: &F32) -> Result<F32> {
    let dims = broadcast(&[a.dims(), b.dims()])?;
    match Pair::of(a.dims(), b.dims(), &dims) {
        Some(pair) => two(cx, Two { op: op.into(), mask: None, a, b, dims: &dims, pair }),
        None => compose::binary(cx, op, a, b),
    }
}

pub(in crate::kernels) fn select(cx: &mut Cx, mask: &ArrayD<bool>, a: &F32, b: &F32) -> Result<F32> {
    let dims = broadcast(&[mask.shape(), a.dims(), b.dims()])?;
    let (Some(pair), Some(wide)) = (Pair::of(a.dims(), b.dims(), &dims), mask.broadcast(dims.clone())) else {
        return compose::select(cx, mask, a, b);
    };
    let flags = wide.iter().map(|&m| u8::from(m)).collect();
    two(cx, Two { op: BinaryCode::Select, mask: Some(flags), a, b, dims: &dims, pair })
}

/// A function of two tensors that broadcast to `dims`.
struct Two<'a> {
    op: BinaryCode,
    /// A byte for each element of the result, if the function chooses.
    mask: Option<Vec<u8>>,
    a: &'a F32,
    b: &'a F32,
    dims: &'a [usize],
    /// How both lie in the result.
    pair: Pair,
}

fn two(cx: &mut Cx, Two { op, mask, a, b, dims, pair }: Two<'_>) -> Result<F32> {
    let (gpu, n) = (gpu(cx)?, dims.iter().product::<usize>());
    let y = zeros(cx, dims)?;
    let mask = mask.map(|m| gpu.upload(m)).transpose().map_err(device_error)?;
    let flags = move || mask.as_ref().map_or(Address::NONE, |m| m.address());
    let arguments = [
        (op as i32).into(),
        a.address()?.into(),
        b.address()?.into(),
        flags().into(),
        y.address()?.into(),
        n.into(),
        pair.into(),
    ];
    gpu.launch("binary_forward", Grid::over(n), n, arguments).map_err(device_error)?;
    if !cx.records(&[a, b]) {
        return Ok(y);
    }
    // A side that is repeated gets the sum over its copies.
    let side = |t: &F32| Ok((t.device_slot(), if t.len() == n { None } else { Some(Sum::to(t.dims(), dims)?) }));
    let ((slot_a, sum_a), (slot_b, sum_b)): ((_, Option<Sum>), (_, Option<Sum>)) = (side(a)?, side(b)?);
    // The values are not needed where the derivatives are constant.
    let linear = matches!(op, BinaryCode::Add | BinaryCode::Sub | BinaryCode::Select);
    let op = op as i32;
    let keep = |t: &F32| if linear { None } else { Some(t.detached()) };
    let (x, z, dev) = (keep(a), keep(b), cx.dev.clone());
    let lies = |t: &Option<F32>| t.as_ref().and_then(|t| t.address().ok()).unwrap_or(Address::NONE);
    cx.record_on_device(&[a, b], y, move |dy, grads| {
        let scratch = |slot: bool, sum: bool| if slot && sum { Scratch::new(&dev, n).map(Some) } else { Ok(None) };
        let temp_a = scratch(slot_a.is_some(), sum_a.is_some())?;
        let temp_b = scratch(slot_b.is_some(), sum_b.is_some())?;
        let da = slot_a.as_ref().map(|s| s.address(grads)).transpose()?;
        let db = slot_b.as_ref().map(|s| s.address(grads)).transpose()?;
        let to = |direct: Option<Address>, temp: &Option<Scratch>| match (direct, temp) {
            (_, Some(temp)) => (temp.address(), 2),
            (Some(direct), None) => (direct, 1),
            (None, None) => (Address::NONE, 0),
        };
        let ((to_a, how_a), (to_b, how_b)) = (to(da, &temp_a), to(db, &temp_b));
        let arguments = [
            op.into(),
            lies(&x).into(),
            lies(&z).into(),
            flags().into(),
            dy.into(),
            to_a.into(),
            how_a.into(),
            to_b.into(),
            how_b.into(),
            n.into(),
            pair.into(),
        ];
        gpu.launch("binary_backward", Grid::over(n), n, arguments)?;
        for (temp, sum, direct) in [(temp_a, sum_a, da), (temp_b, sum_b, db)] {
            if let (Some(temp), Some(sum), Some(direct)) = (temp, sum, direct) {
                add_to(gpu, &dev, &sum, temp.address(), direct, 1.0)?;
            }
        }
        Ok(())
    })
}

impl Pair {
    /// Tensors of `a` and of `b`, both broadcast to `out`; `None` if that takes too many axes.
    pub(super) fn of(a: &[usize], b: &[usize], out: &[usize]) -> Option<Self> {
        let (sa, sb) = (broadcast_strides(a, out), broadcast_strides(b, out));
        let mut pair = Self::default();
        let mut axes: Vec<(u64, i64, i64)> = Vec::new();
        for ((&d, a), b) in out.iter().zip(sa).zip(sb).filter(|((d, _), _)| **d != 1) {
            let (d, a, b) = (d as u64, a as i64, b as i64);
            match axes.last_mut() {
                Some((n, x, y)) if *x == a * d as i64 && *y == b * d as i64 => (*n, *x, *y) = (*n * d, a, b),
                _ => axes.push((d, a, b)),
            }
        }
        if axes.len() > AXES {
            return None;
        }
        pair.rank = axes.len() as u64;
        let slots = pair.dims.iter_mut().zip(pair.a.iter_mut().zip(&mut pair.b));
        for ((dim, (x, y)), (d, a, b)) in slots.zip(axes) {
            (*dim, *x, *y) = (d, a, b);
        }
        Some(pair)
    }
}

#[cfg(test)]
mod pairs {
    use super::*;

    #[test]
    fn neighboring_axes_that_both_sides_treat_alike_are_one() {
        let pair = Pair::of(&[2, 3, 4], &[2, 3, 4], &[2, 3, 4]).unwrap();
        assert_eq!((pair.rank, pair.dims[0], pair.a[0], pair.b[0]), (1, 24, 1, 1));
        let pair = Pair::of(&[2, 3, 4], &[3, 1], &[2, 3, 4]).unwrap();
        assert_eq!(
            (pair.rank, &pair.dims[..3], &pair.a[..3], &pair.b[..3]),
            (3, &[2, 3, 4][..], &[12, 4, 1][..], &[0, 1, 0][..])
        );
        let pair = Pair::of(&[], &[5], &[5]).unwrap();
        assert_eq!((pair.rank, pair.a[0], pair.b[0]), (1, 0, 1));
    }
}
