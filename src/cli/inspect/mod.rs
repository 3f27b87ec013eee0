//! `inspect`: what a model takes and gives, what is trainable and why, what is unsupported.

mod text;

pub(super) use text::operators;

use super::{
    args::{Format, SourceArgs, TestArgs},
    config::options,
    out,
};
use crate::{
    error::Result,
    run::{LossKind, Options, inspect::inspect, operators as specs},
};
use clap::Args;
use std::path::{Path, PathBuf};

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
    #[arg(long, value_parser = super::values::losses(), value_name = "LOSS")]
    pub loss: Option<LossKind>,
    /// ONNX graph that computes the loss of each row from outputs of the model and label columns
    #[arg(long, value_name = "FILE", conflicts_with_all = ["loss", "output"])]
    pub loss_graph: Option<PathBuf>,
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

/// Prints what is asked for.
///
/// # Errors
/// Those of reading the model; exit code 3 also if its form is refused, an operator is unsupported, there is no loss or
/// nothing is trainable. What is known is printed first.
pub fn run(args: InspectArgs) -> Result<()> {
    if args.operators {
        match args.format {
            Format::Json => out::json_line(&specs()),
            Format::Pretty => out::result(&operators()),
        }
    }
    let Some(path) = &args.model else { return Ok(()) };
    let (inspection, outcome) = inspect(&asked(path, &args)?)?;
    match args.format {
        Format::Json => out::json_line(&inspection),
        Format::Pretty => out::result(&text::inspection(&inspection)),
    }
    outcome
}

/// What is asked of the file: of the configuration, only what it gives of inputs.
fn asked(path: &Path, args: &InspectArgs) -> Result<Options> {
    let source = SourceArgs { config: args.config.clone(), dim: args.dim.clone(), ..SourceArgs::default() };
    let given = options(path, &source, &TestArgs::default())?;
    let mut asked = Options {
        checkpoint: args.checkpoint.clone(),
        dims: given.dims,
        loss: args.loss,
        loss_graph: args.loss_graph.clone().or(given.loss_graph),
        trainable: args.trainable.clone(),
        freeze: args.freeze.clone(),
        allow_symlink_inside: args.allow_symlink_inside,
        ..Options::new(path)
    };
    asked.data.inputs = given.data.inputs;
    asked.data.targets = given.data.targets;
    asked.data.target.output = args.output.clone();
    Ok(asked)
}

/// All that is printed of a file, in both formats.
#[cfg(feature = "fuzzing")]
pub(crate) fn inspected(inspection: &crate::run::inspect::Inspection) -> Result<String> {
    let json = serde_json::to_string(inspection).map_err(|e| crate::Error::Internal(e.to_string()))?;
    Ok(text::inspection(inspection) + &json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspected(fixture: &str, trainable: &[&str]) -> (serde_json::Value, String, Result<()>) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(fixture);
        let args = InspectArgs {
            model: Some(path.clone()),
            trainable: trainable.iter().map(ToString::to_string).collect(),
            ..InspectArgs::default()
        };
        let (inspection, outcome) = inspect(&asked(&path, &args).unwrap()).unwrap();
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
        assert_eq!(table.lines().count(), specs().len() + 2);
        assert!(table.lines().all(|line| line.starts_with("| ") && line.ends_with(" |")));
        assert!(table.contains("| Conv | ") && table.contains("| Softmax | "));
    }
}
