//! ReduceSum-1/11/13, ReduceMean, ReduceMax, ReduceMin, ReduceProd, ReduceL1, ReduceL2, ReduceSumSquare, ReduceLogSum,
//! ReduceLogSumExp-1/11/13/18 (Max and Min also 12, 20).
//!
//! Axes are an attribute until ReduceSum-11 and the others' 13, an input afterward; without axes all are reduced, or none with
//! `noop_with_empty_axes`. Floats; integers too, where the result is one. The largest element's gradient is shared equally among equals; ReduceL2's is 0 where
//! the norm is 0, as in PyTorch.

use super::integer;
use crate::{
    engine::{Context, Float, Tensor, Value},
    error::Result,
    kernels::{Backend, Binary, Reduce, Unary},
    ops::{
        Built, Inputs, NodeContext,
        common::{scalar, to_array},
        one, problem, shapes,
    },
};

/// Which reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    L1,
    L2,
    SumSquare,
    LogSum,
    LogSumExp,
}

const TABLE: &[(&str, Kind)] = &[
    ("ReduceSum", Kind::Sum),
    ("ReduceMean", Kind::Mean),
    ("ReduceMax", Kind::Max),
    ("ReduceMin", Kind::Min),
    ("ReduceProd", Kind::Prod),
    ("ReduceL1", Kind::L1),
    ("ReduceL2", Kind::L2),
    ("ReduceSumSquare", Kind::SumSquare),
    ("ReduceLogSum", Kind::LogSum),
    ("ReduceLogSumExp", Kind::LogSumExp),
];

/// Builds the reduction that the table names.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let found = TABLE.iter().find(|(n, _)| *n == node.node().op_type);
    let &(_, kind) = found.ok_or_else(|| problem("the operator is not in its table"))?;
    let keep = node.flag("keepdims", true)?;
    if node.opset() < if kind == Kind::Sum { 13 } else { 18 } {
        reduce_1(node, kind, keep)
    } else {
        reduce_18(node, kind, keep)
    }
}

fn reduce_1<E: Float, D: Backend<E>>(node: &NodeContext<'_>, kind: Kind, keep: bool) -> Built<E, D> {
    let axes = node.ints("axes")?;
    one(move |cx, inputs| over(cx, kind, inputs, axes.as_deref().unwrap_or_default(), false, keep))
}

fn reduce_18<E: Float, D: Backend<E>>(node: &NodeContext<'_>, kind: Kind, keep: bool) -> Built<E, D> {
    let noop = node.flag("noop_with_empty_axes", false)?;
    one(move |cx, inputs| {
        let axes = inputs.opt_ints(1)?;
        over(cx, kind, inputs, axes.as_deref().unwrap_or_default(), noop, keep)
    })
}

fn over<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    kind: Kind,
    inputs: &Inputs<'_, E, D>,
    axes: &[i64],
    noop: bool,
    keep: bool,
) -> Result<Value<E, D>> {
    let x = inputs.value(0)?;
    let rank = x.dims().len();
    let axes = match axes {
        [] if noop => Vec::new(),
        [] => (0..rank).collect(),
        list => shapes::axes(list, rank)?,
    };
    match x {
        Value::Float(t) => float(cx, kind, t, &axes, keep).map(Value::Float),
        Value::Host(t) => integer::reduce(kind, t, &axes, keep).map(Value::Host),
    }
}

fn float<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    kind: Kind,
    x: &Tensor<E, D>,
    axes: &[usize],
    keep: bool,
) -> Result<Tensor<E, D>> {
    if x.is_empty() {
        return empty(cx, kind, x.dims(), axes, keep);
    }
    match kind {
        Kind::Sum => D::reduce(cx, Reduce::Sum, x, axes, keep),
        Kind::Mean => D::reduce(cx, Reduce::Mean, x, axes, keep),
        Kind::Max => D::reduce(cx, Reduce::Max, x, axes, keep),
        Kind::Min => D::reduce(cx, Reduce::Min, x, axes, keep),
        Kind::Prod => D::reduce(cx, Reduce::Prod, x, axes, keep),
        Kind::L1 => {
            let sizes = D::unary(cx, Unary::Abs, x)?;
            D::reduce(cx, Reduce::Sum, &sizes, axes, keep)
        }
        Kind::SumSquare => sum_square(cx, x, axes, keep),
        Kind::L2 => {
            let sum = sum_square(cx, x, axes, keep)?;
            root(cx, Unary::Sqrt, &sum)
        }
        Kind::LogSum => {
            let sum = D::reduce(cx, Reduce::Sum, x, axes, keep)?;
            D::unary(cx, Unary::Log, &sum)
        }
        Kind::LogSumExp => log_sum_exp(cx, x, axes, keep),
    }
}

fn sum_square<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    axes: &[usize],
    keep: bool,
) -> Result<Tensor<E, D>> {
    let squares = D::unary(cx, Unary::PowScalar(2.0), x)?;
    D::reduce(cx, Reduce::Sum, &squares, axes, keep)
}

/// The root `op` of x, whose gradient is 0 (not infinite) where x is 0.
pub fn root<E: Float, D: Backend<E>>(cx: &mut Context<E, D>, op: Unary, x: &Tensor<E, D>) -> Result<Tensor<E, D>> {
    let zero = to_array(x)?.mapv(|x| x.is_zero());
    if !zero.iter().any(|&z| z) {
        return D::unary(cx, op, x);
    }
    let (nought, unit) = (scalar(cx, 0.0)?, scalar(cx, 1.0)?);
    let safe = D::select(cx, &zero, &unit, x)?;
    let root = D::unary(cx, op, &safe)?;
    D::select(cx, &zero, &nought, &root)
}

/// m + ln Σ e^(x − m), with m the largest x, a constant.
fn log_sum_exp<E: Float, D: Backend<E>>(
    cx: &mut Context<E, D>,
    x: &Tensor<E, D>,
    axes: &[usize],
    keep: bool,
) -> Result<Tensor<E, D>> {
    let largest = D::reduce(cx, Reduce::Max, &x.detached(), axes, true)?;
    let finite = to_array(&largest)?.iter().map(|&m| if m.is_finite() { m } else { E::of(0.0) }).collect();
    let largest = cx.upload(largest.dims().to_vec(), finite)?;
    let shifted = D::binary(cx, Binary::Sub, x, &largest)?;
    let powers = D::unary(cx, Unary::Exp, &shifted)?;
    let sum = D::reduce(cx, Reduce::Sum, &powers, axes, keep)?;
    let log = D::unary(cx, Unary::Log, &sum)?;
    let largest = largest.reshaped(log.dims().to_vec())?;
    D::binary(cx, Binary::Add, &log, &largest)
}

/// The reduction of no element: its neutral value.
fn empty<E: Float, D: Backend<E>>(
    cx: &Context<E, D>,
    kind: Kind,
    dims: &[usize],
    axes: &[usize],
    keep: bool,
) -> Result<Tensor<E, D>> {
    let value = match kind {
        Kind::Sum | Kind::L1 | Kind::L2 | Kind::SumSquare => 0.0,
        Kind::Prod => 1.0,
        Kind::Mean => f64::NAN,
        Kind::Max | Kind::LogSum | Kind::LogSumExp => f64::NEG_INFINITY,
        Kind::Min => f64::INFINITY,
    };
    let dims = integer::reduced_dims(dims, axes, keep);
    let n = dims.iter().product();
    cx.upload(dims, vec![E::of(value); n])
}
