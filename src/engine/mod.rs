//! dfdx as this program uses it: flat tensors with dimensions beside them, one tape a step, any dfdx device.

mod context;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(any(feature = "cuda", test))]
pub(crate) mod cuda_libraries;
mod float;
mod grads;
mod memory;
mod sink;
mod value;

pub use context::{Context, Indices, KernelChoice};
#[cfg(feature = "cuda")]
pub use cuda::{Address, DeviceSlot};
pub use float::Float;
pub use grads::{Buffer, Grads};
pub use memory::start_pool;
pub use sink::{GradSink, Slot};
pub use value::{Flat, Taped, Tensor, Value};
