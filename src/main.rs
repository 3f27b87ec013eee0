//! Outcome to exit code.

use onnx_forget::engine::Allocator;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    // onnxruntime writes usage events, and sends them, unless this is set before its library is loaded: afterward is
    // too late. Whoever has set it, has decided.
    if std::env::var_os("ORT_DISABLE_TELEMETRY").is_none() {
        // SAFETY: there is no other thread yet that might read the environment.
        unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    }
    if let Some(code) = onnx_forget::parity::guard::child() {
        return code;
    }
    ExitCode::from(onnx_forget::cli::main())
}
