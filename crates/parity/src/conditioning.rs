//! Whether f32 can tell what a model's outputs are: where one rounding error of the weights moves the outputs as far as
//! two results are apart, that they differ says little about either.

use super::{Parity, Subject, ours, random::Random};
use crate::{
    batch::Batch,
    engine::KernelChoice,
    error::Result,
    model::{Halves, Model, ModelOptions},
    tensor::{DType, HostTensor},
};
use dfdx::prelude::Cpu;
use std::collections::BTreeMap;

/// Rows that are looked at.
const ROWS: usize = 4;
/// Rounding errors in one pass, of which all but a few cancel.
const ERRORS: f64 = 16.0;

/// How far the outputs move, in f64, with every parameter of `subject` moved by one rounding error of f32 up or down; `None`
/// if that is much less than `apart`.
pub(super) fn moved(parity: &Parity<'_>, subject: &dyn Subject, batches: &[Batch], apart: f64) -> Result<Option<f64>> {
    let Parity { graph, plan, decisions, settings, .. } = *parity;
    let options = ModelOptions {
        kernels: KernelChoice::Definition,
        halves: Halves::Nowhere,
        constants_in_file: true,
        ..ModelOptions::default()
    };
    let mut model: Model<f64, Cpu> = Model::build(graph, plan, decisions, options, Cpu::default())?;
    let fed = ours::first_rows(graph, batches, ROWS)
        .iter()
        .map(|b| ours::feeds(graph, plan, b))
        .collect::<Result<Vec<_>>>()?;
    let parameters = subject.parameters()?;
    let mut outputs = |step: f64| -> Result<Vec<BTreeMap<String, HostTensor>>> {
        for (at, parameter) in parameters.iter().enumerate() {
            let mut random = Random::new(settings.gradient.seed, at as u64);
            let values: Vec<f64> =
                parameter.values.iter().map(|&x| f64::from(x) * (1.0 + step * random.sign())).collect();
            model.set_parameter(at, &values)?;
        }
        fed.iter().map(|fed| Ok(model.outputs(fed)?.into_iter().collect())).collect()
    };
    let (here, there) = (outputs(0.0)?, outputs(DType::F32.rounding())?);
    let mut most = 0f64;
    for (here, there) in here.iter().zip(&there) {
        for (name, a) in here.iter().filter(|(_, tensor)| tensor.dtype().is_float()) {
            let b = there.get(name).map(HostTensor::to_f64).unwrap_or_default();
            let apart = a.to_f64().into_iter().zip(b).map(|(a, b)| (a - b).abs());
            most = apart.filter(|d| d.is_finite()).fold(most, f64::max);
        }
    }
    Ok((ERRORS * most >= apart).then_some(most))
}
