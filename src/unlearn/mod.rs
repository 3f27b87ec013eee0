//! Unlearning: what is minimised, in which steps, with which step size.
//!
//! [`nabla_tau`] is the method (arXiv 2403.14339), [`schedule`] its rules for everything that other methods leave to the
//! user, [`optim`] its optimizer on dfdx, [`trace`] what is kept of a run.

pub mod nabla_tau;
pub mod optim;
pub mod schedule;
pub mod trace;

pub use nabla_tau::{Batches, run};
pub use schedule::{Schedule, Settings, StepSize};
pub use trace::{EpochRecord, Observer, StepRecord, Trajectory};
