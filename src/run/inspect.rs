//! What a model takes and gives, what is trainable and why, what is unsupported.
#![allow(missing_docs)]

use super::{init, options::Options, read, signature::label_kind};
use crate::{
    error::{Error, Result},
    graph::{
        Dim, Graph, TypeInfo, ValueId,
        build::supply,
        forms::{self, Form},
        fuse::MADE_OF,
        loss,
        loss::{Ask, LabelKind, LossKind},
        parameters,
        parameters::{Decision, Totals},
        row_axis,
    },
    onnx::{OnnxFile, checkpoint::Checkpoint},
    ops,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// An input or output.
#[derive(Debug, Serialize)]
pub struct Port {
    pub name: String,
    pub dtype: Option<String>,
    /// `null` for an open extent; absent where the file leaves the rank open.
    pub dims: Option<Vec<serde_json::Value>>,
}

/// How often an operator occurs.
#[derive(Debug, Serialize)]
pub struct OperatorCount {
    pub op: String,
    pub count: usize,
    pub supported: bool,
}

#[derive(Debug, Serialize)]
pub struct Loss {
    pub kind: LossKind,
    pub scores: String,
    pub label_input: Option<String>,
    pub seen_through: Vec<String>,
    pub why: String,
}

#[derive(Debug, Serialize)]
pub struct CheckpointFile {
    pub path: String,
    pub sha256: String,
    pub trained: usize,
    pub frozen: usize,
    pub momentums: usize,
}

impl CheckpointFile {
    fn of(checkpoint: &Checkpoint) -> Self {
        let trained = checkpoint.parameters().values().filter(|parameter| parameter.trained).count();
        Self {
            path: checkpoint.path().display().to_string(),
            sha256: checkpoint.sha256().to_string(),
            trained,
            frozen: checkpoint.parameters().len() - trained,
            momentums: checkpoint.momentums().len(),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Inspection {
    pub path: String,
    pub sha256: String,
    pub bytes: usize,
    /// The file that the parameters are from, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointFile>,
    pub producer: String,
    pub ir_version: i64,
    pub opsets: BTreeMap<String, i64>,
    pub forms: Vec<Form>,
    pub inputs: Vec<Port>,
    /// Inputs that are not fed but made, and what they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<String>,
    pub outputs: Vec<Port>,
    pub operators: Vec<OperatorCount>,
    pub loss: Option<Loss>,
    /// What a configuration file for the model would say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    pub initializers: Vec<Decision>,
    pub totals: Totals,
    pub warnings: Vec<String>,
    /// Why the model cannot be unlearned as it is; the exit code is 3 then.
    pub problem: Option<String>,
}

/// Looks at the model of `options`: all that is to be shown, and whether the model can be used.
///
/// # Errors
/// Those of reading the model. In the second part also if its form is refused, an operator is unsupported, there is no
/// loss or nothing is trainable.
pub fn inspect(options: &Options) -> Result<(Inspection, Result<()>)> {
    options.scope()?.enter(|| {
        let (file, graph) = read::open(options)?;
        look(&file, &graph, options)
    })
}

/// The same for a graph of the file.
pub(crate) fn look(file: &OnnxFile, graph: &Graph, options: &Options) -> Result<(Inspection, Result<()>)> {
    let mut outcome = forms::require_parameters(graph);
    let (mut loss, mut configuration, mut initializers) = (None, None, Vec::new());
    let behind = read::with_loss_graph(graph, options)?;
    let mut warnings = Vec::new();
    let (graph, planned) = match &behind {
        Some((graph, plan)) => (graph, Ok(plan.clone())),
        None => (graph, loss::plan_for(graph, &asked(options))),
    };
    match planned {
        Err(e @ Error::Usage(_)) => return Err(e),
        Ok(plan) => {
            warnings.extend(plan.head.undecided.clone());
            let open = plan.head.positions.as_deref().filter(|_| plan.class_axis.is_none());
            warnings.extend(open.map(loss::labels_for_positions));
            warnings.extend(parameters::stored_as_integers(graph, &plan));
            outcome = outcome.and_then(|()| ops::support::require(graph, Some(plan.scores)));
            outcome = outcome.and_then(|()| row_axis::require(graph, &plan));
            initializers = parameters::decisions(graph, &plan, &options.trainable, &options.freeze)?;
            outcome = outcome.and_then(|()| parameters::require(&initializers));
            configuration = Some(init::outline(graph, &plan));
            loss = Some(Loss {
                kind: plan.kind,
                scores: graph.name(plan.scores).to_string(),
                label_input: plan.label_input.map(|value| graph.name(value).to_string()),
                seen_through: plan.seen_through,
                why: plan.why,
            });
        }
        Err(e) => outcome = outcome.and_then(|()| ops::support::require(graph, None)).and(Err(e)),
    }
    let outcome = outcome.map_err(|e| forms::explained(graph, e));
    let totals = Totals::of(&initializers);
    let inspection = Inspection {
        path: file.path().display().to_string(),
        sha256: file.sha256().to_string(),
        bytes: file.bytes().len(),
        checkpoint: file.checkpoint().map(CheckpointFile::of),
        producer: graph.producer.clone(),
        ir_version: graph.ir_version,
        opsets: graph.opsets.iter().map(|(domain, version)| (shown_domain(domain).to_string(), *version)).collect(),
        forms: forms::recognize(graph),
        inputs: ports(graph, &graph.inputs),
        made: supply::described(graph).iter().map(|(what, how)| format!("{what}: {how}")).collect(),
        outputs: ports(graph, &graph.outputs),
        operators: operator_counts(graph),
        loss,
        configuration,
        warnings: {
            warnings.extend(totals.warning());
            if outcome.is_ok() { warnings } else { Vec::new() }
        },
        totals,
        initializers,
        problem: outcome.as_ref().err().map(ToString::to_string),
    };
    Ok((inspection, outcome))
}

/// What is asked of the loss without any rows: whether classes are those of rows or of positions, these tell.
fn asked(options: &Options) -> Ask {
    let target = &options.data.target;
    let label = target.kind.map(label_kind).filter(|kind| *kind != LabelKind::Class).unwrap_or_default();
    Ask {
        loss: options.loss,
        output: target.output.clone(),
        labels: label.into(),
        class_axis: target.class_axis,
        reduction: target.reduction.unwrap_or_default(),
    }
}

fn shown_domain(domain: &str) -> &str {
    if domain.is_empty() { "ai.onnx" } else { domain }
}

fn ports(graph: &Graph, values: &[ValueId]) -> Vec<Port> {
    let port = |&value: &ValueId| {
        let ty: Option<&TypeInfo> = graph.values.get(value.0).and_then(|info| info.ty.as_ref());
        let dims = ty.and_then(|ty| ty.dims.as_ref());
        let extent = |dim: &Dim| match dim {
            Dim::Fixed(n) => serde_json::Value::from(*n),
            Dim::Symbol(name) => serde_json::Value::from(name.as_str()),
            Dim::Unknown => serde_json::Value::Null,
        };
        Port {
            name: graph.name(value).to_string(),
            dtype: ty.and_then(|ty| ty.dtype).map(|dtype| dtype.to_string()),
            dims: dims.map(|dims| dims.iter().map(extent).collect()),
        }
    };
    values.iter().map(port).collect()
}

fn operator_counts(graph: &Graph) -> Vec<OperatorCount> {
    let unsupported: BTreeSet<String> = ops::unsupported(graph).into_iter().map(|operator| operator.op).collect();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    // A linear model is one node of the file, whatever it is computed by.
    let in_file =
        |node: &&crate::graph::Node| !supply::is_maker(node) && (!node.attrs.contains_key(MADE_OF) || node.is("Gemm"));
    for node in graph.nodes.iter().filter(in_file) {
        *counts.entry(node.op()).or_default() += 1;
    }
    let count = |(op, count): (String, usize)| OperatorCount { supported: !unsupported.contains(&op), op, count };
    let mut counts: Vec<OperatorCount> = counts.into_iter().map(count).collect();
    counts.sort_by_key(|entry| std::cmp::Reverse(entry.count));
    counts
}
