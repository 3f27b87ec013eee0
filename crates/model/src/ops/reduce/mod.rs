//! Reductions over axes.

pub mod arg;
pub mod integer;
pub mod reduction;
