//! Tells the program what it is built for, and of which commit.

use std::{error::Error, process::Command};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=ONNX_FORGET_TARGET={}", std::env::var("TARGET")?);
    commit();
    Ok(())
}

/// Tells the program which commit it is built from, where that is known: not from a package, and not inside another repository.
fn commit() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
    };
    let real = |path: &str| std::fs::canonicalize(path).ok();
    let own = git(&["rev-parse", "--show-toplevel"]).and_then(|top| real(&top));
    if own.is_none() || own != std::env::var("CARGO_MANIFEST_DIR").ok().and_then(|folder| real(&folder)) {
        return;
    }
    // It grows with every commit and checkout. A path that does not exist would have this run in every build.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|path| std::path::Path::new(path).is_file());
    if let (Some(log), Some(commit)) = (log, git(&["rev-parse", "--short=12", "HEAD"])) {
        println!("cargo::rerun-if-changed={log}");
        println!("cargo::rustc-env=ONNX_FORGET_COMMIT={commit}");
    }
}
