//! Squeeze-1/11/13 on, Unsqueeze-1/11/13 on: take away and put in axes of extent 1. Axes are an attribute until 11, an input
//! from 13 on.

use crate::{
    engine::Float,
    error::Result,
    kernels::Backend,
    ops::{Built, Inputs, NodeContext, common::reshaped, one, problem, shapes},
};

enum Axes {
    Attribute(Option<Vec<i64>>),
    Input,
}

impl Axes {
    fn read(node: &NodeContext<'_>) -> Result<Self> {
        Ok(if node.opset() < 13 { Self::Attribute(node.ints("axes")?) } else { Self::Input })
    }

    fn get<E: Float, D: Backend<E>>(&self, inputs: &Inputs<'_, E, D>) -> Result<Option<Vec<i64>>> {
        match self {
            Self::Attribute(axes) => Ok(axes.clone()),
            Self::Input => inputs.opt_ints(1),
        }
    }
}

/// Squeeze: the named axes, or all of extent 1.
pub fn squeeze<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let axes = Axes::read(node)?;
    one(move |_, inputs| {
        let x = inputs.value(0)?;
        let dims = x.dims();
        let named = axes.get(inputs)?.map(|axes| shapes::axes(&axes, dims.len())).transpose()?;
        let gone = |a: usize, d: usize| named.as_ref().map_or(d == 1, |named| named.contains(&a));
        if dims.iter().enumerate().any(|(a, &d)| d != 1 && gone(a, d)) {
            return Err(problem(format!("an axis of {dims:?} that is to go is not of extent 1")));
        }
        reshaped(x, dims.iter().enumerate().filter(|&(a, &d)| !gone(a, d)).map(|(_, &d)| d).collect())
    })
}

/// Unsqueeze: axes are counted in the result.
pub fn unsqueeze<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let axes = Axes::read(node)?;
    one(move |_, inputs| {
        let x = inputs.value(0)?;
        let axes = axes.get(inputs)?.ok_or_else(|| problem("axes are missing"))?;
        let rank = x.dims().len() + axes.len();
        let axes = shapes::axes(&axes, rank)?;
        let mut rest = x.dims().iter();
        let dims = (0..rank).map(|a| if axes.contains(&a) { 1 } else { rest.next().copied().unwrap_or(1) }).collect();
        reshaped(x, dims)
    })
}
