//! FeatureVectorizer-1 (ai.onnx.ml): the columns of all inputs beside each other, as floats. `inputdimensions`, if it is there,
//! must be the inputs' widths; cutting and filling up is refused.

use crate::{
    engine::{Float, Tensor},
    error::Result,
    kernels::Backend,
    ops::{Built, NodeContext, common::float, one, problem},
};

/// Builds FeatureVectorizer.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let widths = node.sizes("inputdimensions", 0)?;
    one(move |cx, inputs| {
        let columns = |i: usize| {
            let x = float(cx, inputs.value(i)?)?;
            let (rows, width) = match x.dims() {
                &[width] => (1, width),
                &[rows, ref rest @ ..] => (rows, rest.iter().product()),
                [] => return Err(problem(format!("input {i} is a single number, not columns"))),
            };
            if let Some(said) = widths.as_ref().map(|widths| widths.get(i).copied())
                && said != Some(width)
            {
                return Err(problem(format!("input {i} has {width} columns, and inputdimensions says otherwise")));
            }
            x.reshaped(vec![rows, width])
        };
        let all = (0..inputs.len()).map(columns).collect::<Result<Vec<Tensor<E, D>>>>()?;
        let rows = |x: &Tensor<E, D>| x.dims().first().copied();
        if all.iter().any(|x| rows(x) != all.first().and_then(rows)) {
            return Err(problem("the inputs have different numbers of rows"));
        }
        D::concat(cx, &all.iter().collect::<Vec<_>>(), 1)
    })
}
