//! The steps of an LSTM.

use super::{
    Cx, F32,
    gemm::{Batch, Factor},
    gpu::{Gpu, Grid, Scratch, View, device_error, gpu, shifted, zeros},
};
use crate::{
    engine::Address,
    error::Result,
    kernels::{
        LstmArgs,
        shape::{LstmDims, lstm_dims},
    },
};
use dfdx::{prelude::Cuda, tensor::CudaError};

/// Elements of a state and of a step's gates.
trait Sizes {
    fn state(&self) -> usize;
    fn gates(&self) -> usize;
}

impl Sizes for LstmDims {
    fn state(&self) -> usize {
        self.batch * self.hidden
    }

    fn gates(&self) -> usize {
        4 * self.state()
    }
}

/// See [`crate::kernels::Backend::lstm`].
pub(in crate::kernels) fn lstm(
    cx: &mut Cx,
    LstmArgs { gates, recurrent, h, c }: LstmArgs<'_, f32, Cuda>,
) -> Result<F32> {
    let e = lstm_dims(gates.dims(), recurrent.dims(), h.dims(), c.dims())?;
    let gpu = gpu(cx)?;
    let y = zeros(cx, &[e.steps + 1, e.batch, e.hidden])?;
    let [states, after] = [(e.steps + 1) * e.state(), e.steps * e.gates()].map(|n| Scratch::new(&cx.dev, n));
    let (states, after) = (states.map_err(device_error)?, after.map_err(device_error)?);
    let (h0, c0, r) = (h.address()?, c.address()?, recurrent.address()?);
    let (gates_at, y_at) = (gates.address()?, y.address()?);
    let to = Forward { gates: gates_at, r, h0, c0, y: y_at, states: states.address(), after: after.address() };
    forward(gpu, e, to).map_err(device_error)?;
    let slots = [gates, recurrent, h, c].map(F32::device_slot);
    let (kept_y, kept_h, kept_r, dev) = (y.detached(), h.detached(), recurrent.detached(), cx.dev.clone());
    cx.record_on_device(&[gates, recurrent, h, c], y, move |dy, grads| {
        let of = |t: &F32| t.address().unwrap_or(Address::NONE);
        let (s, y, h0, r) = (e.state(), of(&kept_y), of(&kept_h), of(&kept_r));
        let (next, dc) = (Scratch::zeros(&dev, s)?, Scratch::new(&dev, s)?);
        let through = Scratch::new(&dev, e.steps * e.gates())?;
        let (next, dc, dz) = (next.address(), dc.address(), through.address());
        copy(gpu, shifted(dy, e.steps * s), dc, s, false)?;
        for t in (0..e.steps).rev() {
            let d = shifted(dz, t * e.gates());
            let arguments = [
                shifted(after.address(), t * e.gates()).into(),
                shifted(states.address(), t * s).into(),
                shifted(states.address(), (t + 1) * s).into(),
                shifted(dy, t * s).into(),
                next.into(),
                dc.into(),
                d.into(),
                s.into(),
                e.hidden.into(),
            ];
            gpu.launch("lstm_cell_backward", Grid::over(s), e.steps * e.gates(), arguments)?;
            gpu.gemm(stored(d), stored(r), next, [e.batch, e.hidden, 4 * e.hidden], 0.0, ONE)?;
        }
        let [of_gates, of_recurrent, of_h, of_c] = slots;
        for (slot, from, n) in [(of_gates, dz, e.steps * e.gates()), (of_h, next, s), (of_c, dc, s)] {
            if let Some(slot) = slot {
                copy(gpu, from, slot.address(grads)?, n, true)?;
            }
        }
        if let Some(slot) = of_recurrent {
            let to = slot.address(grads)?;
            // The states that the steps began with: the first, and what the others left.
            for (d, before, rows) in [(dz, h0, e.batch), (shifted(dz, e.gates()), y, (e.steps - 1) * e.batch)] {
                if rows > 0 {
                    let turned = Factor { address: d, transposed: true };
                    gpu.gemm(turned, stored(before), to, [4 * e.hidden, e.hidden, rows], 1.0, ONE)?;
                }
            }
        }
        Ok(())
    })
}

const ONE: Batch = Batch { count: 1, a: 0, b: 0, c: 0 };

fn stored(address: Address) -> Factor {
    Factor { address, transposed: false }
}

/// Where the inputs of all steps lie, and what is computed from them.
struct Forward {
    gates: Address,
    r: Address,
    h0: Address,
    c0: Address,
    y: Address,
    /// c before the first step and after each.
    states: Address,
    /// The open gates of each step.
    after: Address,
}

fn forward(gpu: &Gpu, e: LstmDims, to: Forward) -> Result<(), CudaError> {
    let Forward { gates, r, h0, c0, y, states, after } = to;
    let s = e.state();
    copy(gpu, gates, after, e.steps * e.gates(), false)?;
    copy(gpu, c0, states, s, false)?;
    for t in 0..e.steps {
        let (z, before) = (shifted(after, t * e.gates()), if t == 0 { h0 } else { shifted(y, (t - 1) * s) });
        let weights = Factor { address: r, transposed: true };
        gpu.gemm(stored(before), weights, z, [e.batch, 4 * e.hidden, e.hidden], 1.0, ONE)?;
        let arguments = [
            z.into(),
            shifted(states, t * s).into(),
            shifted(states, (t + 1) * s).into(),
            shifted(y, t * s).into(),
            s.into(),
            e.hidden.into(),
        ];
        gpu.launch("lstm_cell", Grid::over(s), e.steps * e.gates(), arguments)?;
    }
    copy(gpu, shifted(states, e.steps * s), shifted(y, e.steps * s), s, false)
}

/// y = x, or y += x.
fn copy(gpu: &Gpu, x: Address, y: Address, n: usize, add: bool) -> Result<(), CudaError> {
    let view = View::of(&[(n, 1)], 0).unwrap_or_default();
    gpu.launch("read_view", Grid::over(n), n, [x.into(), y.into(), n.into(), view.into(), 1.0_f32.into(), add.into()])
}
