//! A layer: product, bias, activation.

use super::{
    Cx, F32,
    elementwise::{binary, unary},
    matmul::matmul,
};
use crate::{
    error::Result,
    kernels::{Binary, Unary, shape::require},
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
    require(bias.is_none_or(|b| b.rank() == 1), || format!("a bias for {:?}", w.dims()))?;
    let y = matmul(cx, x, w, false, transposed)?;
    let y = bias.map_or(Ok(y.clone()), |bias| binary(cx, Binary::Add, &y, bias))?;
    activation.map_or(Ok(y.clone()), |op| unary(cx, op, &y))
}
