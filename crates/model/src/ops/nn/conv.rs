//! Conv-1/11/22, FusedConv (com.microsoft): cross-correlation over any number of spatial axes, with groups, dilation,
//! any padding and all forms of `auto_pad`.
//!
//! x (N, C, …), w (M, C/groups, …), optional bias (M). FusedConv adds an optional tensor of the result's shape before its
//! activation.

use super::{fused, window::Window};
use crate::{
    engine::{Float, Tensor},
    error::Result,
    kernels::{Backend, ConvArgs, ConvSpec, PadMode},
    ops::{Built, NodeContext, common::add, one, problem},
};

/// Builds both.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let window = Window::read(node, true, false)?;
    let groups = node.int("group")?.unwrap_or(1);
    let groups = usize::try_from(groups).ok().filter(|&g| g > 0).ok_or_else(|| problem("group is not above 0"))?;
    let activation = if node.node().domain.is_empty() { None } else { fused::conv_activation(node)? };
    one(move |cx, inputs| {
        let (x, w, bias) = (inputs.float(0)?, inputs.float(1)?, inputs.opt_float(2)?);
        check(x, w, bias, groups)?;
        let placed = window.place(x.dims().get(2..).unwrap_or_default(), w.dims().get(2..))?;
        placed.require_small(x.dims(), w.dims().first().copied().unwrap_or(1))?;
        let (pads, cut) = placed.split_pads();
        let spec = ConvSpec { strides: placed.strides, dilations: placed.dilations, pads, groups };
        let cut = cut.map(|cut| {
            let pads: Vec<_> = [[0, 0]; 2].into_iter().chain(cut).collect();
            D::pad(cx, x, &pads, PadMode::Constant(0.0))
        });
        let cut = cut.transpose()?;
        let x = cut.as_ref().unwrap_or(x);
        let residual = inputs.opt_float(3)?;
        if residual.is_none_or(|z| is_result(z, x, w, &spec)) {
            return D::conv(cx, ConvArgs { x, w, bias, residual, activation, spec: &spec });
        }
        let mut y = D::conv(cx, ConvArgs::plain(x, w, bias, &spec))?;
        if let Some(z) = residual {
            y = add(cx, &y, z)?;
        }
        fused::activate(cx, activation, y)
    })
}

/// Whether `z` has the shape of the convolution's result.
fn is_result<E: Float, D: Backend<E>>(z: &Tensor<E, D>, x: &Tensor<E, D>, w: &Tensor<E, D>, spec: &ConvSpec) -> bool {
    let space = |t: &Tensor<E, D>| t.dims().get(2..).unwrap_or_default().to_vec();
    let same = [z.dims().first(), z.dims().get(1)] == [x.dims().first(), w.dims().first()];
    same && spec.output(&space(x), &space(w)).is_ok_and(|out| out == space(z))
}

fn check<E: Float, D: Backend<E>>(
    x: &Tensor<E, D>,
    w: &Tensor<E, D>,
    bias: Option<&Tensor<E, D>>,
    groups: usize,
) -> Result<()> {
    let misfit = || problem(format!("x of shape {:?} does not fit w of {:?} in {groups} groups", x.dims(), w.dims()));
    let ([_, channels, _, ..], [outputs, depth, _, ..]) = (x.dims(), w.dims()) else { return Err(misfit()) };
    if x.rank() != w.rank() || depth.checked_mul(groups) != Some(*channels) || outputs % groups != 0 {
        return Err(misfit());
    }
    match bias {
        Some(b) if b.dims() != [*outputs] => Err(problem(format!("bias has shape {:?}, not [{outputs}]", b.dims()))),
        _ => Ok(()),
    }
}
