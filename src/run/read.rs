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
    data::{self, BoundTarget, DataConfig, Places, Signature, TargetConfig, TargetKind},
    error::{Error, Result},
    graph::{
        Graph, TrainableModel,
        build::{self, supply},
        forms,
        given::Given,
        loss::{self, Ask, LabelKind, Labels, LossKind, LossPlan, Term},
        parameters::{self, Decision},
        row_axis,
    },
    label_facts::LabelFacts,
    onnx::{OnnxFile, artifacts},
    ops,
};
use std::{collections::BTreeSet, path::Path, sync::Arc};

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

/// What the loss is asked to be.
#[derive(Clone)]
pub(super) enum Asked {
    /// One loss on one output.
    One(Ask),
    /// The user's loss graph.
    LossGraph(Arc<OnnxFile>),
    /// The weighted sum of several losses, each on an output.
    Several(Vec<Part>),
}

/// One of several targets.
#[derive(Clone)]
pub(super) struct Part {
    ask: Ask,
    /// What its loss is, as far as that is known.
    plan: LossPlan,
    /// The name that its labels are fed by.
    labels: String,
    kind: TargetKind,
    weight: f64,
}

/// A model whose labels were not read yet.
pub(super) struct ReadModel {
    file: OnnxFile,
    /// The graph, as far as it is needed; with its loss graph behind it, if it has one.
    pub graph: Graph,
    /// The loss, as far as it is known before the rows are read.
    pub first: LossPlan,
    /// The graph of the file itself, where the loss is another one once the labels are known.
    whole: Option<Graph>,
    asked: Asked,
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
        let choice = (options.trainable.clone(), options.freeze.clone());
        let asked = match (&options.loss_graph, options.data.targets.as_slice()) {
            (Some(path), _) => Asked::LossGraph(Arc::new(OnnxFile::open(path, &options.reading())?)),
            (None, []) => {
                let (ask, first) = decided(&graph, options, look)?;
                let graph = loss::narrowed(graph, &first);
                return Ok(Self { file, graph, first, whole: None, asked: Asked::One(ask), choice });
            }
            (None, several) => Asked::Several(parts(&graph, options, several, look)?),
        };
        Self::behind(file, graph, asked, choice)
    }

    /// Another model for the same rows, of which everything is trained that can be.
    ///
    /// # Errors
    /// Those of reading a model, and of [`supported_plan`]; what `check` finds in its file.
    pub fn beside(
        path: &Path,
        options: &Options,
        asked: Asked,
        check: impl FnOnce(&OnnxFile) -> Result<()>,
    ) -> Result<Self> {
        let file = artifacts::open(path, None, &options.reading())?;
        check(&file)?;
        let graph = build::build_given(&file, &given(&file, options))?;
        match &asked {
            Asked::One(ask) => {
                let first = supported_plan(&graph, ask)?;
                Ok(Self { file, graph, first, whole: None, asked, choice: Default::default() })
            }
            Asked::LossGraph(_) => Self::behind(file, graph, asked, Default::default()),
            Asked::Several(parts) => {
                let again = |part: &Part| Ok(Part { plan: supported_plan(&graph, &part.ask)?, ..part.clone() });
                let asked = Asked::Several(parts.iter().map(again).collect::<Result<_>>()?);
                Self::behind(file, graph, asked, Default::default())
            }
        }
    }

    /// A model with a loss graph behind it.
    fn behind(file: OnnxFile, whole: Graph, asked: Asked, choice: (Vec<String>, Vec<String>)) -> Result<Self> {
        let mut graph = whole.clone();
        let first = match &asked {
            Asked::LossGraph(own) => loss::attach(&mut graph, Arc::clone(own))?,
            Asked::Several(parts) => sum(&mut graph, parts)?,
            Asked::One(_) => return Err(Error::Internal("one loss is no loss graph".into())),
        };
        ops::support::require(&graph, Some(first.scores)).map_err(|e| forms::explained(&graph, e))?;
        row_axis::require(&graph, &first)?;
        graph.require_input_sizes()?;
        let graph = loss::narrowed(graph, &first);
        Ok(Self { file, graph, first, whole: Some(whole), asked, choice })
    }

    /// What the model asks of the rows.
    pub fn signature(&self) -> Signature {
        let own = signature(&self.graph, &self.first);
        match (&self.asked, &self.whole) {
            (Asked::Several(parts), Some(whole)) => {
                let part = |part: &Part| (part.labels.clone(), signature(whole, &part.plan));
                Signature { labels: None, taken: Vec::new(), several: parts.iter().map(part).collect(), ..own }
            }
            _ => own,
        }
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
        let named = target.column.is_some() || target.columns.is_some() || self.first.loss_graph.is_some();
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
                "if rows have no labels, or others than these (embeddings, detection, a loss of one's own), give the loss as a graph by \
                 --loss-graph; else name the label column by --target"
                    .into()
            }
        })
    }

    /// What decides the loss once it is known what the labels are; of another model on the same rows, too.
    pub fn asked(&self, target: TargetKind, targets: &[BoundTarget]) -> Asked {
        let kind_of =
            |ask: &Ask, kind| Ask { labels: Labels { kind: label_kind(kind), ..ask.labels.clone() }, ..ask.clone() };
        match &self.asked {
            Asked::One(ask) => Asked::One(kind_of(ask, target)),
            Asked::LossGraph(own) => Asked::LossGraph(Arc::clone(own)),
            Asked::Several(parts) => {
                let known = |(part, bound): (&Part, &BoundTarget)| Part {
                    ask: kind_of(&part.ask, bound.kind),
                    labels: bound.same.clone().unwrap_or_else(|| part.labels.clone()),
                    kind: bound.kind,
                    ..part.clone()
                };
                Asked::Several(parts.iter().zip(targets).map(known).collect())
            }
        }
    }

    /// The model with the loss for labels of this kind.
    ///
    /// # Errors
    /// Those of [`loss::plan_for`] and of [`parameters::decide`].
    pub fn labeled(self, target: TargetKind, targets: &[BoundTarget]) -> Result<TrainableModel> {
        match (self.asked(target, targets), self.whole) {
            (Asked::One(ask), _) => {
                let plan = loss::plan_for(&self.graph, &ask)?;
                with(self.file, self.graph, plan, self.choice)
            }
            (Asked::Several(parts), Some(whole)) => {
                let planned = |part: Part| Ok(Part { plan: loss::plan_for(&whole, &part.ask)?, ..part });
                let asked = Asked::Several(parts.into_iter().map(planned).collect::<Result<_>>()?);
                Self::behind(self.file, whole, asked, self.choice)?.unlabeled()
            }
            _ => with(self.file, self.graph, self.first, self.choice),
        }
    }

    /// The model with the loss that it was read with.
    ///
    /// # Errors
    /// Those of [`parameters::decide`].
    pub fn unlabeled(self) -> Result<TrainableModel> {
        with(self.file, self.graph, self.first, self.choice)
    }
}

fn with(
    file: OnnxFile,
    graph: Graph,
    plan: LossPlan,
    (trainable, freeze): (Vec<String>, Vec<String>),
) -> Result<TrainableModel> {
    let decisions = parameters::decide(&graph, &plan, &trainable, &freeze)?;
    Ok(TrainableModel { file, graph, plan, decisions })
}

/// Several targets, each with its loss before the rows are read.
fn parts(graph: &Graph, options: &Options, several: &[TargetConfig], look: Look<'_>) -> Result<Vec<Part>> {
    let one = |(at, (data, target)): (usize, (DataConfig, &TargetConfig))| {
        let weight = target.weight.unwrap_or(1.0);
        if !weight.is_finite() || weight <= 0.0 {
            return Err(Error::Usage("`[[target]]`: `weight` has to be finite and above 0".into()));
        }
        if target.output.is_none() {
            return Err(Error::Usage(
                "a `[[target]]` names no output of the model: write `output = \"...\"` in each".into(),
            ));
        }
        let (ask, plan) = decided(graph, &Options { data, ..options.clone() }, look)?;
        let kind = target.kind.unwrap_or(TargetKind::Class);
        let mut labels = format!("target {at}");
        while graph.by_name.contains_key(&labels) {
            labels.push('\'');
        }
        Ok(Part { ask, plan, labels, kind, weight })
    };
    options.data.parts().into_iter().zip(several).enumerate().map(one).collect()
}

/// The graph with the loss graph that is asked for, if one is, behind it; no rows are looked at.
///
/// # Errors
/// Those of [`loss::attach`], and of finding the loss of each of several targets.
pub(super) fn with_loss_graph(graph: &Graph, options: &Options) -> Result<Option<(Graph, LossPlan)>> {
    let mut graph = graph.clone();
    let plan = match (&options.loss_graph, options.data.targets.as_slice()) {
        (Some(path), _) => loss::attach(&mut graph, Arc::new(OnnxFile::open(path, &options.reading())?))?,
        (None, []) => return Ok(None),
        (None, several) => {
            let parts = parts(&graph, options, several, Look::Nowhere)?;
            sum(&mut graph, &parts)?
        }
    };
    Ok(Some((graph, plan)))
}

/// Puts the weighted sum of several losses behind `graph`.
fn sum(graph: &mut Graph, parts: &[Part]) -> Result<LossPlan> {
    let terms = parts.iter().map(|part| {
        let Part { plan, labels, kind, weight, .. } = part;
        Term { plan, kind: *kind, labels: labels.clone(), weight: *weight }
    });
    let terms: Vec<Term<'_>> = terms.collect();
    let made = loss::joined(graph, &terms)?;
    let plan = loss::attach_made(graph, &made)?;
    let each = parts.iter().map(|part| format!("{} times {}", part.weight, part.plan.why));
    Ok(LossPlan { why: format!("the sum of {} targets: {}", parts.len(), each.collect::<Vec<_>>().join("; ")), ..plan })
}

/// What is asked of the loss, and the loss before the rows are read.
fn decided(graph: &Graph, options: &Options, look: Look<'_>) -> Result<(Ask, LossPlan)> {
    let kind = options.data.target.kind.map_or(LabelKind::Unknown, label_kind);
    let output = options.data.target.output.clone();
    let target = &options.data.target;
    let mut ask = Ask {
        loss: options.loss,
        output,
        labels: kind.into(),
        class_axis: target.class_axis,
        reduction: target.reduction.unwrap_or_default(),
    };
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
