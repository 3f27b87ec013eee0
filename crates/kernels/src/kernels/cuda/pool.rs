//! Pooling.

use super::{
    Cx, F32,
    gpu::{Grid, Scratch, Windows, device_error, gpu, zeros},
};
use crate::{
    engine::Address,
    error::{Error, Result},
    kernels::{PoolSpec, shape::Windows as Shape},
};

/// Whether a kernel takes the case.
pub(in crate::kernels) fn pools(x: &F32) -> bool {
    (3..=5).contains(&x.rank()) && !x.is_empty()
}

fn parts<'a>(x: &'a F32, spec: &'a PoolSpec) -> Result<(Windows, Shape<'a>, Vec<usize>)> {
    let &[n, c, ref input @ ..] = x.dims() else {
        return Err(Error::Internal(format!("pooling of {:?}", x.dims())));
    };
    let PoolSpec { kernel, strides, dilations, pads, output, .. } = spec;
    let shape = Shape { input, kernel, output, strides, dilations, pads };
    shape.prove()?;
    let windows = Windows::of_pool(input, spec).ok_or_else(|| Error::Internal(format!("pooling over {input:?}")))?;
    Ok((windows, shape, [&[n, c], &**output].concat()))
}

pub(in crate::kernels) fn max_pool(cx: &mut Cx, x: &F32, spec: &PoolSpec) -> Result<F32> {
    let (windows, _, dims) = parts(x, spec)?;
    let (gpu, y) = (gpu(cx)?, zeros(cx, &dims)?);
    let (n, len) = (y.len(), x.len());
    let places = Scratch::new(&cx.dev, n).map_err(device_error)?;
    let to = places.address();
    let arguments = [x.address()?.into(), y.address()?.into(), to.into(), n.into(), windows.into()];
    gpu.launch("max_pool_forward", Grid::over(n), len.max(n), arguments).map_err(device_error)?;
    let slot = x.device_slot();
    cx.record_on_device(&[x], y, move |dy, grads| {
        let Some(slot) = slot else { return Ok(()) };
        let (from, dx) = (places.address(), slot.address(grads)?);
        let arguments = [dy.into(), from.into(), Address::NONE.into(), dx.into(), len.into(), windows.into()];
        gpu.launch("pool_backward", Grid::over(len), len.max(n), arguments)
    })
}

pub(in crate::kernels) fn avg_pool(cx: &mut Cx, x: &F32, spec: &PoolSpec) -> Result<F32> {
    let (windows, shape, dims) = parts(x, spec)?;
    let share = |count: usize| if count == 0 { 0.0 } else { 1.0 / count as f32 };
    let shares: Vec<f32> = shape.counts(spec.count_include_pad).into_iter().map(share).collect();
    let (gpu, y) = (gpu(cx)?, zeros(cx, &dims)?);
    let (n, len, shares) = (y.len(), x.len(), gpu.upload(shares).map_err(device_error)?);
    let arguments = [x.address()?.into(), shares.address().into(), y.address()?.into(), n.into(), windows.into()];
    gpu.launch("avg_pool_forward", Grid::over(n), len.max(n), arguments).map_err(device_error)?;
    let slot = x.device_slot();
    cx.record_on_device(&[x], y, move |dy, grads| {
        let Some(slot) = slot else { return Ok(()) };
        let (by, dx) = (shares.address(), slot.address(grads)?);
        let arguments = [dy.into(), Address::NONE.into(), by.into(), dx.into(), len.into(), windows.into()];
        gpu.launch("pool_backward", Grid::over(len), len.max(n), arguments)
    })
}
