//! InstanceNormalization-6/22, GroupNormalization-18/21, of floats (N, C, …): each channel, or group of channels, of each
//! sample is normalized by its own mean and population variance, then scaled and shifted.
//!
//! Scale and bias are per channel; in GroupNormalization-18 per group.

use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Backend, LayerNormArgs},
    ops::{
        Built, NodeContext,
        common::{add, mul},
        one, problem,
    },
};

/// InstanceNormalization.
pub fn instance<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let epsilon = node.float("epsilon", 1e-5)?;
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        let groups = x.dims().get(1).copied().unwrap_or_default();
        normalized(cx, x, inputs.float(1)?, inputs.float(2)?, groups, epsilon)
    })
}

/// GroupNormalization.
pub fn group<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    node.ignore(&["stash_type"]);
    let epsilon = node.float("epsilon", 1e-5)?;
    let groups = node.int("num_groups")?.and_then(|g| usize::try_from(g).ok()).unwrap_or_default();
    one(move |cx, inputs| normalized(cx, inputs.float(0)?, inputs.float(1)?, inputs.float(2)?, groups, epsilon))
}

fn normalized<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    scale: &Tensor<E, D>,
    bias: &Tensor<E, D>,
    groups: usize,
    epsilon: f64,
) -> Result<Tensor<E, D>> {
    let [n, channels, rest @ ..] = x.dims() else {
        return Err(problem(format!("x has shape {:?}, not (N, C, …)", x.dims())));
    };
    let per_group = scale.dims() == [groups] && bias.dims() == [groups];
    let per_channel = scale.dims() == [*channels] && bias.dims() == [*channels];
    if groups == 0 || *channels == 0 || channels % groups != 0 || !(per_group || per_channel) {
        return Err(problem(format!(
            "{channels} channels in {groups} groups with scale {:?} and bias {:?}",
            scale.dims(),
            bias.dims()
        )));
    }
    let inner = channels / groups * rest.iter().product::<usize>();
    let ones = cx.upload(vec![inner], vec![E::ONE; inner])?;
    let rows = x.reshaped(vec![*n, groups, inner])?;
    let plain = D::layer_norm(cx, LayerNormArgs { x: &rows, scale: &ones, bias: None, axis: 2, epsilon })?;
    let units = if per_channel { *channels } else { groups };
    let plain = plain.reshaped(vec![*n, units, (channels * rest.iter().product::<usize>()) / units])?;
    let scaled = mul(cx, &plain, &scale.reshaped(vec![units, 1])?)?;
    add(cx, &scaled, &bias.reshaped(vec![units, 1])?)?.reshaped(x.dims().to_vec())
}
