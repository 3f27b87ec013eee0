//! Parity of a model with other runtimes, or what differs between two models.

use super::{
    events::{Observer, Stop, Watch},
    options::Options,
    read::{self, Look, ReadModel},
    rows::runtime_batches,
};
use crate::{
    data::{self, Batch, Places},
    error::{Error, Result},
    graph::{Dim, Graph, TrainableModel, given},
    model::ModelOptions,
    onnx::{OnnxFile, ReadOptions},
    parity::{
        self, GradientOptions,
        verify::{Candidate, RandomRows},
    },
    scope, writeback,
};
pub use crate::{parity::verify::Verification, writeback::ModelDiff};
use dfdx::tensor::Cpu;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// What is checked.
#[derive(Clone, Debug)]
pub struct Checks {
    /// Rows to compare on; seeded random ones if not given.
    pub rows: Option<Places>,
    /// As many of them.
    pub samples: usize,
    /// Whether to name the first node that differs also where the outputs agree.
    pub locate: bool,
}

/// Random rows are alike: more of them show no more, and models without a free row axis take one at a time.
const RANDOM_ROWS: usize = 16;

/// What differs between the models at two paths.
///
/// # Errors
/// Those of reading a model.
pub fn diff(model: &Path, other: &Path, allow_symlink_inside: bool) -> Result<ModelDiff> {
    let options = ReadOptions { allow_symlink_inside };
    writeback::diff(&OnnxFile::open(model, &options)?, &OnnxFile::open(other, &options)?)
}

/// Holds outputs and gradients against other runtimes'. A check that ran and failed is in the result.
///
/// # Errors
/// Those of reading model and rows, and of the runtimes.
pub fn verify(options: &Options, checks: &Checks, stop: &Stop, observer: &mut dyn Observer) -> Result<Verification> {
    options.scope()?.enter(|| checked(options, checks, stop, observer))
}

fn checked(options: &Options, checks: &Checks, stop: &Stop, observer: &mut dyn Observer) -> Result<Verification> {
    let opened = read::open(options)?;
    options.require_cpu("verify")?;
    let seed = options.seed;
    let (subject, given) = match &checks.rows {
        None => (ReadModel::new(opened, options, Look::Nowhere)?.unlabeled()?, None),
        Some(places) => {
            let read = ReadModel::new(opened, options, Look::Rows(places))?;
            let opened = data::open_rows(&options.data, places, &read.signature())?;
            (read.labeled(opened.target, &opened.targets)?, Some(opened.rows))
        }
    };
    let TrainableModel { file, graph, plan, decisions } = &subject;
    let watch = RefCell::new(Watch::new(observer, stop));
    let tell = |done, of| watch.borrow_mut().gradient(done, of);
    let model = ModelOptions { kernels: options.kernels, seed, ..ModelOptions::default() };
    let candidate = Candidate { file, graph, plan, decisions, options: model, locate: checks.locate, watch: &tell };
    let model = candidate.model(Cpu::default())?;
    let batches: Vec<Batch> = match given {
        Some(rows) => runtime_batches(graph, None, &rows, checks.samples, seed)?,
        None => {
            // What --dim gives is in the graph.
            let random = |dims| RandomRows { dims, rows: checks.samples.min(RANDOM_ROWS), seed };
            candidate.random_batches(&model, &random(BTreeMap::new())).map_err(|e| match e {
                Error::Node { node, op, problem } => {
                    let runs = larger(graph, |dims| candidate.random_batches(&model, &random(dims)).is_ok());
                    let tried = runs.map_or(String::new(), |flags| format!("; it runs with {flags}"));
                    let open = given::open(graph);
                    let hint = format!("open extents of random rows are 2; give others by --dim ({open}){tried}");
                    Error::Node { node, op, problem: format!("{problem}; {hint}") }
                }
                e => e,
            })?
        }
    };
    let settings = parity::Settings {
        runtimes: options.runtime,
        threads: scope::threads(),
        tolerance: options.parity.tolerance(),
        gradient: GradientOptions { seed, ..GradientOptions::default() },
        guard: options.guard(),
        ..parity::Settings::from_environment(options.offline)
    };
    if checks.rows.is_some() {
        batches.first().map_or(Ok(()), |rows| model.require_independent_rows(rows))?;
    }
    let mut found = candidate.verify(&model, &batches, &settings)?;
    if let (true, Some(forward)) = (checks.rows.is_none(), found.forward.as_mut().filter(|forward| !forward.passed)) {
        forward.verdict.push_str("; the rows are random, and may be none that the model can meet: give --data");
    }
    Ok(found)
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
