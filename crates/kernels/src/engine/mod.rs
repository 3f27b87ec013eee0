//! dfdx as this program uses it: flat tensors with dimensions beside them, one tape a step, any dfdx device.

mod allocator;
mod context;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(any(feature = "cuda", test))]
pub mod cuda_libraries;
mod failure;
mod float;
mod grads;
mod limit;
mod memory;
mod precision;
mod sink;
mod value;

pub use allocator::{Allocator, refused};
pub use context::{Context, Indices, KernelChoice};
#[cfg(feature = "cuda")]
pub use cuda::{Address, DeviceSlot};
pub use failure::device_error;
pub use float::Float;
pub use grads::{Buffer, Grads};
pub use limit::require_memory;
pub use memory::{handing_back, keep_memory, scope};
pub use precision::Precision;
pub use sink::{GradSink, Slot};
pub use value::{Flat, Taped, Tensor, Value};
