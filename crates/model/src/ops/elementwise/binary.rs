//! Add-7/13/14, Sub-7/13/14, Mul-7/13/14, Div-7/13/14, Mod-10/13/28, PRelu-7/9/16: a formula of two elements, broadcast.
//!
//! Floats or integers, both of one type. Integers wrap; an integer divided by zero is an error. Mod has no gradient; on floats it asks
//! for `fmod = 1` until version 28, as the specification does. PRelu's slope broadcasts to x only.

use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::{Backend, Binary, Unary},
    ops::{
        Built, Inputs, NodeContext,
        common::{to_array, value},
        host::{self, IntBinary},
        one, problem, shapes,
    },
};

/// Kernel and integer form of each operator.
const TABLE: &[(&str, Binary, IntBinary)] = &[
    ("Add", Binary::Add, IntBinary::Add),
    ("Sub", Binary::Sub, IntBinary::Sub),
    ("Mul", Binary::Mul, IntBinary::Mul),
    ("Div", Binary::Div, IntBinary::Div),
];

/// Builds the operator that the table names; with a constant scalar on one side, a function of the other.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let name = &node.node().op_type;
    let found = TABLE.iter().find(|(n, ..)| n == name);
    let &(_, op, integer) = found.ok_or_else(|| problem("the operator is not in its table"))?;
    if let Some((input, unary)) = with_scalar(node, op) {
        return one(move |cx, x| match x.value(input)? {
            Value::Float(t) => D::unary(cx, unary, t),
            Value::Host(t) => Err(problem(format!("inputs of a float type and {}", t.dtype()))),
        });
    }
    one(move |cx, x| pair(cx, op, integer, x.value(0)?, x.value(1)?))
}

fn with_scalar(node: &NodeContext<'_>, op: Binary) -> Option<(usize, Unary)> {
    // A scalar of rank 0 never widens the other side; one of rank 1 might.
    let (left, right) = (node.scalar(0, 0), node.scalar(1, 0));
    Some(match (op, left, right) {
        (Binary::Add, None, Some(c)) => (0, Unary::AddScalar(c)),
        (Binary::Add, Some(c), None) => (1, Unary::AddScalar(c)),
        (Binary::Sub, None, Some(c)) => (0, Unary::AddScalar(-c)),
        (Binary::Mul, None, Some(c)) => (0, Unary::MulScalar(c)),
        (Binary::Mul, Some(c), None) => (1, Unary::MulScalar(c)),
        _ => return None,
    })
}

/// Two floats through a kernel, two integers on the host.
pub fn pair<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    op: Binary,
    integer: IntBinary,
    a: &Value<E, D>,
    b: &Value<E, D>,
) -> Result<Value<E, D>> {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => Ok(float(cx, op, a, b)?.into()),
        (Value::Host(a), Value::Host(b)) => Ok(host::arithmetic(integer, a, b)?.into()),
        (Value::Host(t), _) | (_, Value::Host(t)) => Err(problem(format!("inputs of a float type and {}", t.dtype()))),
    }
}

/// A kernel on two floats, after their shapes are known to broadcast.
pub fn float<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    op: Binary,
    a: &Tensor<E, D>,
    b: &Tensor<E, D>,
) -> Result<Tensor<E, D>> {
    shapes::broadcast(a.dims(), b.dims())?;
    D::binary(cx, op, a, b)
}

/// PRelu: the slope broadcasts to x.
pub fn prelu<E: Float, D: Backend<E>>(_: &NodeContext<'_>) -> Built<E, D> {
    one(|cx, inputs| {
        let (x, slope) = (inputs.float(0)?, inputs.float(1)?);
        if shapes::broadcast(x.dims(), slope.dims())? != x.dims() {
            return Err(problem(format!("slope of shape {:?} is larger than x of {:?}", slope.dims(), x.dims())));
        }
        D::binary(cx, Binary::PRelu, x, slope)
    })
}

/// Mod: the remainder.
pub fn modulo<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let fmod = node.flag("fmod", false)?;
    let integer = if fmod { IntBinary::Fmod } else { IntBinary::Mod };
    let floored = node.opset() >= 28;
    one(move |cx, inputs: &Inputs<'_, E, D>| match (inputs.value(0)?, inputs.value(1)?) {
        (Value::Float(a), Value::Float(b)) if fmod || floored => {
            let rest = |&a: &E, &b: &E| Ok(if fmod { a % b } else { E::of(modulus(a.f64(), b.f64())) });
            value(cx, E::wrap(host::zip(&to_array(a)?, &to_array(b)?, rest)?))
        }
        (Value::Float(_), Value::Float(_)) => Err(problem("floats need fmod = 1")),
        (Value::Host(a), Value::Host(b)) => Ok(host::arithmetic(integer, a, b)?.into()),
        _ => Err(problem("inputs of a float and an integer type")),
    })
}

/// The remainder with the sign of the divisor, zeros included.
fn modulus(a: f64, b: f64) -> f64 {
    let rest = a % b;
    match rest {
        0.0 => rest.copysign(b),
        _ if (rest < 0.0) != (b < 0.0) => rest + b,
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::modulus;

    #[test]
    fn remainders_of_floats_take_the_divisors_sign() {
        let inf = f64::INFINITY;
        let cases = [(7.0, -3.0, -2.0), (-7.0, 3.0, 2.0), (5.0, 8.0, 5.0), (-3.0, inf, inf), (-1.0, -inf, -1.0)];
        for (a, b, rest) in cases {
            assert_eq!(modulus(a, b), rest, "{a} mod {b}");
        }
        assert!(modulus(0.0, -2.0).is_sign_negative() && modulus(-0.0, 2.0).is_sign_positive());
        assert!(modulus(1.0, 0.0).is_nan() && modulus(inf, 2.0).is_nan() && modulus(1.0, f64::NAN).is_nan());
    }
}
