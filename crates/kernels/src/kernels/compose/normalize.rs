//! Normalizations. Statistics are taken in passes, the mean first, so that a large mean costs no precision.

use super::{
    elementwise::{binary, unary},
    reduce::reduce,
};
use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{BatchNormArgs, Binary, LayerNormArgs, Reduce, Unary, shape::require},
};
use dfdx::prelude::Device;

/// See [`crate::kernels::Backend::batch_norm`].
///
/// # Errors
/// Those of [`Backend::batch_norm`](crate::kernels::Backend::batch_norm).
pub fn batch_norm<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    BatchNormArgs { x, scale, bias, statistics, epsilon }: BatchNormArgs<'_, E, D>,
) -> Result<Tensor<E, D>> {
    let (scale, bias) = (channels(x, scale)?, channels(x, bias)?);
    let scaled = match statistics {
        Some([mean, var]) => {
            let [mean, var] = [channels(x, mean)?, channels(x, var)?];
            let inverse = inverse_deviation(cx, &var.detached(), epsilon)?;
            let factor = binary(cx, Binary::Mul, &inverse, &scale)?;
            let centered = binary(cx, Binary::Sub, x, &mean.detached())?;
            binary(cx, Binary::Mul, &centered, &factor)?
        }
        None => {
            let axes: Vec<usize> = (0..x.rank()).filter(|&a| a != 1).collect();
            let standard = standardize(cx, x, &axes, epsilon)?;
            binary(cx, Binary::Mul, &standard, &scale)?
        }
    };
    binary(cx, Binary::Add, &scaled, &bias)
}

/// See [`crate::kernels::Backend::layer_norm`].
///
/// # Errors
/// Those of [`Backend::layer_norm`](crate::kernels::Backend::layer_norm).
pub fn layer_norm<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    LayerNormArgs { x, scale, bias, axis, epsilon }: LayerNormArgs<'_, E, D>,
) -> Result<Tensor<E, D>> {
    require(axis < x.rank(), || format!("layer normalization of {:?} from axis {axis}", x.dims()))?;
    let axes: Vec<usize> = (axis..x.rank()).collect();
    let standard = standardize(cx, x, &axes, epsilon)?;
    let scaled = binary(cx, Binary::Mul, &standard, scale)?;
    let y = match bias {
        Some(bias) => binary(cx, Binary::Add, &scaled, bias)?,
        None => scaled,
    };
    require(y.dims() == x.dims(), || format!("layer normalization of {:?} by {:?}", x.dims(), scale.dims()))?;
    Ok(y)
}

/// (x − μ)/√(σ² + ε) with μ = mean x and σ² = mean (x − μ)² over `axes`. A first estimate of μ, cut off from the tape, is
/// taken off before μ is measured: the rounding error of a sum is in proportion to its terms.
fn standardize<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    axes: &[usize],
    epsilon: f64,
) -> Result<Tensor<E, D>> {
    let estimate = reduce(cx, Reduce::Mean, &x.detached(), axes, true)?;
    let near = binary(cx, Binary::Sub, x, &estimate)?;
    let mean = reduce(cx, Reduce::Mean, &near, axes, true)?;
    let centered = binary(cx, Binary::Sub, &near, &mean)?;
    let square = unary(cx, Unary::PowScalar(2.), &centered)?;
    let var = reduce(cx, Reduce::Mean, &square, axes, true)?;
    let inverse = inverse_deviation(cx, &var, epsilon)?;
    binary(cx, Binary::Mul, &centered, &inverse)
}

/// 1/√(var + ε).
fn inverse_deviation<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    var: &Tensor<E, D>,
    epsilon: f64,
) -> Result<Tensor<E, D>> {
    let shifted = unary(cx, Unary::AddScalar(epsilon), var)?;
    let deviation = unary(cx, Unary::Sqrt, &shifted)?;
    unary(cx, Unary::Reciprocal, &deviation)
}

/// `t`, one value a channel, as it broadcasts against `x`.
fn channels<E: Float, D: Device<E>>(x: &Tensor<E, D>, t: &Tensor<E, D>) -> Result<Tensor<E, D>> {
    let fits = t.rank() == 1 && x.dims().get(1) == t.dims().first();
    require(fits, || format!("{:?} values for the channels of {:?}", t.dims(), x.dims()))?;
    let mut dims = vec![1; x.rank() - 1];
    dims.splice(0..1, [t.len()]);
    t.reshaped(dims)
}
