//! Softmax and its logarithm.

use super::{
    Cx, F32,
    gpu::{Grid, device_error, gpu, zeros},
};
use crate::{error::Result, kernels::shape::around};

pub(in crate::kernels) fn softmax(cx: &mut Cx, x: &F32, axis: usize) -> Result<F32> {
    along(cx, x, axis, false)
}

pub(in crate::kernels) fn log_softmax(cx: &mut Cx, x: &F32, axis: usize) -> Result<F32> {
    along(cx, x, axis, true)
}

fn along(cx: &mut Cx, x: &F32, axis: usize, log: bool) -> Result<F32> {
    let (outer, extent, inner) = around(x.dims(), axis)?;
    let (gpu, n, rows) = (gpu(cx)?, x.len(), outer * inner);
    let y = zeros(cx, x.dims())?;
    let (from, to) = (x.address()?, y.address()?);
    if inner == 1 {
        let arguments = [from.into(), to.into(), rows.into(), extent.into(), log.into()];
        gpu.launch("softmax_rows", Grid::rows(rows), n, arguments)
    } else {
        let arguments = [from.into(), to.into(), rows.into(), extent.into(), inner.into(), log.into()];
        gpu.launch("softmax_strided", Grid::over(rows), n, arguments)
    }
    .map_err(device_error)?;
    let (kept, slot) = (y.detached(), x.device_slot());
    cx.record_on_device(&[x], y, move |dy, grads| {
        let Some(slot) = slot else { return Ok(()) };
        let (y, dx) = (kept.address().unwrap_or(crate::engine::Address::NONE), slot.address(grads)?);
        if inner == 1 {
            let arguments = [y.into(), dy.into(), dx.into(), rows.into(), extent.into(), log.into()];
            gpu.launch("softmax_rows_backward", Grid::rows(rows), n, arguments)
        } else {
            let arguments = [y.into(), dy.into(), dx.into(), rows.into(), extent.into(), inner.into(), log.into()];
            gpu.launch("softmax_strided_backward", Grid::over(rows), n, arguments)
        }
    })
}
