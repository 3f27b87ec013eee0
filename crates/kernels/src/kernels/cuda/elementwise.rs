//! Elementwise functions of one and of two tensors.

use super::{
    Cx, F32,
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

/// What the backward pass keeps.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keeps {
    Argument,
    Value,
}

/// A function's code in elementwise.cu, with its constants.
#[derive(Clone, Copy)]
pub(super) struct Code {
    pub op: i32,
    pub a: f32,
    pub b: f32,
}

pub(super) fn code(op: Unary) -> (Code, Keeps) {
    use Keeps::{Argument, Value};
    let plain = |op, keeps| (Code { op, a: 0., b: 0. }, keeps);
    let with = |op, a: f64, b: f64, keeps| (Code { op, a: a as f32, b: b as f32 }, keeps);
    match op {
        Unary::Neg => plain(0, Argument),
        Unary::Abs => plain(1, Argument),
        Unary::Reciprocal => plain(2, Value),
        Unary::Sqrt => plain(3, Value),
        Unary::Exp => plain(4, Value),
        Unary::Log => plain(5, Argument),
        Unary::Erf => plain(6, Argument),
        Unary::Tanh => plain(7, Value),
        Unary::Sigmoid => plain(8, Value),
        Unary::Relu => plain(9, Value),
        Unary::LeakyRelu { alpha } => with(10, alpha, 0., Argument),
        Unary::Elu { alpha } => with(11, alpha, 0., Argument),
        Unary::Gelu { tanh: false } => plain(12, Argument),
        Unary::Gelu { tanh: true } => plain(13, Argument),
        Unary::HardSwish => plain(14, Argument),
        Unary::HardSigmoid { alpha, beta } => with(15, alpha, beta, Value),
        Unary::Clip { min, max } => with(16, min, max, Argument),
        Unary::Softplus => plain(17, Argument),
        Unary::Softsign => plain(18, Argument),
        Unary::Sin => plain(19, Argument),
        Unary::Cos => plain(20, Argument),
        Unary::Tan => plain(21, Argument),
        Unary::Acos => plain(22, Argument),
        Unary::Asin => plain(23, Argument),
        Unary::Atan => plain(24, Argument),
        Unary::Cosh => plain(25, Argument),
        Unary::Sinh => plain(26, Argument),
        Unary::Acosh => plain(27, Argument),
        Unary::Asinh => plain(28, Argument),
        Unary::Atanh => plain(29, Argument),
        Unary::AddScalar(c) => with(30, c, 0., Argument),
        Unary::MulScalar(c) => with(31, c, 0., Argument),
        Unary::PowScalar(2.0) => plain(37, Argument),
        Unary::PowScalar(3.0) => plain(38, Argument),
        Unary::PowScalar(0.5) => plain(3, Value),
        Unary::PowScalar(-1.0) => plain(2, Value),
        Unary::PowScalar(c) => with(32, c, 0., Argument),
        Unary::Floor => plain(33, Argument),
        Unary::Ceil => plain(34, Argument),
        Unary::Round => plain(35, Argument),
        Unary::Sign => plain(36, Argument),
    }
}

/// The code of a function whose derivative can be told from its value, as a convolution's last pass may apply it.
pub(super) fn activation(op: Unary) -> Option<Code> {
    match op {
        Unary::Relu | Unary::Clip { .. } => Some(code(op).0),
        // Where the slope is positive the value has the argument's sign.
        Unary::LeakyRelu { alpha } if alpha > 0.0 => Some(code(op).0),
        _ => None,
    }
}

pub(in crate::kernels) fn unary(cx: &mut Cx, op: Unary, x: &F32) -> Result<F32> {
    let (gpu, n, (code, keeps)) = (gpu(cx)?, x.len(), code(op));
    let y = zeros(cx, x.dims())?;
    let Code { op, a, b } = code;
    let arguments = [op.into(), a.into(), b.into(), x.address()?.into(), y.address()?.into(), n.into()];
    gpu.launch("unary_forward", Grid::over(n), n, arguments).map_err(device_error)?;
    let kept = if keeps == Keeps::Value { y.detached() } else { x.detached() };
    let slot = x.device_slot();
    cx.record_on_device(&[x], y, move |dy, grads| {
        let Some(slot) = slot else { return Ok(()) };
        let dx = slot.address(grads)?;
        let from = kept.address().unwrap_or(Address::NONE);
        let arguments = [op.into(), a.into(), b.into(), from.into(), dy.into(), dx.into(), n.into()];
        gpu.launch("unary_backward", Grid::over(n), n, arguments)
    })
}

/// The code of a choice by a mask, which follows those of [`Binary`].
const SELECT: i32 = 8;

pub(in crate::kernels) fn binary(cx: &mut Cx, op: Binary, a: &F32, b: &F32) -> Result<F32> {
    let code = match op {
        Binary::Add => 0,
        Binary::Sub => 1,
        Binary::Mul => 2,
        Binary::Div => 3,
        Binary::Pow => 4,
        Binary::Max => 5,
        Binary::Min => 6,
        Binary::PRelu => 7,
    };
    let dims = broadcast(&[a.dims(), b.dims()])?;
    match Pair::of(a.dims(), b.dims(), &dims) {
        Some(pair) => two(cx, code, None, (a, b), (&dims, pair)),
        None => compose::binary(cx, op, a, b),
    }
}

pub(in crate::kernels) fn select(cx: &mut Cx, mask: &ArrayD<bool>, a: &F32, b: &F32) -> Result<F32> {
    let dims = broadcast(&[mask.shape(), a.dims(), b.dims()])?;
    let (Some(pair), Some(wide)) = (Pair::of(a.dims(), b.dims(), &dims), mask.broadcast(dims.clone())) else {
        return compose::select(cx, mask, a, b);
    };
    let flags = wide.iter().map(|&m| u8::from(m)).collect();
    two(cx, SELECT, Some(flags), (a, b), (&dims, pair))
}

fn two(
    cx: &mut Cx,
    op: i32,
    mask: Option<Vec<u8>>,
    (a, b): (&F32, &F32),
    (dims, pair): (&[usize], Pair),
) -> Result<F32> {
    let (gpu, n) = (gpu(cx)?, dims.iter().product::<usize>());
    let y = zeros(cx, dims)?;
    let mask = mask.map(|m| gpu.upload(m)).transpose().map_err(device_error)?;
    let flags = move || mask.as_ref().map_or(Address::NONE, |m| m.address());
    let from = [op.into(), a.address()?.into(), b.address()?.into(), flags().into()];
    let [x0, x1, x2, x3] = from;
    gpu.launch("binary_forward", Grid::over(n), n, [x0, x1, x2, x3, y.address()?.into(), n.into(), pair.into()])
        .map_err(device_error)?;
    if !cx.records(&[a, b]) {
        return Ok(y);
    }
    // A side that is repeated gets the sum over its copies.
    let side = |t: &F32| Ok((t.device_slot(), if t.len() == n { None } else { Some(Sum::to(t.dims(), dims)?) }));
    let ((slot_a, sum_a), (slot_b, sum_b)): ((_, Option<Sum>), (_, Option<Sum>)) = (side(a)?, side(b)?);
    // The values are not needed where the derivatives are constant.
    let linear = matches!(op, 0 | 1 | SELECT);
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
    fn neighbouring_axes_that_both_sides_treat_alike_are_one() {
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
