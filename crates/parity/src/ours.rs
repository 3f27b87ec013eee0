//! What parity asks of the model under test. A trait, so that a test can put a wrong model in its place.

use super::{compare::Outputs, direction::Movable};
use crate::{
    batch::{Batch, Targets},
    engine::Float,
    error::{Error, Result},
    graph::{Dim, Graph, ValueId, loss::LossPlan},
    kernels::Backend,
    model::{Model, Parameter},
    tensor::{DType, HostTensor},
};
use half::{bf16, f16};
use std::{borrow::Cow, collections::BTreeMap};

/// The model under test.
pub trait Subject {
    /// Names of the outputs that it computes.
    fn output_names(&self) -> Vec<String>;
    /// All outputs of the graph, at inference.
    ///
    /// # Errors
    /// [`Error::Data`] if the inputs do not fit the model.
    fn outputs(&self, inputs: &BTreeMap<String, HostTensor>) -> Result<Outputs>;
    /// Loss of each row, at inference.
    ///
    /// # Errors
    /// [`Error::Data`] if the batch does not fit the model.
    fn losses(&self, batch: &Batch) -> Result<Vec<f32>>;
    /// The trainable tensors as they are now.
    ///
    /// # Errors
    /// Those of the device.
    fn parameters(&self) -> Result<Vec<Movable>>;
    /// Puts other values in the place of the trainable tensors', in the same order.
    ///
    /// # Errors
    /// [`Error::Internal`] if there are more tensors than the model trains, or one has another number of elements.
    fn set_parameters(&mut self, values: &[&[f32]]) -> Result<()>;
    /// Gradient of the mean loss over the rows, in order of [`parameters`](Subject::parameters).
    ///
    /// # Errors
    /// [`Error::Data`] if the batch does not fit the model; [`Error::Untrainable`] if its loss depends on no parameter.
    fn gradient(&self, batch: &Batch) -> Result<Vec<Vec<f32>>>;
}

/// The gradient is that of the forward pass that the model is built for: to be compared with a runtime's, batch
/// normalization must be frozen and dropout off.
impl<E: Float, D: Backend<E>> Subject for Model<E, D> {
    fn output_names(&self) -> Vec<String> {
        Model::output_names(self).to_vec()
    }

    fn outputs(&self, inputs: &BTreeMap<String, HostTensor>) -> Result<Outputs> {
        Model::outputs(self, inputs)
    }

    fn losses(&self, batch: &Batch) -> Result<Vec<f32>> {
        Ok(self.scores(batch)?.losses)
    }

    fn parameters(&self) -> Result<Vec<Movable>> {
        let movable = |p: &Parameter<E, D>| Movable {
            name: p.name.clone(),
            dtype: p.dtype,
            values: p.tensor.to_vec().into_iter().map(|x| x.f64() as f32).collect(),
        };
        Ok(Model::parameters(self).iter().map(movable).collect())
    }

    fn set_parameters(&mut self, values: &[&[f32]]) -> Result<()> {
        let own = |values: &[f32]| values.iter().map(|&x| E::of(x.into())).collect::<Vec<E>>();
        values.iter().enumerate().try_for_each(|(at, values)| self.set_parameter(at, &own(values)))
    }

    fn gradient(&self, batch: &Batch) -> Result<Vec<Vec<f32>>> {
        let (_, gradients) = self.gradient_wrt_parameters(batch)?;
        Ok(gradients.into_iter().map(|g| g.into_iter().map(|x| x.f64() as f32).collect()).collect())
    }
}

/// Outputs in the element types that the graph declares: the model computes all floats in one.
pub(super) fn as_declared(graph: &Graph, outputs: Outputs) -> Outputs {
    let declared = |name: &str| graph.values.get(graph.by_name.get(name)?.0)?.ty.as_ref()?.dtype;
    let convert = |(name, tensor): (String, HostTensor)| {
        let to = declared(&name).unwrap_or(tensor.dtype());
        (name, as_float(tensor, to))
    };
    outputs.into_iter().map(convert).collect()
}

/// A float tensor in another float type; any other as it is.
pub(super) fn as_float(tensor: HostTensor, to: DType) -> HostTensor {
    if to == tensor.dtype() || !to.is_float() || !tensor.dtype().is_float() {
        return tensor;
    }
    let (dims, values) = (tensor.dims(), tensor.to_f64().into_iter());
    let converted = match to {
        DType::F16 => HostTensor::new(dims, values.map(f16::from_f64).collect()),
        DType::BF16 => HostTensor::new(dims, values.map(bf16::from_f64).collect()),
        DType::F64 => HostTensor::new(dims, values.collect()),
        _ => HostTensor::new(dims, values.map(|x| x as f32).collect()),
    };
    converted.unwrap_or(tensor)
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
        Targets::Inputs(_) => return Ok(fed),
        // A graph that holds its loss takes its labels as they are.
        Targets::Positions { .. } => {
            let problem = format!("the graph's label input {} does not take labels with positions", label.name);
            return Err(Error::Untrainable(problem));
        }
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
        Error::Untrainable(format!(
            "the graph's label input {} ({dtype}, [{shape}]) does not take these targets",
            label.name
        ))
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

/// The first `limit` rows of `batches`, or a few more where a batch cannot be cut: it can if every input has a row axis
/// that may have any extent.
pub(super) fn first_rows<'b>(graph: &Graph, batches: &'b [Batch], limit: usize) -> Vec<Cow<'b, Batch>> {
    let may_cut = may_cut(graph);
    let (mut left, mut taken) = (limit.max(1), Vec::new());
    for batch in batches {
        if left == 0 {
            break;
        }
        let cut = if may_cut && batch.rows() > left { batch.select(&(0..left).collect::<Vec<_>>()) } else { None };
        left = left.saturating_sub(batch.rows());
        taken.push(cut.map_or(Cow::Borrowed(batch), Cow::Owned));
    }
    taken
}

/// Whether batches may have any number of rows.
pub(super) fn may_cut(graph: &Graph) -> bool {
    let open = |input: &ValueId| !matches!(graph.declared_dims(*input).and_then(|d| d.first()), Some(Dim::Fixed(_)));
    graph.inputs.iter().all(open)
}

fn dim(dim: &Dim) -> String {
    match dim {
        Dim::Fixed(n) => n.to_string(),
        Dim::Symbol(name) => name.clone(),
        Dim::Unknown => "?".into(),
    }
}
