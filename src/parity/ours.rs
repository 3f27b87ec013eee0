//! What parity asks of the model under test. A trait, so that a test can put a wrong model in its place.

use super::{compare::Outputs, gradient::Movable};
use crate::{
    data::{Batch, Targets},
    engine::Float,
    error::{Error, Result},
    graph::{Dim, Graph, training::LossPlan},
    kernels::Backend,
    model::Model,
    tensor::{DType, HostTensor},
};
use std::collections::BTreeMap;

/// The model under test.
pub trait Subject {
    /// All outputs of the graph, at inference.
    fn outputs(&self, inputs: &BTreeMap<String, HostTensor>) -> Result<Outputs>;
    /// Loss of each row, at inference.
    fn losses(&self, batch: &Batch) -> Result<Vec<f32>>;
    /// The trainable tensors as they are now.
    fn parameters(&self) -> Result<Vec<Movable>>;
    /// Gradient of the mean loss over the rows, in order of [`parameters`](Subject::parameters).
    fn gradient(&self, batch: &Batch) -> Result<Vec<Vec<f32>>>;
}

/// The gradient is that of the forward pass that the model is built for: to be compared with a runtime's, batch
/// normalization must be frozen and dropout off.
impl<E: Float, D: Backend<E>> Subject for Model<E, D> {
    fn outputs(&self, inputs: &BTreeMap<String, HostTensor>) -> Result<Outputs> {
        Model::outputs(self, inputs)
    }

    fn losses(&self, batch: &Batch) -> Result<Vec<f32>> {
        Ok(self.scores(batch)?.losses)
    }

    fn parameters(&self) -> Result<Vec<Movable>> {
        let movable = |p: &crate::model::Parameter<E, D>| Movable {
            name: p.name.clone(),
            dtype: p.dtype,
            values: p.tensor.to_vec().into_iter().map(|x| x.f64() as f32).collect(),
        };
        Ok(Model::parameters(self).iter().map(movable).collect())
    }

    fn gradient(&self, batch: &Batch) -> Result<Vec<Vec<f32>>> {
        let mut gradients = self.forward(batch, None)?.backward(1.0)?;
        let one = |p: &crate::model::Parameter<E, D>| {
            Ok(gradients.to_vec(&p.tensor)?.into_iter().map(|x| x.f64() as f32).collect())
        };
        Model::parameters(self).iter().map(one).collect()
    }
}

/// What a runtime is fed for a batch: its inputs and, where the graph holds the loss, the labels.
///
/// # Errors
/// [`Error::Untrainable`] if the graph's label input takes what targets cannot be turned into.
pub(super) fn feeds(graph: &Graph, plan: &LossPlan, batch: &Batch) -> Result<BTreeMap<String, HostTensor>> {
    let mut fed = batch.inputs.clone();
    let Some(label) = plan.label_input.and_then(|id| graph.values.get(id.0)) else { return Ok(fed) };
    if fed.contains_key(&label.name) {
        return Ok(fed);
    }
    let dtype = label.ty.as_ref().and_then(|t| t.dtype).unwrap_or(DType::I64);
    let (values, width): (Vec<f64>, usize) = match &batch.targets {
        Targets::Classes(classes) => (classes.iter().map(|&c| c as f64).collect(), 1),
        Targets::Values { width, values } => (values.iter().map(|&v| v.into()).collect(), *width),
    };
    let mut dims = vec![batch.rows()];
    let declared = label.ty.as_ref().and_then(|t| t.dims.as_deref());
    match declared {
        Some(declared) if declared.len() > 1 => {
            dims.push(width);
            dims.resize(declared.len().max(2), 1);
        }
        None | Some([]) if width > 1 => dims.push(width),
        _ => {}
    }
    let misfit = || {
        let shape = declared.map(|d| d.iter().map(dim).collect::<Vec<_>>().join(", ")).unwrap_or_default();
        Error::Untrainable(format!("the graph's label input {} ({dtype}, [{shape}]) does not take these targets", label.name))
    };
    let tensor = match dtype {
        DType::I64 => HostTensor::new(&dims, values.iter().map(|&v| v as i64).collect()),
        DType::I32 => HostTensor::new(&dims, values.iter().map(|&v| v as i32).collect()),
        DType::F32 => HostTensor::new(&dims, values.iter().map(|&v| v as f32).collect()),
        DType::F64 => HostTensor::new(&dims, values),
        _ => None,
    };
    fed.insert(label.name.clone(), tensor.ok_or_else(misfit)?);
    Ok(fed)
}

fn dim(dim: &Dim) -> String {
    match dim {
        Dim::Fixed(n) => n.to_string(),
        Dim::Symbol(name) => name.clone(),
        Dim::Unknown => "?".into(),
    }
}
