//! The device of `--device`: is it there, and what its errors mean.

use crate::{
    error::{DeviceFailure, DeviceFault, Error, Result},
    kernels::Backend,
};
use dfdx::tensor::Cpu;
use std::str::FromStr;

/// Device to run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The CPU.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s.split_once(':') {
            None if s == "cpu" => Ok(Self::Cpu),
            None if s == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", n)) => n.parse().map(Self::Cuda).map_err(|_| format!("{n} is not a device number")),
            _ => Err("expected cpu, cuda or cuda:N".into()),
        }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

/// Work for any device.
pub(super) trait Work {
    /// What comes of it.
    type Output;
    /// Does it.
    fn on<D: Backend<f32>>(self, device: D) -> Result<Self::Output>;
}

/// Does `work` on the device.
///
/// # Errors
/// Those of the work, and [`Error::Device`] for a GPU that cannot be used.
pub(super) fn on_device<W: Work>(choice: DeviceChoice, seed: u64, work: W) -> Result<W::Output> {
    match choice {
        DeviceChoice::Cpu => work.on(Cpu::default()),
        #[cfg(feature = "cuda")]
        DeviceChoice::Cuda(n) => on_cuda(n, seed, |device| work.on(device)),
        #[cfg(not(feature = "cuda"))]
        DeviceChoice::Cuda(_) => {
            let _ = seed;
            Err(check(choice).err().unwrap_or_else(|| Error::Internal("no such device".into())))
        }
    }
}

/// Fails before anything is read if the device cannot be used.
///
/// # Errors
/// [`Error::Device`], which says what to do.
pub fn check(device: DeviceChoice) -> Result<()> {
    match device {
        DeviceChoice::Cpu => Ok(()),
        DeviceChoice::Cuda(number) => {
            usable(number).map_err(|problem| Error::Device { device: device.to_string(), problem, source: None })
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn usable(_: usize) -> Result<(), String> {
    Err("this program was built without CUDA: build it with --features cuda, or use --device cpu".into())
}

#[cfg(feature = "cuda")]
use crate::engine::cuda_libraries::check as usable;

/// Runs `f` on GPU `number`.
///
/// # Errors
/// Those of `f`, as [`guarded`] tells them.
#[cfg(feature = "cuda")]
fn on_cuda<T>(number: usize, seed: u64, f: impl FnOnce(dfdx::tensor::Cuda) -> Result<T>) -> Result<T> {
    let choice = DeviceChoice::Cuda(number);
    check(choice)?;
    // This thread's last job may have been on another GPU.
    crate::kernels::cuda::leave();
    guarded(choice, || {
        let device = dfdx::tensor::Cuda::try_build(number, seed).map_err(crate::engine::device_error)?;
        f(device)
    })
}

/// Runs what works with a model on the device. dfdx panics in places where a GPU answers with an error: those panics become
/// errors.
///
/// # Errors
/// Those of `f`, with the GPU's told apart: too little memory, kernels that it cannot run, and all others.
pub(super) fn guarded<T>(choice: DeviceChoice, f: impl FnOnce() -> Result<T>) -> Result<T> {
    if choice == DeviceChoice::Cpu {
        return f();
    }
    crate::quiet::catch(f).unwrap_or_else(|panic| Err(panicked(panic))).map_err(|e| told_apart(e, choice))
}

/// What a panic of dfdx means. Nothing but its text is left of the error that it unwrapped.
fn panicked(text: String) -> Error {
    match cuda_name(&text).map(str::to_owned) {
        Some(name) => Error::DeviceFailed(DeviceFailure::named(&name, text)),
        None => Error::Internal(text),
    }
}

/// What a GPU answered, as what it means for the user.
pub(super) fn told_apart(error: Error, device: DeviceChoice) -> Error {
    let (Error::DeviceFailed(failure), true) = (&error, device != DeviceChoice::Cpu) else { return error };
    let Some(name) = &failure.name else { return error };
    let problem = match failure.fault {
        DeviceFault::Memory => format!(
            "the GPU has too little memory ({name}); nothing was written. Use --micro-batch N, which runs N rows of a \
             batch at once, or a smaller --batch-size; and see in `nvidia-smi` whether others use the GPU"
        ),
        DeviceFault::Kernels => format!(
            "the driver cannot run this program's kernels ({name}): update the driver, or build the program with an \
             older CUDA toolkit"
        ),
        DeviceFault::Other => {
            let text = format!("the GPU answers {name}: {}", failure.text);
            return Error::DeviceFailed(DeviceFailure { text, ..failure.clone() });
        }
    };
    Error::Device { device: device.to_string(), problem, source: Some(failure.clone()) }
}

/// The first name of an error of CUDA in the text of a panic.
fn cuda_name(text: &str) -> Option<&str> {
    let starts = ["CUDA_ERROR_", "CUBLAS_STATUS_", "NVRTC_ERROR_"].into_iter().filter_map(|prefix| text.find(prefix));
    let rest = text.get(starts.min()?..)?;
    rest.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    fn of(name: &str) -> Error {
        let failure = DeviceFailure::named(name, format!("device: Driver(DriverError({name}))"));
        told_apart(Error::DeviceFailed(failure), DeviceChoice::Cuda(1))
    }

    #[test]
    fn too_little_memory_is_no_defect() {
        let panic =
            "called `Result::unwrap()` on an `Err` value: DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";
        let panics = guarded(DeviceChoice::Cuda(1), || -> Result<()> { std::panic::panic_any(panic.to_owned()) });
        for error in [of("CUDA_ERROR_OUT_OF_MEMORY"), of("CUBLAS_STATUS_ALLOC_FAILED"), panics.unwrap_err()] {
            assert_eq!(error.exit_code(), 2);
            let said = error.to_string();
            assert!(said.starts_with("--device cuda:1: ") && said.contains("--micro-batch"), "{said}");
            // A caller finds out by type.
            let source = error.source().and_then(|source| source.downcast_ref::<DeviceFailure>()).unwrap();
            assert_eq!(source.fault, DeviceFault::Memory);
        }
    }

    #[test]
    fn other_errors_keep_their_kind() {
        let fault = of("CUDA_ERROR_ILLEGAL_ADDRESS");
        assert_eq!(fault.exit_code(), 1);
        assert!(fault.to_string().contains("internal error: the GPU answers CUDA_ERROR_ILLEGAL_ADDRESS: "), "{fault}");
        assert_eq!(of("CUDA_ERROR_UNSUPPORTED_PTX_VERSION").exit_code(), 2);
        // An error that only speaks of one is none of the device.
        let gpu = DeviceChoice::Cuda(0);
        let ours = told_apart(Error::Internal("reshape to CUDA_ERROR_OUT_OF_MEMORY".into()), gpu);
        assert!(matches!(ours, Error::Internal(_)));
        assert_eq!(told_apart(Error::Data("column CUDA_ERROR_OUT_OF_MEMORY".into()), gpu).exit_code(), 4);
        let unnamed = Error::DeviceFailed(DeviceFailure::unnamed("device: WrongNumElements".into()));
        assert_eq!(unnamed.to_string(), "internal error: device: WrongNumElements; please report it");
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert!(check(DeviceChoice::Cpu).is_ok());
    }
}
