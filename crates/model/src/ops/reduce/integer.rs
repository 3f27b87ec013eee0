//! Reductions of integers and booleans, on the host.

use super::reduction::Kind;
use crate::{
    error::Result,
    ops::{
        host::{self, Integer, each_int},
        problem,
    },
    tensor::HostTensor,
};
use ndarray::ArrayD;

/// Dimensions after the reduction.
pub fn reduced_dims(dims: &[usize], axes: &[usize], keep: bool) -> Vec<usize> {
    let kept = |a: usize, d: usize| if axes.contains(&a) { keep.then_some(1) } else { Some(d) };
    dims.iter().enumerate().filter_map(|(a, &d)| kept(a, d)).collect()
}

/// Reduces integers; booleans by Max and Min.
pub fn reduce(kind: Kind, x: &HostTensor, axes: &[usize], keep: bool) -> Result<HostTensor> {
    fn go<T: Integer>(kind: Kind, x: &ArrayD<T>, axes: &[usize], keep: bool) -> Result<HostTensor> {
        let add = |a: T, b: T| a.wrapping_add(&b);
        let size = |a: T| if a < T::zero() { T::zero().wrapping_sub(&a) } else { a };
        let folded = match kind {
            Kind::Sum => fold(x, axes, T::zero(), add),
            Kind::Prod => fold(x, axes, T::one(), |a, b| a.wrapping_mul(&b)),
            Kind::Max => fold(x, axes, T::min_value(), |a, b| a.max(b)),
            Kind::Min => fold(x, axes, T::max_value(), |a, b| a.min(b)),
            Kind::L1 => fold(x, axes, T::zero(), |a, b| add(a, size(b))),
            Kind::SumSquare => fold(x, axes, T::zero(), |a, b| add(a, b.wrapping_mul(&b))),
            Kind::Mean => {
                let n: usize = axes.iter().filter_map(|&a| x.shape().get(a)).product();
                let n = T::low(n as i64);
                if n == T::zero() {
                    return Err(problem("the mean of no integer"));
                }
                fold(x, axes, T::zero(), add).into_iter().map(|sum| sum.checked_div(&n).unwrap_or(sum)).collect()
            }
            _ => return Err(problem("the reduction has no meaning for integers")),
        };
        host::array(&reduced_dims(x.shape(), axes, keep), folded).map(T::wrap)
    }
    if let HostTensor::Bool(a) = x {
        let folded = match kind {
            Kind::Max => fold(a, axes, false, |a, b| a | b),
            Kind::Min => fold(a, axes, true, |a, b| a & b),
            _ => return Err(problem("the reduction has no meaning for booleans")),
        };
        return host::array(&reduced_dims(a.shape(), axes, keep), folded).map(HostTensor::Bool);
    }
    each_int!(x, a => go(kind, a, axes, keep), _other => Err(problem("not an integer")))
}

/// Folds `axes`: they are brought to the end, and each run of their elements is folded from `start` on.
fn fold<T: Copy>(x: &ArrayD<T>, axes: &[usize], start: T, f: impl Fn(T, T) -> T) -> Vec<T> {
    let kept: Vec<usize> = (0..x.ndim()).filter(|a| !axes.contains(a)).collect();
    let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let moved = x.view().permuted_axes(order);
    let (outer, inner) = moved.shape().split_at(kept.len());
    let lane: usize = inner.iter().product();
    let mut values = moved.iter();
    (0..outer.iter().product()).map(|_| values.by_ref().take(lane).fold(start, |a, &b| f(a, b))).collect()
}
