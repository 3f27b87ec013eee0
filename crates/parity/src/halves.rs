//! What the outputs of a model may differ by where runtimes round its values to f16 or bf16.
//!
//! Ours are computed in f32, and each runtime rounds at other places: after every node, or not within nodes that it
//! fuses. How much that matters depends on the model, and is measured: the model is run with every half rounded, and
//! with none but those of its casts. A runtime lies between the two or about as far out, [`SPREAD`] times as far at most.
//! Whatever is measured, [`LEAST`] and at most [`MOST`] rounding errors of the output's largest value are allowed.

use super::{Parity, Subject, Tolerance, ours};
use crate::{
    batch::Batch,
    error::Result,
    graph::halves,
    model::{Halves, Model, ModelOptions},
    tensor::{DType, HostTensor},
};
use dfdx::prelude::Cpu;
use serde::Serialize;
use std::collections::BTreeMap;

/// Times the measured difference.
const SPREAD: f64 = 4.0;
/// Rounding errors of the largest value: sums of halves are rounded term by term in some runtimes.
const LEAST: f64 = 4.0;
/// A model that rounding moves further than this is told of.
const MOST: f64 = 64.0;

/// What rounding to halves allows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rounding {
    /// The coarsest type in which values are computed.
    pub dtype: DType,
    /// Of each output.
    pub outputs: BTreeMap<String, Allowed>,
}

/// What one output may differ by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Allowed {
    /// Largest difference between the model with every half rounded, and with those at casts alone.
    pub measured: f64,
    /// Largest value.
    pub largest: f64,
    /// Absolute tolerance.
    pub atol: f64,
}

impl Rounding {
    /// Measured on `batches` with the parameters of `subject`; `None` for a model that computes no halves.
    pub(super) fn measure(parity: &Parity<'_>, subject: &dyn Subject, batches: &[Batch]) -> Result<Option<Self>> {
        let Parity { graph, plan, decisions, .. } = *parity;
        let Some(dtype) = halves::coarsest(&halves::computed(graph)) else { return Ok(None) };
        let parameters = subject.parameters()?;
        let values: Vec<&[f32]> = parameters.iter().map(|p| p.values.as_slice()).collect();
        let model = |halves| -> Result<Model<f32, Cpu>> {
            let options =
                ModelOptions { halves, node_by_node: true, constants_in_file: true, ..ModelOptions::default() };
            let mut model = Model::build(graph, plan, decisions, options, Cpu::default())?;
            model.set_parameters(&values)?;
            Ok(model)
        };
        let (plain, rounded) = (model(Halves::AtCasts)?, model(Halves::Everywhere)?);
        let mut outputs: BTreeMap<String, Allowed> = BTreeMap::new();
        for batch in batches {
            let fed = ours::feeds(graph, plan, batch)?;
            let rounded: BTreeMap<String, HostTensor> = rounded.outputs(&fed)?.into_iter().collect();
            for (name, plain) in plain.outputs(&fed)? {
                let Some(rounded) = rounded.get(&name).filter(|_| plain.dtype().is_float()) else { continue };
                let found = outputs.entry(name).or_default();
                for (a, b) in plain.to_f64().into_iter().zip(rounded.to_f64()).filter(|(a, b)| (a - b).is_finite()) {
                    found.measured = found.measured.max((a - b).abs());
                    found.largest = found.largest.max(a.abs());
                }
            }
        }
        for found in outputs.values_mut() {
            let steps = |n: f64| n * dtype.rounding() * found.largest;
            found.atol = (SPREAD * found.measured).clamp(steps(LEAST), steps(MOST));
        }
        Ok(Some(Self { dtype, outputs }))
    }

    /// `tolerance`, widened by what rounding does to `output`.
    pub(super) fn widened(&self, output: &str, tolerance: Tolerance) -> Tolerance {
        let atol = self.outputs.get(output).map_or(0.0, |allowed| allowed.atol);
        Tolerance { atol: tolerance.atol.max(atol), rtol: tolerance.rtol.max(LEAST * self.dtype.rounding()) }
    }

    /// The widest absolute tolerance of an output.
    pub(super) fn widest(&self) -> f64 {
        self.outputs.values().map(|allowed| allowed.atol).fold(0.0, f64::max)
    }
}

/// The relative error of a runtime's change of loss that is still an agreement, where that of one without halves is
/// `tolerance`: the runtime's function has steps, and a slope of its own.
pub(super) fn change_tolerance(half: Option<DType>, tolerance: f64) -> f64 {
    match half {
        Some(DType::BF16) => tolerance.max(0.2),
        Some(_) => tolerance.max(0.05),
        None => tolerance,
    }
}
