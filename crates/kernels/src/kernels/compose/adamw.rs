//! AdamW's step.

use crate::{
    engine::{Context, Float, device_error},
    error::Result,
    kernels::{AdamArgs, Binary},
};
use dfdx::{
    prelude::Device,
    tensor_ops::{AdamConfig, WeightDecay},
};

/// See [`crate::kernels::Backend::adamw`]. By dfdx's optimizer; a share of the step is what it has moved times the share.
///
/// # Errors
/// Those of [`Backend::adamw`](crate::kernels::Backend::adamw).
pub fn adamw<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    AdamArgs { step, parameter, moments: [first, second], gradient, share }: AdamArgs<'_, E, D>,
) -> Result<bool> {
    let adam = AdamConfig {
        lr: step.rate,
        betas: step.betas,
        eps: step.epsilon,
        weight_decay: share.is_none().then_some(WeightDecay::Decoupled(step.decay)),
    };
    let before = share.map(|share| (parameter.clone(), share));
    adam.try_update(step.number, parameter.flat_mut(), first, second, gradient).map_err(device_error)?;
    if let Some((before, share)) = before {
        let moved = super::binary(cx, Binary::Sub, &parameter.detached(), &before.detached())?;
        let moved = super::binary(cx, Binary::Mul, &moved, share)?;
        let kept = cx.upload(vec![], vec![E::of(1.0 - step.rate * step.decay)])?;
        let kept = super::binary(cx, Binary::Mul, &before.detached(), &kept)?;
        let after = super::binary(cx, Binary::Add, &kept, &moved)?;
        *parameter.flat_mut() = after.flat().clone();
    }
    parameter.is_finite()
}
