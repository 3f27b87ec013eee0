//! From a model's file and the request to a model that can be trained: file, graph, loss, data, loss again.
//!
//! The loss needs the kind of the labels, the kind comes from the rows, and the rows are read for what the graph's inputs
//! and loss are. So a model is first [`ReadModel`], with its loss as far as the graph and a look at the labels tell, and
//! then, once rows are open, a [`TrainableModel`].

use super::{
    options::Options,
    signature::{label_kind, signature},
};
use crate::{
    data::{self, Places, Signature, TargetKind},
    error::{Error, Result},
    graph::{
        Graph, TrainableModel,
        build::{self, supply},
        forms,
        given::Given,
        loss::{self, Ask, LabelKind, Labels, LossKind, LossPlan},
        parameters::{self, Decision},
        row_axis,
    },
    label_facts::LabelFacts,
    onnx::{OnnxFile, artifacts},
    ops,
};
use std::{collections::BTreeSet, path::Path};

/// Whose labels are looked at, if several outputs could take them or the output holds several answers a row.
#[derive(Clone, Copy)]
pub(super) enum Look<'a> {
    /// Those of the training data.
    Training,
    /// Those of these rows.
    Rows(&'a Places),
    /// Nobody's: there are no rows.
    Nowhere,
}

/// The file of the model of a run, and its whole graph.
///
/// # Errors
/// Those of reading a model.
pub(super) fn open(options: &Options) -> Result<(OnnxFile, Graph)> {
    open_at(&options.model, options.checkpoint.as_deref(), options)
}

fn open_at(path: &Path, checkpoint: Option<&Path>, options: &Options) -> Result<(OnnxFile, Graph)> {
    let file = artifacts::open(path, checkpoint, &options.reading())?;
    let graph = build::build_given(&file, &given(&file, options))?;
    Ok((file, graph))
}

/// What is given of the inputs of `file`; which of them columns feed is looked up if it decides anything.
fn given(file: &OnnxFile, options: &Options) -> Given {
    let given = Given { fed: Some(BTreeSet::new()), ..options.given() };
    if file.proto().graph.as_ref().is_none_or(|graph| supply::wanted(graph, &given).is_empty()) {
        return given;
    }
    Given { fed: Some(data::fed_names(&options.data)), ..given }
}

/// A model whose labels were not read yet.
pub(super) struct ReadModel {
    file: OnnxFile,
    /// The graph, as far as it is needed.
    pub graph: Graph,
    /// The loss, as far as it is known before the rows are read.
    pub first: LossPlan,
    ask: Ask,
    /// Globs of what is trained, and of what is not.
    choice: (Vec<String>, Vec<String>),
}

impl ReadModel {
    /// The model of a run, with the loss before the rows are read.
    ///
    /// # Errors
    /// Those of [`supported_plan`]; [`Error::Untrainable`] if nothing decides between outputs, or labels for positions
    /// would be needed.
    pub fn new((file, graph): (OnnxFile, Graph), options: &Options, look: Look<'_>) -> Result<Self> {
        let (ask, first) = decided(&graph, options, look)?;
        let graph = loss::narrowed(graph, &first);
        Ok(Self { file, graph, first, ask, choice: (options.trainable.clone(), options.freeze.clone()) })
    }

    /// Another model for the same rows, of which everything is trained that can be.
    ///
    /// # Errors
    /// Those of reading a model, and of [`supported_plan`]; what `check` finds in its file.
    pub fn beside(
        path: &Path,
        options: &Options,
        ask: Ask,
        check: impl FnOnce(&OnnxFile) -> Result<()>,
    ) -> Result<Self> {
        let file = artifacts::open(path, None, &options.reading())?;
        check(&file)?;
        let graph = build::build_given(&file, &given(&file, options))?;
        let first = supported_plan(&graph, &ask)?;
        Ok(Self { file, graph, first, ask, choice: Default::default() })
    }

    /// What the model asks of the rows.
    pub fn signature(&self) -> Signature {
        signature(&self.graph, &self.first)
    }

    /// What is trained, as far as the first loss tells.
    ///
    /// # Errors
    /// Those of [`parameters::decide`].
    pub fn decisions(&self) -> Result<Vec<Decision>> {
        parameters::decide(&self.graph, &self.first, &self.choice.0, &self.choice.1)
    }

    /// What to add to an error of the data where nothing tells which column is the label.
    pub fn without_labels(&self, options: &Options) -> Option<String> {
        let (graph, target) = (&self.graph, &options.data.target);
        let named = target.column.is_some() || target.columns.is_some();
        if named || self.first.label_input.is_some() || !matches!(data::label_facts(&options.data, None), Ok(None)) {
            return None;
        }
        let output = self.first.output?;
        let dims = graph.declared_dims(output)?;
        let own = graph.inputs.iter().find(|input| graph.declared_dims(**input) == Some(dims));
        Some(match own {
            Some(&input) => format!(
                "the output `{}` has the shape of the input `{}`: if the model is an autoencoder, whose input is its target, write \
                 `kind = \"same\"` under `[target]`",
                graph.name(output),
                graph.name(input)
            ),
            None => {
                "rows without labels (embeddings, detection, a model of its own loss) are not supported yet: name the \
                     label column by --target"
                    .into()
            }
        })
    }

    /// What decides the loss once it is known what the labels are; of another model on the same rows, too.
    pub fn ask(&self, target: TargetKind) -> Ask {
        Ask { labels: Labels { kind: label_kind(target), ..self.ask.labels.clone() }, ..self.ask.clone() }
    }

    /// The model with the loss for labels of this kind.
    ///
    /// # Errors
    /// Those of [`loss::plan_for`] and of [`parameters::decide`].
    pub fn labeled(self, target: TargetKind) -> Result<TrainableModel> {
        let plan = loss::plan_for(&self.graph, &self.ask(target))?;
        self.with(plan)
    }

    /// The model with the loss that it was read with.
    ///
    /// # Errors
    /// Those of [`parameters::decide`].
    pub fn unlabeled(self) -> Result<TrainableModel> {
        let plan = self.first.clone();
        self.with(plan)
    }

    fn with(self, plan: LossPlan) -> Result<TrainableModel> {
        let Self { file, graph, choice: (trainable, freeze), .. } = self;
        let decisions = parameters::decide(&graph, &plan, &trainable, &freeze)?;
        Ok(TrainableModel { file, graph, plan, decisions })
    }
}

/// What is asked of the loss, and the loss before the rows are read.
fn decided(graph: &Graph, options: &Options, look: Look<'_>) -> Result<(Ask, LossPlan)> {
    let kind = options.data.target.kind.map_or(LabelKind::Unknown, label_kind);
    let output = options.data.target.output.clone();
    let target = &options.data.target;
    let mut ask = Ask { loss: options.loss, output, labels: kind.into(), class_axis: target.class_axis };
    // Whether classes are those of rows or of positions, the labels tell.
    let open = Ask { labels: LabelKind::Unknown.into(), ..ask.clone() };
    let first = supported_plan(graph, if kind == LabelKind::Class { &open } else { &ask })?;
    let rows = match look {
        Look::Training => None,
        Look::Rows(places) => Some(places),
        Look::Nowhere => return Ok((ask, first)),
    };
    let head = &first.head;
    // Labels that are the inputs themselves are in no column.
    let own = matches!(target.kind, Some(TargetKind::Next | TargetKind::Same));
    if first.label_input.is_some() || own || head.heads < 2 && head.positions.is_none() {
        return Ok((ask, first));
    }
    ask.labels = Labels { kind, facts: data::label_facts(&options.data, rows)? };
    let first = supported_plan(graph, &ask)?;
    if let Some(question) = first.head.undecided.clone() {
        let column = "; the label column is looked at if --target names it";
        return Err(Error::Untrainable(question + column));
    }
    require_rows(&first, &ask)?;
    Ok((ask, first))
}

/// Fails if the output holds several answers a row, and the labels are not as many values.
fn require_rows(plan: &LossPlan, ask: &Ask) -> Result<()> {
    let Some(problem) = plan.head.positions.as_ref().filter(|_| plan.class_axis.is_none()) else { return Ok(()) };
    let values = |facts: &LabelFacts| facts.width.is_some() && plan.head.width.is_none_or(|w| Some(w) == facts.width);
    let as_values = ask.loss == Some(LossKind::Mse) || ask.labels.kind == LabelKind::Value;
    match as_values || ask.labels.facts.as_ref().is_some_and(values) {
        true => Ok(()),
        false => Err(Error::Untrainable(loss::positions(problem))),
    }
}

/// The loss, where all that it needs is supported; what is not is said first.
fn supported_plan(graph: &Graph, ask: &Ask) -> Result<LossPlan> {
    forms::require_parameters(graph)?;
    let plan = match loss::plan_for(graph, ask) {
        Ok(plan) => ops::support::require(graph, Some(plan.scores)).map(|()| plan),
        Err(e @ Error::Usage(_)) => Err(e),
        Err(e) => Err(ops::support::require(graph, None).err().unwrap_or(e)),
    };
    let plan = plan.map_err(|e| forms::explained(graph, e))?;
    row_axis::require(graph, &plan)?;
    graph.require_input_sizes()?;
    Ok(plan)
}
