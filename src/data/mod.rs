//! Rows: where they come from, which are to be forgotten, how they become batches.

mod batch;

pub use batch::{Batch, Targets};
