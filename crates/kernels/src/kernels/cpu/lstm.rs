//! The steps of an LSTM. Rows do not meet before the gradient to the weights, so blocks of them go through all steps by
//! themselves: the recurrent product of a step, then its gates in one pass.

use super::{
    F32, mathf,
    par::{self, Shared},
    product::{Beta, Mat, large, on_thread},
    simd::simd,
};
use crate::{
    engine::Context,
    error::Result,
    kernels::{
        LstmArgs,
        shape::{LstmDims, lstm_dims},
    },
};
use dfdx::prelude::Cpu;
use std::ops::Range;

/// Rows of a block: enough for the product's inner kernel.
const ROWS: usize = 32;

simd! {
    /// Opens a row's gates i, o, f and g, which are summed, and goes on to the next states.
    fn advance<I>(gates: &mut [f32], c: &mut [f32], h: &mut [f32]) {
        let n = c.len();
        let (input, rest) = gates.split_at_mut(n);
        let (output, rest) = rest.split_at_mut(n);
        let (forget, new) = rest.split_at_mut(n);
        let (new, h) = (&mut new[..n], &mut h[..n]);
        for k in 0..n {
            let (i, o) = (mathf::sigmoid::<I>(input[k]), mathf::sigmoid::<I>(output[k]));
            let (f, g) = (mathf::sigmoid::<I>(forget[k]), mathf::tanh::<I>(new[k]));
            let next = I::fma(f, c[k], i * g);
            (input[k], output[k], forget[k], new[k]) = (i, o, f, g);
            c[k] = next;
            h[k] = o * mathf::tanh::<I>(next);
        }
    }
}

simd! {
    /// The gradient to a row's summed gates, from that to h; that to c is carried over to the step before.
    fn retreat<I>(gates: &[f32], before: &[f32], after: &[f32], dh: &[f32], dc: &mut [f32], dgates: &mut [f32]) {
        let n = dc.len();
        let (input, output, forget, new) = (&gates[..n], &gates[n..2 * n], &gates[2 * n..3 * n], &gates[3 * n..4 * n]);
        let (di, rest) = dgates.split_at_mut(n);
        let (d_o, rest) = rest.split_at_mut(n);
        let (df, dg) = rest.split_at_mut(n);
        let (before, after, dh, dg) = (&before[..n], &after[..n], &dh[..n], &mut dg[..n]);
        for k in 0..n {
            let (i, o, f, g) = (input[k], output[k], forget[k], new[k]);
            let shown = mathf::tanh::<I>(after[k]);
            let d = I::fma(dh[k] * o, 1.0 - shown * shown, dc[k]);
            di[k] = d * g * i * (1.0 - i);
            d_o[k] = dh[k] * shown * o * (1.0 - o);
            df[k] = d * before[k] * f * (1.0 - f);
            dg[k] = d * i * (1.0 - g * g);
            dc[k] = d * f;
        }
    }
}

/// Some rows of step `t` of a buffer with `width` elements a row: where they start, and how many elements they are.
fn place(dims: &LstmDims, t: usize, rows: &Range<usize>, width: usize) -> (usize, usize) {
    ((t * dims.batch + rows.start) * width, rows.len() * width)
}

/// What the backward pass needs of each step: open gates, and c after it. Empty unless that is asked for.
struct SavedForBackward {
    gates: Vec<f32>,
    cells: Vec<f32>,
}

fn forward(
    dims: &LstmDims,
    keep: bool,
    gates: &[f32],
    recurrent: &[f32],
    h: &[f32],
    c: &[f32],
) -> (Vec<f32>, SavedForBackward) {
    let &LstmDims { steps, batch, hidden } = dims;
    let (wide, kept) = (4 * hidden, if keep { steps } else { 0 });
    let mut open = par::zeros(kept * batch * wide);
    let mut cells = par::zeros(kept * batch * hidden);
    let mut y = par::zeros((steps + 1) * batch * hidden);
    let (all_open, all_cells, all_y) = (Shared::new(&mut open), Shared::new(&mut cells), Shared::new(&mut y));
    let weights = Mat::new(recurrent, wide, hidden).t();
    let block = |rows: Range<usize>, now: &mut [f32], c_now: &mut [f32]| {
        let at = |t, width| place(dims, t, &rows, width);
        let (start, n) = at(0, hidden);
        c_now.copy_from_slice(&c[start..start + n]);
        let mut before: &[f32] = &h[start..start + n];
        for t in 0..steps {
            let (from, len) = at(t, wide);
            // SAFETY: these rows of this step belong to this task.
            let sums = if keep { unsafe { all_open.slice(from, len) } } else { &mut *now };
            sums.copy_from_slice(&gates[from..from + len]);
            // SAFETY: `sums` has as many rows of as many elements.
            unsafe { on_thread(sums.as_mut_ptr(), wide, Mat::new(before, rows.len(), hidden), weights, Beta::One) }
            let (start, n) = at(t, hidden);
            // SAFETY: likewise.
            let next = unsafe { all_y.slice(start, n) };
            for ((sums, c), h) in sums.chunks_mut(wide).zip(c_now.chunks_mut(hidden)).zip(next.chunks_mut(hidden)) {
                advance(sums, c, h);
            }
            if keep {
                // SAFETY: likewise.
                unsafe { all_cells.slice(start, n) }.copy_from_slice(c_now);
            }
            before = next;
        }
        let (start, n) = at(steps, hidden);
        // SAFETY: likewise.
        unsafe { all_y.slice(start, n) }.copy_from_slice(c_now);
    };
    par::tasks(batch.div_ceil(ROWS), |task| {
        let rows = task * ROWS..batch.min((task + 1) * ROWS);
        let n = rows.len();
        par::scratch(if keep { 0 } else { n * wide }, |now| par::scratch(n * hidden, |c| block(rows, now, c)));
    });
    (y, SavedForBackward { gates: open, cells })
}

/// Gradients to the gates, and to h and c before the first step.
fn backward(dims: &LstmDims, kept: &SavedForBackward, recurrent: &[f32], first_c: &[f32], dy: &[f32]) -> [Vec<f32>; 3] {
    let &LstmDims { steps, batch, hidden } = dims;
    let wide = 4 * hidden;
    let mut dgates = par::zeros(steps * batch * wide);
    let (mut dh, mut dc) = (par::zeros(batch * hidden), par::zeros(batch * hidden));
    let (all_gates, all_h, all_c) = (Shared::new(&mut dgates), Shared::new(&mut dh), Shared::new(&mut dc));
    let weights = Mat::new(recurrent, wide, hidden);
    par::tasks(batch.div_ceil(ROWS), |task| {
        let rows = task * ROWS..batch.min((task + 1) * ROWS);
        let at = |t, width| place(dims, t, &rows, width);
        let (start, n) = at(0, hidden);
        // SAFETY: these rows belong to this task.
        let (dh, dc) = unsafe { (all_h.slice(start, n), all_c.slice(start, n)) };
        let (last, _) = at(steps, hidden);
        dc.copy_from_slice(&dy[last..last + n]);
        for t in (0..steps).rev() {
            let ((start, n), (from, len)) = (at(t, hidden), at(t, wide));
            dh.iter_mut().zip(&dy[start..start + n]).for_each(|(dh, dy)| *dh += dy);
            let before = if t == 0 { &first_c[start..] } else { &kept.cells[at(t - 1, hidden).0..] };
            // SAFETY: likewise.
            let out = unsafe { all_gates.slice(from, len) };
            let states = before.chunks(hidden).zip(kept.cells[start..start + n].chunks(hidden));
            let gradients = dh.chunks(hidden).zip(dc.chunks_mut(hidden)).zip(out.chunks_mut(wide));
            for ((gates, (before, after)), ((dh, dc), out)) in
                kept.gates[from..from + len].chunks(wide).zip(states).zip(gradients)
            {
                retreat(gates, before, after, dh, dc, out);
            }
            // SAFETY: `dh` has as many rows of as many elements.
            unsafe { on_thread(dh.as_mut_ptr(), hidden, Mat::new(out, rows.len(), wide), weights, Beta::Zero) }
        }
    });
    [dgates, dh, dc]
}

/// See [`crate::kernels::Backend::lstm`].
pub(in crate::kernels) fn lstm(
    cx: &mut Context<f32, Cpu>,
    LstmArgs { gates, recurrent, h, c }: LstmArgs<'_, f32, Cpu>,
) -> Result<F32> {
    let dims = lstm_dims(gates.dims(), recurrent.dims(), h.dims(), c.dims())?;
    let inputs = [gates, recurrent, h, c];
    let keep = cx.records(&inputs);
    let (values, kept) = forward(&dims, keep, gates.as_slice(), recurrent.as_slice(), h.as_slice(), c.as_slice());
    let LstmDims { steps, batch, hidden } = dims;
    let [to_gates, to_recurrent, to_h, to_c] = inputs.map(F32::slot);
    let (recurrent, h, c) = (recurrent.detached(), h.detached(), c.detached());
    cx.record_with(&inputs, vec![steps + 1, batch, hidden], values, |y| {
        let y = y.detached();
        move |dy, sink| {
            let wide = 4 * hidden;
            let [dgates, dh, dc] = backward(&dims, &kept, recurrent.as_slice(), c.as_slice(), &dy);
            if let Some(slot) = to_recurrent {
                let of = |t: usize, n| Mat::new(&dgates[t * batch * wide..], n * batch, wide).t();
                let first = (of(0, 1), Mat::new(h.as_slice(), batch, hidden));
                let rest = (of(1, steps - 1), Mat::new(y.as_slice(), (steps - 1) * batch, hidden));
                let product = |dr: &Shared<'_>, old| {
                    // SAFETY: the product is all of the buffer, and no other task has it.
                    unsafe { large(dr, 0, first, old, |_, _| {}) };
                    if steps > 1 {
                        // SAFETY: likewise.
                        unsafe { large(dr, 0, rest, Beta::One, |_, _| {}) };
                    }
                };
                // SAFETY: the first product writes every element.
                unsafe { par::write(sink, &slot, product)? };
            }
            for (slot, gradient) in [(to_gates, dgates), (to_h, dh), (to_c, dc)] {
                if let Some(slot) = slot {
                    par::give(sink, &slot, gradient)?;
                }
            }
            Ok(())
        }
    })
}
