//! Rows: where they come from, which are to be forgotten, how they become batches.
//!
//! [`open`] takes paths and a model's [`Signature`] and gives [`Data`]: three [`Dataset`]s and the rows to forget. What
//! the configuration does not say is inferred and noted, or asked for by name. A [`Dataset`] that fits in memory is
//! kept decoded; a larger one is read by row groups (see [`Dataset::shuffled`] for the order). Batches are made by a
//! background thread ahead of whoever takes them.
//!
//! Nothing here ever shows an id, a label or a feature value: messages say columns and counts.

mod bind;
mod column;
mod config;
mod dataset;
mod decode;
pub mod digest;
mod fault;
mod id_set;
pub mod ids;
mod join;
mod list;
mod memory;
mod near;
mod open;
mod open_training;
mod path;
mod places;
mod rows;
mod signature;
mod source;
mod split;
mod stream;

pub use bind::{BoundTarget, Note, fed_names, label_facts};
pub use config::{
    ChannelOrder, Channels, DataConfig, Extent, Files, Fixed, InputConfig, InputKind, Interpolation, PerChannel,
    TargetConfig,
};
pub use dataset::Dataset;
pub use decode::{Derived, Feed, Numbers, Pictures, Plan, Rule, TargetFeed, Tokens};
#[cfg(feature = "fuzzing")]
pub use decode::{Picture, look, open_image};
#[cfg(feature = "fuzzing")]
pub use list::Lists;
pub use memory::{Element, Id, MemoryTable, column_of};
pub use open::{Counts, Data, MissingIds, OpenedRows, Request, open, open_rows};
pub use open_training::{TrainingData, open_training};
pub use places::Places;
pub use rows::Rows;
pub use signature::{InputSpec, Signature};
pub use source::{Piece, Source};
pub use stream::{Batches, stream};

pub use arrow_array;
pub use ndarray;
pub use onnx_forget_base::{
    Error, Result,
    batch::{Augment, Batch, IGNORED, ImageInput, Layout, Reduction, TargetKind, Targets, epoch_seed},
};
use onnx_forget_base::{label_facts, nearest, quiet, tensor};
