//! The flow: what a run does from a model's file and rows to a report, without a command line.
//!
//! [`Options`] say what is wanted, an [`Observer`] is told how far it is, and a [`Stop`] ends it from outside. [`Job`] is a
//! model with its rows, opened and checked; [`forget`] shows the whole flow of the main job on one page. [`audit`],
//! [`compare`], [`train`], [`verify`] and [`inspect`] are the other things that can be done with a model.

pub mod audit;
pub mod compare;
mod destination;
mod device;
mod drift;
mod events;
pub mod forget;
pub mod init;
pub mod inspect;
mod job;
mod known;
mod measure;
mod methods;
mod options;
mod read;
mod reference;
mod rows;
mod sections;
mod signature;
mod staged;
pub mod train;
pub mod verify;

pub use crate::{
    audit::Gates,
    data::{DataConfig, Files, InputConfig, Places, TargetConfig},
    engine::{KernelChoice, Precision, keep_memory, refused, scope},
    error::{Error, Result},
    graph::loss::LossKind,
    limits::Limits,
    model::BatchNorm,
    ops::{Gradient, specs as operators},
    parity::{Library, Runtimes, Search},
    scope::Scope,
    scratch::abandon,
    unlearn::{
        EpochRecord, MethodName, RecipeSettings, Settings, StepRecord, StepSize,
        fit::{OptimizerName, RateSchedule},
    },
};
pub use destination::{Destination, sibling};
pub use device::{DeviceChoice, check as check_device};
pub use events::{Event, Observer, Stop};
pub use job::Job;
pub use options::{Options, ParitySettings};
pub use signature::{label_kind, signature};
pub use staged::{REPORT, cannot_write, require_ours};
