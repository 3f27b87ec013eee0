//! dfdx as this program uses it: flat tensors with dimensions beside them, one tape a step, any dfdx device.

mod context;
mod float;
mod grads;
mod memory;
mod sink;
mod value;

pub use context::{Context, Indices, KernelChoice};
pub use float::Float;
pub use grads::{Buffer, Grads};
pub use memory::start_pool;
pub use sink::{GradSink, Slot};
pub use value::{Flat, Taped, Tensor, Value};
