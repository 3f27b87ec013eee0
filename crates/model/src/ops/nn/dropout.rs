//! Dropout-6/7/10/12/13/22: drops elements with probability `ratio` and scales the others by 1/(1 − ratio), or nothing.
//!
//! Up to 10 the ratio is an attribute, and only version 6 trains, unless `is_test`; from 12 on ratio and training mode are inputs. Whether it
//! drops is the caller's choice ([`DropoutMode`]): by default it never does, as in inference. The mask is drawn from the step's
//! seed, the node's place and its own seed, so a run can be repeated; it is not onnxruntime's mask.

use crate::{
    engine::Float,
    kernels::{Backend, Binary},
    ops::{Built, DropoutMode, NodeContext, common::scaled, many, problem},
    tensor::HostTensor,
};
use ndarray::{ArrayD, IxDyn};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Builds Dropout.
pub fn build<E: Float, D: Backend<E>>(node: &NodeContext<'_>) -> Built<E, D> {
    let attribute = if node.opset() < 12 { Some(node.float("ratio", 0.5)?) } else { None };
    let own = if node.opset() < 12 { 0 } else { node.int("seed")?.unwrap_or(0) };
    let trains_6 = node.opset() < 7 && !node.flag("is_test", false)?;
    let place = node.node().outputs.iter().flatten().next().map_or(0, |v| v.0 as u64);
    let mask_wanted = node.wants(1);
    many(move |cx, inputs| {
        let x = inputs.float(0)?;
        let trains = trains_6 || inputs.opt_scalar(2)?.is_some_and(|t| t != 0.0);
        let seed = match inputs.mode().dropout {
            DropoutMode::Off => None,
            DropoutMode::On(seed) => Some(seed),
            DropoutMode::File(seed) => trains.then_some(seed),
        };
        let ratio = match attribute {
            Some(ratio) => ratio,
            None => inputs.opt_scalar(1)?.unwrap_or(0.5),
        };
        let Some(seed) = seed.filter(|_| ratio > 0.0) else {
            let mut results = vec![x.clone().into()];
            if mask_wanted {
                results.push(HostTensor::Bool(ArrayD::from_elem(IxDyn(x.dims()), true)).into());
            }
            return Ok(results);
        };
        if !(0.0..1.0).contains(&ratio) {
            return Err(problem(format!("ratio {ratio} is not in 0 to 1")));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (own as u64).rotate_left(32));
        rng.set_stream(place);
        let kept = ArrayD::from_shape_simple_fn(IxDyn(x.dims()), || rng.random::<f64>() >= ratio);
        let mask = kept.iter().map(|&k| if k { E::ONE } else { E::of(0.0) }).collect();
        let mask = cx.upload(x.dims().to_vec(), mask)?;
        let dropped = D::binary(cx, Binary::Mul, x, &mask)?;
        let y = scaled(cx, &dropped, 1.0 / (1.0 - ratio))?;
        Ok(vec![y.into(), HostTensor::Bool(kept).into()])
    })
}
