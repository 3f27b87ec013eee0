//! A layer: product, then bias and activation in one pass.

use super::{
    Cx, F32,
    codes::{Code, SavedForBackward, code},
    gpu::{Grid, device_error, gpu, zeros},
    matmul::matmul,
    sum::{Sum, add_to},
};
use crate::{
    engine::Address,
    error::Result,
    kernels::{LinearArgs, Unary, shape::require},
};
use dfdx::prelude::Cuda;

/// See [`crate::kernels::Backend::linear`].
pub(in crate::kernels) fn linear(
    cx: &mut Cx,
    LinearArgs { x, w, transposed, bias, activation }: LinearArgs<'_, f32, Cuda>,
) -> Result<F32> {
    let product = matmul(cx, x, w, false, transposed)?;
    match bias {
        Some(bias) => finish(cx, &product, bias, activation),
        None => activation.map_or(Ok(product.clone()), |op| super::unary(cx, op, &product)),
    }
}

/// f(x + bias), of which nothing else takes `x`: its gradient is what this leaves there.
fn finish(cx: &mut Cx, x: &F32, bias: &F32, activation: Option<Unary>) -> Result<F32> {
    let columns = bias.len();
    let fits = bias.rank() == 1 && x.dims().last() == Some(&columns);
    require(fits, || format!("a bias {:?} for {:?}", bias.dims(), x.dims()))?;
    let (Code { op, a, b }, saved) = activation.map_or((Code::NONE, SavedForBackward::Value), code);
    let (gpu, n) = (gpu(cx)?, x.len());
    let y = zeros(cx, x.dims())?;
    let arguments = [
        op.into(),
        a.into(),
        b.into(),
        x.address()?.into(),
        bias.address()?.into(),
        y.address()?.into(),
        n.into(),
        columns.into(),
    ];
    gpu.launch("bias_forward", Grid::over(n), n, arguments).map_err(device_error)?;
    let slots = [x, bias].map(F32::device_slot);
    let by_value = saved == SavedForBackward::Value;
    let kept = if by_value { y.detached() } else { x.detached() };
    let (kept_bias, dev) = (bias.detached(), cx.dev.clone());
    // Tracked with either of its inputs, so that the bias finds its gradient there.
    cx.record_on_device(&[x, bias], y, move |dy, grads| {
        let of = |t: &F32| t.address().unwrap_or(Address::NONE);
        let [of_x, of_bias] = slots;
        let scratch = if of_x.is_none() { Some(super::gpu::Scratch::zeros(&dev, n)?) } else { None };
        let dx = match (&of_x, &scratch) {
            (Some(slot), _) => slot.address(grads)?,
            (None, Some(scratch)) => scratch.address(),
            (None, None) => return Ok(()),
        };
        let bias = if by_value { Address::NONE } else { of(&kept_bias) };
        let arguments = [
            op.into(),
            a.into(),
            b.into(),
            of(&kept).into(),
            bias.into(),
            dy.into(),
            dx.into(),
            n.into(),
            columns.into(),
        ];
        gpu.launch("bias_backward", Grid::over(n), n, arguments)?;
        match (of_bias, Sum::to(&[1, columns], &[n / columns, columns])) {
            (Some(slot), Ok(sum)) => add_to(gpu, &dev, &sum, dx, slot.address(grads)?, 1.0),
            _ => Ok(()),
        }
    })
}
