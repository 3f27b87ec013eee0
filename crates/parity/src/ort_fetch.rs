//! Fetches the pinned onnxruntime wheel and puts the library that is inside it into the cache.
//!
//! `pip download` is used, so that a mirror or proxy that is configured for pip works here too. The wheel must have
//! the pinned SHA-256. The library appears in the cache under its name only when it is complete; a lock file keeps
//! two runs from fetching at once.

use crate::python;
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

/// The pinned version of onnxruntime.
pub const VERSION: &str = "1.32.0";

/// One wheel of the pinned version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wheel {
    /// The platform tag, as `pip download --platform` takes it.
    pub platform: &'static str,
    /// SHA-256 of the wheel, in lower-case hexadecimal digits.
    pub sha256: &'static str,
    /// The library inside.
    pub member: &'static str,
}

/// The wheels for CPython 3.12, one a platform: the library inside does not depend on the Python version.
const WHEELS: &[(&str, &str, Wheel)] = &[
    (
        "linux",
        "x86_64",
        Wheel {
            platform: "manylinux_2_28_x86_64",
            sha256: "99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8",
            member: "onnxruntime/capi/libonnxruntime.so.1.32.0",
        },
    ),
    (
        "linux",
        "aarch64",
        Wheel {
            platform: "manylinux_2_28_aarch64",
            sha256: "e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054",
            member: "onnxruntime/capi/libonnxruntime.so.1.32.0",
        },
    ),
    (
        "macos",
        "aarch64",
        Wheel {
            platform: "macosx_14_0_arm64",
            sha256: "d52510bbbcc880c13b826f7d75cdf33ac5cf0bb864d960000fc29ce73f0cb83e",
            member: "onnxruntime/capi/libonnxruntime.1.32.0.dylib",
        },
    ),
    (
        "windows",
        "x86_64",
        Wheel {
            platform: "win_amd64",
            sha256: "efe7456952c243a05a53d5b8732953625144642c2f3989094277f6217f0c0c40",
            member: "onnxruntime/capi/onnxruntime.dll",
        },
    ),
    (
        "windows",
        "aarch64",
        Wheel {
            platform: "win_arm64",
            sha256: "64d394c69d561af3efd4d4f49dcac8f11d0ce135a20701c16d53b74056cd4cf8",
            member: "onnxruntime/capi/onnxruntime.dll",
        },
    ),
];

impl Wheel {
    /// The wheel of the platform that this program was built for, if there is one.
    pub fn of_this_platform() -> Option<Self> {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        // The wheels are built against glibc.
        if cfg!(target_env = "musl") {
            return None;
        }
        WHEELS.iter().find(|(o, a, _)| *o == os && *a == arch).map(|(_, _, wheel)| wheel.clone())
    }
}

/// Puts `wheel`'s library into `folder`, which is made, and returns its path. The first of `pythons` that has pip
/// downloads it.
///
/// # Errors
/// A sentence that says what failed. Nothing half-written is left under the library's name.
pub fn fetch(wheel: &Wheel, pythons: &[PathBuf], folder: &Path) -> Result<PathBuf, String> {
    let at = |e: std::io::Error| format!("{}: {e}", folder.display());
    std::fs::create_dir_all(folder).map_err(at)?;
    let last = folder.join(wheel.member.rsplit('/').next().unwrap_or(wheel.member));
    let was_there = last.exists();
    let lock = File::create(folder.join(".lock")).map_err(at)?;
    lock.lock().map_err(at)?;
    if !was_there && last.exists() {
        return Ok(last); // another run has just fetched it
    }
    remove_leftovers(folder);
    // Dropped before `lock`: temporary files are gone when the next run may begin.
    let scratch = tempfile::Builder::new().prefix(".fetch-").tempdir_in(folder).map_err(at)?;

    tracing::info!("fetching onnxruntime {VERSION} for {} into {}", wheel.platform, folder.display());
    let mut problems = Vec::new();
    for python in pythons {
        match fetch_with(python, wheel, scratch.path(), folder) {
            Ok(path) => return Ok(path),
            Err(why) => problems.push(format!("{}: {why}", python.display())),
        }
    }
    if problems.is_empty() {
        return Err("there is no Python with pip to fetch it with".into());
    }
    Err(format!("fetching it failed ({})", problems.join("; ")))
}

/// Removes what a killed run left; nobody else is at work while the lock is held.
fn remove_leftovers(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|n| n.starts_with(".fetch-")) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn fetch_with(python: &Path, wheel: &Wheel, scratch: &Path, folder: &Path) -> Result<PathBuf, String> {
    let requirement = format!("onnxruntime=={VERSION}");
    run(python::command(python)
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"])
        .args(["--only-binary=:all:", "--retries", "2", "--timeout", "30"])
        .args(["--implementation", "cp", "--python-version", "3.12", "--abi", "cp312", "--platform", wheel.platform])
        .arg(requirement)
        .arg("--dest")
        .arg(scratch))?;
    let entries = std::fs::read_dir(scratch).map_err(|e| e.to_string())?;
    let file = entries
        .flatten()
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "whl"))
        .ok_or("pip downloaded no wheel")?;
    install(python, wheel, &file, scratch, folder)
}

/// Checks the wheel's digest, unpacks the library beside its final place, and renames it there.
pub(super) fn install(
    python: &Path,
    wheel: &Wheel,
    file: &Path,
    scratch: &Path,
    folder: &Path,
) -> Result<PathBuf, String> {
    let digest = sha256(file).map_err(|e| format!("{}: {e}", file.display()))?;
    if digest != wheel.sha256 {
        return Err(format!("the wheel's SHA-256 is {digest}, expected {}; it is not used", wheel.sha256));
    }
    const UNPACK: &str = "import sys, zipfile\nzipfile.ZipFile(sys.argv[1]).extract(sys.argv[2], sys.argv[3])";
    run(python::command(python).args(["-c", UNPACK]).arg(file).arg(wheel.member).arg(scratch))?;
    let unpacked = scratch.join(wheel.member);
    let name = unpacked.file_name().ok_or("the wheel's library has no name")?;
    let last = folder.join(name);
    File::open(&unpacked).and_then(|f| f.sync_all()).map_err(|e| format!("{}: {e}", unpacked.display()))?;
    std::fs::rename(&unpacked, &last).map_err(|e| format!("{}: {e}", last.display()))?;
    Ok(last)
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    std::io::copy(&mut File::open(path)?, &mut HashWriter(&mut hasher))?;
    Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a command to its end; its last line of complaint is the error.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it failed without a message");
    Err(line.trim().to_string())
}
