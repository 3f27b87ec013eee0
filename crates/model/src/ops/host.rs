//! Arithmetic on integer and boolean tensors, on the host. Integers wrap, as in C; dividing one by zero is an error.

use super::{problem, shapes};
use crate::{
    each,
    error::Result,
    tensor::{DType, Element, HostTensor},
};
use ndarray::{ArrayD, IxDyn};
use num_traits::{AsPrimitive, PrimInt, WrappingAdd, WrappingMul, WrappingSub};
use std::cmp::Ordering;

/// An integer element type.
pub trait Integer:
    Element + PrimInt + WrappingAdd + WrappingSub + WrappingMul + AsPrimitive<i64> + AsPrimitive<f64> + Send + Sync
{
    /// The low bits of `x`, as a C cast takes them.
    fn low(x: i64) -> Self;
}

macro_rules! integer {
    ($($t:ty)*) => {$(impl Integer for $t { fn low(x: i64) -> Self { x as Self } })*};
}
integer!(i8 i16 i32 i64 u8 u16 u32 u64);

/// Runs one expression for whichever integer array a tensor holds, or another for any other type.
macro_rules! each_int {
    ($tensor:expr, $a:ident => $body:expr, $other:ident => $else:expr) => {
        match $tensor {
            $crate::tensor::HostTensor::I8($a) => $body,
            $crate::tensor::HostTensor::I16($a) => $body,
            $crate::tensor::HostTensor::I32($a) => $body,
            $crate::tensor::HostTensor::I64($a) => $body,
            $crate::tensor::HostTensor::U8($a) => $body,
            $crate::tensor::HostTensor::U16($a) => $body,
            $crate::tensor::HostTensor::U32($a) => $body,
            $crate::tensor::HostTensor::U64($a) => $body,
            $other => $else,
        }
    };
}
pub(crate) use each_int;

/// A row-major array.
pub fn array<T>(dims: &[usize], values: Vec<T>) -> Result<ArrayD<T>> {
    let n = values.len();
    ArrayD::from_shape_vec(IxDyn(dims), values).map_err(|_| problem(format!("{n} values for a tensor of {dims:?}")))
}

/// Combines two arrays element by element, broadcast against each other.
pub fn zip<A, B, C>(a: &ArrayD<A>, b: &ArrayD<B>, mut f: impl FnMut(&A, &B) -> Result<C>) -> Result<ArrayD<C>> {
    let dims = shapes::broadcast(a.shape(), b.shape())?;
    let (Some(x), Some(y)) = (a.broadcast(IxDyn(&dims)), b.broadcast(IxDyn(&dims))) else {
        return Err(problem(format!("shapes {:?} and {:?} do not broadcast", a.shape(), b.shape())));
    };
    let values = x.iter().zip(y.iter()).map(|(x, y)| f(x, y)).collect::<Result<Vec<_>>>()?;
    array(&dims, values)
}

/// A function of each element.
pub fn map<T: Element, U: Element>(a: &ArrayD<T>, f: impl Fn(T) -> U) -> HostTensor {
    U::wrap(a.map(|&x| f(x)))
}

/// Two tensors of the same element type: the second as an array of the first's type.
pub fn same<T: Element>(b: &HostTensor) -> Result<&ArrayD<T>> {
    T::array(b).ok_or_else(|| problem(format!("inputs of types {} and {}", T::DTYPE, b.dtype())))
}

/// The order of two numbers; NaN counts as larger than any other.
pub fn order<T: PartialOrd>(a: &T, b: &T) -> Ordering {
    let nan = |x: &T| x.partial_cmp(x).is_none();
    a.partial_cmp(b).unwrap_or_else(|| nan(a).cmp(&nan(b)))
}

/// An arithmetic function of two integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum IntBinary {
    Add,
    Sub,
    Mul,
    Div,
    /// The remainder with the divisor's sign.
    Mod,
    /// The remainder with the dividend's sign.
    Fmod,
    Max,
    Min,
}

fn apply<T: Integer>(op: IntBinary, a: T, b: T) -> Result<T> {
    use IntBinary::*;
    let zero = || problem("an integer is divided by zero");
    Ok(match op {
        Add => a.wrapping_add(&b),
        Sub => a.wrapping_sub(&b),
        Mul => a.wrapping_mul(&b),
        Max => a.max(b),
        Min => a.min(b),
        // The one quotient that overflows is the smallest value by −1.
        Div if b == T::zero() => return Err(zero()),
        Div => a.checked_div(&b).unwrap_or(a),
        Mod | Fmod if b == T::zero() => return Err(zero()),
        Fmod => {
            if a.checked_div(&b).is_none() {
                T::zero()
            } else {
                a % b
            }
        }
        Mod => {
            let r = apply(Fmod, a, b)?;
            if r != T::zero() && (r < T::zero()) != (b < T::zero()) { r + b } else { r }
        }
    })
}

/// Combines two integer tensors of one type.
pub fn arithmetic(op: IntBinary, a: &HostTensor, b: &HostTensor) -> Result<HostTensor> {
    fn go<T: Integer>(op: IntBinary, a: &ArrayD<T>, b: &HostTensor) -> Result<HostTensor> {
        zip(a, same::<T>(b)?, |&x, &y| apply(op, x, y)).map(T::wrap)
    }
    each_int!(a, x => go(op, x, b), other => Err(problem(format!("arithmetic on {} values", other.dtype()))))
}

/// `base` to the power of `exponent`, in `base`'s type; real powers are truncated.
pub fn power(base: &HostTensor, exponent: &ArrayD<f64>) -> Result<HostTensor> {
    fn go<T: Integer>(base: &ArrayD<T>, exponent: &ArrayD<f64>) -> Result<HostTensor> {
        let power = |&b: &T, &e: &f64| {
            if e >= 0.0 && e.fract() == 0.0 && e <= u32::MAX.into() {
                let (mut result, mut square, mut left) = (T::one(), b, e as u32);
                while left > 0 {
                    if left & 1 == 1 {
                        result = result.wrapping_mul(&square);
                    }
                    square = square.wrapping_mul(&square);
                    left >>= 1;
                }
                return Ok(result);
            }
            let real: f64 = b.as_();
            Ok(T::low(real.powf(e) as i64))
        };
        zip(base, exponent, power).map(T::wrap)
    }
    each_int!(base, b => go(b, exponent), other => Err(problem(format!("a power of {} values", other.dtype()))))
}

/// Converts to another integer type or to booleans, as a C cast does.
///
/// # Errors
/// [`crate::Error::Node`] if `to` is a float type.
pub fn cast(tensor: &HostTensor, to: DType) -> Result<HostTensor> {
    let dims = tensor.dims();
    match tensor.to_i64() {
        Some(values) => from_i64(dims, values, to),
        None => from_f64(dims, tensor.to_f64(), to),
    }
}

/// Integers or booleans of type `to`, truncated as a C cast does.
pub fn from_i64(dims: &[usize], values: Vec<i64>, to: DType) -> Result<HostTensor> {
    fn go<T: Integer>(dims: &[usize], values: Vec<i64>) -> Result<HostTensor> {
        array(dims, values.into_iter().map(T::low).collect()).map(T::wrap)
    }
    match to {
        DType::I8 => go::<i8>(dims, values),
        DType::I16 => go::<i16>(dims, values),
        DType::I32 => go::<i32>(dims, values),
        DType::I64 => go::<i64>(dims, values),
        DType::U8 => go::<u8>(dims, values),
        DType::U16 => go::<u16>(dims, values),
        DType::U32 => go::<u32>(dims, values),
        DType::U64 => go::<u64>(dims, values),
        DType::Bool => array(dims, values.into_iter().map(|x| x != 0).collect()).map(HostTensor::Bool),
        _ => Err(problem(format!("{to} is not an integer or boolean type"))),
    }
}

/// Integers or booleans from floats: truncated toward zero, any value but 0 is true.
pub fn from_f64(dims: &[usize], values: Vec<f64>, to: DType) -> Result<HostTensor> {
    match to {
        DType::Bool => array(dims, values.into_iter().map(|x| x != 0.0).collect()).map(HostTensor::Bool),
        DType::U64 => {
            array(dims, values.into_iter().map(|x| if x < 0.0 { x as i64 as u64 } else { x as u64 }).collect())
                .map(HostTensor::U64)
        }
        _ => from_i64(dims, values.into_iter().map(|x| x as i64).collect(), to),
    }
}

/// Rearranges a tensor: `f` is given the index of each element, in the tensor's shape, and returns which element
/// stands where in the result.
pub fn rearrange(tensor: &HostTensor, f: impl FnOnce(ArrayD<usize>) -> Result<ArrayD<usize>>) -> Result<HostTensor> {
    let indices = f(array(tensor.dims(), (0..tensor.len()).collect())?)?;
    take(tensor, &indices)
}

/// The elements at row-major `indices`, in their shape.
pub fn take(tensor: &HostTensor, indices: &ArrayD<usize>) -> Result<HostTensor> {
    fn go<T: Element>(a: &ArrayD<T>, indices: &ArrayD<usize>) -> Result<HostTensor> {
        let a = a.as_standard_layout();
        let flat = a.as_slice().unwrap_or_default();
        let pick = |&i: &usize| flat.get(i).copied().ok_or_else(|| problem("an index is out of range"));
        let values = indices.iter().map(pick).collect::<Result<Vec<_>>>()?;
        array(indices.shape(), values).map(T::wrap)
    }
    each!(tensor, a => go(a, indices))
}

/// A tensor of one value, of the type of `like`'s single element.
pub fn filled(like: &HostTensor, dims: &[usize]) -> Result<HostTensor> {
    shapes::count(dims)?;
    take(like, &ArrayD::zeros(IxDyn(dims)))
}

/// Tensors of one type after each other along `axis`.
pub fn concat(tensors: &[&HostTensor], axis: usize) -> Result<HostTensor> {
    fn go<T: Element>(tensors: &[&HostTensor], axis: usize) -> Result<HostTensor> {
        let arrays = tensors.iter().map(|t| same::<T>(t).map(|a| a.view())).collect::<Result<Vec<_>>>()?;
        let joined = ndarray::concatenate(ndarray::Axis(axis), &arrays);
        let joined = joined.map_err(|e| problem(format!("tensors do not fit: {e}")))?;
        Ok(T::wrap(joined.as_standard_layout().into_owned()))
    }
    let first = tensors.first().ok_or_else(|| problem("no tensor to join"))?;
    fn of<T: Element>(_: &ArrayD<T>) -> fn(&[&HostTensor], usize) -> Result<HostTensor> {
        go::<T>
    }
    let join = each!(first, a => of(a));
    join(tensors, axis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(values: &[i64]) -> HostTensor {
        HostTensor::vector(values.to_vec())
    }

    #[test]
    fn integers_wrap_and_refuse_zero() {
        let max = HostTensor::vector(vec![i32::MAX, i32::MIN]);
        let one = HostTensor::vector(vec![1i32, -1]);
        assert_eq!(arithmetic(IntBinary::Add, &max, &one).unwrap(), HostTensor::vector(vec![i32::MIN, i32::MAX]));
        assert_eq!(arithmetic(IntBinary::Div, &max, &one).unwrap(), HostTensor::vector(vec![i32::MAX, i32::MIN]));
        assert!(arithmetic(IntBinary::Div, &ints(&[1]), &ints(&[0])).is_err());
        assert!(arithmetic(IntBinary::Add, &max, &ints(&[0])).is_err(), "types differ");
    }

    #[test]
    fn remainders_take_the_sign_that_the_mode_says() {
        let (a, b) = (ints(&[-4, 7, 5, 4, -7, 8]), ints(&[2, -3, 8, -2, 3, 5]));
        assert_eq!(arithmetic(IntBinary::Mod, &a, &b).unwrap(), ints(&[0, -2, 5, 0, 2, 3]));
        assert_eq!(arithmetic(IntBinary::Fmod, &a, &b).unwrap(), ints(&[0, 1, 5, 0, -1, 3]));
    }

    #[test]
    fn casts_keep_the_low_bits() {
        assert_eq!(cast(&ints(&[-1, 257]), DType::U8).unwrap(), HostTensor::vector(vec![255u8, 1]));
        assert_eq!(cast(&ints(&[0, 5]), DType::Bool).unwrap(), HostTensor::vector(vec![false, true]));
        assert_eq!(from_f64(&[2], vec![-1.9, 2.9], DType::I32).unwrap(), HostTensor::vector(vec![-1i32, 2]));
    }

    #[test]
    fn powers_are_exact_in_integers() {
        let exponent = ArrayD::from_shape_vec(IxDyn(&[3]), vec![0.0, 3.0, -1.0]).unwrap();
        assert_eq!(power(&ints(&[5, -7, 2]), &exponent).unwrap(), ints(&[1, -343, 0]));
    }
}
