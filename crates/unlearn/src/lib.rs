//! Unlearning: the objective, the steps, and the learning rate.
//!
//! [`nabla_tau`] is the method (arXiv 2403.14339). [`schedule`] has its rules for everything that other methods leave
//! to the user, [`optim`] its optimizer on dfdx, [`trace`] the record of a run. [`method`] is what all methods have in
//! common, [`baselines`] the methods that ∇τ is compared with. [`fit`] trains models from the beginning or
//! further.

pub mod baselines;
mod batches;
mod cycle;
pub mod fit;
pub mod method;
pub mod nabla_tau;
pub mod optim;
pub mod own;
mod recorder;
pub mod schedule;
pub mod sgd;
pub mod trace;
mod version;

pub use batches::{BatchIter, Batches};
pub use fit::{Recipe, RecipeSettings};
pub use method::{Method, MethodName, MethodSettings, Set, Sets, Wanted};
pub use nabla_tau::run;
pub use schedule::{Schedule, Settings, StepSize};
pub use trace::{EpochRecord, Observer, StepRecord, Trajectory};
pub use version::Version;

pub use onnx_forget_base::{Error, Result};
use onnx_forget_base::{batch, error};
use onnx_forget_kernels::{engine, kernels};
use onnx_forget_model::model;
