//! `inspect`: what a model takes and gives, what is trainable and why, what is unsupported.

mod text;

pub(super) use text::operators;

use super::{
    args::{Format, SourceArgs, TestArgs},
    config::RunConfig,
    out,
};
use crate::{
    error::{Error, Result},
    graph::{
        Dim, Graph, TypeInfo, ValueId, build,
        forms::{self, Form},
        fuse::MADE_OF,
        row_axis, trainable,
        trainable::{Decision, Totals},
        training,
        training::{Ask, LabelKind, LossKind},
    },
    onnx::{OnnxFile, ReadOptions, artifacts, checkpoint::Checkpoint},
    ops,
};
use clap::Args;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// `inspect`: show inputs, outputs, operators, the loss, and for every float tensor whether it is trained.
#[derive(Debug, Default, Args)]
pub struct InspectArgs {
    /// The model
    #[arg(required_unless_present = "operators", value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// onnxruntime training checkpoint that holds the model's parameters; `checkpoint` next to MODEL if not given
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Configuration file, for inputs that it fixes; <stem>.forget.toml next to MODEL if not given
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Extent of an open dimension, by its name or by input and axis (x.2=48). May be given several times
    #[arg(long, value_name = "NAME=N", value_parser = super::args::dimension)]
    pub dim: Vec<(String, usize)>,
    /// Output that the labels belong to, if the model has several
    #[arg(long, value_name = "NAME")]
    pub output: Option<String>,
    /// Loss; inferred from the output's shape if not given
    #[arg(long, value_enum, value_name = "LOSS")]
    pub loss: Option<LossKind>,
    /// Train only initializers that match one of these globs
    #[arg(long, value_name = "GLOB")]
    pub trainable: Vec<String>,
    /// Do not train initializers that match one of these globs
    #[arg(long, value_name = "GLOB")]
    pub freeze: Vec<String>,
    /// List the supported operators
    #[arg(long)]
    pub operators: bool,
    /// Follow symbolic links to external data, if they stay inside MODEL's folder
    #[arg(long)]
    pub allow_symlink_inside: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// An input or output.
#[derive(Debug, Serialize)]
struct Port {
    name: String,
    dtype: Option<String>,
    /// `null` for an open extent; absent where the file leaves the rank open.
    dims: Option<Vec<serde_json::Value>>,
}

/// How often an operator occurs.
#[derive(Debug, Serialize)]
struct OperatorCount {
    op: String,
    count: usize,
    supported: bool,
}

#[derive(Debug, Serialize)]
struct Loss {
    kind: LossKind,
    scores: String,
    label_input: Option<String>,
    seen_through: Vec<String>,
    why: String,
}

#[derive(Debug, Serialize)]
struct CheckpointFile {
    path: String,
    sha256: String,
    trained: usize,
    frozen: usize,
    momentums: usize,
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
struct Inspection {
    path: String,
    sha256: String,
    bytes: usize,
    /// The file that the parameters are from, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<CheckpointFile>,
    producer: String,
    ir_version: i64,
    opsets: BTreeMap<String, i64>,
    forms: Vec<Form>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    operators: Vec<OperatorCount>,
    loss: Option<Loss>,
    initializers: Vec<Decision>,
    totals: Totals,
    warnings: Vec<String>,
    /// Why the model cannot be unlearned as it is; the exit code is 3 then.
    problem: Option<String>,
}

/// Prints what is asked for.
///
/// # Errors
/// Those of reading the model; exit code 3 also if its form is refused, an operator is unsupported, there is no loss or
/// nothing is trainable. What is known is printed first.
pub fn run(args: InspectArgs) -> Result<()> {
    if args.operators {
        match args.format {
            Format::Json => out::json_line(&ops::specs()),
            Format::Pretty => out::result(&operators()),
        }
    }
    let Some(path) = &args.model else { return Ok(()) };
    let options = ReadOptions { allow_symlink_inside: args.allow_symlink_inside };
    let file = artifacts::open(path, args.checkpoint.as_deref(), &options)?;
    let source = SourceArgs { config: args.config.clone(), dim: args.dim.clone(), ..SourceArgs::default() };
    let given = RunConfig::new(path, &source, &TestArgs::default())?.given();
    let graph = build::build_given(&file, &given)?;
    let (inspection, outcome) = inspect(&file, &graph, &args)?;
    match args.format {
        Format::Json => out::json_line(&inspection),
        Format::Pretty => out::result(&text::inspection(&inspection)),
    }
    outcome
}

/// All that is printed of a file without any flags, in both formats.
#[cfg(fuzzing)]
pub(crate) fn inspected(file: &OnnxFile, graph: &Graph) -> Result<String> {
    let (inspection, outcome) = inspect(file, graph, &InspectArgs::default())?;
    let json = serde_json::to_string(&inspection).map_err(|e| Error::Internal(e.to_string()))?;
    outcome.map(|()| text::inspection(&inspection) + &json)
}

/// All that is to be shown, and whether the model can be used.
fn inspect(file: &OnnxFile, graph: &Graph, args: &InspectArgs) -> Result<(Inspection, Result<()>)> {
    let mut outcome = forms::require_parameters(graph);
    let (mut loss, mut initializers) = (None, Vec::new());
    let ask = Ask { loss: args.loss, output: args.output.clone(), labels: LabelKind::Unknown.into() };
    let mut warnings = Vec::new();
    match training::plan_for(graph, &ask) {
        Err(e @ Error::Usage(_)) => return Err(e),
        Ok(plan) => {
            warnings.extend(plan.head.undecided.clone());
            warnings.extend(plan.head.positions.as_deref().map(training::positions));
            warnings.extend(trainable::stored_as_integers(graph, &plan));
            outcome = outcome.and_then(|()| ops::support::require(graph, Some(plan.scores)));
            outcome = outcome.and_then(|()| row_axis::require(graph, &plan));
            initializers = trainable::decisions(graph, &plan, &args.trainable, &args.freeze)?;
            outcome = outcome.and_then(|()| trainable::require(&initializers));
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
        forms: forms::recognise(graph),
        inputs: ports(graph, &graph.inputs),
        outputs: ports(graph, &graph.outputs),
        operators: operator_counts(graph),
        loss,
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
    let in_file = |node: &&crate::graph::Node| !node.attrs.contains_key(MADE_OF) || node.is("Gemm");
    for node in graph.nodes.iter().filter(in_file) {
        *counts.entry(ops::operator_name(node)).or_default() += 1;
    }
    let count = |(op, count): (String, usize)| OperatorCount { supported: !unsupported.contains(&op), op, count };
    let mut counts: Vec<OperatorCount> = counts.into_iter().map(count).collect();
    counts.sort_by_key(|entry| std::cmp::Reverse(entry.count));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn inspected(fixture: &str, trainable: &[&str]) -> (serde_json::Value, String, Result<()>) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(fixture);
        let args = InspectArgs {
            model: Some(path.clone()),
            trainable: trainable.iter().map(ToString::to_string).collect(),
            ..InspectArgs::default()
        };
        let file = OnnxFile::open(&path, &ReadOptions::default()).unwrap();
        let graph = build::build(&file).unwrap();
        let (inspection, outcome) = inspect(&file, &graph, &args).unwrap();
        (serde_json::to_value(&inspection).unwrap(), text::inspection(&inspection), outcome)
    }

    #[test]
    fn every_float_tensor_is_listed_with_a_reason() {
        let (json, text, outcome) = inspected("digits-cnn/model.onnx", &[]);
        assert!(outcome.is_ok());
        assert_eq!(json["inputs"][0], serde_json::json!({"name": "image", "dtype": "f32", "dims": ["batch", 1, 8, 8]}));
        let tensors = json["initializers"].as_array().unwrap();
        assert_eq!(tensors.len(), json["totals"]["float_tensors"]);
        for tensor in tensors {
            let line =
                text.lines().find(|line| line.contains(&format!(" {} ", tensor["name"].as_str().unwrap()))).unwrap();
            let mark = if tensor["trainable"] == true { "  train" } else { "  keep" };
            assert!(line.starts_with(mark) && line.contains(tensor["reason"].as_str().unwrap()), "{line}");
        }
        assert!(text.contains("trainable 20 of 32 float tensors") && text.contains("cross-entropy"));
    }

    #[test]
    fn what_stands_in_the_way_is_shown_and_ends_with_code_3() {
        let (json, text, outcome) = inspected("edge/unsupported.onnx", &[]);
        assert_eq!(outcome.unwrap_err().exit_code(), 3);
        assert!(text.contains("UNSUPPORTED") && json["problem"].as_str().unwrap().contains("Twist"));
        let (_, text, outcome) = inspected("digits-cnn/model.onnx", &["bn.running_mean"]);
        assert_eq!(outcome.unwrap_err().exit_code(), 3);
        assert!(text.contains("trainable 0 of 32"), "{text}");
    }

    #[test]
    fn the_operators_are_a_table() {
        let table = operators();
        assert_eq!(table.lines().count(), ops::specs().len() + 2);
        assert!(table.lines().all(|line| line.starts_with("| ") && line.ends_with(" |")));
        assert!(table.contains("| Conv | ") && table.contains("| Softmax | "));
    }
}
