//! `onnx-forget verify`: parity of a model with other runtimes, or what differs between two models.

use super::{
    args::{DeviceChoice, Format, SourceArgs, TestArgs},
    config::RunConfig,
    job::{label_kind, signature},
    out,
    plan::{Decided, supported_plan},
    progress::{self, json_line},
    rows::runtime_batches,
};
use crate::{
    data::{self, Batch, Places},
    error::{Error, Result},
    graph::{
        Dim, Graph, build, given, trainable,
        training::{self, Ask, LabelKind},
    },
    model::ModelOptions,
    onnx::{OnnxFile, ReadOptions, artifacts},
    parity::{
        self, GradientOptions, Guard, Runtimes, Tolerance,
        verify::{Candidate, RandomRows, Verification},
    },
    writeback::{self, ModelDiff},
};
use clap::Args;
use dfdx::tensor::Cpu;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// `verify`: check forward pass and gradient against onnxruntime and tract, or list what differs between two models.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The model
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// Another model: list what differs, and check nothing else
    #[arg(value_name = "OTHER")]
    pub other: Option<PathBuf>,
    /// Rows and model.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Rows to compare on
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub samples: usize,
    /// Allowed absolute difference; 1e-4 or the configuration's value if not given
    #[arg(long, value_name = "X")]
    pub atol: Option<f64>,
    /// Allowed difference relative to the runtime's value; 1e-3 or the configuration's value if not given
    #[arg(long, value_name = "X")]
    pub rtol: Option<f64>,
    /// Runtimes to compare with
    #[arg(long, value_enum, default_value_t, value_name = "RUNTIME")]
    pub parity: Runtimes,
    /// Name the first node whose result differs from onnxruntime's, even if the outputs agree
    #[arg(long)]
    pub locate: bool,
}

/// Verifies one model, or compares two.
pub fn run(args: VerifyArgs) -> Result<()> {
    if args.locate && args.parity == Runtimes::Tract {
        return Err(Error::Usage("--locate asks onnxruntime: leave out --parity tract".into()));
    }
    let options = ReadOptions { allow_symlink_inside: args.source.allow_symlink_inside };
    if let Some(other) = &args.other {
        let diff = writeback::diff(&OnnxFile::open(&args.model, &options)?, &OnnxFile::open(other, &options)?)?;
        show_diff(&diff, &args.model, other, args.source.format);
        return Ok(());
    }
    let result = verify(&args, &options);
    let json = args.source.format == Format::Json;
    match &result {
        Ok(found) if json => json_line(found),
        Ok(found) => show(found),
        Err(e) if json && e.exit_code() == 3 => json_line(&Verification::unsupported(e)),
        Err(_) => {}
    }
    result?.require()
}

fn verify(args: &VerifyArgs, options: &ReadOptions) -> Result<Verification> {
    // The neighbouring configuration is for the main job's data; here only flags count, but its columns are of use.
    let config = RunConfig::new(&args.model, &args.source, &TestArgs::default())?;
    let file = artifacts::open(&args.model, config.checkpoint.as_deref(), options)?;
    let graph = build::build_given(&file, &config.given())?;
    if config.device != DeviceChoice::Cpu {
        return Err(Error::Usage("verify runs on the CPU; leave out --device".into()));
    }
    let seed = config.seed;
    let rows = Places::of(&args.source.data);
    let (graph, plan, given) = match &rows {
        None => {
            let kind = config.data.target.kind.map_or(LabelKind::Unknown, label_kind);
            let ask = Ask { loss: config.loss, output: config.data.target.output.clone(), labels: kind.into() };
            let plan = supported_plan(&graph, &ask)?;
            (training::narrowed(graph, &plan), plan, None)
        }
        Some(places) => {
            let decided = Decided::new(&graph, &config, Some(places))?;
            let graph = training::narrowed(graph, &decided.first);
            let (rows, target, _) = data::open_rows(&config.data, places, &signature(&graph, &decided.first))?;
            let plan = decided.with_labels(&graph, target)?;
            (graph, plan, Some(rows))
        }
    };
    let decisions = trainable::decide(&graph, &plan, &config.trainable, &config.freeze)?;
    let model = ModelOptions { kernels: config.kernels, seed, ..ModelOptions::default() };
    let candidate = Candidate {
        file: &file,
        graph: &graph,
        plan: &plan,
        decisions: &decisions,
        options: model,
        locate: args.locate,
    };
    let model = candidate.model(Cpu::default())?;
    let batches: Vec<Batch> = match given {
        Some(rows) => runtime_batches(&graph, None, &rows, args.samples, seed)?,
        None => {
            // What --dim gives is in the graph.
            let random = |dims| RandomRows { dims, rows: args.samples.min(RANDOM_ROWS), seed };
            candidate.random_batches(&model, &random(BTreeMap::new())).map_err(|e| match e {
                Error::Node { node, op, problem } => {
                    let runs = larger(&graph, |dims| candidate.random_batches(&model, &random(dims)).is_ok());
                    let tried = runs.map_or(String::new(), |flags| format!("; it runs with {flags}"));
                    let open = given::open(&graph);
                    let hint = format!("open extents of random rows are 2; give others by --dim ({open}){tried}");
                    Error::Node { node, op, problem: format!("{problem}; {hint}") }
                }
                e => e,
            })?
        }
    };
    let settings = parity::Settings {
        runtimes: args.parity,
        threads: rayon::current_num_threads(),
        tolerance: Tolerance {
            atol: args.atol.unwrap_or(config.parity.atol),
            rtol: args.rtol.unwrap_or(config.parity.rtol),
        },
        gradient: GradientOptions { seed, ..GradientOptions::default() },
        guard: Guard::of_this_program(),
        watch: progress::gradient_check,
        ..parity::Settings::from_environment(args.source.offline)
    };
    if !args.source.data.is_empty() {
        batches.first().map_or(Ok(()), |rows| model.require_independent_rows(rows))?;
    }
    let mut found = candidate.verify(&model, &batches, &settings)?;
    if let (true, Some(forward)) =
        (args.source.data.is_empty(), found.forward.as_mut().filter(|forward| !forward.passed))
    {
        forward.verdict.push_str("; the rows are random, and may be none that the model can meet: give --data");
    }
    Ok(found)
}

/// Prints a line of the result.
macro_rules! say {
    ($($text:tt)*) => { out::line(&format!($($text)*)) };
}

/// Random rows are alike: more of them show no more, and models without a free row axis take one at a time.
const RANDOM_ROWS: usize = 16;

fn show(found: &Verification) {
    if let Some(checkpoint) = &found.checkpoint {
        say!("parameters from {}", checkpoint.display());
    }
    if let Some(loss) = &found.loss {
        say!("loss      {loss}");
    }
    say!("trainable {} tensors", found.trainable);
    if let Some(forward) = &found.forward {
        say!("forward   {}", forward.verdict);
        for missing in &forward.not_available {
            say!("          {} took no part: {}", missing.name, missing.why);
        }
    }
    if let Some(gradient) = &found.gradient {
        say!("gradient  {}", gradient.verdict());
    }
    if let Some(located) = &found.locate {
        say!("nodes     {}", located.verdict());
    }
    let open = found.gradient.iter().any(|g| g.not_shown.is_some()) && found.forward.iter().all(|f| f.passed);
    say!(
        "{}",
        if found.passed {
            "passed"
        } else if open {
            "NOT SHOWN"
        } else {
            "FAILED"
        }
    );
}

fn show_diff(diff: &ModelDiff, a: &Path, b: &Path, format: Format) {
    if format == Format::Json {
        return json_line(diff);
    }
    say!("{} → {}", a.display(), b.display());
    if diff.identical {
        say!("identical");
    }
    for tensor in &diff.changed {
        say!(
            "changed   {} {:?} {}: norm {:.6}, of the difference {:.3e}, largest {:.3e}, {} elements",
            tensor.name,
            tensor.dims,
            tensor.dtype,
            tensor.norm,
            tensor.norm_difference,
            tensor.max_abs_difference,
            tensor.elements
        );
    }
    for line in &diff.other {
        say!("other     {line}");
    }
    say!("{} tensors changed, {} the same, {} other differences", diff.changed.len(), diff.unchanged, diff.other.len());
}
/// Extents that are tried in place of 2.
const LARGER: [usize; 5] = [4, 8, 16, 32, 64];

/// The flags that give all named open dimensions the first larger extent with which the model runs, if one does.
fn larger(graph: &Graph, runs: impl Fn(BTreeMap<String, usize>) -> bool) -> Option<String> {
    let dims = graph.inputs.iter().filter_map(|&input| graph.declared_dims(input)).flatten();
    let names: BTreeSet<&String> =
        dims.filter_map(|dim| if let Dim::Symbol(name) = dim { Some(name) } else { None }).collect();
    let given = |n: usize| names.iter().map(|name| (name.to_string(), n)).collect();
    let extent = LARGER.into_iter().filter(|_| !names.is_empty()).find(|&n| runs(given(n)))?;
    Some(names.iter().map(|name| format!("--dim {name}={extent}")).collect::<Vec<_>>().join(" "))
}
