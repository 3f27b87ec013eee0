//! A graph bound to a device: a runnable, differentiable model.
//!
//! [`Model::build`] decides every node once. Parameters and constants are uploaded once; a step runs only the nodes
//! that what is wanted depends on, and drops a value after its last use (the tape keeps what the backward pass needs).
//!
//! In unlearning as in inference, BatchNormalization uses the file's running statistics and Dropout does nothing,
//! whatever training flags the file carries; [`ModelOptions`] changes that for [`Model::forward`] only.

mod answer;
mod build;
mod feed;
mod forward;
mod in_file;
mod loss;
mod program;
mod rows;
mod section;
mod statistics;

pub use crate::graph::initial::Initial;
pub use answer::Answer;
pub use forward::{Forward, Losses, Scores};

use crate::{
    engine::{Context, Float, KernelChoice, Tensor, Value},
    error::{Error, Result},
    graph::{Dim, ValueId, loss::LossPlan},
    kernels::Backend,
    ops::Mode,
    tensor::{DType, Held, HostTensor},
};
use program::{Program, Step};
use statistics::Running;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// Whose statistics BatchNormalization uses while unlearning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchNorm {
    /// The file's running statistics, as in the paper's reference code.
    #[default]
    Frozen,
    /// The batch's statistics, in every BatchNormalization node.
    Batch,
}

/// How a model runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModelOptions {
    /// Which kernels.
    pub kernels: KernelChoice,
    /// BatchNormalization in [`Model::forward`].
    pub bn: BatchNorm,
    /// Whether Dropout drops, with its own ratio, in [`Model::forward`].
    pub dropout: bool,
    /// Seed of the dropout masks.
    pub seed: u64,
    /// Whether every node is computed by itself, so that its result can be looked at; else some are computed as one.
    pub node_by_node: bool,
    /// Rows of a batch that run at once, if not all: memory is then that of so many rows.
    ///
    /// Losses and gradients are the whole batch's to rounding; dropout draws other masks, and batch statistics
    /// ([`BatchNorm::Batch`]) would be those of the parts.
    pub micro_batch: Option<usize>,
    /// Where floats are rounded to half precision.
    pub halves: Halves,
    /// Whether large constants stay in the model's file, and are decoded each time that a node takes them: slower, but the
    /// model takes little memory beside its parameters.
    pub constants_in_file: bool,
}

/// Where a model rounds to f16 or bf16, if its graph says that values are halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Halves {
    /// In `Cast` nodes alone.
    #[default]
    AtCasts,
    /// Nowhere: a function that has derivatives, and not one of steps.
    Nowhere,
    /// In every node whose result is a half, as a runtime does. Nodes are computed one by one.
    Everywhere,
}

/// A trainable tensor.
#[derive(Clone, Debug)]
pub struct Parameter<E: Float, D: Backend<E>> {
    /// Name under which the file's bytes are found.
    pub name: String,
    /// Element type in the file.
    pub dtype: DType,
    /// The values. An optimizer changes them in place.
    pub tensor: Tensor<E, D>,
    /// Where the scale of its channels is read, if it has channels.
    pub scale: Option<ChannelScale>,
    /// Where it starts if it is trained from the beginning.
    pub initial: Initial,
    value: ValueId,
}

/// Where the scale of a parameter's channels is read: see [`crate::graph::scale`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelScale {
    /// The parameter's axis of output channels.
    pub axis: usize,
    /// Which parameter's norms are the scales.
    pub of: usize,
    /// That parameter's axis of output channels.
    pub of_axis: usize,
}

/// A model input.
#[derive(Clone, Debug)]
struct Input {
    id: ValueId,
    name: String,
    dtype: Option<DType>,
    dims: Option<Vec<Dim>>,
}

/// A graph on a device.
pub struct Model<E: Float, D: Backend<E>> {
    dev: D,
    options: ModelOptions,
    parameters: Vec<Parameter<E, D>>,
    running: Vec<Running>,
    /// Running statistics that were measured anew.
    measured: Vec<(String, Vec<E>)>,
    constants: BTreeMap<ValueId, Value<E, D>>,
    /// Which constants lie in the file: where they are not among `constants`, they are decoded for each node that takes them.
    in_file: BTreeMap<ValueId, Held>,
    steps: Vec<Step<E, D>>,
    /// The step that makes a value.
    makers: BTreeMap<ValueId, usize>,
    values: usize,
    inputs: Vec<Input>,
    output_names: Vec<String>,
    outputs: Program,
    plan: Option<(LossPlan, Program)>,
    /// The scores and the further outputs of a loss graph, and the names of these.
    figures: Option<(Program, Vec<String>)>,
    calls: AtomicU64,
    /// Values that are rounded when they are computed, and to what.
    rounded: BTreeMap<ValueId, DType>,
    /// The coarsest half type of what the graph computes.
    half: Option<DType>,
    fixed_rows: Option<usize>,
    rows_at_once: Option<usize>,
}

impl<E: Float, D: Backend<E>> Model<E, D> {
    /// The trainable tensors, in the file's order.
    pub fn parameters(&self) -> &[Parameter<E, D>] {
        &self.parameters
    }

    /// The trainable tensors, to be changed in place.
    pub fn parameters_mut(&mut self) -> &mut [Parameter<E, D>] {
        &mut self.parameters
    }

    /// Sets the values of parameter `i`, row-major.
    ///
    /// # Errors
    /// If there is no such parameter, or it has another number of elements.
    pub fn set_parameter(&mut self, i: usize, values: &[E]) -> Result<()> {
        let parameter = self.parameters.get_mut(i).ok_or_else(|| Error::Internal(format!("no parameter {i}")))?;
        let n = parameter.tensor.len();
        if values.len() != n {
            return Err(Error::Internal(format!("{} values for parameter {} of {n}", values.len(), parameter.name)));
        }
        parameter.tensor.flat_mut().copy_from(values);
        Ok(())
    }

    /// Rounds every trainable tensor to the element type that the file stores it in, ties to even: the model is then the
    /// one that will be written.
    ///
    /// # Errors
    /// [`Error::Unlearning`] naming a tensor with a value that is finite, but not in that type.
    pub fn round_to_stored(&mut self) -> Result<()> {
        for at in 0..self.parameters.len() {
            let Some(parameter) = self.parameters.get(at).filter(|p| matches!(p.dtype, DType::F16 | DType::BF16))
            else {
                continue;
            };
            let values = nearest(&parameter.name, parameter.dtype, parameter.tensor.to_vec())?;
            self.set_parameter(at, &values)?;
        }
        Ok(())
    }

    /// Whether BatchNormalization nodes run, and on the batch's statistics: then the file's have to be measured after training.
    pub fn trains_on_batch_statistics(&self) -> bool {
        self.options.bn == BatchNorm::Batch && !self.running.is_empty()
    }

    /// The running statistics that were measured anew, by the names under which the file's bytes are found.
    pub fn measured_statistics(&self) -> &[(String, Vec<E>)] {
        &self.measured
    }

    /// What the loss is computed from; `None` for a model that was built for inference alone.
    pub fn plan(&self) -> Option<&LossPlan> {
        self.plan.as_ref().map(|(plan, _)| plan)
    }

    /// Names of the figures that a loss graph gives of each row.
    pub fn figure_names(&self) -> &[String] {
        self.figures.as_ref().map_or(&[], |(_, names)| names)
    }

    /// Names of the outputs that [`Model::outputs`] gives: those of the graph that can be computed.
    pub fn output_names(&self) -> &[String] {
        &self.output_names
    }

    /// Which kernels it runs on.
    pub fn kernels(&self) -> KernelChoice {
        self.options.kernels
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.dev
    }

    /// All outputs of the graph, by name, in inference: running statistics, no dropout.
    ///
    /// # Errors
    /// [`Error::Data`] if `inputs` does not fit the model's inputs, [`Error::Node`] if a node cannot run on them.
    pub fn outputs(&self, inputs: &BTreeMap<String, HostTensor>) -> Result<Vec<(String, HostTensor)>> {
        self.outputs_in(inputs, Mode::default())
    }

    /// All outputs of the graph, with training-dependent operators in `mode`.
    ///
    /// # Errors
    /// As [`Model::outputs`].
    pub fn outputs_in(&self, inputs: &BTreeMap<String, HostTensor>, mode: Mode) -> Result<Vec<(String, HostTensor)>> {
        let mut cx = Context::inference(self.dev.clone(), self.options.kernels);
        let values = self.run(&mut cx, &self.outputs, inputs, mode)?;
        Ok(self.output_names.iter().cloned().zip(values.into_iter().map(to_host)).collect())
    }

    /// A seed of its own for each recorded forward pass.
    fn next_seed(&self) -> u64 {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        self.options.seed.wrapping_add(call.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

/// `values` of the tensor `name`, as one of `dtype` holds them.
fn nearest<E: Float>(name: &str, dtype: DType, values: Vec<E>) -> Result<Vec<E>> {
    let lost = |x: &E| x.f64().is_finite() && !dtype.nearest(x.f64()).is_finite();
    match values.iter().position(lost) {
        None => Ok(values.into_iter().map(|x| E::of(dtype.nearest(x.f64()))).collect()),
        Some(at) => Err(Error::Unlearning(format!(
            "tensor {name}: element {at} has become larger than {dtype}, in which the file stores it, can hold; lower the \
             learning rate, or give the model with this tensor in f32"
        ))),
    }
}

fn to_host<E: Float, D: Backend<E>>(value: Value<E, D>) -> HostTensor {
    match value {
        Value::Float(t) => t.to_host(),
        Value::Host(t) => t,
    }
}
