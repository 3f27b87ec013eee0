//! The device that was asked for.

use super::args::DeviceChoice;
use crate::{error::Result, kernels::Backend};
use dfdx::tensor::Cpu;

/// Work for any device.
pub trait Work {
    /// Does it.
    fn on<D: Backend<f32>>(self, device: D) -> Result<()>;
}

/// Does `work` on the device.
///
/// # Errors
/// [`crate::Error::Usage`] for a GPU that there is not, or that this program was built without.
pub fn on_device(choice: DeviceChoice, seed: u64, work: impl Work) -> Result<()> {
    match choice {
        DeviceChoice::Cpu => work.on(Cpu::default()),
        DeviceChoice::Cuda(n) => on_cuda(n, seed, work),
    }
}

#[cfg(feature = "cuda")]
fn on_cuda(n: usize, seed: u64, work: impl Work) -> Result<()> {
    let device = dfdx::tensor::Cuda::try_build(n, seed)
        .map_err(|e| crate::Error::Usage(format!("--device cuda:{n}: {e:?}; use --device cpu")))?;
    work.on(device)
}

#[cfg(not(feature = "cuda"))]
fn on_cuda(_: usize, _: u64, _: impl Work) -> Result<()> {
    let problem = "this program was built without CUDA: build it with --features cuda, or use --device cpu";
    Err(crate::Error::Usage(problem.into()))
}
