//! Elementwise functions of two tensors that broadcast against each other, and selection by a mask.

use super::{
    F32, mathf, par, reduce,
    simd::{Isa, simd},
    walk::Walk,
};
use crate::{
    engine::{Context, Slot},
    error::Result,
    kernels::{
        shape::{self, broadcast_strides},
        spec::Binary,
    },
};
use dfdx::prelude::Cpu;
use ndarray::ArrayD;

/// An elementwise function of two arguments.
trait Function: Copy + Send + Sync + 'static {
    /// Whether it is a + b or a − b: slopes are the same everywhere, 1 on the left, and nothing is kept.
    const LINEAR: bool;
    fn value<I: Isa>(self, a: f32, b: f32) -> f32;
    /// ∂/∂a
    fn left<I: Isa>(self, a: f32, b: f32) -> f32;
    /// ∂/∂b
    fn right<I: Isa>(self, a: f32, b: f32) -> f32;
}

macro_rules! functions {
    ($($name:ident: $linear:literal, |$a:ident, $b:ident| $value:expr, $left:expr, $right:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name;
        #[allow(unused_variables)]
        impl Function for $name {
            const LINEAR: bool = $linear;
            #[inline(always)]
            fn value<I: Isa>(self, $a: f32, $b: f32) -> f32 { $value }
            #[inline(always)]
            fn left<I: Isa>(self, $a: f32, $b: f32) -> f32 { $left }
            #[inline(always)]
            fn right<I: Isa>(self, $a: f32, $b: f32) -> f32 { $right }
        }
    )*};
}

functions! {
    Add: true, |a, b| a + b, 1.0, 1.0;
    Sub: true, |a, b| a - b, 1.0, -1.0;
    Mul: false, |a, b| a * b, b, a;
    Div: false, |a, b| a / b, 1.0 / b, -a / (b * b);
    Pow: false, |a, b| power(a, b), if b == 0.0 { 0.0 } else { b * power(a, b - 1.0) },
        if a == 0.0 && b >= 0.0 { 0.0 } else { power(a, b) * mathf::ln::<I>(a) };
    Max: false, |a, b| if a > b || a.is_nan() { a } else { b }, share(a > b, a == b), share(b > a, a == b);
    Min: false, |a, b| if a < b || a.is_nan() { a } else { b }, share(a < b, a == b), share(b < a, a == b);
    PRelu: false, |a, b| if a < 0.0 { a * b } else { a }, if a > 0.0 { 1.0 } else { b }, if a < 0.0 { a } else { 0.0 };
}

#[inline(always)]
fn power(a: f32, b: f32) -> f32 {
    if b == 2.0 { a * a } else { a.powf(b) }
}

#[inline(always)]
fn share(wins: bool, ties: bool) -> f32 {
    if wins {
        1.0
    } else if ties {
        0.5
    } else {
        0.0
    }
}

/// The three ways in which a stretch of the result meets its arguments, each of which is a slice or one repeated
/// element.
macro_rules! stretches {
    ($name:ident, |$f:ident, $a:ident, $b:ident, $out:ident $(, $dy:ident)?| $body:expr) => {
        simd! {
            fn $name<I, F: Function>($f: F, a: &[f32], b: &[f32], $($dy: &[f32],)? out: &mut [f32]) {
                let n = out.len();
                $(let $dy = &$dy[..n];)?
                match (a.len() == n, b.len() == n) {
                    (true, true) => {
                        let (a, b) = (&a[..n], &b[..n]);
                        for i in 0..n { let ($a, $b, $out) = (a[i], b[i], &mut out[i]); $(let $dy = $dy[i];)? $body; }
                    }
                    (true, false) => {
                        let (a, $b) = (&a[..n], b[0]);
                        for i in 0..n { let ($a, $out) = (a[i], &mut out[i]); $(let $dy = $dy[i];)? $body; }
                    }
                    _ => {
                        let ($a, b) = (a[0], &b[..n]);
                        for i in 0..n { let ($b, $out) = (b[i], &mut out[i]); $(let $dy = $dy[i];)? $body; }
                    }
                }
            }
        }
    };
}

stretches!(values, |f, a, b, out| *out = f.value::<I>(a, b));
stretches!(lefts, |f, a, b, out, dy| *out += dy * f.left::<I>(a, b));
stretches!(rights, |f, a, b, out, dy| *out += dy * f.right::<I>(a, b));

/// The elements that `len` results at an offset read.
fn stretch(v: &[f32], offset: isize, step: isize, len: usize) -> &[f32] {
    let at = offset as usize;
    if step == 0 { &v[at..at + 1] } else { &v[at..at + len] }
}

/// f(a, b) with NumPy broadcasting.
pub(in crate::kernels) fn binary(cx: &mut Context<f32, Cpu>, op: Binary, a: &F32, b: &F32) -> Result<F32> {
    match op {
        Binary::Add => run(cx, Add, a, b),
        Binary::Sub => run(cx, Sub, a, b),
        Binary::Mul => run(cx, Mul, a, b),
        Binary::Div => run(cx, Div, a, b),
        Binary::Pow => run(cx, Pow, a, b),
        Binary::Max => run(cx, Max, a, b),
        Binary::Min => run(cx, Min, a, b),
        Binary::PRelu => run(cx, PRelu, a, b),
    }
}

fn run<F: Function>(cx: &mut Context<f32, Cpu>, f: F, a: &F32, b: &F32) -> Result<F32> {
    let dims = shape::broadcast(&[a.dims(), b.dims()])?;
    let walk = Walk::new(&dims, [&broadcast_strides(a.dims(), &dims), &broadcast_strides(b.dims(), &dims)]);
    let [sa, sb] = walk.steps();
    let values = {
        let (a, b) = (a.as_slice(), b.as_slice());
        par::generate(dims.iter().product(), |start, out| {
            walk.each(start, out.len(), |at, [ia, ib], n| {
                values(f, stretch(a, ia, sa, n), stretch(b, ib, sb, n), &mut out[at..at + n]);
            });
        })
    };
    if !cx.records(&[a, b]) {
        return cx.upload(dims, values);
    }
    let (left, right) = (a.slot(), b.slot());
    let (a_dims, b_dims, out_dims) = (a.dims().to_vec(), b.dims().to_vec(), dims.clone());
    let kept = (!F::LINEAR).then(|| (a.detached(), b.detached()));
    cx.record(&[a, b], dims, values, move |dy, sink| {
        // A linear function's slopes ignore what they are given.
        let (a, b) = kept.as_ref().map_or((&dy[..], &dy[..]), |(a, b)| (a.as_slice(), b.as_slice()));
        let whole = |dims: &[usize]| dims.iter().product::<usize>() == dy.len();
        let mut side = |slot: &Option<Slot<f32>>, dims: &[usize], slopes: Slopes<F>| {
            let Some(slot) = slot else { return Ok(()) };
            if F::LINEAR {
                let total = if whole(dims) { None } else { Some(reduce::sum_to(&dy, &out_dims, dims)) };
                let total = total.as_deref().unwrap_or(&dy);
                return par::accumulate(sink, slot, 1, 1, |at, out| {
                    let total = &total[at..at + out.len()];
                    slopes(f, total, total, total, out);
                });
            }
            let piece = |start: usize, out: &mut [f32]| {
                walk.each(start, out.len(), |at, [ia, ib], n| {
                    let dy = &dy[start + at..start + at + n];
                    slopes(f, stretch(a, ia, sa, n), stretch(b, ib, sb, n), dy, &mut out[at..at + n]);
                });
            };
            if whole(dims) {
                return par::accumulate(sink, slot, 1, 1, piece);
            }
            let full = par::generate(dy.len(), piece);
            par::give(sink, slot, reduce::sum_to(&full, &out_dims, dims))
        };
        side(&right, &b_dims, rights)?;
        match left {
            // The gradient of a sum is handed on as it is.
            Some(slot) if F::LINEAR && whole(&a_dims) => par::give(sink, &slot, dy),
            left => side(&left, &a_dims, lefts),
        }
    })
}

type Slopes<F> = fn(F, &[f32], &[f32], &[f32], &mut [f32]);

/// a where the mask is set, else b; all three broadcast against each other.
pub(in crate::kernels) fn select(cx: &mut Context<f32, Cpu>, mask: &ArrayD<bool>, a: &F32, b: &F32) -> Result<F32> {
    let dims = shape::broadcast(&[mask.shape(), a.dims(), b.dims()])?;
    let bits: Vec<bool> = mask.iter().copied().collect();
    let to = |from: &[usize]| broadcast_strides(from, &dims);
    let walk = Walk::new(&dims, [&to(mask.shape()), &to(a.dims()), &to(b.dims())]);
    let values = {
        let (a, b) = (a.as_slice(), b.as_slice());
        let [sm, sa, sb] = walk.steps();
        par::generate(dims.iter().product(), |start, out| {
            walk.each(start, out.len(), |at, [im, ia, ib], n| {
                for (i, out) in out[at..at + n].iter_mut().enumerate() {
                    let i = i as isize;
                    *out = if bits[(im + i * sm) as usize] {
                        a[(ia + i * sa) as usize]
                    } else {
                        b[(ib + i * sb) as usize]
                    };
                }
            });
        })
    };
    if !cx.records(&[a, b]) {
        return cx.upload(dims, values);
    }
    let sides = [(true, a.slot(), a.dims().to_vec()), (false, b.slot(), b.dims().to_vec())];
    let mask = Walk::new(&dims, [&to(mask.shape()), &to(&dims)]);
    let out_dims = dims.clone();
    cx.record(&[a, b], dims, values, move |dy, sink| {
        let [step, _] = mask.steps();
        for (side, slot, dims) in sides {
            let Some(slot) = slot else { continue };
            let full = par::generate(dy.len(), |start, out| {
                mask.each(start, out.len(), |at, [im, _], n| {
                    let dy = &dy[start + at..start + at + n];
                    for (i, (out, &dy)) in out[at..at + n].iter_mut().zip(dy).enumerate() {
                        *out = if bits[(im + i as isize * step) as usize] == side { dy } else { 0.0 };
                    }
                });
            });
            let total = if dims == out_dims { full } else { reduce::sum_to(&full, &out_dims, &dims) };
            par::give(sink, &slot, total)?;
        }
        Ok(())
    })
}
