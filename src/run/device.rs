//! The device of `--device`: is it there, and what its errors mean.

use crate::{
    error::{Error, Result},
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

/// How exactly matrix products are computed on an NVIDIA GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// Factors rounded to TF32 (10 bits of mantissa): several times faster.
    Tf32,
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

/// How matrix products are computed from here on; of no effect on a CPU.
pub(super) fn allow_tf32(precision: Precision) {
    #[cfg(feature = "cuda")]
    crate::kernels::cuda::allow_tf32(precision == Precision::Tf32);
    #[cfg(not(feature = "cuda"))]
    let _ = precision;
}

/// Fails before anything is read if the device cannot be used.
///
/// # Errors
/// [`Error::Device`], which says what to do.
pub fn check(device: DeviceChoice) -> Result<()> {
    match device {
        DeviceChoice::Cpu => Ok(()),
        DeviceChoice::Cuda(number) => {
            usable(number).map_err(|problem| Error::Device { device: device.to_string(), problem })
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
    guarded(choice, || {
        let device =
            dfdx::tensor::Cuda::try_build(number, seed).map_err(|e| Error::Internal(format!("device: {e:?}")))?;
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
    let result = crate::quiet::catch(f).unwrap_or_else(|panic| Err(Error::Internal(panic)));
    result.map_err(|e| told_apart(e, choice))
}

/// An error in which CUDA's name of an error stands, as what it means for the user.
pub(super) fn told_apart(error: Error, device: DeviceChoice) -> Error {
    if device == DeviceChoice::Cpu {
        return error;
    }
    let Error::Internal(text) = &error else { return error };
    let Some(name) = cuda_name(text) else { return error };
    let problem = match name {
        "CUDA_ERROR_OUT_OF_MEMORY" | "CUBLAS_STATUS_ALLOC_FAILED" => format!(
            "the GPU has too little memory ({name}); nothing was written. Use --micro-batch N, which runs N rows of a \
             batch at once, or a smaller --batch-size; and see in `nvidia-smi` whether others use the GPU"
        ),
        "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"
        | "CUDA_ERROR_INVALID_PTX"
        | "CUDA_ERROR_NO_BINARY_FOR_GPU"
        | "CUDA_ERROR_JIT_COMPILER_NOT_FOUND" => format!(
            "the driver cannot run this program's kernels ({name}): update the driver, or build the program with an \
             older CUDA toolkit"
        ),
        _ => return Error::Internal(format!("the GPU answers {name}: {text}")),
    };
    Error::Device { device: device.to_string(), problem }
}

/// The first name of an error of CUDA in `text`.
fn cuda_name(text: &str) -> Option<&str> {
    let starts = ["CUDA_ERROR_", "CUBLAS_STATUS_", "NVRTC_ERROR_"].into_iter().filter_map(|prefix| text.find(prefix));
    let rest = text.get(starts.min()?..)?;
    rest.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Error {
        told_apart(Error::Internal(text.into()), DeviceChoice::Cuda(1))
    }

    #[test]
    fn too_little_memory_is_no_defect() {
        for text in [
            "device: Driver(DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\"))",
            "called `Result::unwrap()` on an `Err` value: DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")",
            "device: Blas(CublasError(CUBLAS_STATUS_ALLOC_FAILED))",
        ] {
            let error = of(text);
            assert_eq!(error.exit_code(), 2);
            let said = error.to_string();
            assert!(said.starts_with("--device cuda:1: ") && said.contains("--micro-batch"), "{said}");
        }
    }

    #[test]
    fn other_errors_keep_their_kind() {
        let fault = of("device: Driver(DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, \"an illegal address\"))");
        assert_eq!(fault.exit_code(), 1);
        assert!(fault.to_string().contains("answers CUDA_ERROR_ILLEGAL_ADDRESS:"), "{fault}");
        assert_eq!(of("Driver(DriverError(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, \"\"))").exit_code(), 2);
        assert_eq!(
            of("reshape of [2] to [3]").to_string(),
            Error::Internal("reshape of [2] to [3]".into()).to_string()
        );
        let data = told_apart(Error::Data("column CUDA_ERROR_OUT_OF_MEMORY".into()), DeviceChoice::Cuda(0));
        assert_eq!(data.exit_code(), 4);
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert!(check(DeviceChoice::Cpu).is_ok());
    }
}
