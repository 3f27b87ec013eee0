//! Python interpreters, and where their packages lie: libraries are found in wheels, and nothing of them is imported.

use crate::owner;
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Interpreters to ask, those of active environments first. The names are those of the platform.
pub fn interpreters(virtual_env: Option<OsString>, conda: Option<OsString>) -> Vec<PathBuf> {
    let inside =
        |root: &OsString, unix: &str, windows: &str| Path::new(root).join(if cfg!(windows) { windows } else { unix });
    let mut all = Vec::new();
    // The interpreter is started in another folder than the current one.
    let absolute = |root: &OsString| std::path::absolute(root).map_or_else(|_| root.clone(), Into::into);
    all.extend(virtual_env.iter().map(|root| inside(&absolute(root), "bin/python", "Scripts/python.exe")));
    all.extend(conda.iter().map(|root| inside(&absolute(root), "bin/python", "python.exe")));
    all.extend(["python3", "python"].map(PathBuf::from));
    all
}

/// The interpreter, about to be started: Python looks for modules in the current folder first, which may be anybody's,
/// unless it is asked not to (by `PYTHONSAFEPATH` since 3.11) or is started elsewhere. Without `HOME`, Python asks the
/// system's directory of users, which may be a server on the network, and so does a script that starts Python without
/// `SHELL`: both are set then.
pub fn command(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.env("PYTHONSAFEPATH", "1").current_dir("/").stdin(Stdio::null());
    for (name, none) in [("HOME", "/nonexistent"), ("SHELL", "/bin/sh")] {
        if std::env::var_os(name).is_none() {
            command.env(name, none);
        }
    }
    command
}

/// The folders of the interpreter's package `name`, found without importing it: none, one, or those of a namespace.
/// One below the current folder, or where others may write, counts only if it belongs to the interpreter's own environment.
pub fn package_folders(python: &Path, name: &str) -> Vec<PathBuf> {
    const ASK: &str = "import sys, importlib.util as u\ns = u.find_spec(sys.argv[1])\n\
                       print(sys.prefix, *(s.submodule_search_locations or [] if s else []), sep='\\n')";
    let Ok(output) = command(python).args(["-c", ASK, name]).stderr(Stdio::null()).output() else { return Vec::new() };
    let text = String::from_utf8(output.stdout).unwrap_or_default();
    let mut lines = text.lines().filter(|line| !line.is_empty()).map(PathBuf::from);
    let Some(prefix) = lines.next().filter(|_| output.status.success()) else { return Vec::new() };
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).ok();
    lines.filter(|folder| trusted(folder, &prefix, here.as_deref())).collect()
}

/// Whether a package's folder belongs to the interpreter installed at `prefix`, or is neither below the current folder
/// `here` nor, nor is any folder that it lies in, one where others may put something.
fn trusted(folder: &Path, prefix: &Path, here: Option<&Path>) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let folder = real(folder);
    let elsewhere = || !here.is_some_and(|here| folder.starts_with(here));
    let private = || folder.ancestors().all(|path| owner::not_ours(path).is_none());
    folder.starts_with(real(prefix)) || elsewhere() && private()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_come_before_the_path() {
        let all = interpreters(Some("/venv".into()), Some("/conda".into()));
        assert!(all[0].starts_with("/venv") && all[1].starts_with("/conda"));
        assert_eq!(all[2..], ["python3", "python"].map(PathBuf::from));
    }

    #[test]
    fn packages_below_the_current_folder_must_belong_to_the_interpreter() {
        let root = tempfile::tempdir().unwrap();
        let here = root.path().canonicalize().unwrap();
        let (own, other) = (here.join(".venv/lib/onnxruntime"), here.join("onnxruntime"));
        for folder in [&own, &other] {
            std::fs::create_dir_all(folder).unwrap();
        }
        assert!(trusted(&own, &here.join(".venv"), Some(&here)));
        assert!(!trusted(&other, &here.join(".venv"), Some(&here)));
        assert!(!trusted(&here.join(".venv/../onnxruntime"), &here.join(".venv"), Some(&here)));
        assert!(trusted(&other, Path::new("/usr"), Some(&here.join("elsewhere"))));
    }

    #[test]
    fn packages_are_found_without_importing_them() {
        let python = ["python3", "python"].into_iter().find(|p| Command::new(p).arg("--version").output().is_ok());
        let python = Path::new(python.expect("the tests need Python"));
        let folders = package_folders(python, "json");
        assert_eq!(folders.len(), 1);
        assert!(folders[0].join("decoder.py").is_file());
        assert!(package_folders(python, "no_such_package").is_empty());
        assert!(package_folders(Path::new("no-such-python"), "json").is_empty());
    }
}
