//! Normalizations without parameters: LRN-1/13, LpNormalization-1/22, MeanVarianceNormalization-9/13, of floats.

use crate::{
    engine::{Context, Float, Tensor},
    error::Result,
    kernels::{Backend, Binary, PoolSpec, Reduce, Unary},
    ops::{
        Built, NodeContext,
        common::{mul, scalar, scaled, to_array},
        one, problem, shapes,
    },
};

/// LRN: x/(bias + α/size·Σx²)^β, summed over `size` channels around each.
pub fn local_response<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (alpha, beta, bias) = (node.float("alpha", 1e-4)?, node.float("beta", 0.75)?, node.float("bias", 1.0)?);
    let size = node.int("size")?.filter(|&s| s > 0).ok_or_else(|| problem("size is missing or below 1"))? as usize;
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        let &[n, channels, ref rest @ ..] = x.dims() else {
            return Err(problem(format!("x has shape {:?}, not (N, C, …)", x.dims())));
        };
        if x.is_empty() {
            return Ok(x.clone());
        }
        // Channels are the rows of an image; a window reaches no further than there are some.
        let reach = [(size - 1) / 2, size / 2].map(|r| r.min(channels));
        let window = reach.iter().sum::<usize>() + 1;
        let spec = PoolSpec {
            kernel: vec![window, 1],
            strides: vec![1, 1],
            dilations: vec![1, 1],
            pads: vec![reach, [0, 0]],
            output: vec![channels, rest.iter().product()],
            count_include_pad: true,
        };
        let squares = D::unary(cx, Unary::PowScalar(2.0), x)?;
        let squares = squares.reshaped([&[n, 1], spec.output.as_slice()].concat())?;
        let mean = D::avg_pool(cx, &squares, &spec)?.reshaped(x.dims().to_vec())?;
        let sum = scaled(cx, &mean, alpha / size as f64 * window as f64)?;
        let base = D::unary(cx, Unary::AddScalar(bias), &sum)?;
        let factor = D::unary(cx, Unary::PowScalar(-beta), &base)?;
        mul(cx, x, &factor)
    })
}

/// LpNormalization: x/‖x‖ along `axis`, and 0 with gradient 0 where the norm is 0.
pub fn by_norm<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let (axis, p) = (node.int("axis")?.unwrap_or(-1), node.int("p")?.unwrap_or(2));
    let power = match p {
        1 => Unary::Abs,
        2 => Unary::PowScalar(2.0),
        _ => return Err(problem(format!("p is {p}, not 1 or 2"))),
    };
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        let axis = shapes::axis(axis, x.rank())?;
        let powers = D::unary(cx, power, x)?;
        let sum = D::reduce(cx, Reduce::Sum, &powers, &[axis], true)?;
        let sum = without_zeros(cx, &sum)?;
        let norm = if p == 2 { D::unary(cx, Unary::Sqrt, &sum)? } else { sum };
        D::binary(cx, Binary::Div, x, &norm)
    })
}

/// ∞ in place of 0: whatever is divided by it is 0, and so are the slopes.
fn without_zeros<E: Float, D: Backend<E>>(cx: &mut Context<E, D>, x: &Tensor<E, D>) -> Result<Tensor<E, D>> {
    let mask = to_array(x)?.mapv(|x: E| x != E::of(0.0));
    let infinity = scalar(cx, f64::INFINITY)?;
    if mask.iter().all(|&m| m) { Ok(x.clone()) } else { D::select(cx, &mask, x, &infinity) }
}

/// MeanVarianceNormalization: (x − mean)/√variance over `axes`. The variance is kept from 0 by the square of the 10⁻⁹ that
/// the specification adds to the deviation.
pub fn mean_variance<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let axes = node.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    one(move |cx, inputs| {
        let x = inputs.float(0)?;
        let axes = shapes::axes(&axes, x.rank())?;
        let mean = D::reduce(cx, Reduce::Mean, x, &axes, true)?;
        let off = D::binary(cx, Binary::Sub, x, &mean)?;
        let squares = D::unary(cx, Unary::PowScalar(2.0), &off)?;
        let variance = D::reduce(cx, Reduce::Mean, &squares, &axes, true)?;
        let shifted = D::unary(cx, Unary::AddScalar(1e-18), &variance)?;
        let inverse = D::unary(cx, Unary::PowScalar(-0.5), &shifted)?;
        mul(cx, &off, &inverse)
    })
}
