//! Where-9/16: x where the condition holds, else y; all three broadcast. Floats or integers, x and y of one type.

use crate::{
    each,
    engine::{Float, Value},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, host, one, problem, shapes},
    tensor::{Element, HostTensor},
};
use ndarray::ArrayD;

/// Builds Where.
pub fn build<E: Float, D: Backend<E>>(_: &NodeContext<'_>) -> Built<E, D> {
    one(|cx, inputs| {
        let mask = inputs.array::<bool>(0)?;
        match (inputs.value(1)?, inputs.value(2)?) {
            (Value::Float(x), Value::Float(y)) => {
                shapes::broadcast(mask.shape(), &shapes::broadcast(x.dims(), y.dims())?)?;
                Ok(Value::Float(D::select(cx, mask, x, y)?))
            }
            (Value::Host(x), Value::Host(y)) => Ok(Value::Host(choose(mask, x, y)?)),
            _ => Err(problem("inputs of a float and an integer type")),
        }
    })
}

fn choose(mask: &ArrayD<bool>, x: &HostTensor, y: &HostTensor) -> Result<HostTensor> {
    fn go<T: Element>(mask: &ArrayD<bool>, x: &ArrayD<T>, y: &HostTensor) -> Result<HostTensor> {
        let pairs = host::zip(x, host::same::<T>(y)?, |&x, &y| Ok((x, y)))?;
        host::zip(mask, &pairs, |&m, &(x, y)| Ok(if m { x } else { y })).map(T::wrap)
    }
    each!(x, a => go(mask, a, y))
}
