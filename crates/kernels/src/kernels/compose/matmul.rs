//! Matrix products.

use super::{
    layout::expand,
    view::{Of1, Of2, Of3, distinct, filled},
};
use crate::{
    engine::{Context, Float, Tensor},
    error::{Error, Result},
    kernels::{
        Binary, LinearArgs,
        shape::{broadcast, linear_dims, require},
    },
};
use dfdx::{
    prelude::{Axes2, Axes3, Device, PermuteTo, ReshapeTo, TryMatMul},
    tensor::{OwnedTape, Tape},
};

/// See [`crate::kernels::Backend::matmul`]. One product where `b` is one matrix and the rows of `a` follow each other;
/// else as many as the broadcast leading axes ask for.
///
/// # Errors
/// Those of [`Backend::matmul`](crate::kernels::Backend::matmul).
pub fn matmul<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    a: &Tensor<E, D>,
    b: &Tensor<E, D>,
    ta: bool,
    tb: bool,
) -> Result<Tensor<E, D>> {
    let ((la, ma, ka), (lb, kb, nb)) = (split(a, ta)?, split(b, tb)?);
    require(ka == kb, || format!("matrix product of {:?} and {:?}", a.dims(), b.dims()))?;
    let lead = broadcast(&[la, lb])?;
    let dims = [&*lead, &[ma, nb]].concat();
    let len: usize = dims.iter().product();
    if len == 0 || ka == 0 {
        return filled(cx, &dims, 0.);
    }
    let batch: usize = lead.iter().product();
    let b = &distinct(cx, a, b)?;
    if lb.iter().product::<usize>() == 1 && (!ta || batch == 1) {
        let rows = batch * ma;
        return cx.compose(&[a, b], dims, |a| {
            let b = matrix(b.flat().retaped::<OwnedTape<E, D>>(), (kb, nb), tb)?;
            matrix(a, (rows, ka), ta)?.try_matmul(b)?.try_reshape_like(&(len,))
        });
    }
    let wide = |t: &Tensor<E, D>| [&*lead, t.dims().get(t.rank() - 2..).unwrap_or_default()].concat();
    let (da, db) = (wide(a), wide(b));
    let (a, b) = (&expand(cx, a, &da)?, &expand(cx, b, &db)?);
    cx.compose(&[a, b], dims, |a| {
        let b = matrices(b.flat().retaped::<OwnedTape<E, D>>(), (batch, kb, nb), tb)?;
        matrices(a, (batch, ma, ka), ta)?.try_matmul(b)?.try_reshape_like(&(len,))
    })
}

/// See [`crate::kernels::Backend::linear`].
///
/// # Errors
/// Those of [`Backend::linear`](crate::kernels::Backend::linear).
pub fn linear<E: Float, D: Device<E>>(
    cx: &mut Context<E, D>,
    LinearArgs { x, w, transposed, bias, activation }: LinearArgs<'_, E, D>,
) -> Result<Tensor<E, D>> {
    let (rows, k, n) = linear_dims(x.dims(), w.dims(), transposed, bias.map(Tensor::dims))?;
    let dims = [x.dims().split_last().map_or(&[][..], |(_, lead)| lead), &[n]].concat();
    let mut y = matmul(cx, &x.reshaped(vec![rows, k])?, w, false, transposed)?;
    if let Some(bias) = bias {
        y = super::binary(cx, Binary::Add, &y, bias)?;
    }
    if let Some(op) = activation {
        y = super::unary(cx, op, &y)?;
    }
    y.reshaped(dims)
}

/// Leading axes, rows and columns of the matrices.
fn split<E: Float, D: Device<E>>(t: &Tensor<E, D>, transposed: bool) -> Result<(&[usize], usize, usize)> {
    match t.dims() {
        [lead @ .., r, c] => Ok(if transposed { (lead, *c, *r) } else { (lead, *r, *c) }),
        dims => Err(Error::Internal(format!("matrix product of a tensor of {dims:?}"))),
    }
}

/// `t` as a matrix of (rows, columns), stored transposed or not.
fn matrix<E: Float, D: Device<E>, T: Tape<E, D>>(
    t: Of1<E, D, T>,
    (rows, columns): (usize, usize),
    transposed: bool,
) -> Result<Of2<E, D, T>, D::Err> {
    if transposed {
        t.try_reshape_like(&(columns, rows))?.try_permute::<_, Axes2<1, 0>>()
    } else {
        t.try_reshape_like(&(rows, columns))
    }
}

/// `t` as a batch of such matrices.
fn matrices<E: Float, D: Device<E>, T: Tape<E, D>>(
    t: Of1<E, D, T>,
    (batch, rows, columns): (usize, usize, usize),
    transposed: bool,
) -> Result<Of3<E, D, T>, D::Err> {
    if transposed {
        t.try_reshape_like(&(batch, columns, rows))?.try_permute::<_, Axes3<0, 2, 1>>()
    } else {
        t.try_reshape_like(&(batch, rows, columns))
    }
}
