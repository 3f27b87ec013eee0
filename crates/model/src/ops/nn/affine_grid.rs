//! AffineGrid-20: the sampling grid (N, …, r) of affine maps theta (N, r, r + 1), for images of r = 2 or 3 axes whose
//! extents `size` (N, C, …) gives.
//!
//! One matrix product: the homogeneous positions of the pixels, from −1 to 1 along each axis, times thetaᵀ. The last axis
//! of the image is the first coordinate. With `align_corners` ±1 are the outer pixels' centers, else their edges; an axis
//! of one pixel has it at 0.

use crate::{
    engine::Float,
    kernels::Backend,
    ops::{Built, NodeContext, one, problem, shapes},
};

/// Builds AffineGrid.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let corners = node.flag("align_corners", false)?;
    one(move |cx, inputs| {
        let (theta, size) = (inputs.float(0)?, shapes::extents(&inputs.ints(1)?)?);
        let misfit = || problem(format!("theta of shape {:?} does not fit size {size:?}", theta.dims()));
        let [n, _, image @ ..] = &*size else { return Err(misfit()) };
        let r = image.len();
        if theta.dims() != [*n, r, r + 1] || !(2..=3).contains(&r) {
            return Err(misfit());
        }
        let dims = [&[*n], image, &[r]].concat();
        if shapes::count(&dims)? == 0 {
            return cx.upload(dims, Vec::new());
        }
        let mut positions = vec![vec![1.0]];
        for &extent in image {
            let at = |i: usize| place(i, extent, corners);
            let next = |tail: &Vec<f64>| (0..extent).map(|i| [&[at(i)], &**tail].concat()).collect::<Vec<_>>();
            positions = positions.iter().flat_map(next).collect();
        }
        let pixels = positions.len();
        let positions = positions.into_iter().flatten().map(E::of).collect();
        let positions = cx.upload(vec![pixels, r + 1], positions)?;
        D::matmul(cx, &positions, theta, false, true)?.reshaped(dims)
    })
}

/// Position of pixel `i` of an axis of `extent`.
fn place(i: usize, extent: usize, corners: bool) -> f64 {
    match (corners, extent) {
        (true, 1) => 0.0,
        (true, _) => 2.0 * i as f64 / (extent - 1) as f64 - 1.0,
        (false, _) => (2.0 * i as f64 + 1.0) / extent as f64 - 1.0,
    }
}
