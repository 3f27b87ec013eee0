//! What is typed.

use crate::run::{BatchNorm, DeviceChoice, KernelChoice, LossKind, MethodName, Precision, Runtimes, StepSize};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{num::NonZeroUsize, path::PathBuf};

/// Make a trained ONNX model forget training rows, without retraining, and prove what was done.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Paths that are not given come from <stem>.forget.toml next to MODEL.\n\
        Exit codes: 0 written, no gate failed · 1 defect of this program · 2 usage · 3 model · 4 data · \
        5 parity before · 6 unlearning, a gate, or --strict · 7 parity after · 8 nothing to forget · 130 interrupted"
)]
pub struct Cli {
    /// The subcommand; without one, the main job.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The main job.
    #[command(flatten)]
    pub forget: ForgetArgs,
    /// Number of threads; every core if not given. The result does not depend on it
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Limit on the memory of a model's graph, and of the result of one node, such as 4GiB. If not given: 64MiB plus 32 bytes for
    /// each byte of the files, and 2^28 elements per result
    #[arg(long, global = true, value_name = "SIZE", value_parser = size)]
    pub max_memory: Option<u64>,
    /// Limit on the nodes of a model, once its functions, bodies, and loops are written out; 500000 if not given
    #[arg(long, global = true, value_name = "N")]
    pub max_nodes: Option<u64>,
    /// Print more on stderr (twice: everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print only errors, and with --format json the result
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show inputs, outputs, operators, the loss, and which weights are trained and why
    Inspect(super::inspect::InspectArgs),
    /// Write a configuration that says how the program reads the rows
    Init(super::init::InitArgs),
    /// Compare outputs and gradients with onnxruntime and tract, or list what differs between two models
    Verify(super::verify::VerifyArgs),
    /// Measure accuracy and membership inference, and change nothing
    Audit(AuditArgs),
    /// Compare unlearning methods and a retrained model, in tables and a page with charts
    Compare(super::compare::CompareArgs),
    /// Train a model, from the beginning or further, with or without some rows
    Train(super::train::TrainArgs),
    /// Run the main job on a built-in model and its rows
    Demo(DemoArgs),
    /// Print a completion script for a shell
    Completions(super::about::CompletionsArgs),
    /// Print the manual page (`onnx-forget man | man -l -`)
    Man,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Pretty,
    /// One JSON value per line, on stdout.
    Json,
}

/// What to do with ids that are not in the training data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum MissingIdsChoice {
    /// Stop.
    #[default]
    Error,
    /// Continue without them.
    Ignore,
}

/// A number of bytes, or of KiB, MiB, GiB or TiB.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err("expected a size such as 4GiB or 512MiB".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "expected a size such as 4GiB or 512MiB")?;
    number.checked_mul(1 << shift).filter(|&bytes| bytes > 0).ok_or_else(|| format!("{text} is out of range"))
}

/// `NAME=N`, N at least 1.
pub fn dimension(text: &str) -> Result<(String, usize), String> {
    let (name, extent) = text.rsplit_once('=').ok_or("expected NAME=N")?;
    let extent: NonZeroUsize = extent.parse().map_err(|_| format!("{extent} is not a number of at least 1"))?;
    Ok((name.into(), extent.get()))
}

/// The model, the data and how to read both: shared by the commands that need rows.
#[derive(Debug, Default, Args)]
pub struct SourceArgs {
    /// Ids to forget: Parquet, CSV, JSON, Arrow, or text with one id per line; - for standard input. May be given several times
    #[arg(long, value_name = "IDS", help_heading = "Data")]
    pub forget: Vec<PathBuf>,
    /// Id column in the lists of --forget, if it has another name than --id
    #[arg(long, value_name = "COLUMN", help_heading = "Data")]
    pub forget_id: Option<String>,
    /// Forget every training row of this class
    #[arg(long, value_name = "N", help_heading = "Data", allow_negative_numbers = true)]
    pub forget_class: Option<i64>,
    /// Training rows: file, folder, or glob. May be given several times; all together are one table
    #[arg(long, value_name = "TRAIN", help_heading = "Data")]
    pub data: Vec<String>,
    /// Validation rows, on which the model was never trained. May be given several times
    #[arg(long, value_name = "VAL", help_heading = "Data")]
    pub validation: Vec<String>,
    /// Test rows, on which the model was never trained. May be given several times
    #[arg(long, value_name = "TEST", help_heading = "Data")]
    pub test: Vec<String>,
    /// Id column of the training rows; #row for row numbers from 0
    #[arg(long, value_name = "COLUMN", help_heading = "Data")]
    pub id: Option<String>,
    /// Column that says train, validation, or test, instead of separate files
    #[arg(long, value_name = "COLUMN", help_heading = "Data")]
    pub split: Option<String>,
    /// Label column
    #[arg(long, value_name = "COLUMN", help_heading = "Data")]
    pub target: Option<String>,
    /// Output that the labels belong to, if the model has several
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    pub output: Option<String>,
    /// What to do about ids that are not among the training rows
    #[arg(long, value_enum, default_value_t, value_name = "WHAT", help_heading = "Data")]
    pub missing_ids: MissingIdsChoice,
    /// Continue although the model does not know the rows as they were read; the verdict is then WARN at best
    #[arg(long, help_heading = "Data")]
    pub accept_unknown_rows: bool,
    /// Configuration file; <stem>.forget.toml next to MODEL if not given
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub config: Option<PathBuf>,
    /// onnxruntime training checkpoint that holds the model's parameters; `checkpoint` next to MODEL if not given
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub checkpoint: Option<PathBuf>,
    /// Loss; inferred from the labels and the output's shape if not given
    #[arg(long, value_parser = super::values::losses(), value_name = "LOSS", help_heading = "Model")]
    pub loss: Option<LossKind>,
    /// ONNX graph that computes the loss of each row from outputs of the model and label columns
    #[arg(long, value_name = "FILE", conflicts_with_all = ["loss", "output", "target"], help_heading = "Model")]
    pub loss_graph: Option<PathBuf>,
    /// Extent of an open dimension, by its name or by input and axis (x.2=48). May be given several times
    #[arg(long, value_name = "NAME=N", value_parser = dimension, help_heading = "Model")]
    pub dim: Vec<(String, usize)>,
    /// Train only initializers that match one of these globs
    #[arg(long, value_name = "GLOB", help_heading = "Model")]
    pub trainable: Vec<String>,
    /// Do not train initializers that match one of these globs
    #[arg(long, value_name = "GLOB", help_heading = "Model")]
    pub freeze: Vec<String>,
    /// Statistics that BatchNormalization uses during the steps
    #[arg(long, value_parser = super::values::batch_norms(), value_name = "HOW", help_heading = "Model")]
    pub bn: Option<BatchNorm>,
    /// Let Dropout drop values during the steps, as the graph says
    #[arg(long, help_heading = "Model")]
    pub dropout: bool,
    /// Follow symbolic links to external data, if they stay inside MODEL's folder
    #[arg(long, help_heading = "Model")]
    pub allow_symlink_inside: bool,
    /// Device: cpu, cuda, or cuda:N
    #[arg(long, default_value_t, value_name = "DEVICE", help_heading = "Run")]
    pub device: DeviceChoice,
    /// Kernels: fast ones, or the definitions that they are tested against
    #[arg(long, value_parser = super::values::kernels(), default_value = "fast", value_name = "KERNELS", help_heading = "Run")]
    pub kernels: KernelChoice,
    /// Seed of every random choice; the same inputs, seed, and build give the same bytes
    #[arg(long, value_name = "N", help_heading = "Run")]
    pub seed: Option<u64>,
    /// Do not use the network
    #[arg(long, help_heading = "Run")]
    pub offline: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", help_heading = "Run")]
    pub format: Format,
}

/// The main job.
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// The trained model
    #[arg(required = true, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Rows and model.
    #[command(flatten)]
    pub source: SourceArgs,
    /// The new model; <stem>.forgotten.onnx next to MODEL if not given
    #[arg(short, long, value_name = "OUT", help_heading = "Output")]
    pub out: Option<PathBuf>,
    /// Folder for report.json and report.html; <stem>.report next to OUT if not given
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub report: Option<PathBuf>,
    /// Overwrite OUT, and files of other programs in the report's folder
    #[arg(long, help_heading = "Output")]
    pub force: bool,
    /// Name of the run, shown in the report
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    pub name: Option<String>,
    /// Show what would be done, with which columns and settings, and stop
    #[arg(long, help_heading = "Output")]
    pub dry_run: bool,
    /// Runtime that the model must agree with
    #[arg(long, value_parser = super::values::runtimes(), default_value = "both", value_name = "RUNTIME", help_heading = "Checks")]
    pub parity: Runtimes,
    /// Write nothing unless the verdict is PASS: WARN and INSUFFICIENT end with exit code 6
    #[arg(long, help_heading = "Checks")]
    pub strict: bool,
    /// Precision of matrix products with --device cuda, during the steps
    #[arg(long, value_parser = super::values::precisions(), default_value = "f32", value_name = "PRECISION", help_heading = "Run")]
    pub precision: Precision,
    /// Run the method even if the model does not remember the rows to forget better than unseen rows
    #[arg(long, help_heading = "Checks")]
    pub unlearn_anyway: bool,
    /// Further tests.
    #[command(flatten)]
    pub tests: TestArgs,
    /// Settings that the method derives from the data's sizes.
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// How much the audit looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AuditDepth {
    /// What one pass over the rows shows.
    #[default]
    Standard,
    /// Also train copies of the new model, to see what comes back.
    Deep,
}

/// Tests beyond those that are always made.
#[derive(Debug, Default, Args)]
pub struct TestArgs {
    /// Depth of the audit
    #[arg(long, value_enum, default_value_t, value_name = "DEPTH", help_heading = "Checks")]
    pub audit: AuditDepth,
    /// Models that were trained without the rows to forget, for comparison
    #[arg(long, num_args = 1.., value_name = "MODEL", help_heading = "Checks")]
    pub reference: Vec<PathBuf>,
}

/// Overrides of what the method derives from the data's sizes.
#[derive(Debug, Default, Args)]
pub struct SettingArgs {
    /// Unlearning method; `compare --help` lists them. All except nabla-tau exist for comparison
    #[arg(
        long,
        value_parser = super::values::methods(),
        value_name = "METHOD",
        hide_possible_values = true,
        help_heading = "Method (nothing has to be set)"
    )]
    pub method: Option<MethodName>,
    /// Rows in a batch
    #[arg(long, value_name = "N", help_heading = "Method (nothing has to be set)")]
    pub batch_size: Option<NonZeroUsize>,
    /// Rows of a batch that run at once, if a batch does not fit into memory: the same steps up to rounding, but slower
    #[arg(long, value_name = "N", help_heading = "Method (nothing has to be set)")]
    pub micro_batch: Option<NonZeroUsize>,
    /// Passes over the forget set (for other methods: over the rows that they count passes over)
    #[arg(long, value_name = "N", help_heading = "Method (nothing has to be set)")]
    pub epochs: Option<NonZeroUsize>,
    /// Weight of the forget term at the start, 0 to 1
    #[arg(long, value_name = "A", help_heading = "Method (nothing has to be set)")]
    pub alpha: Option<f64>,
    /// Learning rate at the start
    #[arg(long, value_name = "LR", help_heading = "Method (nothing has to be set)")]
    pub learning_rate: Option<f64>,
    /// Weight decay
    #[arg(long, value_name = "WD", help_heading = "Method (nothing has to be set)")]
    pub weight_decay: Option<f64>,
    /// Scale of the steps; fitted if not given
    #[arg(long, value_parser = super::values::step_sizes(), value_name = "HOW", help_heading = "Method (nothing has to be set)")]
    pub step_size: Option<StepSize>,
}

/// `audit`: measure, change nothing.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// The model
    pub model: PathBuf,
    /// Rows and model.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Further tests.
    #[command(flatten)]
    pub tests: TestArgs,
}

/// `demo`: the main job on what the program carries.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder for the model, the rows, the new model, and the report
    #[arg(default_value = "onnx-forget-demo", value_name = "DIR")]
    pub dir: PathBuf,
    /// Do not use the network
    #[arg(long)]
    pub offline: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// Runtime that the model must agree with
    #[arg(long, value_parser = super::values::runtimes(), default_value = "both", value_name = "RUNTIME")]
    pub parity: Runtimes,
}
