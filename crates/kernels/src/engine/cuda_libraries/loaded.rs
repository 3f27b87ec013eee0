//! The libraries of this process, and how calls are handed on to them.

use super::places::{BLAS, Candidate, DRIVER, NVRTC, Places, Wanted};
use std::{
    ffi::{c_int, c_void},
    sync::{
        OnceLock,
        atomic::{AtomicPtr, Ordering},
    },
};

/// A handle, or a pointer to anything.
pub(super) type Ptr = *mut c_void;

/// One of CUDA's libraries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Library {
    Driver,
    Blas,
    Nvrtc,
}

impl Library {
    /// The library, looked up at the first call.
    ///
    /// # Errors
    /// [`Places::find`]'s.
    pub fn get(self) -> Result<&'static libloading::Library, &'static str> {
        static LOADED: [OnceLock<Result<libloading::Library, String>>; 3] = [const { OnceLock::new() }; 3];
        let (place, wanted): (_, &Wanted) = match self {
            Self::Driver => (&LOADED[0], &DRIVER),
            Self::Blas => (&LOADED[1], &BLAS),
            Self::Nvrtc => (&LOADED[2], &NVRTC),
        };
        place.get_or_init(|| Places::from_environment().find(wanted, load)).as_ref().map_err(String::as_str)
    }

    /// The address of the function that `name`, which ends in a zero, stands for; kept in `known`. `None` if there is no
    /// such library, or no such function in it.
    pub fn function(self, name: &'static str, known: &AtomicPtr<c_void>) -> Option<Ptr> {
        let address = known.load(Ordering::Acquire);
        if !address.is_null() {
            return Some(address);
        }
        let library = self.get().ok()?;
        // SAFETY: only the address is taken; who calls it states its signature.
        let address = unsafe { *library.get::<Ptr>(name.as_bytes()).ok()? };
        known.store(address, Ordering::Release);
        (!address.is_null()).then_some(address)
    }
}

fn load(candidate: &Candidate) -> Result<libloading::Library, String> {
    // SAFETY: what these libraries do when they are loaded is NVIDIA's; they are never unloaded.
    unsafe {
        for before in &candidate.before {
            std::mem::forget(libloading::Library::new(before).map_err(|e| e.to_string())?);
        }
        libloading::Library::new(&candidate.path).map_err(|e| e.to_string())
    }
}

/// The library's answer.
pub(super) fn answer(code: c_int) -> c_int {
    code
}

/// The library's answer to giving something back. After a fault of the GPU this fails as well, cudarc panics where it
/// does, and a panic while another one unwinds would end the program: the first one tells what happened.
pub(super) fn answer_of_release(code: c_int) -> c_int {
    if std::thread::panicking() { 0 } else { code }
}

/// Defines the functions of a library under their C names, with their C signatures. All return an `int`; `missing` is
/// what they return if there is no such function.
macro_rules! forward {
    ($library:expr, missing $missing:expr, $answer:path; $($name:ident($($argument:ident: $type:ty),*);)*) => {$(
        /// Hands the call on.
        ///
        /// # Safety
        /// That of the library's function.
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $name($($argument: $type),*) -> c_int {
            static KNOWN: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
            match $library.function(concat!(stringify!($name), "\0"), &KNOWN) {
                Some(address) => {
                    // SAFETY: the signature is that of CUDA's headers, and the caller keeps the function's contract.
                    $answer(unsafe {
                        std::mem::transmute::<Ptr, unsafe extern "C" fn($($type),*) -> c_int>(address)($($argument),*)
                    })
                }
                None => $missing,
            }
        }
    )*};
}

pub(super) use forward;
