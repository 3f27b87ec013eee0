//! Unlearning: what is minimised, in which steps, with which step size.
//!
//! [`nabla_tau`] is the method (arXiv 2403.14339), [`schedule`] its rules for everything that other methods leave to the
//! user, [`optim`] its optimizer on dfdx, [`trace`] what is kept of a run. [`method`] is what it has in common with the methods that it
//! is compared with ([`baselines`]); [`training`] makes models, to be compared with or from scratch.

pub mod baselines;
mod cycle;
pub mod method;
pub mod nabla_tau;
pub mod optim;
mod recorder;
pub mod schedule;
pub mod sgd;
pub mod trace;
pub mod training;

pub use method::{Described, Method, MethodName, Set, Sets, Wanted};
pub use nabla_tau::{Batches, run};
pub use schedule::{Schedule, Settings, StepSize};
pub use trace::{EpochRecord, Observer, StepRecord, Trajectory};
pub use training::{Recipe, RecipeSettings};
