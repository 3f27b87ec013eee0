//! Outcome to exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(onnx_forget::cli::main())
}
