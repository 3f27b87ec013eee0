//! The model as a graph of named values: what an ONNX file means, free of protobuf and of dfdx.
//!
//! [`build`](build::build) makes it from a file: functions inlined, nodes in order of execution, every node with the
//! version of its operator set. [`training`] finds the forward part, the loss and the trainable initializers.

mod ir;

pub use ir::{Attr, Dim, Graph, Initializer, Node, TypeInfo, ValueId, ValueInfo};
