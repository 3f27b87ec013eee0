//! NVRTC's functions.
#![allow(non_snake_case)]

use super::loaded::{Library, Ptr, answer, answer_of_release, forward};
use std::{
    ffi::{CStr, c_char, c_int, c_void},
    sync::atomic::AtomicPtr,
};

/// `NVRTC_ERROR_INTERNAL_ERROR`.
const INTERNAL_ERROR: c_int = 11;

forward! { Library::Nvrtc, missing INTERNAL_ERROR, answer;
    nvrtcVersion(major: *mut c_int, minor: *mut c_int);
    nvrtcGetNumSupportedArchs(count: *mut c_int);
    nvrtcGetSupportedArchs(all: *mut c_int);
    nvrtcCompileProgram(program: Ptr, count: c_int, options: *const *const c_char);
    nvrtcGetPTXSize(program: Ptr, size: *mut usize);
    nvrtcGetPTX(program: Ptr, ptx: *mut c_char);
    nvrtcGetCUBINSize(program: Ptr, size: *mut usize);
    nvrtcGetCUBIN(program: Ptr, cubin: *mut c_char);
    nvrtcGetProgramLogSize(program: Ptr, size: *mut usize);
    nvrtcGetProgramLog(program: Ptr, log: *mut c_char);
    nvrtcAddNameExpression(program: Ptr, expression: *const c_char);
    nvrtcGetLoweredName(program: Ptr, expression: *const c_char, name: *mut *const c_char);
}

forward! { Library::Nvrtc, missing INTERNAL_ERROR, answer_of_release;
    nvrtcDestroyProgram(program: *mut Ptr);
}

/// Gives the text of an error.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvrtcGetErrorString(code: c_int) -> *const c_char {
    static KNOWN: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    match Library::Nvrtc.function("nvrtcGetErrorString\0", &KNOWN) {
        // SAFETY: the signature is that of CUDA's headers, and every code has a text.
        Some(address) => unsafe {
            std::mem::transmute::<Ptr, unsafe extern "C" fn(c_int) -> *const c_char>(address)(code)
        },
        None => c"unknown error".as_ptr(),
    }
}

/// What dfdx's kernels use of the headers that they include. dfdx looks for these where the program was built, and the
/// program may run elsewhere.
const HEADERS: [(&CStr, &CStr); 2] = [
    (
        c"cuda_utils.cuh",
        // The place of the element with row-major number `index` among `dims`, counted in `strides`.
        c"__device__ unsigned int get_strided_index(unsigned int index, const size_t rank, const size_t *dims,
                                                   const size_t *strides) {
            size_t place = 0;
            for (size_t axis = rank; axis-- > 0; index /= dims[axis])
                place += index % dims[axis] * strides[axis];
            return place;
        }",
    ),
    // Included for a type that this program does not compute in.
    (c"cuda_fp16.h", c""),
];

/// Makes a program of a source, with the headers of dfdx's kernels if it is one of those.
///
/// # Safety
/// That of NVRTC's function.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nvrtcCreateProgram(
    program: *mut Ptr,
    source: *const c_char,
    name: *const c_char,
    count: c_int,
    headers: *const *const c_char,
    names: *const *const c_char,
) -> c_int {
    static KNOWN: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
    let Some(address) = Library::Nvrtc.function("nvrtcCreateProgram\0", &KNOWN) else { return INTERNAL_ERROR };
    type Create = unsafe extern "C" fn(
        *mut Ptr,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int;
    // SAFETY: the signature is that of CUDA's headers; sources are C strings.
    let (create, text) = unsafe { (std::mem::transmute::<Ptr, Create>(address), CStr::from_ptr(source)) };
    if count == 0 && includes_headers(&text.to_string_lossy()) {
        let (names, texts) = (HEADERS.map(|h| h.0.as_ptr()), HEADERS.map(|h| h.1.as_ptr()));
        // SAFETY: as many names as texts; NVRTC copies them.
        return unsafe { create(program, source, name, HEADERS.len() as c_int, texts.as_ptr(), names.as_ptr()) };
    }
    // SAFETY: by this function's contract.
    unsafe { create(program, source, name, count, headers, names) }
}

/// Whether one of [`HEADERS`] is included, as dfdx writes it.
fn includes_headers(source: &str) -> bool {
    HEADERS.iter().any(|(name, _)| source.contains(&format!("#include \"{}\"", name.to_string_lossy())))
}
