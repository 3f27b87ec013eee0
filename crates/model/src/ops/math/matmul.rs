//! MatMul-1/9/13, FusedMatMul (com.microsoft): the matrix product as NumPy's `matmul`, of floats; MatMul also of integers,
//! which wrap.
//!
//! FusedMatMul scales by `alpha` and transposes the last two axes (`transA`, `transB`); `transBatchA` and `transBatchB`
//! are refused.

use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::Backend,
    ops::{
        Built, NodeContext,
        common::scaled,
        host::{self, Integer, each_int},
        one, problem, shapes,
    },
    tensor::HostTensor,
};
use ndarray::{ArrayD, Axis, IxDyn};

/// MatMul.
pub fn build<E: Float, D: Backend<E>>(_: &NodeContext<'_>) -> Built<E, D> {
    one(|cx, x| match (x.value(0)?, x.value(1)?) {
        (Value::Float(a), Value::Float(b)) => matmul(cx, a, b, false, false).map(Value::Float),
        (Value::Host(a), Value::Host(b)) => integer(a, b).map(Value::Host),
        _ => Err(problem("matrices of a float and an integer type")),
    })
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

/// The product of integer matrices: rows of A and columns of B stand against each other, as in broadcasting, and what they
/// share is the last axis.
fn integer(a: &HostTensor, b: &HostTensor) -> Result<HostTensor> {
    fn go<T: Integer>(a: &ArrayD<T>, b: &HostTensor) -> Result<HostTensor> {
        let b = host::same::<T>(b)?;
        let (row, column) = (a.ndim() == 1, b.ndim() == 1);
        let misfit = || problem(format!("matrices of shapes {:?} and {:?} do not fit", a.shape(), b.shape()));
        if a.ndim() == 0 || b.ndim() == 0 {
            return Err(misfit());
        }
        // (…, rows, 1, shared) and (…, 1, columns, shared)
        let mut x = if row { a.view().insert_axis(Axis(0)) } else { a.view() };
        x = x.clone().insert_axis(Axis(x.ndim() - 1));
        let mut y = if column { b.view().insert_axis(Axis(1)) } else { b.view() };
        let last = y.ndim() - 1;
        y.swap_axes(last - 1, last);
        y = y.insert_axis(Axis(last - 1));
        let shared = x.shape().last().copied().unwrap_or_default();
        if y.shape().last() != Some(&shared) {
            return Err(misfit());
        }
        // The shared axis is not stored.
        let kept = |dims: &[usize]| dims.split_last().map(|(_, kept)| kept.to_vec()).unwrap_or_default();
        let dims = [shapes::broadcast(&kept(x.shape()), &kept(y.shape()))?, vec![shared]].concat();
        let (Some(x), Some(y)) = (x.broadcast(IxDyn(&dims)), y.broadcast(IxDyn(&dims))) else { return Err(misfit()) };
        let sum = |(x, y): (ndarray::ArrayView1<'_, T>, ndarray::ArrayView1<'_, T>)| {
            x.iter().zip(y).fold(T::zero(), |sum, (x, y)| sum.wrapping_add(&x.wrapping_mul(y)))
        };
        let axis = Axis(dims.len() - 1);
        let values: Vec<T> = x.lanes(axis).into_iter().zip(y.lanes(axis)).map(sum).collect();
        let mut dims = dims;
        dims.pop();
        if column {
            dims.pop();
        }
        if row {
            dims.remove(dims.len() - if column { 1 } else { 2 });
        }
        host::array(&dims, values).map(T::wrap)
    }
    each_int!(a, a => go(a, b), other => Err(problem(format!("a product of {} matrices", other.dtype()))))
}
