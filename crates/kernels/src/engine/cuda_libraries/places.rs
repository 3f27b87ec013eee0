//! Where CUDA's libraries are. The first one that loads is used:
//!
//! 1. in the folders that `ONNX_FORGET_CUDA_LIBRARIES` names;
//! 2. by name, where the system's loader looks (`LD_LIBRARY_PATH`, `ldconfig`);
//! 3. in the folders that toolkits and drivers are installed to: `$CUDA_PATH/lib64`, `$CUDA_HOME/lib64`,
//!    `/usr/local/cuda/lib64`, `/usr/local/nvidia/lib64`, `/usr/lib/wsl/lib`;
//! 4. cuBLAS and NVRTC also in NVIDIA's Python wheels, which PyTorch brings along (of `$VIRTUAL_ENV`, of
//!    `$CONDA_PREFIX`, of `python3`, of `python`).

use crate::python;
use std::{
    ffi::OsString,
    fmt::Write,
    path::{Path, PathBuf},
};

/// The variable that names folders to look in first.
const NAMED: &str = "ONNX_FORGET_CUDA_LIBRARIES";

/// Folders of libraries in the wheels' package `nvidia`, newest first.
const IN_WHEELS: [&str; 4] = ["cu13/lib", "cu12/lib", "cublas/lib", "cuda_nvrtc/lib"];

/// A library that is looked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// What people call it.
    pub what: &'static str,
    /// Its file names, best first.
    pub names: &'static [&'static str],
    /// How the names begin of what it needs from its own folder, by the same place in the list.
    pub before: &'static [&'static str],
    /// Whether Python wheels bring it.
    pub in_wheels: bool,
    /// How one gets it.
    pub way_out: &'static str,
}

/// The driver. (A toolkit's stub is called `libcuda.so`, and is never meant.)
pub(super) const DRIVER: Wanted = Wanted {
    what: "NVIDIA driver",
    names: &["libcuda.so.1"],
    before: &[],
    in_wheels: false,
    way_out: "Install NVIDIA's driver, or, in a container, start it with the GPU (`--gpus all`)",
};

/// Matrix products.
pub(super) const BLAS: Wanted = Wanted {
    what: "cuBLAS",
    names: &["libcublas.so.13", "libcublas.so.12"],
    before: &["libcublasLt.so.13", "libcublasLt.so.12"],
    in_wheels: true,
    way_out: "Install the CUDA toolkit, or `pip install nvidia-cublas` in the active Python",
};

/// The compiler of kernels at run time.
pub(super) const NVRTC: Wanted = Wanted {
    what: "NVRTC",
    names: &["libnvrtc.so.13", "libnvrtc.so.12"],
    // It opens them by name, and does not look beside itself.
    before: &["libnvrtc-builtins.so.13", "libnvrtc-builtins.so.12"],
    in_wheels: true,
    way_out: "Install the CUDA toolkit, or `pip install nvidia-cuda-nvrtc` in the active Python",
};

/// A file to try, and what has to be loaded in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub path: PathBuf,
    pub before: Vec<PathBuf>,
}

/// The places to look in.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// Folders that were named.
    pub named: Vec<PathBuf>,
    /// Whether the system's loader is asked.
    pub loader: bool,
    /// Folders that things are installed to.
    pub installed: Vec<PathBuf>,
    /// Python interpreters to ask for wheels.
    pub pythons: Vec<PathBuf>,
}

impl Places {
    /// Those that this process' environment gives.
    #[cfg(feature = "cuda")]
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var_os(name).filter(|v| !v.is_empty()))
    }

    fn from_variables(var: impl Fn(&str) -> Option<OsString>) -> Self {
        let toolkits = ["CUDA_PATH", "CUDA_HOME"].into_iter().filter_map(&var);
        let toolkits = toolkits.map(|root| Path::new(&root).join("lib64"));
        let usual = ["/usr/local/cuda/lib64", "/usr/local/nvidia/lib64", "/usr/lib/wsl/lib"].map(PathBuf::from);
        Self {
            named: var(NAMED).iter().flat_map(std::env::split_paths).collect(),
            loader: true,
            installed: toolkits.chain(usual).collect(),
            pythons: python::interpreters(var("VIRTUAL_ENV"), var("CONDA_PREFIX")),
        }
    }

    /// The files to try, in order. Asks Python only when it comes to that.
    fn candidates<'a>(&'a self, wanted: &'a Wanted) -> impl Iterator<Item = Candidate> + 'a {
        let named = self.named.iter().flat_map(move |folder| inside(folder, wanted));
        let loader = wanted.names.iter().filter(|_| self.loader);
        let loader = loader.map(|name| Candidate { path: name.into(), before: Vec::new() });
        let installed = self.installed.iter().flat_map(move |folder| inside(folder, wanted));
        let wheels = self.pythons.iter().filter(|_| wanted.in_wheels).flat_map(move |python| {
            let packages = python::package_folders(python, "nvidia").into_iter();
            packages.flat_map(move |nvidia| IN_WHEELS.into_iter().flat_map(move |at| inside(&nvidia.join(at), wanted)))
        });
        named.chain(loader).chain(installed).chain(wheels)
    }

    /// The first library that `load` takes. `load` says why it does not take one.
    ///
    /// # Errors
    /// What was looked for, where, why files that are there were not taken, and what to do.
    pub fn find<T>(&self, wanted: &Wanted, mut load: impl FnMut(&Candidate) -> Result<T, String>) -> Result<T, String> {
        let mut refused = Vec::new();
        for candidate in self.candidates(wanted) {
            match load(&candidate) {
                Ok(loaded) => {
                    tracing::debug!("{}: {}", wanted.what, candidate.path.display());
                    return Ok(loaded);
                }
                // The loader's own search says no more than that there is none.
                Err(_) if !candidate.path.is_absolute() => {}
                Err(why) => refused.push(format!("{}: {why}", candidate.path.display())),
            }
        }
        Err(self.missing(wanted, &refused))
    }

    fn missing(&self, wanted: &Wanted, refused: &[String]) -> String {
        let folders = |all: &[PathBuf]| all.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ");
        let mut text = format!("no {} ({}) was found. Looked in ", wanted.what, wanted.names.join(", "));
        if !self.named.is_empty() {
            let _ = write!(text, "{} ({NAMED}), ", folders(&self.named));
        }
        let _ = write!(text, "the loader's path, {}", folders(&self.installed));
        if wanted.in_wheels {
            text.push_str(", and the `nvidia` wheels of the active Python");
        }
        text.push('.');
        for one in refused {
            let _ = write!(text, "\n  not usable: {one}");
        }
        let _ = write!(text, "\n{}; or set {NAMED} to its folder; or use --device cpu", wanted.way_out);
        text
    }
}

/// The files in `folder` that may be the library.
fn inside(folder: &Path, wanted: &Wanted) -> Vec<Candidate> {
    let there = wanted.names.iter().map(|name| folder.join(name)).enumerate().filter(|(_, path)| path.is_file());
    there
        .map(|(i, path)| Candidate { path, before: wanted.before.get(i).map_or(vec![], |b| begin(folder, b)) })
        .collect()
}

/// The files in `folder` whose names begin so, by name.
fn begin(folder: &Path, with: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut names: Vec<_> = names.filter(|name| name.to_str().is_some_and(|name| name.starts_with(with))).collect();
    names.sort();
    names.into_iter().map(|name| folder.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn touch(folder: &Path, names: &[&str]) {
        fs::create_dir_all(folder).unwrap();
        for name in names {
            fs::write(folder.join(name), b"not a library").unwrap();
        }
    }

    #[cfg(unix)]
    fn fake_python(at: &Path, answer: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        fs::write(at, format!("#!/bin/sh\n[ \"$3\" = nvidia ] && printf '%s\\n' / '{answer}'\n")).unwrap();
        fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
        at.to_path_buf()
    }

    #[cfg(unix)]
    #[test]
    fn every_place_is_searched_in_order() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        touch(&at("named"), &["libcublas.so.12", "libcublas.so.13", "libcublasLt.so.13", "libcublas.so"]);
        touch(
            &at("toolkit"),
            &["libcublas.so.12", "libcublasLt.so.12", "libnvrtc.so.12", "libcuda.so", "libcuda.so.1"],
        );
        touch(&at("nvidia/cu13/lib"), &["libcublas.so.13", "libcublasLt.so.13"]);
        touch(&at("nvidia/cublas/lib"), &["libcublas.so.12"]);
        let places = Places {
            named: vec![at("named")],
            loader: true,
            installed: vec![at("none"), at("toolkit")],
            pythons: vec![at("no-such-python"), fake_python(&at("python"), at("nvidia").to_str().unwrap())],
        };
        let candidate = |path: &str, before: Option<&str>| Candidate {
            path: at(path),
            before: before.map(at).into_iter().collect(),
        };
        let by_name = |name: &str| Candidate { path: name.into(), before: vec![] };
        assert_eq!(
            places.candidates(&BLAS).collect::<Vec<_>>(),
            [
                candidate("named/libcublas.so.13", Some("named/libcublasLt.so.13")),
                candidate("named/libcublas.so.12", None),
                by_name("libcublas.so.13"),
                by_name("libcublas.so.12"),
                candidate("toolkit/libcublas.so.12", Some("toolkit/libcublasLt.so.12")),
                candidate("nvidia/cu13/lib/libcublas.so.13", Some("nvidia/cu13/lib/libcublasLt.so.13")),
                candidate("nvidia/cublas/lib/libcublas.so.12", None),
            ]
        );
        // A toolkit's stub of the driver is no driver, and wheels have none.
        assert_eq!(
            places.candidates(&DRIVER).collect::<Vec<_>>(),
            [by_name("libcuda.so.1"), candidate("toolkit/libcuda.so.1", None)]
        );
        touch(&at("toolkit"), &["libnvrtc-builtins.so.12.4", "libnvrtc-builtins.so.13.0"]);
        let taken = places.find(&NVRTC, |c| if c.path.is_absolute() { Ok(c.clone()) } else { Err("no".into()) });
        assert_eq!(taken, Ok(candidate("toolkit/libnvrtc.so.12", Some("toolkit/libnvrtc-builtins.so.12.4"))));
    }

    #[test]
    fn what_is_missing_is_said_with_a_way_out() {
        let root = tempfile::tempdir().unwrap();
        touch(root.path(), &["libcuda.so.1"]);
        let places = Places { named: vec![root.path().into()], loader: true, ..Places::default() };
        let text = places.find(&DRIVER, |_| Err::<(), _>("invalid ELF header".into())).unwrap_err();
        let file = root.path().join("libcuda.so.1");
        for part in ["NVIDIA driver", NAMED, file.to_str().unwrap(), "invalid ELF header", "--device cpu", "--gpus all"]
        {
            assert!(text.contains(part), "{part} not in: {text}");
        }
        assert!(!text.contains("wheels"), "{text}");
        let text = Places::default().find(&BLAS, |_| Ok(())).unwrap_err();
        for part in ["cuBLAS", "libcublas.so.13, libcublas.so.12", "wheels", "pip install nvidia-cublas"] {
            assert!(text.contains(part), "{part} not in: {text}");
        }
    }

    #[test]
    fn the_environment_names_folders() {
        let joined = std::env::join_paths(["/a", "/b"]).unwrap();
        let places = Places::from_variables(|name| match name {
            NAMED => Some(joined.clone()),
            "CUDA_PATH" => Some("/opt/cuda".into()),
            _ => None,
        });
        assert_eq!(places.named, ["/a", "/b"].map(PathBuf::from));
        assert_eq!(places.installed[0], Path::new("/opt/cuda/lib64"));
        assert!(places.installed.contains(&"/usr/local/nvidia/lib64".into()) && places.loader);
    }
}
