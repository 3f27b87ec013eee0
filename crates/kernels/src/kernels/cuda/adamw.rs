//! AdamW's step.

use super::{
    Cx, F32,
    gpu::{Grid, View, device_error, gpu, zeros},
};
use crate::{
    engine::Address,
    error::{Error, Result},
    kernels::{
        AdamArgs,
        shape::{broadcast_strides, require},
    },
};
use cudarc::driver::{DevicePtr, DeviceSlice};
use dfdx::prelude::Cuda;

/// See [`crate::kernels::Backend::adamw`]. Nothing is waited for: [`stayed_finite`] tells what came of it.
pub(in crate::kernels) fn adamw(
    cx: &mut Cx,
    AdamArgs { step, parameter, moments: [first, second], gradient, share }: AdamArgs<'_, f32, Cuda>,
) -> Result<bool> {
    let (n, dims) = (parameter.len(), parameter.dims().to_vec());
    if n == 0 {
        return Ok(true);
    }
    let lens = [DeviceSlice::len(&**first), DeviceSlice::len(&**second), DeviceSlice::len(&**gradient)];
    require(lens == [n; 3], || format!("an optimizer's state for {dims:?}"))?;
    let gpu = gpu(cx)?;
    let after = zeros(cx, &dims)?;
    let strides = share.map(|s| broadcast_strides(s.dims(), &dims)).unwrap_or_default();
    let axes: Vec<_> = dims.iter().copied().zip(strides.into_iter().map(|s| s as i64)).collect();
    let view = View::of(&axes, 0).ok_or_else(|| Error::Internal(format!("shares of {dims:?}")))?;
    let [beta1, beta2] = step.betas.map(|b| b as f32);
    let correction = |beta: f32| 1.0 / (1.0 - beta.powi(step.number));
    let arguments = [
        parameter.address()?.into(),
        after.address()?.into(),
        Address(*first.device_ptr()).into(),
        Address(*second.device_ptr()).into(),
        Address(*gradient.device_ptr()).into(),
        share.map_or(Ok(Address::NONE), F32::address)?.into(),
        n.into(),
        view.into(),
        ((step.decay * step.rate) as f32).into(),
        (step.rate as f32).into(),
        beta1.into(),
        beta2.into(),
        correction(beta1).into(),
        correction(beta2).into(),
        (step.epsilon as f32).into(),
        gpu.broken().into(),
    ];
    gpu.launch("adamw", Grid::over(n), n, arguments).map_err(device_error)?;
    *parameter.flat_mut() = after.flat().clone();
    Ok(true)
}

/// Whether every parameter stepped since the last call has stayed finite.
pub(in crate::kernels) fn stayed_finite(cx: &Cx) -> Result<bool> {
    gpu(cx)?.stayed_finite().map_err(device_error)
}
