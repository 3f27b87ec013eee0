//! A runtime that takes and gives rows as the graph does: with a loss graph behind the model, whose losses are one more output, and with
//! the rows first where the file has them along another axis.

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
/// What a loss graph takes of the model, its labels, and the items of a row.
type Wiring<'a> = (&'a [(String, Option<DType>)], &'a [String], Option<usize>);

/// A model, and the loss graph that takes its outputs.
struct Chained {
    model: Box<dyn Runner>,
    loss: Box<dyn Runner>,
    /// What the loss graph takes of the model's outputs and of the model's inputs, and as which type.
    takes: Vec<(String, Option<DType>)>,
    labels: Vec<String>,
    /// Items of a row, if a row is a group.
    group: Option<usize>,
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
    let model: Box<dyn Runner> = match graph.turned.is_empty() {
        true => model,
        false => Box::new(Turned { model, turned: graph.turned.clone() }),
    };
    let Some(own) = &plan.loss_graph else { return Ok(model) };
    let named = |value: &crate::graph::ValueId| graph.name(*value).to_string();
    let takes: Vec<_> = own.taken.iter().map(|value| (named(value), own.declared(graph.name(*value)))).collect();
    let labels: Vec<String> = own.labels.iter().map(named).collect();
    let outputs = model.run(&alone(fed, &labels, own.group)?)?;
    let example = behind((&takes, &labels, own.group), &outputs, fed)?;
    let loss = open(own.file.path(), own, &example).map_err(|why| format!("the loss graph: {why}"))?;
    let output = (own.loss.clone(), named(&plan.scores));
    Ok(Box::new(Chained { model, loss, takes, labels, group: own.group, output }))
}

/// What the model of `plan` alone is fed: no labels, and each item of a group as a row.
///
/// # Errors
/// A sentence, if an input has no axis of items.
pub(super) fn of_model((graph, plan): (&Graph, &LossPlan), fed: &Fed) -> Result<Fed, String> {
    let alone = match &plan.loss_graph {
        None => fed.clone(),
        Some(own) => {
            let labels: Vec<String> = own.labels.iter().map(|&label| graph.name(label).to_string()).collect();
            alone(fed, &labels, own.group)?
        }
    };
    Ok(in_file(&graph.turned, &alone))
}

fn alone(fed: &Fed, labels: &[String], group: Option<usize>) -> Result<Fed, String> {
    let inputs = fed.iter().filter(|(name, _)| !labels.contains(name));
    let item = |(name, tensor): (&String, &HostTensor)| {
        let flat = match (group, tensor.dims()) {
            (None, _) => Some(tensor.clone()),
            (Some(_), [rows, items, rest @ ..]) => tensor.clone().reshaped(&[&[rows * items], rest].concat()),
            (Some(_), _) => None,
        };
        Ok((name.clone(), flat.ok_or_else(|| format!("the input `{name}` has no axis of items"))?))
    };
    inputs.map(item).collect()
}

/// What the loss graph is fed behind a model that gave `outputs`.
fn behind((takes, labels, group): Wiring<'_>, outputs: &Outputs, fed: &Fed) -> Result<Fed, String> {
    let taken = takes.iter().map(|(name, dtype)| {
        let given =
            outputs.iter().find(|(output, _)| output == name).map(|(_, tensor)| tensor).or_else(|| fed.get(name));
        let tensor =
            given.ok_or_else(|| format!("the model does not show `{name}`, which the loss graph takes"))?.clone();
        let to = dtype.unwrap_or(tensor.dtype());
        let dims = tensor.dims().to_vec();
        let grouped = match (group, dims.as_slice()) {
            // An input of the model is grouped already.
            (Some(items), [rows, rest @ ..]) if !fed.contains_key(name) => {
                tensor.reshaped(&[&[rows / items.max(1), items], rest].concat())
            }
            _ => Some(tensor),
        };
        let tensor = grouped.ok_or_else(|| format!("`{name}` cannot be parted into groups"))?;
        Ok((name.clone(), as_float(tensor, to)))
    });
    let labels = labels.iter().map(|name| {
        let tensor = fed.get(name).ok_or_else(|| format!("the label `{name}` is not fed"))?;
        Ok((name.clone(), tensor.clone()))
    });
    taken.chain(labels).collect()
}

/// A model whose rows lie along other axes in the file.
struct Turned {
    model: Box<dyn Runner>,
    turned: BTreeMap<String, usize>,
}

/// What is fed, as the file has it.
fn in_file(turned: &BTreeMap<String, usize>, fed: &Fed) -> Fed {
    let one = |(name, tensor): (&String, &HostTensor)| {
        let axis = turned.get(name).copied().unwrap_or(0);
        (name.clone(), tensor.with_axis_moved(0, axis))
    };
    fed.iter().map(one).collect()
}

impl Runner for Turned {
    fn name(&self) -> &'static str {
        self.model.name()
    }

    fn version(&self) -> String {
        self.model.version()
    }

    fn run(&self, inputs: &Fed) -> Result<Outputs, String> {
        let outputs = self.model.run(&in_file(&self.turned, inputs))?;
        let first = |(name, tensor): (String, HostTensor)| match self.turned.get(&name) {
            Some(&axis) => (name, tensor.with_axis_moved(axis, 0)),
            None => (name, tensor),
        };
        Ok(outputs.into_iter().map(first).collect())
    }
}

impl Runner for Chained {
    fn name(&self) -> &'static str {
        self.model.name()
    }

    fn version(&self) -> String {
        self.model.version()
    }

    fn run(&self, inputs: &Fed) -> Result<Outputs, String> {
        let mut outputs = self.model.run(&alone(inputs, &self.labels, self.group)?)?;
        let fed = behind((&self.takes, &self.labels, self.group), &outputs, inputs)?;
        let (name, shown) = &self.output;
        let losses = self.loss.run(&fed).map_err(|why| format!("the loss graph: {why}"))?;
        let loss = losses.into_iter().find(|(output, _)| output == name);
        let (_, loss) = loss.ok_or_else(|| format!("the loss graph does not give its output `{name}`"))?;
        outputs.push((shown.clone(), loss));
        Ok(outputs)
    }
}
