//! NonZero-9/13: where the elements other than 0 are, (rank, how many), in row-major order. Of any type.

use crate::{
    engine::{Float, Value},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, common::to_f64, host, one, shapes},
    tensor::HostTensor,
};
use ndarray::Dimension;

/// Builds NonZero.
pub fn build<E: Float, D: Backend<E>>(_: &NodeContext<'_>) -> Built<E, D> {
    one(|_, inputs| -> Result<Value<E, D>> {
        let x = to_f64(inputs.value(0)?)?;
        let found: Vec<_> = x.indexed_iter().filter(|(_, x)| **x != 0.0).map(|(at, _)| at).collect();
        // A place takes as much as two elements.
        shapes::count(&[x.ndim(), found.len(), 2])?;
        let coordinate = |axis: usize, at: &ndarray::IxDyn| at.slice().get(axis).map_or(0, |&i| i as i64);
        let rows = (0..x.ndim()).flat_map(|axis| found.iter().map(move |at| coordinate(axis, at)));
        Ok(HostTensor::I64(host::array(&[x.ndim(), found.len()], rows.collect())?).into())
    })
}
