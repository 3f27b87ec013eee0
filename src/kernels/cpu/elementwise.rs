//! Elementwise functions of one tensor.

use super::{
    F32,
    function::{Function, Keeps, with_function},
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
    /// dx += dy·f′
    fn slopes<I, F: Function>(f: F, kept: &[f32], dy: &[f32], dx: &mut [f32]) {
        for ((dx, &dy), &k) in dx.iter_mut().zip(dy).zip(kept) {
            *dx = I::fma(dy, f.slope::<I>(k), *dx);
        }
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
        let kept = match F::KEEPS {
            Keeps::Nothing => None,
            Keeps::Argument => Some(x.detached()),
            Keeps::Value => Some(y.detached()),
        };
        move |dy, sink| {
            let kept = kept.as_ref().map_or(dy, |t| t.as_slice());
            par::over(sink.at(&slot)?, |at, dx| {
                let span = at..at + dx.len();
                slopes(f, &kept[span.clone()], &dy[span], dx);
            });
            Ok(())
        }
    })
}
