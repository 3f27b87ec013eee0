//! OneHotEncoder-1 (ai.onnx.ml): along a new last axis, 1 at the place that an element has in `cats_int64s`, else 0. Floats are cut to
//! integers. An element that is not in the list gives zeros, or is an error where `zeros` is 0. Texts are refused.

use crate::{
    engine::{Float, Value},
    kernels::Backend,
    ops::{Built, NodeContext, one, problem, shapes},
};
use std::collections::HashMap;

/// Builds OneHotEncoder.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let categories = node.ints("cats_int64s")?.unwrap_or_default();
    let zeros = node.flag("zeros", true)?;
    node.ignore(&["cats_strings"]);
    if categories.is_empty() {
        return Err(problem("cats_int64s is missing or empty"));
    }
    let count = categories.len();
    let places: HashMap<i64, usize> = categories.into_iter().zip(0..).collect();
    one(move |cx, inputs| {
        let x = inputs.value(0)?;
        let whole: Vec<Option<i64>> = match x {
            Value::Float(x) => {
                let whole = |x: E| Some(x.f64()).filter(|x| !x.is_nan()).map(|x| x as i64);
                x.to_vec().into_iter().map(whole).collect()
            }
            Value::Host(x) => {
                let whole = x.to_i64().ok_or_else(|| problem(format!("input 0 is {}, not numbers", x.dtype())))?;
                whole.into_iter().map(Some).collect()
            }
        };
        let dims = [x.dims(), &[count]].concat();
        let mut hot = vec![E::of(0.0); shapes::count(&dims)?];
        for (element, row) in whole.into_iter().zip(hot.chunks_mut(count)) {
            match element.and_then(|element| row.get_mut(*places.get(&element)?)) {
                Some(place) => *place = E::of(1.0),
                None if zeros => {}
                None => return Err(problem(format!("a value is none of its {count} categories, and zeros is 0"))),
            }
        }
        cx.upload(dims, hot)
    })
}
