//! Equal-7/11/13/19, Less-7/9/13, Greater-7/9/13, LessOrEqual-12/16, GreaterOrEqual-12/16: of two tensors of one type,
//! broadcast. Equal also takes booleans.

use crate::{
    engine::{Float, Value},
    error::Result,
    kernels::Backend,
    ops::{
        Built, NodeContext,
        common::to_array,
        host::{self, each_int},
        one, problem,
    },
    tensor::{Element, HostTensor},
};
use ndarray::ArrayD;
use std::cmp::Ordering;

/// Which orderings make each operator true.
const TABLE: &[(&str, &[Ordering])] = &[
    ("Equal", &[Ordering::Equal]),
    ("Less", &[Ordering::Less]),
    ("Greater", &[Ordering::Greater]),
    ("LessOrEqual", &[Ordering::Less, Ordering::Equal]),
    ("GreaterOrEqual", &[Ordering::Greater, Ordering::Equal]),
];

/// Builds the operator that the table names.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let name = &node.node().op_type;
    let found = TABLE.iter().find(|(n, _)| n == name);
    let &(_, holds) = found.ok_or_else(|| problem("the operator is not in its table"))?;
    one(move |_, x| match (x.value(0)?, x.value(1)?) {
        (Value::Float(a), Value::Float(b)) => compare(&to_array(a)?, &to_array(b)?, holds),
        (Value::Host(HostTensor::Bool(a)), Value::Host(b)) => compare(a, host::same(b)?, holds),
        (Value::Host(a), Value::Host(b)) => {
            each_int!(a, a => compare(a, host::same(b)?, holds), _other => Err(problem("not a number")))
        }
        _ => Err(problem("inputs of a float and an integer type")),
    })
}

/// NaN compares as nothing.
fn compare<T: Element + PartialOrd>(a: &ArrayD<T>, b: &ArrayD<T>, holds: &[Ordering]) -> Result<HostTensor> {
    host::zip(a, b, |a, b| Ok(a.partial_cmp(b).is_some_and(|o| holds.contains(&o)))).map(HostTensor::Bool)
}
