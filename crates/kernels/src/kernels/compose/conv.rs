//! Convolution.

use super::{
    elementwise::binary,
    view::{distinct, filled},
};
use crate::{
    engine::{Context, Float, Tensor},
    error::{Error, Result},
    kernels::{
        Binary, ConvArgs, ConvSpec,
        shape::{Windows, require},
    },
};
use dfdx::{
    prelude::{Axes2, Axes3, Axis, Device, GatherTo, PermuteTo, ReshapeTo, TryConcatAlong, TryMatMul},
    tensor::OwnedTape,
};

/// See [`crate::kernels::Backend::conv`].
///
/// # Errors
/// Those of [`Backend::conv`](crate::kernels::Backend::conv).
pub fn conv<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    ConvArgs { x, w, bias, residual, activation, spec }: ConvArgs<'_, E, D>,
) -> Result<Tensor<E, D>> {
    let mut y = convolved(cx, x, w, bias, spec)?;
    if let Some(residual) = residual {
        y = super::binary(cx, Binary::Add, &y, residual)?;
    }
    activation.map_or(Ok(y.clone()), |op| super::unary(cx, op, &y))
}

/// The convolution alone, with its bias. As a matrix product: the windows become columns,
///
/// y[n, g·M' + m, o] = Σ over c, k of w[g·M' + m, c, k] · x[n, g·C' + c, o·stride + k·dilation − pad],
///
/// so y(g) = w(g) (M', C'·K) · columns(g) (C'·K, O·N). The columns are rows of xᵀ (C·S, N), gathered by indices that are the
/// same for all n; a row of zeros stands for the padding.
fn convolved<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    w: &Tensor<E, D>,
    bias: Option<&Tensor<E, D>>,
    spec: &ConvSpec,
) -> Result<Tensor<E, D>> {
    let (&[n, c, ref input @ ..], &[m, per_group, ref kernel @ ..]) = (x.dims(), w.dims()) else {
        return Err(Error::Internal(format!("convolution of {:?} by {:?}", x.dims(), w.dims())));
    };
    let (g, output) = (spec.groups, spec.output(input, kernel)?);
    let divides = g > 0 && c == per_group * g && m % g == 0;
    require(divides, || format!("convolution of {:?} by {:?} in {g} groups", x.dims(), w.dims()))?;
    let ConvSpec { strides, dilations, pads, .. } = spec;
    let windows = Windows { input, kernel, output: &output, strides, dilations, pads };
    windows.prove()?;
    let dims = [&[n, m], &*output].concat();
    let (len, size) = (dims.iter().product(), input.iter().product::<usize>());
    let y = if len == 0 || x.is_empty() || w.is_empty() {
        filled(cx, &dims, 0.)?
    } else {
        let (zero, per_channel) = (c * size, windows.offsets());
        let indices = (0..c).flat_map(|c| per_channel.iter().map(move |o| o.map_or(zero, |o| c * size + o)));
        let indices = cx.upload_indices(indices.collect())?;
        let padded = per_channel.contains(&None);
        let zeros = filled(cx, &[n, 1], 0.)?;
        let w = &distinct(cx, x, w)?;
        let (mg, inner, columns) = (m / g, w.len() / m, len / m);
        cx.compose(&[x, w], dims, |x| {
            let mut rows = x.try_reshape_like(&(n, c * size))?;
            if padded {
                rows = (rows, zeros.flat().clone().try_reshape_like(&(n, 1))?).try_concat_along(Axis::<1>)?;
            }
            let rows = rows.try_permute::<(usize, usize), Axes2<1, 0>>()?;
            let columns =
                rows.try_gather::<(usize, usize), (usize,)>(indices)?.try_reshape_like(&(g, inner, columns))?;
            let w = w.flat().retaped::<OwnedTape<E, D>>().try_reshape_like(&(g, mg, inner))?;
            let y = w.try_matmul(columns)?.try_reshape_like(&(m, len / (m * n), n))?;
            y.try_permute::<(usize, usize, usize), Axes3<2, 0, 1>>()?.try_reshape_like(&(len,))
        })?
    };
    match bias {
        Some(bias) => {
            require(bias.dims() == [m], || format!("bias {:?} for {m} channels", bias.dims()))?;
            let mut per_channel = vec![1; y.rank() - 1];
            per_channel.splice(0..1, [m]);
            binary(cx, Binary::Add, &y, &bias.reshaped(per_channel)?)
        }
        None => Ok(y),
    }
}
