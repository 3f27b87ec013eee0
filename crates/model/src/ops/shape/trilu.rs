//! Trilu-14: the upper (default) or lower triangle of the last two axes, zeros elsewhere. Of any type; `k` shifts the diagonal.

use crate::{
    each,
    engine::{Float, Value},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, common::scalar, host, one, problem},
    tensor::{Element, HostTensor},
};
use ndarray::ArrayD;

/// Builds Trilu.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let upper = node.flag("upper", true)?;
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let k = if inputs.get(1).is_some() { inputs.int(1)? } else { 0 };
        let &[.., rows, columns] = x.dims() else {
            return Err(problem(format!("a tensor of {:?} has no matrices", x.dims())));
        };
        let keep = |i: i64, j: i64| if upper { j >= i.saturating_add(k) } else { j <= i.saturating_add(k) };
        let cells = (0..rows as i64).flat_map(|i| (0..columns as i64).map(move |j| keep(i, j))).collect();
        let mask = host::array(&[rows, columns], cells)?;
        match x {
            Value::Float(t) => {
                let zero = scalar(cx, 0.0)?;
                D::select(cx, &mask, t, &zero).map(Value::Float)
            }
            Value::Host(t) => kept(t, &mask).map(Value::Host),
        }
    })
}

fn kept(x: &HostTensor, mask: &ArrayD<bool>) -> Result<HostTensor> {
    fn go<T: Element>(x: &ArrayD<T>, mask: &ArrayD<bool>) -> Result<HostTensor> {
        host::zip(x, mask, |&x, &keep| Ok(if keep { x } else { T::default() })).map(T::wrap)
    }
    each!(x, a => go(a, mask))
}
