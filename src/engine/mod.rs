//! dfdx as this program uses it: flat tensors with dimensions beside them, one tape a step, any dfdx device.

mod context;
mod float;
mod grads;
mod value;

pub use context::{Context, GradSink, Indices, KernelChoice, Slot};
pub use float::Float;
pub use grads::{Buffer, Grads};
pub use value::{Flat, Taped, Tensor, Value};
