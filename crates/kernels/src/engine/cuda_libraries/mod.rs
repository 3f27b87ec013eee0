//! CUDA's libraries, looked up when they are first used, so that the program starts where there is no GPU.
//!
//! dfdx calls the driver, cuBLAS and NVRTC by their C names. Functions of these names are defined here, and hand each
//! call on to the library's own. The linker then has nothing to take from the libraries, and the program does not name
//! them among those that it needs. [`places`] says where they are looked for.

mod places;

#[cfg(feature = "cuda")]
mod blas;
#[cfg(feature = "cuda")]
mod driver;
#[cfg(feature = "cuda")]
mod loaded;
#[cfg(feature = "cuda")]
mod nvrtc;
#[cfg(feature = "cuda")]
mod ready;

#[cfg(feature = "cuda")]
pub use ready::check;
