//! Gemm-6/7/9/11/13, FusedGemm (com.microsoft): α·A'·B' + β·C, with C broadcast to the result; C is optional from 11 on.
//!
//! Float matrices. FusedGemm applies an activation to the result; its A may have more axes, or one, as in MatMul: products
//! with a bias become one.

use crate::{
    engine::Float,
    kernels::{Backend, Binary, LinearArgs},
    ops::{Built, NodeContext, common::scaled, nn::fused, one, problem, shapes},
};

/// Builds both.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (alpha, beta) = (node.float("alpha", 1.0)?, node.float("beta", 1.0)?);
    let (ta, tb) = (node.flag("transA", false)?, node.flag("transB", false)?);
    if node.opset() < 7 {
        node.ignore(&["broadcast"]);
    }
    let plain = node.node().domain.is_empty();
    let activation = if plain { None } else { fused::gemm_activation(node)? };
    one(move |cx, inputs| {
        let (a, b) = (inputs.float(0)?, inputs.float(1)?);
        if (plain && a.rank() != 2) || a.rank() == 0 || b.rank() != 2 {
            return Err(problem(format!("A and B have shapes {:?} and {:?}, not two axes each", a.dims(), b.dims())));
        }
        let (k, n) = if tb { (b.dims().get(1), b.dims().first()) } else { (b.dims().first(), b.dims().get(1)) };
        let c = inputs.opt_float(2)?.filter(|_| beta != 0.0);
        let row = c.is_none_or(|c| c.rank() == 1 && c.dims().first() == n) && k != Some(&0);
        if !ta && alpha == 1.0 && (c.is_none() || beta == 1.0) && row && a.dims().last() == k {
            return D::linear(cx, LinearArgs { x: a, w: b, transposed: tb, bias: c, activation });
        }
        let product = super::matmul::matmul(cx, a, b, ta, tb)?;
        let mut y = scaled(cx, &product, alpha)?;
        if let Some(c) = c {
            if shapes::broadcast(y.dims(), c.dims())? != y.dims() {
                return Err(problem(format!("C of shape {:?} does not broadcast to {:?}", c.dims(), y.dims())));
            }
            let c = scaled(cx, c, beta)?;
            y = D::binary(cx, Binary::Add, &y, &c)?;
        }
        fused::activate(cx, activation, y)
    })
}
