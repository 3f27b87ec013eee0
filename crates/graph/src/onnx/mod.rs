//! ONNX files as files: protobuf messages, stored tensors, external data, and where every element lies.
//!
//! - [`OnnxFile::open`] maps a file, proves its layout and decodes the messages ([`proto`]).
//! - [`OnnxFile::tensor`] decodes a tensor in any storage form.
//! - [`span::Spans::scan`] finds the bytes that hold the elements, which is what write-back changes.
//! - [`operators`] says what the inputs of each operator are for.
//! - [`artifacts::open`] does the same where the weights lie in a [`checkpoint`] beside the model.
//!
//! Files are not trusted. Every length is held against what is there before anything is allocated, nesting is bounded,
//! and external data follows the rules in [`external_data`]. Whatever is wrong is [`Error::Malformed`](crate::Error).

pub mod artifacts;
mod assemble;
pub mod attributes;
pub mod checkpoint;
pub mod external_data;
mod layout;
mod load;
mod open_beneath;
pub mod operators;
pub mod proto;
mod prune;
mod recognize;
mod scan;
pub mod span;
mod tensor;
#[cfg(test)]
mod tests;
pub mod wire;

pub use load::{Carrier, FileIdentity, OnnxFile, ReadOptions, folder_of};
pub use prune::drop_unused_nodes;
pub use tensor::element_count;
