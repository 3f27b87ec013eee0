//! Whether a GPU can be used, asked before dfdx panics where one cannot.

use super::{
    driver::{cuDeviceGet, cuDeviceGetAttribute, cuDeviceGetCount, cuDriverGetVersion, cuGetErrorName, cuInit},
    loaded::Library,
    nvrtc::nvrtcVersion,
};
use std::ffi::{CStr, c_int, c_uint};

/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR`.
const CAPABILITY: [c_uint; 2] = [75, 76];

/// The compute capability that kernels were compiled for, as in `90`; unknown where they were only type-checked.
const BUILT_FOR: Option<&str> = option_env!("ONNX_FORGET_COMPUTE_CAP");

/// Finds the libraries, and whether GPU `number` is there and can run this build's kernels.
///
/// # Errors
/// What is missing, and what to do.
pub fn check(number: usize) -> Result<(), String> {
    for library in [Library::Driver, Library::Blas, Library::Nvrtc] {
        library.get()?;
    }
    // SAFETY: as CUDA documents these functions: cuInit comes first, and places to write to are valid.
    let (version, count) = unsafe {
        answered("cuInit", cuInit(0))?;
        let (mut version, mut count) = (0, 0);
        answered("cuDriverGetVersion", cuDriverGetVersion(&mut version))?;
        answered("cuDeviceGetCount", cuDeviceGetCount(&mut count))?;
        (version, count)
    };
    if let Some(compiler) = compiler_version().filter(|compiler| *compiler > version) {
        return Err(format!(
            "the driver is for CUDA {}, and NVRTC is of CUDA {}: update the driver, or set ONNX_FORGET_CUDA_LIBRARIES \
             to a folder with older libraries",
            release(version),
            release(compiler)
        ));
    }
    let device = c_int::try_from(number).ok().filter(|n| *n < count);
    let device = device.ok_or_else(|| no_such_device(count))?;
    let mut handle = 0;
    // SAFETY: as above.
    answered("cuDeviceGet", unsafe { cuDeviceGet(&mut handle, device) })?;
    let mut capability = [0; 2];
    for (attribute, value) in CAPABILITY.into_iter().zip(&mut capability) {
        // SAFETY: as above.
        answered("cuDeviceGetAttribute", unsafe { cuDeviceGetAttribute(value, attribute, handle) })?;
    }
    let [major, minor] = capability;
    match BUILT_FOR.and_then(|built| built.parse().ok()) {
        Some(built) if 10 * major + minor < built => Err(format!(
            "its compute capability is {major}.{minor}, and this program was built for {}.{}: build it with \
             CUDA_COMPUTE_CAP={major}{minor}",
            built / 10,
            built % 10
        )),
        _ => Ok(()),
    }
}

fn no_such_device(count: c_int) -> String {
    match count {
        0 => {
            "the driver finds no GPU; if CUDA_VISIBLE_DEVICES is set, see that it names one; or use --device cpu".into()
        }
        1 => "there is no such GPU; the only one is cuda:0".into(),
        n => format!("there is no such GPU; there are cuda:0 to cuda:{}", n - 1),
    }
}

/// NVRTC's version, as the driver counts: 13000 is 13.0.
fn compiler_version() -> Option<c_int> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both are valid for writes.
    let code = unsafe { nvrtcVersion(&mut major, &mut minor) };
    (code == 0).then_some(1000 * major + 10 * minor)
}

fn release(version: c_int) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

/// `code` as a result; the error names it as CUDA does.
fn answered(function: &str, code: c_int) -> Result<(), String> {
    if code == 0 {
        return Ok(());
    }
    let mut name = std::ptr::null();
    // SAFETY: cuGetErrorName gives a C string that lives as long as the process.
    let name = unsafe {
        cuGetErrorName(code.unsigned_abs(), &mut name);
        CStr::from_ptr(name).to_string_lossy()
    };
    Err(match name.as_ref() {
        "CUDA_ERROR_NO_DEVICE" => no_such_device(0),
        name => format!("{function} answers {name}; see whether `nvidia-smi` finds the GPU, or use --device cpu"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::nvrtc::*;
    use super::*;
    use std::ffi::c_char;

    /// Compiles `source` for a GPU that need not be there.
    fn compiles(source: &CStr) -> Result<(), String> {
        let options = [c"--gpu-architecture=compute_90".as_ptr()];
        let mut program = std::ptr::null_mut();
        // SAFETY: as NVRTC documents these functions.
        unsafe {
            let (none, name) = (std::ptr::null(), c"kernel.cu".as_ptr());
            assert_eq!(nvrtcCreateProgram(&mut program, source.as_ptr(), name, 0, none, none), 0);
            let code = nvrtcCompileProgram(program, 1, options.as_ptr());
            let mut size = 0;
            assert_eq!(nvrtcGetProgramLogSize(program, &mut size), 0);
            let mut log = vec![0u8; size];
            assert_eq!(nvrtcGetProgramLog(program, log.as_mut_ptr().cast::<c_char>()), 0);
            assert_eq!(nvrtcDestroyProgram(&mut program), 0);
            if code == 0 { Ok(()) } else { Err(String::from_utf8_lossy(&log).into_owned()) }
        }
    }

    /// Needs NVRTC, and no GPU.
    #[test]
    fn headers_of_dfdx_are_at_hand() {
        if Library::Nvrtc.get().is_err() {
            return;
        }
        let body = c"
            #include \"cuda_utils.cuh\"
            extern \"C\" __global__ void f(const size_t n, const size_t *info, const double *x, double *y) {
                y[get_strided_index(threadIdx.x, n, info, info + n)] = x[threadIdx.x];
            }";
        assert_eq!(compiles(body), Ok(()));
        assert_eq!(compiles(c"#include \"cuda_fp16.h\"\nextern \"C\" __global__ void f() {}"), Ok(()));
        let error = compiles(c"#include \"other.cuh\"\nextern \"C\" __global__ void f() {}").unwrap_err();
        assert!(error.contains("other.cuh"), "{error}");
    }

    #[test]
    fn what_is_not_there_is_said() {
        if Library::Driver.get().is_err() {
            let error = check(0).unwrap_err();
            assert!(error.contains("libcuda.so.1"), "{error}");
            // SAFETY: both places are valid for writes.
            unsafe {
                let (mut count, mut name) = (0, std::ptr::null());
                assert_eq!(cuDeviceGetCount(&mut count), 100);
                assert_eq!(cuGetErrorName(100, &mut name), 0);
                assert!(!name.is_null());
            }
        }
        let error = check(usize::MAX).unwrap_err();
        assert!(!error.is_empty());
        assert_eq!(release(13020), "13.2");
    }
}
