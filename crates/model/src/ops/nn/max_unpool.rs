//! MaxUnpool-9/11/22: elements put back at the places that MaxPool's Indices name, zeros elsewhere.
//!
//! An index counts row-major through the whole result, whose extents are `output_shape` where it is given, as in
//! onnxruntime. Of elements with the same index the last stays.

use crate::{
    engine::Float,
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, common::take_or, one, problem, shapes},
};

struct Unpooling {
    kernel: Vec<usize>,
    strides: Option<Vec<usize>>,
    pads: Option<Vec<i64>>,
}

/// Builds MaxUnpool.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let kernel = node.sizes("kernel_shape", 1)?.ok_or_else(|| problem("attribute kernel_shape is missing"))?;
    let unpooling = Unpooling { kernel, strides: node.sizes("strides", 1)?, pads: node.ints("pads")? };
    one(move |cx, inputs| {
        let (x, indices) = (inputs.float(0)?, inputs.host(1)?);
        let dims = match inputs.opt_ints(2)? {
            Some(list) => shapes::extents(&list)?,
            None => unpooling.dims(x.dims())?,
        };
        let n = shapes::count(&dims)?;
        if indices.dims() != x.dims() {
            return Err(problem(format!("indices of shape {:?} for x of {:?}", indices.dims(), x.dims())));
        }
        let mut places = vec![x.len(); n];
        for (element, index) in inputs.ints(1)?.into_iter().enumerate() {
            let place = usize::try_from(index).ok().and_then(|i| places.get_mut(i));
            *place.ok_or_else(|| problem(format!("index {index} is beyond a tensor of {dims:?}")))? = element;
        }
        take_or(cx, x, 1, &places, &dims, 0.0)
    })
}

impl Unpooling {
    /// The extents that the pooled tensor had: (d − 1)·stride + kernel − pads.
    fn dims(&self, x: &[usize]) -> Result<Vec<usize>> {
        let rank = self.kernel.len();
        let misfit = || problem(format!("kernel_shape, strides and pads do not fit x of shape {x:?}"));
        let &[n, c, ref spatial @ ..] = x else { return Err(misfit()) };
        let strides = self.strides.clone().unwrap_or_else(|| vec![1; rank]);
        let pads = self.pads.clone().unwrap_or_else(|| vec![0; 2 * rank]);
        if [spatial.len(), strides.len()] != [rank; 2] || pads.len() != 2 * rank {
            return Err(misfit());
        }
        let (before, after) = pads.split_at(rank);
        let axes = spatial.iter().zip(&self.kernel).zip(&strides).zip(before.iter().zip(after));
        let extents = axes.map(|(((&d, &k), &stride), (&before, &after))| {
            let reach = (d as i128 - 1) * stride as i128 + k as i128 - i128::from(before) - i128::from(after);
            usize::try_from(reach).ok()
        });
        [Some(n), Some(c)].into_iter().chain(extents).collect::<Option<_>>().ok_or_else(misfit)
    }
}
