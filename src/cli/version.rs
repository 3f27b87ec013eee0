//! What `--version` says beyond the number: all that a report of a fault needs.

use crate::run::{Library, Search};

/// The version, the commit, how it was built, and the onnxruntime that a run would use.
pub fn long() -> String {
    let features = if cfg!(feature = "cuda") { "cuda" } else { "none" };
    let runtime = match Library::get(&Search::from_environment(true)) {
        Ok(library) => format!("{}, {}: {}", library.version, library.step, library.path.display()),
        Err(e) => e.to_string().lines().next().unwrap_or_default().to_string(),
    };
    format!(
        "{}\ncommit       {}\nfeatures     {features}\ntarget       {}\nonnxruntime  {runtime}",
        env!("CARGO_PKG_VERSION"),
        option_env!("ONNX_FORGET_COMMIT").unwrap_or("unknown"),
        env!("ONNX_FORGET_TARGET"),
    )
}
