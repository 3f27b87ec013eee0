//! The model as a graph of named values: what an ONNX file means, free of protobuf and of dfdx.
//!
//! [`build`](build::build) makes it from a file: functions inlined, nodes in order of execution, every node with the
//! version of its operator set. [`loss`] finds the forward part and the loss, [`parameters`] the initializers to train.

mod attr;
mod batch_axis;
pub mod build;
mod expected;
pub mod facts;
pub mod fold;
pub mod forms;
pub mod fuse;
pub mod given;
mod gradient;
pub mod halves;
pub mod initial;
pub mod input_scale;
mod ir;
mod links;
pub mod loss;
mod order;
pub mod parameters;
pub mod row_axis;
pub mod scale;
mod shapes;
pub mod tables;
#[doc(hidden)]
pub mod testing;
mod trainable_model;
pub mod undecided;
mod unfilled;
mod unroll;

pub use ir::{Attr, Dim, Graph, Initializer, Node, TypeInfo, ValueId, ValueInfo};
pub use links::{Links, MOST_ELEMENTS};
pub use trainable_model::TrainableModel;
