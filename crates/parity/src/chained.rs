//! A runtime that runs a loss graph behind the model: the loss of each row is then one more output.

use super::{Outputs, Runner, ours::as_float};
use crate::{
    graph::{
        Graph,
        loss::{LossGraph, LossPlan},
    },
    tensor::{DType, HostTensor},
};
use std::{collections::BTreeMap, path::Path};

type Fed = BTreeMap<String, HostTensor>;

/// A model, and the loss graph that takes its outputs.
struct Chained {
    model: Box<dyn Runner>,
    loss: Box<dyn Runner>,
    /// What the loss graph takes of the model's outputs and of the model's inputs, and as which type.
    takes: Vec<(String, Option<DType>)>,
    labels: Vec<String>,
    /// The loss in the loss graph's file, and in the graph of both.
    output: (String, String),
}

/// `model`, with the loss graph of `plan` behind it, if it has one; `open` opens that file for inputs like these.
///
/// # Errors
/// A sentence: what the runtime says against model or loss graph.
pub(super) fn with_loss(
    model: Box<dyn Runner>,
    (graph, plan): (&Graph, &LossPlan),
    fed: &Fed,
    open: impl FnOnce(&Path, &LossGraph, &Fed) -> Result<Box<dyn Runner>, String>,
) -> Result<Box<dyn Runner>, String> {
    let Some(own) = &plan.loss_graph else { return Ok(model) };
    let named = |value: &crate::graph::ValueId| graph.name(*value).to_string();
    let takes: Vec<_> = own.taken.iter().map(|value| (named(value), own.declared(graph.name(*value)))).collect();
    let labels: Vec<String> = own.labels.iter().map(named).collect();
    let outputs = model.run(&without(fed, &labels))?;
    let example = behind(&takes, &labels, &outputs, fed)?;
    let loss = open(own.file.path(), own, &example).map_err(|why| format!("the loss graph: {why}"))?;
    let output = (own.loss.clone(), named(&plan.scores));
    Ok(Box::new(Chained { model, loss, takes, labels, output }))
}

/// What the model alone is fed.
pub(super) fn without(fed: &Fed, labels: &[String]) -> Fed {
    fed.iter().filter(|(name, _)| !labels.contains(name)).map(|(name, tensor)| (name.clone(), tensor.clone())).collect()
}

/// What the loss graph is fed behind a model that gave `outputs`.
fn behind(takes: &[(String, Option<DType>)], labels: &[String], outputs: &Outputs, fed: &Fed) -> Result<Fed, String> {
    let taken = takes.iter().map(|(name, dtype)| {
        let given =
            outputs.iter().find(|(output, _)| output == name).map(|(_, tensor)| tensor).or_else(|| fed.get(name));
        let tensor =
            given.ok_or_else(|| format!("the model does not show `{name}`, which the loss graph takes"))?.clone();
        let to = dtype.unwrap_or(tensor.dtype());
        Ok((name.clone(), as_float(tensor, to)))
    });
    let labels = labels.iter().map(|name| {
        let tensor = fed.get(name).ok_or_else(|| format!("the label `{name}` is not fed"))?;
        Ok((name.clone(), tensor.clone()))
    });
    taken.chain(labels).collect()
}

impl Runner for Chained {
    fn name(&self) -> &'static str {
        self.model.name()
    }

    fn version(&self) -> String {
        self.model.version()
    }

    fn run(&self, inputs: &Fed) -> Result<Outputs, String> {
        let mut outputs = self.model.run(&without(inputs, &self.labels))?;
        let fed = behind(&self.takes, &self.labels, &outputs, inputs)?;
        let (name, shown) = &self.output;
        let losses = self.loss.run(&fed).map_err(|why| format!("the loss graph: {why}"))?;
        let loss = losses.into_iter().find(|(output, _)| output == name);
        let (_, loss) = loss.ok_or_else(|| format!("the loss graph does not give its output `{name}`"))?;
        outputs.push((shown.clone(), loss));
        Ok(outputs)
    }
}
