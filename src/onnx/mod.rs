//! ONNX files as files: protobuf messages, stored tensors, external data, and where every element lies.
//!
//! - [`OnnxFile::open`] maps a file, proves its layout and decodes the messages ([`proto`]).
//! - [`OnnxFile::tensor`] decodes a tensor in any storage form.
//! - [`span::Spans::scan`] finds the bytes that hold the elements, which is what write-back changes.
//!
//! Files are not trusted. Every length is held against what is there before anything is allocated, nesting is bounded,
//! and external data follows the rules in [`external_data`]. Whatever is wrong is [`Error::Malformed`](crate::Error).

mod assemble;
pub mod external_data;
mod layout;
mod load;
mod open_beneath;
pub mod proto;
mod recognise;
mod scan;
pub mod span;
mod tensor;
#[cfg(test)]
mod tests;
pub mod wire;

pub use load::{FileIdentity, OnnxFile, ReadOptions, folder_of};
pub use tensor::element_count;
