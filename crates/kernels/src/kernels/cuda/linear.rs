//! A layer: product, then bias and activation in one pass.

use super::{
    Cx, F32,
    elementwise::{Code, Keeps, code},
    gpu::{Grid, device_error, gpu, zeros},
    matmul::matmul,
    sum::{Sum, add_to},
};
use crate::{
    engine::Address,
    error::Result,
    kernels::{Unary, shape::require},
};

/// See [`crate::kernels::Backend::linear`].
pub(in crate::kernels) fn linear(
    cx: &mut Cx,
    x: &F32,
    w: &F32,
    transposed: bool,
    bias: Option<&F32>,
    activation: Option<Unary>,
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
    let (Code { op, a, b }, keeps) = activation.map_or((Code { op: -1, a: 0., b: 0. }, Keeps::Value), code);
    let (gpu, n) = (gpu(cx)?, x.len());
    let y = zeros(cx, x.dims())?;
    let ends = [op.into(), a.into(), b.into()];
    let [e0, e1, e2] = ends;
    let arguments =
        [e0, e1, e2, x.address()?.into(), bias.address()?.into(), y.address()?.into(), n.into(), columns.into()];
    gpu.launch("bias_forward", Grid::over(n), n, arguments).map_err(device_error)?;
    let slots = [x, bias].map(F32::device_slot);
    let by_value = keeps == Keeps::Value;
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
