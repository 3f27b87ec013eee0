//! From a model's graph and the request to its loss, looking at the labels where the graph alone does not decide.

use super::{config::RunConfig, job::label_kind};
use crate::{
    data::{self, InputConfig, Places, TargetKind},
    error::{Error, Result},
    graph::{
        Graph, forms,
        given::Given,
        row_axis,
        training::{self, Ask, LabelKind, Labels, LossKind, LossPlan},
    },
    label_facts::LabelFacts,
    ops,
};

impl RunConfig {
    /// What is given of the model's inputs.
    pub fn given(&self) -> Given {
        let fixed = |(name, input): (&String, &InputConfig)| Some((name.clone(), input.value.as_ref()?.elements()));
        Given { dims: self.dims.clone(), inputs: self.data.inputs.iter().filter_map(fixed).collect() }
    }
}

/// What decides the loss of a run.
pub struct Decided {
    ask: Ask,
    /// The loss, as far as it is known before the rows are read.
    pub first: LossPlan,
}

impl Decided {
    /// The loss before the rows are read. Labels, of `rows` or else of the training data, are looked at if several
    /// outputs could take them, or if the output holds several answers a row.
    ///
    /// # Errors
    /// Those of [`supported_plan`]; [`Error::Untrainable`] if nothing decides between outputs, or labels for positions
    /// would be needed.
    pub fn new(graph: &Graph, config: &RunConfig, rows: Option<&Places>) -> Result<Self> {
        let kind = config.data.target.kind.map_or(LabelKind::Unknown, label_kind);
        let output = config.data.target.output.clone();
        let mut ask = Ask { loss: config.loss, output, labels: kind.into() };
        let first = supported_plan(graph, &ask)?;
        let head = &first.head;
        if first.label_input.is_some() || head.heads < 2 && head.positions.is_none() {
            return Ok(Self { ask, first });
        }
        ask.labels = Labels { kind, facts: data::label_facts(&config.data, rows)? };
        let first = supported_plan(graph, &ask)?;
        if let Some(question) = first.head.undecided.clone() {
            let column = "; the label column is looked at if --target names it";
            return Err(Error::Untrainable(question + column));
        }
        require_rows(&first, &ask)?;
        Ok(Self { ask, first })
    }

    /// What to add to an error of the data where nothing tells which column is the label.
    pub fn without_labels(&self, graph: &Graph, config: &RunConfig) -> Option<String> {
        let target = &config.data.target;
        let named = target.column.is_some() || target.columns.is_some();
        if named || self.first.label_input.is_some() || !matches!(data::label_facts(&config.data, None), Ok(None)) {
            return None;
        }
        let output = self.first.output?;
        let dims = graph.declared_dims(output)?;
        let own = graph.inputs.iter().find(|input| graph.declared_dims(**input) == Some(dims));
        Some(match own {
            Some(&input) => format!(
                "the output `{}` has the shape of the input `{}`: if the model is an autoencoder, its input is its target: \
                 store it as a second column, too, and name that by --target",
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

    /// The loss once it is known what the labels are.
    ///
    /// # Errors
    /// Those of [`training::plan_for`].
    pub fn with_labels(&self, graph: &Graph, target: TargetKind) -> Result<LossPlan> {
        let labels = Labels { kind: label_kind(target), ..self.ask.labels.clone() };
        training::plan_for(graph, &Ask { labels, ..self.ask.clone() })
    }

    /// What decides the loss of another model on the same rows.
    pub fn ask(&self, target: TargetKind) -> Ask {
        Ask { labels: Labels { kind: label_kind(target), ..self.ask.labels.clone() }, ..self.ask.clone() }
    }
}

/// Fails if the output holds several answers a row, and the labels are not as many values.
fn require_rows(plan: &LossPlan, ask: &Ask) -> Result<()> {
    let Some(problem) = &plan.head.positions else { return Ok(()) };
    let values = |facts: &LabelFacts| {
        !facts.whole && facts.width.is_some() && plan.head.width.is_none_or(|w| Some(w) == facts.width)
    };
    let as_values = ask.loss == Some(LossKind::Mse) || ask.labels.kind == LabelKind::Value;
    match as_values || ask.labels.facts.as_ref().is_some_and(values) {
        true => Ok(()),
        false => Err(Error::Untrainable(training::positions(problem))),
    }
}

/// The loss, where all that it needs is supported; what is not is said first.
pub fn supported_plan(graph: &Graph, ask: &Ask) -> Result<LossPlan> {
    forms::require_parameters(graph)?;
    let plan = match training::plan_for(graph, ask) {
        Ok(plan) => ops::support::require(graph, Some(plan.scores)).map(|()| plan),
        Err(e @ Error::Usage(_)) => Err(e),
        Err(e) => Err(ops::support::require(graph, None).err().unwrap_or(e)),
    };
    let plan = plan.map_err(|e| forms::explained(graph, e))?;
    row_axis::require(graph, &plan)?;
    graph.require_input_sizes()?;
    Ok(plan)
}
