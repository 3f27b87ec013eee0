//! Our side of `compare.py`: the steps of a run as users run it, without the checks around them.
//!
//! `steps [--cuda | --cuda-tf32] FOLDER STEPS THREADS` takes a folder that `workloads.py` wrote, and goes STEPS times (and once
//! before and after) through the method with the forget term active, then, from the file's weights again, as often with a τ at
//! which it is not.
//! `steps limits THREADS` measures what the machine can do. Both print JSON lines.

#![allow(clippy::indexing_slicing)]

use dfdx::tensor::Cpu;
use faer::{Accum, Mat, Par, linalg::matmul::matmul};
use onnx_forget::{
    Error, Result,
    data::{self, Data, DataConfig, Dataset, Request, Rows},
    engine::{keep_memory, scope},
    graph::{build, loss, parameters},
    kernels::Backend,
    limits::Limits,
    model::{Model, ModelOptions},
    onnx::{OnnxFile, ReadOptions},
    run,
    scope::install,
    unlearn::{self, BatchIter, Batches, Observer, Schedule, Settings, StepRecord},
};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// The file's rows in the file's order, again and again, so that the peer can take the same.
struct InOrder<'a> {
    data: &'a Data,
    batch: usize,
    steps: usize,
    /// τ is high, such that the forget term is active.
    active: bool,
}

impl InOrder<'_> {
    fn passes(&self, rows: &Rows) -> BatchIter {
        let (set, rows, batch) = (self.data.train.clone(), rows.clone(), self.batch);
        Box::new(std::iter::repeat_with(move || set.in_order(&rows, batch)).flatten().take(self.steps))
    }
}

impl Batches for InOrder<'_> {
    fn forget(&mut self, _: usize) -> Result<BatchIter> {
        let active = self.active;
        // The second batch is asked for when the first step has ended.
        let tell = move |(step, batch)| {
            if step == 1 && active {
                println!("{}", json!({ "event": "first_step" }));
            }
            batch
        };
        Ok(Box::new(self.passes(&self.data.forget).enumerate().map(tell)))
    }
    fn retain(&mut self, _: usize) -> Result<BatchIter> {
        Ok(self.passes(&self.data.retain))
    }
    fn validation(&mut self) -> Result<BatchIter> {
        let set: &Arc<Dataset> = if self.active { &self.data.validation } else { &self.data.test };
        Ok(Box::new(set.in_order(&Rows::all(set.len()), self.batch)))
    }
}

/// When each step was told of.
#[derive(Default)]
struct Clock(Vec<Instant>);

impl Observer for Clock {
    fn step(&mut self, _: &StepRecord, _: usize) -> Result<()> {
        self.0.push(Instant::now());
        Ok(())
    }
}

fn steps<D: Backend<f32>>(dev: D, folder: &Path, steps: usize) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let about: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("workload.json"))?)?;
    let batch = about["batch"].as_u64().ok_or("no batch size")? as usize;
    let table: toml::Table = std::fs::read_to_string(folder.join("model.forget.toml"))?.parse()?;
    let mut config = DataConfig {
        files: table["data"].clone().try_into()?,
        inputs: table["inputs"].clone().try_into()?,
        targets: Vec::new(),
        target: table["target"].clone().try_into()?,
    };
    config.resolve(folder);
    let file = OnnxFile::open(&folder.join("model.onnx"), &ReadOptions::default())?;
    let graph = build::build(&file)?;
    let plan = loss::plan(&graph, None, loss::LabelKind::Class)?;
    let request = Request { forget: vec![folder.join("forget.parquet").into()], ..Request::default() };
    let data = data::open(&config, &request, &run::signature(&graph, &plan))?;
    let decisions = parameters::decide(&graph, &plan, &[], &[])?;
    // One before, and one after: a step is told of when the next one has begun.
    let all = steps + 2;
    let settings = Settings {
        batch_size: Some(batch),
        epochs: Some(1),
        alpha: Some(0.25),
        // Small, such that losses stay on their side of τ.
        learning_rate: Some(1e-5),
        ..Settings::default()
    };
    let schedule = Schedule::new(&settings, all * batch, all * batch).published();
    for active in [true, false] {
        let mut model = Model::<f32, D>::build(&graph, &plan, &decisions, ModelOptions::default(), dev.clone())?;
        let mut clock = Clock::default();
        let mut batches = InOrder { data: &data, batch, steps: all, active };
        let run = unlearn::run(&mut model, &mut batches, &schedule, &mut clock)?;
        let (Some(first), Some(last), Some(timed)) = (clock.0.first(), clock.0.get(steps), run.steps.get(..=steps))
        else {
            return Err(Error::Internal("no steps".into()).into());
        };
        let losses: Vec<_> = timed.iter().map(|s| [s.forget_loss, s.retain_loss]).collect();
        let line = json!({
            "event": if active { "active" } else { "inactive" },
            "steps": losses.len(),
            "steps_with_forget_term": timed.iter().filter(|s| s.active).count(),
            "batch": batch,
            "trained": model.parameters().iter().map(|p| p.tensor.len()).sum::<usize>(),
            "tau": run.tau,
            "losses": losses,
            "steps_per_second": steps as f64 / (*last - *first).as_secs_f64(),
        });
        println!("{line}");
    }
    Ok(())
}

/// The best rate of `work`, which does `amount`, within a second.
fn best(amount: f64, mut work: impl FnMut()) -> f64 {
    let (mut least, begin) = (f64::MAX, Instant::now());
    while begin.elapsed() < Duration::from_secs(1) {
        let start = Instant::now();
        work();
        least = least.min(start.elapsed().as_secs_f64());
    }
    amount / least / 1e9
}

/// GFLOP/s of a product of matrices in the cache's reach, GB/s of `a = b + 3c` far outside of it.
fn limits(threads: usize) {
    const N: usize = 2048;
    let matrix = |k: usize| Mat::<f32>::from_fn(N, N, |i, j| ((i * 31 + j * 17 + k) % 101) as f32 / 101.0);
    let (a, b, mut c) = (matrix(1), matrix(2), matrix(3));
    let par = if threads == 1 { Par::Seq } else { Par::rayon(threads) };
    let gemm = best(2.0 * (N as f64).powi(3), || matmul(c.as_mut(), Accum::Replace, a.as_ref(), b.as_ref(), 1.0, par));
    const LONG: usize = 1 << 26;
    let (mut to, x, y) = (vec![0f32; LONG], vec![1f32; LONG], vec![2f32; LONG]);
    let triad = best((3 * 4 * LONG) as f64, || {
        let chunk = LONG / threads;
        to.par_chunks_mut(chunk).zip(x.par_chunks(chunk)).zip(y.par_chunks(chunk)).for_each(|((to, x), y)| {
            for ((to, x), y) in to.iter_mut().zip(x).zip(y) {
                *to = x + 3.0 * y;
            }
        });
    });
    println!("{}", json!({ "gemm_gflops": gemm, "triad_gbytes": triad }));
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let threads: usize = words.last().ok_or("how many threads?")?.parse()?;
    let scope = keep_memory(|| scope(Some(threads), Limits::default()))?;
    scope.enter(|| match words.as_slice() {
        ["limits", _] => {
            install(|| limits(threads));
            Ok(())
        }
        [folder, count, _] => steps(Cpu::default(), Path::new(folder), count.parse()?),
        #[cfg(feature = "cuda")]
        [on @ ("--cuda" | "--cuda-tf32"), folder, count, _] => {
            let device = dfdx::tensor::Cuda::try_build(0, 0).map_err(|e| format!("{e:?}"))?;
            use onnx_forget::engine::Precision;
            let precision = if *on == "--cuda-tf32" { Precision::Tf32 } else { Precision::F32 };
            let count = count.parse()?;
            precision.during(|| steps(device, Path::new(folder), count))
        }
        _ => Err("steps [--cuda | --cuda-tf32] FOLDER STEPS THREADS, or limits THREADS".into()),
    })
}
