//! Choice between two tensors.

use super::{layout::expand, view::distinct};
use crate::{
    engine::{Context, Float, Tensor},
    error::{Error, Result},
    kernels::shape::broadcast,
};
use dfdx::{
    prelude::{ChooseFrom, Device, TryGt},
    tensor::OwnedTape,
};
use ndarray::ArrayD;

/// See [`crate::kernels::Backend::select`]. The mask goes to the device as 0 and 1.
///
/// # Errors
/// Those of [`Backend::select`](crate::kernels::Backend::select).
pub fn select<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    mask: &ArrayD<bool>,
    a: &Tensor<E, D>,
    b: &Tensor<E, D>,
) -> Result<Tensor<E, D>> {
    let dims = broadcast(&[mask.shape(), a.dims(), b.dims()])?;
    if dims.contains(&0) {
        return cx.upload(dims, vec![]);
    }
    let wide = mask.broadcast(&*dims).ok_or_else(|| Error::Internal(format!("mask {:?} to {dims:?}", mask.shape())))?;
    let mask = wide.iter().map(|&m| E::of(f64::from(u8::from(m)))).collect();
    let mask = cx.upload(dims.clone(), mask)?;
    let (a, b) = (&expand(cx, a, &dims)?, &expand(cx, b, &dims)?);
    let b = &distinct(cx, a, b)?;
    cx.compose(&[a, b], dims, |a| mask.flat().try_gt(E::of(0.5))?.try_choose(a, b.flat().retaped::<OwnedTape<E, D>>()))
}
