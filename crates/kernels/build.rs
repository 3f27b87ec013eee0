//! Tells the kernels which GPUs they are compiled for.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_some() {
        compute_capability();
    }
}

/// Tells the program which GPUs its kernels are for: dfdx's build script goes by the same.
fn compute_capability() {
    println!("cargo::rerun-if-env-changed=CUDA_COMPUTE_CAP");
    let asked = || {
        let output = Command::new("nvidia-smi").args(["--query-gpu=compute_cap", "--format=csv,noheader"]).output();
        let text = String::from_utf8(output.ok()?.stdout).ok()?;
        Some(text.lines().last()?.replace('.', ""))
    };
    let capability = std::env::var("CUDA_COMPUTE_CAP").ok().or_else(asked);
    if let Some(capability) = capability.filter(|c| !c.is_empty() && c.bytes().all(|b| b.is_ascii_digit())) {
        println!("cargo::rustc-env=ONNX_FORGET_COMPUTE_CAP={capability}");
    }
}
