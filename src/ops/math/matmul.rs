//! MatMul-1/9/13, FusedMatMul (com.microsoft): the matrix product as NumPy's `matmul`, of floats.
//!
//! FusedMatMul scales by `alpha` and transposes the last two axes (`transA`, `transB`); `transBatchA` and `transBatchB`
//! are refused. Integer matrices are refused.

use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, common::scaled, one, problem, shapes},
};

/// MatMul.
pub fn build<E: Float, D: Backend<E>>(_: &NodeContext<'_>) -> Built<E, D> {
    one(|cx, x| matmul(cx, x.float(0)?, x.float(1)?, false, false))
}

/// FusedMatMul.
pub fn fused<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (ta, tb) = (node.flag("transA", false)?, node.flag("transB", false)?);
    let alpha = node.float("alpha", 1.0)?;
    if node.flag("transBatchA", false)? || node.flag("transBatchB", false)? {
        return Err(problem("transBatchA and transBatchB are not supported"));
    }
    one(move |cx, x| {
        let y = matmul(cx, x.float(0)?, x.float(1)?, ta, tb)?;
        scaled(cx, &y, alpha)
    })
}

/// The product; a vector on the left is a row, on the right a column, and their axis vanishes from the result.
pub fn matmul<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    a: &Tensor<E, D>,
    b: &Tensor<E, D>,
    ta: bool,
    tb: bool,
) -> Result<Tensor<E, D>> {
    let (row, column) = (a.rank() == 1, b.rank() == 1);
    let x = if row { a.reshaped(vec![1, a.len()])? } else { a.clone() };
    let y = if column { b.reshaped(vec![b.len(), 1])? } else { b.clone() };
    let (ta, tb) = (ta && !row, tb && !column);
    let misfit = || problem(format!("matrices of shapes {:?} and {:?} do not fit", a.dims(), b.dims()));
    let ([batch_a @ .., m, k], [batch_b @ .., p, n]) = (x.dims(), y.dims()) else { return Err(misfit()) };
    let inner = (if ta { *m } else { *k }, if tb { *n } else { *p });
    if inner.0 != inner.1 || shapes::broadcast(batch_a, batch_b).is_err() {
        return Err(misfit());
    }
    let product = D::matmul(cx, &x, &y, ta, tb)?;
    let mut dims = product.dims().to_vec();
    if column {
        dims.pop();
    }
    if row {
        dims.remove(dims.len() - if column { 1 } else { 2 });
    }
    product.reshaped(dims)
}
