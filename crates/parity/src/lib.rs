//! Are we onnxruntime? Outputs and gradients of the model under test, held against other runtimes.
//!
//! - [`Parity::before`]: our outputs against onnxruntime's and tract's on real rows, before anything is changed.
//! - [`Parity::gradient`]: our gradient against the slopes of onnxruntime's loss.
//! - [`Parity::locate`]: the first node that does not compute what onnxruntime computes from the same values.
//! - [`Parity::after`]: the written file through onnxruntime against the model in memory.
//!
//! onnxruntime is found by [`ort_library`]; tract is part of the program. A runtime is given the model's own file, or
//! a temporary copy set to inference (`prepare`).

mod bisect;
mod chained;
mod check;
pub mod compare;
mod conditioning;
mod direction;
pub mod gradient;
pub mod guard;
mod halves;
pub mod inputs;
mod linear;
mod locate;
mod loss;
mod moving;
mod ort;
mod ort_fetch;
pub mod ort_library;
mod ours;
mod prepare;
mod random;
mod record;
mod slopes;
mod tract;
pub mod verify;
mod work;

pub use check::Parity;
pub use compare::{Comparison, Outputs, ScoreOutput, Tolerance};
pub use direction::Movable;
pub use gradient::{Direction, GradientOptions, GradientReport};
pub use guard::Guard;
pub use halves::{Allowed, Rounding};
pub use locate::{Disagreement, Located};
pub use ort::{Library, OrtRunner};
pub use ort_library::Search;
pub use ours::Subject;
pub use record::{BetweenRuntimes, NotAvailable, ParityReport, RuntimeReport};
pub use slopes::Slopes;
pub use tract::TractRunner;
pub use work::Work;

pub use onnx_forget_base::{Error, Result};
use onnx_forget_base::{batch, each, error, python, quiet, tensor};
use onnx_forget_graph::{graph, onnx, scratch, writeback};
use onnx_forget_kernels::{engine, kernels};
use onnx_forget_model::model;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tensor::HostTensor;

/// Something that runs a model.
pub trait Runner {
    /// What it is called.
    fn name(&self) -> &'static str;
    /// Its version.
    fn version(&self) -> String;
    /// All outputs of the graph for these inputs.
    ///
    /// # Errors
    /// What the runtime says, in a sentence.
    fn run(&self, inputs: &BTreeMap<String, HostTensor>) -> Result<Outputs, String>;
}

/// Which runtimes to compare with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtimes {
    /// onnxruntime, which must be present, and also tract if it supports the model.
    #[default]
    Both,
    /// onnxruntime only.
    Ort,
    /// tract only; onnxruntime may be absent.
    Tract,
}

/// How parity is checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which runtimes.
    pub runtimes: Runtimes,
    /// Where onnxruntime may be.
    pub search: Search,
    /// Tries the model out before onnxruntime runs it in this process.
    pub guard: Guard,
    /// Threads of onnxruntime; 0 leaves it to it.
    pub threads: usize,
    /// How far outputs may differ.
    pub tolerance: Tolerance,
    /// The gradient check.
    pub gradient: GradientOptions,
    /// The gradient check takes no more rows than this.
    pub gradient_rows: usize,
}

impl Settings {
    /// Defaults, with the search that this process' environment gives.
    pub fn from_environment(offline: bool) -> Self {
        Self {
            runtimes: Runtimes::default(),
            search: Search::from_environment(offline),
            guard: Guard::default(),
            threads: 0,
            tolerance: Tolerance::RUNTIMES,
            gradient: GradientOptions::default(),
            gradient_rows: 64,
        }
    }
}
