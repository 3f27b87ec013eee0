//! The steps of an LSTM.

use super::{binary, concat, matmul, slice, unary};
use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{
        Binary, LstmArgs, Unary,
        shape::{LstmDims, lstm_dims},
    },
};
use dfdx::prelude::Device;

/// See [`crate::kernels::Backend::lstm`]. With the gates of a step, G = X + h·Rᵀ,
///
/// c' = σ(G_f)·c + σ(Gᵢ)·tanh G_g and h' = σ(Gₒ)·tanh c'.
///
/// # Errors
/// Those of [`Backend::lstm`](crate::kernels::Backend::lstm).
pub fn lstm<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    LstmArgs { gates, recurrent, h, c }: LstmArgs<'_, E, D>,
) -> Result<Tensor<E, D>> {
    let LstmDims { steps, batch, hidden } = lstm_dims(gates.dims(), recurrent.dims(), h.dims(), c.dims())?;
    let rows = gates.reshaped(vec![steps * batch, 4 * hidden])?;
    let (mut h, mut c, mut sequence) = (h.clone(), c.clone(), Vec::new());
    for t in 0..steps {
        let now = slice(cx, &rows, &[t * batch, 0], &[1, 1], &[batch, 4 * hidden])?;
        let product = matmul(cx, &h, recurrent, false, true)?;
        let sums = binary(cx, Binary::Add, &now, &product)?;
        let mut open = |i: usize, op| {
            let gate = slice(cx, &sums, &[0, i * hidden], &[1, 1], &[batch, hidden])?;
            unary(cx, op, &gate)
        };
        let (i, o, f, g) =
            (open(0, Unary::Sigmoid)?, open(1, Unary::Sigmoid)?, open(2, Unary::Sigmoid)?, open(3, Unary::Tanh)?);
        let (kept, new) = (binary(cx, Binary::Mul, &f, &c)?, binary(cx, Binary::Mul, &i, &g)?);
        c = binary(cx, Binary::Add, &kept, &new)?;
        let shown = unary(cx, Unary::Tanh, &c)?;
        h = binary(cx, Binary::Mul, &o, &shown)?;
        sequence.push(h.clone());
    }
    sequence.push(c);
    concat(cx, &sequence.iter().collect::<Vec<_>>(), 0)?.reshaped(vec![steps + 1, batch, hidden])
}
