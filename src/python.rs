//! Python interpreters, and where their packages lie: libraries are found in wheels, and nothing of them is imported.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Interpreters to ask, those of active environments first. The names are those of the platform.
pub(crate) fn interpreters(virtual_env: Option<OsString>, conda: Option<OsString>) -> Vec<PathBuf> {
    let inside =
        |root: &OsString, unix: &str, windows: &str| Path::new(root).join(if cfg!(windows) { windows } else { unix });
    let mut all = Vec::new();
    all.extend(virtual_env.iter().map(|root| inside(root, "bin/python", "Scripts/python.exe")));
    all.extend(conda.iter().map(|root| inside(root, "bin/python", "python.exe")));
    all.extend(["python3", "python"].map(PathBuf::from));
    all
}

/// The folders of the interpreter's package `name`, found without importing it: none, one, or those of a namespace.
pub(crate) fn package_folders(python: &Path, name: &str) -> Vec<PathBuf> {
    const ASK: &str = "import sys, importlib.util as u\ns = u.find_spec(sys.argv[1])\n\
                       print(*(s.submodule_search_locations or [] if s else []), sep='\\n')";
    let asked = Command::new(python).args(["-c", ASK, name]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let Ok(output) = asked else { return Vec::new() };
    let text = String::from_utf8(output.stdout).unwrap_or_default();
    let folders = text.lines().filter(|line| !line.is_empty()).map(PathBuf::from);
    if output.status.success() { folders.collect() } else { Vec::new() }
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
