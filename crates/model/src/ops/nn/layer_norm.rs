//! LayerNormalization-17 (before 17 onnxruntime's own, of the same meaning), RMSNormalization-23,
//! SimplifiedLayerNormalization (onnxruntime's), SkipLayerNormalization and SkipSimplifiedLayerNormalization (com.microsoft), of floats.
//!
//! All axes from `axis` (default −1) on are normalized together; scale and bias broadcast to them. The Mean and
//! InvStdDev outputs are given where wanted.

use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::{Backend, Binary, LayerNormArgs, Reduce, Unary},
    ops::{
        Built, NodeContext,
        common::{add, mul},
        many, problem, shapes,
    },
};

/// LayerNormalization.
pub fn layer<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    node.ignore(&["stash_type"]);
    let (axis, epsilon) = (node.int("axis")?.unwrap_or(-1), node.float("epsilon", 1e-5)?);
    let statistics = node.wants(1) || node.wants(2);
    many(move |cx, inputs| {
        let x = inputs.float(0)?;
        let axis = shapes::axis(axis, x.rank())?;
        let y = normalized(cx, x, inputs.float(1)?, inputs.opt_float(2)?, axis, epsilon)?;
        let mut results = vec![Value::Float(y)];
        if statistics {
            let axes: Vec<usize> = (axis..x.rank()).collect();
            let mean = D::reduce(cx, Reduce::Mean, x, &axes, true)?;
            let off = D::binary(cx, Binary::Sub, x, &mean)?;
            let inverse = inverse_root(cx, &off, &axes, epsilon)?;
            results.extend([mean.into(), inverse.into()]);
        }
        Ok(results)
    })
}

pub(in crate::ops) fn normalized<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    scale: &Tensor<E, D>,
    bias: Option<&Tensor<E, D>>,
    axis: usize,
    epsilon: f64,
) -> Result<Tensor<E, D>> {
    let inner = x.dims().get(axis..).unwrap_or_default();
    if scale.dims() == inner && bias.is_none_or(|b| b.dims() == inner) {
        return D::layer_norm(cx, LayerNormArgs { x, scale, bias, axis, epsilon });
    }
    for t in [Some(scale), bias].into_iter().flatten() {
        if shapes::broadcast(x.dims(), t.dims())? != x.dims() {
            return Err(problem(format!("a parameter of shape {:?} does not fit x of {:?}", t.dims(), x.dims())));
        }
    }
    let ones = cx.upload(inner.to_vec(), vec![E::ONE; inner.iter().product()])?;
    let plain = D::layer_norm(cx, LayerNormArgs { x, scale: &ones, bias: None, axis, epsilon })?;
    let y = mul(cx, &plain, scale)?;
    bias.map_or(Ok(y.clone()), |b| add(cx, &y, b))
}

/// 1/√(mean x² + ε) over `axes`.
fn inverse_root<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    axes: &[usize],
    epsilon: f64,
) -> Result<Tensor<E, D>> {
    let squares = D::unary(cx, Unary::PowScalar(2.0), x)?;
    let mean = D::reduce(cx, Reduce::Mean, &squares, axes, true)?;
    let shifted = D::unary(cx, Unary::AddScalar(epsilon), &mean)?;
    D::unary(cx, Unary::PowScalar(-0.5), &shifted)
}

fn rms<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    scale: &Tensor<E, D>,
    axis: usize,
    epsilon: f64,
) -> Result<Tensor<E, D>> {
    let axes: Vec<usize> = (axis..x.rank()).collect();
    let inverse = inverse_root(cx, x, &axes, epsilon)?;
    let y = mul(cx, x, &inverse)?;
    mul(cx, &y, scale)
}

/// RMSNormalization and SimplifiedLayerNormalization: x/√(mean x² + ε)·scale.
pub fn root_mean_square<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    node.ignore(&["stash_type"]);
    let (axis, epsilon) = (node.int("axis")?.unwrap_or(-1), node.float("epsilon", 1e-5)?);
    many(move |cx, inputs| {
        let x = inputs.float(0)?;
        let axis = shapes::axis(axis, x.rank())?;
        Ok(vec![rms(cx, x, inputs.float(1)?, axis, epsilon)?.into()])
    })
}

/// SkipLayerNormalization (input, skip, gamma, beta, bias) and its simplified form (input, skip, gamma, bias): normalizes
/// input + skip + bias over the last axis; the fourth output is that sum.
pub fn skip<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let simplified = node.node().op_type == "SkipSimplifiedLayerNormalization";
    let epsilon = node.float("epsilon", 1e-12)?;
    if node.wants(1) || node.wants(2) {
        return Err(problem("the mean and inverse deviation outputs are not supported"));
    }
    many(move |cx, inputs| {
        let mut sum = add(cx, inputs.float(0)?, inputs.float(1)?)?;
        if let Some(bias) = inputs.opt_float(if simplified { 3 } else { 4 })? {
            sum = add(cx, &sum, bias)?;
        }
        let axis = shapes::axis(-1, sum.rank())?;
        let gamma = inputs.float(2)?;
        let y = if simplified {
            rms(cx, &sum, gamma, axis, epsilon)?
        } else {
            normalized(cx, &sum, gamma, inputs.opt_float(3)?, axis, epsilon)?
        };
        // The statistics between them are refused above; the sum stands in their places.
        let sum = Value::Float(sum);
        Ok(vec![y.into(), sum.clone(), sum.clone(), sum])
    })
}
