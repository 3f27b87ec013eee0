//! Gemm-6/7/9/11/13, FusedGemm (com.microsoft): α·A'·B' + β·C, with C broadcast to the result; C is optional from 11 on.
//!
//! Float matrices. FusedGemm applies an activation to the result.

use crate::{
    engine::Float,
    kernels::{Backend, Binary},
    ops::{Built, NodeContext, common::scaled, nn::fused, one, problem, shapes},
};

/// Builds both.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (alpha, beta) = (node.float("alpha", 1.0)?, node.float("beta", 1.0)?);
    let (ta, tb) = (node.flag("transA", false)?, node.flag("transB", false)?);
    if node.opset() < 7 {
        node.ignore(&["broadcast"]);
    }
    let activation = if node.node().domain.is_empty() { None } else { fused::gemm_activation(node)? };
    one(move |cx, inputs| {
        let (a, b) = (inputs.float(0)?, inputs.float(1)?);
        if a.rank() != 2 || b.rank() != 2 {
            return Err(problem(format!("A and B have shapes {:?} and {:?}, not two axes each", a.dims(), b.dims())));
        }
        let product = super::matmul::matmul(cx, a, b, ta, tb)?;
        let mut y = scaled(cx, &product, alpha)?;
        if let Some(c) = inputs.opt_float(2)?
            && beta != 0.0
        {
            if shapes::broadcast(y.dims(), c.dims())? != y.dims() {
                return Err(problem(format!("C of shape {:?} does not broadcast to {:?}", c.dims(), y.dims())));
            }
            let c = scaled(cx, c, beta)?;
            y = D::binary(cx, Binary::Add, &y, &c)?;
        }
        fused::activate(cx, activation, y)
    })
}
