//! ONNX operators: what a node means in terms of kernels and host arithmetic.
//!
//! [`registry`] is the one list of operators. Before an operator's code runs, the framework has checked the node's
//! version, its number of inputs and outputs, that every attribute it carries was read, and that no gradient is asked
//! of an input that has none ([`run`]).
//!
//! Float tensors live on the device and are computed by [`Backend`] kernels; integers and booleans live on the host
//! and are computed with `ndarray`. An operator never knows the extent of the batch before it runs.
//! Reduced-precision files (`f16`, `bf16`) and `f64` files are computed in the float type of the model; only a `Cast`
//! to `f16` or `bf16` rounds.

mod common;
mod host;
mod inputs;
mod legacy;
mod node;
mod registry;
mod shapes;
pub mod support;

mod attention;
mod columns;
mod elementwise;
mod logic;
mod loss;
mod math;
mod nn;
mod recurrent;
mod reduce;
mod shape;

pub use elementwise::cast::{leaves_floats, rounded};
pub use host::cast as cast_integers;
pub use inputs::Inputs;
pub use node::NodeContext;
pub use registry::{Entry, Gradient, NEWEST_OPSET, Spec, registry, specs};
pub use support::{UnsupportedOp, computable_outputs, unsupported};

use crate::{
    engine::{Context, Float, Value},
    error::{Error, Result},
    graph::Node,
    kernels::Backend,
};

/// Whose statistics BatchNormalization uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Statistics {
    /// The file's running mean and variance, whatever training flags the node carries.
    #[default]
    Running,
    /// The batch's, in every BatchNormalization node.
    Batch,
    /// As the node's version and attributes say.
    File,
}

/// What Dropout does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DropoutMode {
    /// Nothing.
    #[default]
    Off,
    /// Drops with the node's ratio; the mask is drawn from this seed, the node's place in the graph and its `seed`.
    On(u64),
    /// As the node's `training_mode` input says, with this seed.
    File(u64),
}

/// How the operators that behave differently in training are to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mode {
    /// BatchNormalization.
    pub statistics: Statistics,
    /// Dropout.
    pub dropout: DropoutMode,
}

/// A node's computation, with its attributes and version decided.
pub trait Operator<E: Float, D: Backend<E>>: Send + Sync {
    /// Computes the outputs, in the node's order; trailing ones that the node does not want may be missing.
    ///
    /// # Errors
    /// [`Error::Node`] without a node (the caller adds it) if shapes, types or values do not fit.
    fn run(&self, cx: &mut Context<E, D>, inputs: &Inputs<'_, E, D>) -> Result<Vec<Value<E, D>>>;
}

/// What a build function returns.
pub type Built<E, D> = Result<Box<dyn Operator<E, D>>>;

impl<E, D, F> Operator<E, D> for F
where
    E: Float,
    D: Backend<E>,
    F: Fn(&mut Context<E, D>, &Inputs<'_, E, D>) -> Result<Vec<Value<E, D>>> + Send + Sync,
{
    fn run(&self, cx: &mut Context<E, D>, inputs: &Inputs<'_, E, D>) -> Result<Vec<Value<E, D>>> {
        self(cx, inputs)
    }
}

/// An operator with one output.
pub(crate) fn one<E, D, F, V>(f: F) -> Built<E, D>
where
    E: Float,
    D: Backend<E>,
    V: Into<Value<E, D>>,
    F: Fn(&mut Context<E, D>, &Inputs<'_, E, D>) -> Result<V> + Send + Sync + 'static,
{
    many(move |cx, inputs| Ok(vec![f(cx, inputs)?.into()]))
}

/// An operator with several outputs.
pub(crate) fn many<E, D, F>(f: F) -> Built<E, D>
where
    E: Float,
    D: Backend<E>,
    F: Fn(&mut Context<E, D>, &Inputs<'_, E, D>) -> Result<Vec<Value<E, D>>> + Send + Sync + 'static,
{
    Ok(Box::new(f))
}

/// A contract broken by a node; [`located`] adds which.
pub(crate) fn problem(what: impl Into<String>) -> Error {
    Error::Node { node: String::new(), op: String::new(), problem: what.into() }
}

/// Adds the node to an error that an operator or kernel returned.
pub fn located(node: &Node, error: Error) -> Error {
    match error {
        Error::Node { node: name, problem, .. } if name.is_empty() => {
            Error::Node { node: node.name.clone(), op: node.op(), problem }
        }
        Error::Internal(what) => Error::Internal(format!("node {} ({}): {what}", node.name, node.op())),
        other => other,
    }
}

/// Builds a node's operator: the entry of its domain, name and version, with arity and attributes checked.
///
/// # Errors
/// [`Error::Unsupported`] if there is no such entry, [`Error::Node`] if the node breaks the operator's contract.
pub fn build<E: Float, D: Backend<E>>(
    entries: &[Entry<E, D>],
    context: &NodeContext<'_>,
) -> Result<(Spec, Box<dyn Operator<E, D>>)> {
    let node = context.node();
    let entry = entries
        .iter()
        .find(|e| e.spec.takes(node))
        .ok_or_else(|| Error::Unsupported(format!("  {} in node {}", node.op(), node.name)))?;
    let built = entry.spec.check_arity(node).and_then(|()| (entry.build)(context)).and_then(|operator| {
        context.check_all_read()?;
        Ok(operator)
    });
    Ok((entry.spec, built.map_err(|e| located(node, e))?))
}

/// Runs a node's operator, after checking that a gradient can flow through every tracked input.
///
/// # Errors
/// [`crate::Error::Node`], with the node's name, if the inputs do not fit the operator, or the graph uses an output that
/// is not supported; [`crate::Error::Untrainable`] if a gradient would have to pass where the operator has none; errors of
/// the device.
pub fn run<E: Float, D: Backend<E>>(
    node: &Node,
    spec: &Spec,
    operator: &dyn Operator<E, D>,
    cx: &mut Context<E, D>,
    inputs: &Inputs<'_, E, D>,
) -> Result<Vec<Value<E, D>>> {
    for (i, value) in inputs.iter().enumerate() {
        if let Some(Value::Float(t)) = value
            && t.tracked()
            && !spec.reaches(i)
        {
            return Err(spec.without_gradient(node, i));
        }
    }
    let outputs = operator.run(cx, inputs).map_err(|e| located(node, e))?;
    if outputs.len() < node.outputs.iter().rposition(Option::is_some).map_or(0, |i| i + 1) {
        return Err(located(node, problem("an output that the graph uses is not supported")));
    }
    Ok(outputs)
}
