//! Products by a matrix of weights with bias and activation: each block of rows is finished while it is in the cache.

use super::{
    F32, elementwise, par,
    product::{Beta, Mat, large},
    reduce,
    simd::simd,
};
use crate::{
    engine::Context,
    error::Result,
    kernels::{LinearArgs, shape::linear_dims},
};
use dfdx::prelude::Cpu;

simd! {
    fn add<I>(bias: &[f32], y: &mut [f32]) {
        y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
    }
}

/// See [`crate::kernels::Backend::linear`].
pub(in crate::kernels) fn linear(
    cx: &mut Context<f32, Cpu>,
    LinearArgs { x, w, transposed, bias, activation }: LinearArgs<'_, f32, Cpu>,
) -> Result<F32> {
    let (rows, k, n) = linear_dims(x.dims(), w.dims(), transposed, bias.map(F32::dims))?;
    let mut dims = x.dims().to_vec();
    dims.pop();
    dims.push(n);
    let values = {
        let factors = (Mat::new(x.as_slice(), rows, k), Mat::stored(w.as_slice(), k, n, transposed));
        let bias = bias.map(F32::as_slice);
        let finish = |column: usize, y: &mut [f32]| {
            if let Some(bias) = bias {
                add(&bias[column..], y);
            }
            if let Some(op) = activation {
                elementwise::in_place(op, y);
            }
        };
        // SAFETY: the product is all of the buffer, and no other task has it.
        unsafe { par::assemble(rows * n, |c| large(c, 0, factors, Beta::Zero, finish)) }
    };
    let (dx, dw, db) = (x.slot(), w.slot(), bias.and_then(F32::slot));
    // Each side is kept for the gradient of the other.
    let (x_kept, w_kept) = (dw.is_some().then(|| x.detached()), dx.is_some().then(|| w.detached()));
    let mut inputs = vec![x, w];
    inputs.extend(bias);
    cx.record_with(&inputs, dims, values, |y| {
        let y_kept = activation.map(|op| (op, y.detached()));
        move |mut dy, sink| {
            if let Some((op, y)) = y_kept {
                elementwise::scale_by_slope(op, y.as_slice(), &mut dy);
            }
            if let Some(slot) = db {
                par::give(sink, &slot, reduce::sum_to(&dy, &[rows, n], &[1, n]))?;
            }
            let dy = Mat::new(&dy, rows, n);
            if let (Some(slot), Some(x)) = (dw, x_kept) {
                let x = Mat::new(x.as_slice(), rows, k);
                let factors = if transposed { (dy.t(), x) } else { (x.t(), dy) };
                // SAFETY: the product is all of the buffer, and no other task has it.
                unsafe { par::write(sink, &slot, |dw, old| large(dw, 0, factors, old, |_, _| {}))? };
            }
            if let (Some(slot), Some(w)) = (dx, w_kept) {
                let factors = (dy, Mat::stored(w.as_slice(), k, n, transposed).t());
                // SAFETY: likewise.
                unsafe { par::write(sink, &slot, |dx, old| large(dx, 0, factors, old, |_, _| {}))? };
            }
            Ok(())
        }
    })
}
