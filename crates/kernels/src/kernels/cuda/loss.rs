//! Losses.

use super::{
    Cx, F32,
    gpu::{Grid, Scratch, device_error, gpu, zeros},
};
use crate::{
    engine::Address,
    error::{Error, Result},
    kernels::shape::require,
};

pub(in crate::kernels) fn cross_entropy(cx: &mut Cx, logits: &F32, classes: &[usize]) -> Result<F32> {
    let &[rows, extent] = logits.dims() else {
        return Err(Error::Internal(format!("cross-entropy of {:?}", logits.dims())));
    };
    let fits = classes.len() == rows && classes.iter().all(|&c| c < extent) && u32::try_from(extent).is_ok();
    require(fits, || format!("{} classes for {:?}", classes.len(), logits.dims()))?;
    let (gpu, n) = (gpu(cx)?, logits.len());
    let y = zeros(cx, &[rows])?;
    let classes = gpu.upload(classes.iter().map(|&c| c as u32).collect()).map_err(device_error)?;
    let norms = Scratch::new(&cx.dev, rows).map_err(device_error)?;
    let arguments = [
        logits.address()?.into(),
        classes.address().into(),
        y.address()?.into(),
        norms.address().into(),
        rows.into(),
        extent.into(),
    ];
    gpu.launch("cross_entropy_forward", Grid::rows(rows), n, arguments).map_err(device_error)?;
    let (kept, slot) = (logits.detached(), logits.device_slot());
    cx.record_on_device(&[logits], y, move |dy, grads| {
        let Some(slot) = slot else { return Ok(()) };
        let arguments = [
            kept.address().unwrap_or(Address::NONE).into(),
            classes.address().into(),
            norms.address().into(),
            dy.into(),
            slot.address(grads)?.into(),
            n.into(),
            extent.into(),
        ];
        gpu.launch("cross_entropy_backward", Grid::over(n), n, arguments)
    })
}

pub(in crate::kernels) fn bce_with_logits(cx: &mut Cx, logits: &F32, targets: &F32) -> Result<F32> {
    let alike = logits.dims() == targets.dims();
    require(alike, || format!("logits {:?} and targets {:?}", logits.dims(), targets.dims()))?;
    let (gpu, n) = (gpu(cx)?, logits.len());
    let y = zeros(cx, logits.dims())?;
    let arguments = [logits.address()?.into(), targets.address()?.into(), y.address()?.into(), n.into()];
    gpu.launch("bce_forward", Grid::over(n), n, arguments).map_err(device_error)?;
    let slots = [logits, targets].map(F32::device_slot);
    let (x, t) = (logits.detached(), targets.detached());
    cx.record_on_device(&[logits, targets], y, move |dy, grads| {
        let of = |t: &F32| t.address().unwrap_or(Address::NONE);
        let [slot_x, slot_t] = slots;
        let dx = slot_x.map_or(Ok(Address::NONE), |s| s.address(grads))?;
        let dt = slot_t.map_or(Ok(Address::NONE), |s| s.address(grads))?;
        gpu.launch(
            "bce_backward",
            Grid::over(n),
            n,
            [of(&x).into(), of(&t).into(), dy.into(), dx.into(), dt.into(), n.into()],
        )
    })
}
