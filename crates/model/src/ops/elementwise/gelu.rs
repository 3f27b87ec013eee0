//! Gelu-20, and com.microsoft's Gelu, FastGelu and BiasGelu: x·Φ(x), with Φ through erf or approximated through tanh.
//! FastGelu (always tanh) and BiasGelu take a bias that is added first.

use crate::{
    engine::Float,
    kernels::{Backend, Unary},
    ops::{Built, NodeContext, common::add, one, problem},
};

/// Builds the four of them.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let tanh = match node.node().op_type.as_str() {
        "FastGelu" => true,
        "Gelu" if node.node().domain.is_empty() => match node.string("approximate", "none")? {
            "none" => false,
            "tanh" => true,
            other => return Err(problem(format!("approximate is {other:?}, neither none nor tanh"))),
        },
        _ => false,
    };
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        match inputs.opt_float(1)? {
            None => D::unary(cx, Unary::Gelu { tanh }, x),
            Some(bias) => {
                let x = add(cx, x, bias)?;
                D::unary(cx, Unary::Gelu { tanh }, &x)
            }
        }
    })
}
