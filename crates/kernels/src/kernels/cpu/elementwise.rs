//! Elementwise functions of one tensor.

use super::{
    F32,
    function::{self, Function, SavedForBackward, with_function},
    par,
    simd::simd,
};
use crate::{engine::Context, error::Result, kernels::spec::Unary};
use dfdx::prelude::Cpu;

simd! {
    fn values<I, F: Function>(f: F, x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f.value::<I>(x);
        }
    }
}

simd! {
    /// dy ·= f′
    fn scale<I, F: Function>(f: F, kept: &[f32], dy: &mut [f32]) {
        for (dy, &k) in dy.iter_mut().zip(kept) {
            *dy *= f.slope::<I>(k);
        }
    }
}

simd! {
    /// dy ·= f′, which is the same everywhere
    fn scale_by_constant<I, F: Function>(f: F, dy: &mut [f32]) {
        dy.iter_mut().for_each(|dy| *dy *= f.slope::<I>(0.0));
    }
}

/// f(x), element by element.
pub(in crate::kernels) fn unary(cx: &mut Context<f32, Cpu>, op: Unary, x: &F32) -> Result<F32> {
    with_function!(op, f => run(cx, op, f, x))
}

fn run<F: Function>(cx: &mut Context<f32, Cpu>, op: Unary, f: F, x: &F32) -> Result<F32> {
    let values = {
        let x = x.as_slice();
        par::generate(x.len(), |at, y| values(f, &x[at..at + y.len()], y))
    };
    let dims = x.dims().to_vec();
    if matches!(op, Unary::Floor | Unary::Ceil | Unary::Round | Unary::Sign) {
        return cx.upload(dims, values);
    }
    let Some(slot) = x.slot() else {
        return cx.upload(dims, values);
    };
    cx.record_with(&[x], dims, values, |y| {
        let kept = match F::SAVED {
            SavedForBackward::Nothing => None,
            SavedForBackward::Argument => Some(x.detached()),
            SavedForBackward::Value => Some(y.detached()),
        };
        move |dy, sink| {
            let mut dy = dy;
            par::over(&mut dy, |at, dy| match &kept {
                Some(kept) => scale(f, &kept.as_slice()[at..at + dy.len()], dy),
                None => scale_by_constant(f, dy),
            });
            par::give(sink, &slot, dy)
        }
    })
}

/// `with_fused!(op, f => body)`: `body` with `f` the function that `op` names, one of those that a convolution may end in.
macro_rules! with_fused {
    ($op:expr, $f:ident => $body:expr, else $none:expr) => {{
        macro_rules! run {
            ($function:expr) => {{
                let $f = $function;
                $body
            }};
        }
        match $op {
            Unary::Relu => run!(function::Relu {}),
            // The slopes of these ask on which side of a bound the argument is, and the value is on the same.
            Unary::Clip { min, max } if min < max => run!(function::Clip { min: min as f32, max: max as f32 }),
            Unary::LeakyRelu { alpha } if alpha > 0.0 => run!(function::LeakyRelu { alpha: alpha as f32 }),
            Unary::Sigmoid => run!(function::Sigmoid {}),
            Unary::Tanh => run!(function::Tanh {}),
            _ => $none,
        }
    }};
}

/// Whether a convolution may end in this function: its slope follows from its value.
pub(in crate::kernels) fn fuses(op: Unary) -> bool {
    with_fused!(op, _f => true, else false)
}

/// y := f(y), for the functions of [`fuses`].
pub(super) fn in_place(op: Unary, y: &mut [f32]) {
    with_fused!(op, f => change(f, y), else ());
}

/// dy ·= f′, from y = f(x), for the functions of [`fuses`].
pub(super) fn scale_by_slope(op: Unary, y: &[f32], dy: &mut [f32]) {
    with_fused!(op, f => par::over(dy, |at, dy| scale(f, &y[at..at + dy.len()], dy)), else ());
}

simd! {
    fn change<I, F: Function>(f: F, y: &mut [f32]) {
        y.iter_mut().for_each(|y| *y = f.value::<I>(*y));
    }
}
