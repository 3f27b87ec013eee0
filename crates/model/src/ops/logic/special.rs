//! IsNaN-9/13/20 and IsInf-10/20, of floats.

use crate::{
    engine::Float,
    kernels::Backend,
    ops::{Built, NodeContext, common::to_array, host, one},
};

/// IsNaN.
pub fn is_nan<E: Float, D: Backend<E>>(_: &NodeContext<'_>) -> Built<E, D> {
    one(|_, x| Ok(host::map(&to_array(x.float(0)?)?, |x: E| x.is_nan())))
}

/// IsInf, of either sign as the attributes say.
pub fn is_inf<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (negative, positive) = (node.flag("detect_negative", true)?, node.flag("detect_positive", true)?);
    one(move |_, x| {
        let infinite = |x: E| x.is_infinite() && (if x.is_sign_negative() { negative } else { positive });
        Ok(host::map(&to_array(x.float(0)?)?, infinite))
    })
}
