//! Where the onnxruntime library is. Five places, in this order; the first library that loads is used:
//!
//! 1. `ORT_DYLIB_PATH`: the library file, or the folder that it lies in; whoever sets it means that one, so that it is
//!    an error if it does not load;
//! 2. beside the program's own executable;
//! 3. inside an installed Python package `onnxruntime` (of `$VIRTUAL_ENV`, of `$CONDA_PREFIX`, of `python3`, of
//!    `python`), which is asked for its folder and not imported;
//! 4. the cache folder, `onnx-forget/onnxruntime-<version>/` in the user's cache;
//! 5. fetched once into the cache folder: the pinned wheel, by `pip download`, checked by its SHA-256 (see
//!    `ort_fetch`).
//!
//! With `offline`, the fifth is left out.

use super::ort_fetch::{self, Wheel};
use crate::{
    error::{Error, Result},
    python,
};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Where a library was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Named by `ORT_DYLIB_PATH`.
    Named,
    /// Beside the executable.
    BesideExecutable,
    /// In an installed Python package.
    PythonPackage,
    /// In the cache folder.
    Cache,
    /// Fetched by this run.
    Fetched,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Step::Named => "named by ORT_DYLIB_PATH",
            Step::BesideExecutable => "beside the executable",
            Step::PythonPackage => "in a Python package",
            Step::Cache => "in the cache folder",
            Step::Fetched => "fetched",
        })
    }
}

/// The places to look in. A field that is empty leaves its step out.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// `ORT_DYLIB_PATH`.
    pub named: Option<PathBuf>,
    /// The folder of the executable.
    pub beside: Option<PathBuf>,
    /// Python interpreters to ask for their package, and to fetch with.
    pub pythons: Vec<PathBuf>,
    /// The user's cache folder, in which `onnx-forget/` is ours.
    pub cache: Option<PathBuf>,
    /// Whether nothing may be fetched.
    pub offline: bool,
    /// What to fetch.
    pub wheel: Option<Wheel>,
}

impl Search {
    /// The places that this process' environment gives.
    pub fn from_environment(offline: bool) -> Self {
        let var = |name| std::env::var_os(name).filter(|v| !v.is_empty());
        Self {
            named: var("ORT_DYLIB_PATH").map(Into::into),
            beside: std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf)),
            pythons: python::interpreters(var("VIRTUAL_ENV"), var("CONDA_PREFIX")),
            cache: cache_folder(&var),
            offline,
            wheel: Wheel::of_this_platform(),
        }
    }

    /// The library files that are there now, in order. Asks Python only when it comes to that step.
    pub fn candidates(&self) -> impl Iterator<Item = (Step, PathBuf)> + '_ {
        let named = self.named.iter().map(|p| (Step::Named, p.clone())).flat_map(|(step, path)| {
            let inside = if path.is_dir() { libraries_in(&path) } else { vec![path] };
            inside.into_iter().map(move |p| (step, p))
        });
        let beside = self.beside.iter().flat_map(|dir| with(Step::BesideExecutable, libraries_in(dir)));
        let python = self.pythons.iter().flat_map(|python| {
            let folder = python::package_folders(python, "onnxruntime").into_iter().next();
            with(Step::PythonPackage, folder.map(|p| libraries_in(&p.join("capi"))).unwrap_or_default())
        });
        let cached = self.cached().into_iter().flat_map(|dir| with(Step::Cache, libraries_in(&dir)));
        named.chain(beside).chain(python).chain(cached)
    }

    /// The folder of the pinned version in the cache.
    pub fn cached(&self) -> Option<PathBuf> {
        Some(self.cache.as_ref()?.join("onnx-forget").join(format!("onnxruntime-{}", ort_fetch::VERSION)))
    }

    /// Finds the first library that `load` takes, fetching it as the last step. `load` says why it does not take one.
    ///
    /// # Errors
    /// [`Error::RuntimeMissing`] naming every library that was refused and the ways out.
    pub fn find<T>(&self, mut load: impl FnMut(&Path) -> Result<T, String>) -> Result<(T, Step, PathBuf)> {
        let mut refused = Vec::new();
        let mut seen = Vec::new();
        for (step, path) in self.candidates() {
            if step != Step::Named && self.named.is_some() {
                break;
            }
            if seen.contains(&path) {
                continue;
            }
            seen.push(path.clone());
            match load(&path) {
                Ok(loaded) => return Ok((loaded, step, path)),
                Err(why) => {
                    tracing::warn!("onnxruntime {step} is not usable: {}: {why}", path.display());
                    refused.push(format!("{} ({step}): {why}", path.display()));
                }
            }
        }
        if let Some(named) = &self.named {
            return Err(not_as_named(named, &refused));
        }
        if self.offline {
            return Err(missing(&refused, "--offline forbids to fetch it"));
        }
        let fetched = match (&self.wheel, self.cached()) {
            (None, _) => Err("there is no pinned wheel for this platform".into()),
            (_, None) => Err("there is no cache folder: set XDG_CACHE_HOME or HOME".into()),
            (Some(wheel), Some(folder)) => ort_fetch::fetch(wheel, &self.pythons, &folder),
        };
        let path = fetched.map_err(|why| missing(&refused, &why))?;
        match load(&path) {
            Ok(loaded) => Ok((loaded, Step::Fetched, path)),
            Err(why) => {
                refused.push(format!("{} ({}): {why}", path.display(), Step::Fetched));
                Err(missing(&refused, "the fetched one does not load"))
            }
        }
    }
}

fn with(step: Step, paths: Vec<PathBuf>) -> impl Iterator<Item = (Step, PathBuf)> {
    paths.into_iter().map(move |p| (step, p))
}

fn not_as_named(named: &Path, refused: &[String]) -> Error {
    let why = match refused {
        [] => "no onnxruntime library is there".into(),
        some => some.join("\n  "),
    };
    Error::RuntimeMissing(format!(
        "ORT_DYLIB_PATH is {}, but onnxruntime cannot be loaded from there: {why}\nLet it name the library of onnxruntime 1.24 or later, \
         or the folder that holds it, or unset it.",
        named.display()
    ))
}

fn missing(refused: &[String], why: &str) -> Error {
    let mut text = format!("no onnxruntime library (1.24 or later) was found, and {why}.");
    for one in refused {
        text.push_str(&format!("\n  not usable: {one}"));
    }
    text.push_str(
        "\nWays out: `pip install onnxruntime` in the active Python; or set ORT_DYLIB_PATH to the library; or run once \
         without --offline, so that it is fetched into the cache; or check against tract alone with --parity tract.",
    );
    Error::RuntimeMissing(text)
}

fn cache_folder(var: &impl Fn(&'static str) -> Option<OsString>) -> Option<PathBuf> {
    let home = || var("HOME").map(PathBuf::from);
    let folder = match var("XDG_CACHE_HOME").map(PathBuf::from) {
        Some(folder) => folder,
        None if cfg!(windows) => PathBuf::from(var("LOCALAPPDATA")?),
        None if cfg!(target_os = "macos") => home()?.join("Library").join("Caches"),
        None => home()?.join(".cache"),
    };
    folder.is_absolute().then_some(folder)
}

/// Whether a file name is that of the library proper, and not of one of its plug-ins.
pub(super) fn is_library(name: &str) -> bool {
    let versioned = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '.');
    match name.strip_prefix("libonnxruntime") {
        Some(rest) => match rest.strip_prefix(".so") {
            Some(rest) => versioned(rest),
            None => rest.strip_suffix(".dylib").is_some_and(versioned),
        },
        None => name.eq_ignore_ascii_case("onnxruntime.dll"),
    }
}

/// The onnxruntime libraries in `folder`, by name, the longest (most exactly versioned) first.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|e| e.file_name().to_str().is_some_and(is_library))
        .map(|e| e.path())
        .filter(|p| p.is_file())
        .collect();
    found.sort_by_key(|p| (std::cmp::Reverse(p.as_os_str().len()), std::cmp::Reverse(p.clone())));
    found
}

/// The version that a library's name or its Python package tells, such as `1.32.0`.
pub(super) fn version_of(library: &Path) -> Option<String> {
    let real = std::fs::canonicalize(library).unwrap_or_else(|_| library.to_path_buf());
    let name = real.file_name()?.to_str()?;
    let digits = |text: &str| {
        let text = text.trim_matches('.');
        (text.split('.').count() >= 2 && text.chars().all(|c| c.is_ascii_digit() || c == '.')).then(|| text.to_string())
    };
    let rest = name.strip_prefix("libonnxruntime").unwrap_or_default();
    let from_name = rest.strip_prefix(".so").or_else(|| rest.strip_suffix(".dylib")).and_then(digits);
    from_name.or_else(|| {
        // …/site-packages/onnxruntime/capi/<library>, beside …/site-packages/onnxruntime[_gpu]-<version>.dist-info
        let packages = std::fs::read_dir(real.parent()?.parent()?.parent()?).ok()?;
        packages.flatten().find_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let stem = name.strip_prefix("onnxruntime")?.strip_suffix(".dist-info")?;
            digits(stem.rsplit_once('-')?.1)
        })
    })
}

#[cfg(test)]
mod tests;
