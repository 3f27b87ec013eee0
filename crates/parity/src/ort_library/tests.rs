use super::*;
use crate::ort_fetch::{VERSION, install};
use std::{fs, process::Command};

/// The name of the library on this platform, for files that only need to be found.
const NAME: &str = if cfg!(windows) {
    "onnxruntime.dll"
} else if cfg!(target_os = "macos") {
    "libonnxruntime.1.32.0.dylib"
} else {
    "libonnxruntime.so.1.32.0"
};

fn touch(folder: &Path) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(NAME), b"not a library").unwrap();
    folder.join(NAME)
}

/// A program that answers as Python does when it is asked for the package's folder.
#[cfg(unix)]
fn fake_python(at: &Path, answer: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    fs::write(at, format!("#!/bin/sh\nprintf '/usr\\n%s\\n' '{answer}'\n")).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
    at.to_path_buf()
}

#[test]
fn library_names() {
    for yes in ["libonnxruntime.so", "libonnxruntime.so.1", "libonnxruntime.so.1.32.0", "libonnxruntime.dylib"] {
        assert!(is_library(yes), "{yes}");
    }
    assert!(is_library("libonnxruntime.1.32.0.dylib") && is_library("onnxruntime.dll"));
    for no in ["libonnxruntime_providers_shared.so", "libonnxruntime.so.debug", "onnxruntime_pybind11_state.so", "x.so"]
    {
        assert!(!is_library(no), "{no}");
    }
}

#[cfg(unix)]
#[test]
fn every_step_is_searched_in_order() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let named = touch(&at("named"));
    let beside = touch(&at("beside"));
    let package = touch(&at("site/onnxruntime/capi"));
    let python = fake_python(&at("python"), at("site/onnxruntime").to_str().unwrap());
    let cached = touch(&at("cache/onnx-forget").join(format!("onnxruntime-{VERSION}")));
    let search = Search {
        named: Some(named.clone()),
        beside: Some(at("beside")),
        pythons: vec![at("no-such-python"), python],
        cache: Some(at("cache")),
        offline: true,
        wheel: None,
    };
    let all: Vec<_> = search.candidates().collect();
    assert_eq!(
        all,
        [
            (Step::Named, named.clone()),
            (Step::BesideExecutable, beside),
            (Step::PythonPackage, package.clone()),
            (Step::Cache, cached)
        ]
    );
    let in_folder = Search { named: Some(at("named")), ..Default::default() };
    assert_eq!(in_folder.candidates().collect::<Vec<_>>(), [(Step::Named, named)]);

    // A library that does not load is passed over, and the next is taken; but not the one that was named.
    let load = |p: &Path| if p.starts_with(at("site")) { Ok(()) } else { Err("too old".into()) };
    let error = search.find(load).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    assert!(text.contains("ORT_DYLIB_PATH") && text.contains("too old") && text.contains("named"), "{text}");
    let (_, step, path) = Search { named: None, ..search }.find(load).unwrap();
    assert_eq!((step, path), (Step::PythonPackage, package));
    let nowhere = Search { named: Some(at("nowhere")), ..Default::default() };
    let text = nowhere.find(|p| if p.is_file() { Ok(()) } else { Err("no such file".into()) }).unwrap_err().to_string();
    assert!(text.contains("nowhere") && text.contains("no such file"), "{text}");
}

#[cfg(unix)]
#[test]
fn offline_says_what_was_refused_and_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let beside = touch(&root.path().join("beside"));
    let search = Search { beside: Some(root.path().join("beside")), offline: true, ..Default::default() };
    let error = search.find(|_| Err::<(), _>("version 1.10.0 is too old".to_string())).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    for part in [beside.to_str().unwrap(), "1.10.0", "--offline", "ORT_DYLIB_PATH", "--parity tract", "pip install"] {
        assert!(text.contains(part), "{part} not in: {text}");
    }
    let nothing = Search { offline: true, ..Default::default() }.find(|_| Ok::<(), _>(())).unwrap_err();
    assert!(matches!(nothing, Error::RuntimeMissing(_)));
}

#[test]
fn without_python_or_wheel_the_error_says_so() {
    let root = tempfile::tempdir().unwrap();
    let no_wheel = Search { cache: Some(root.path().into()), ..Default::default() };
    let text = no_wheel.find(|_| Ok::<(), _>(())).unwrap_err().to_string();
    assert!(text.contains("no pinned wheel"), "{text}");
    let wheel = Wheel { platform: "any", sha256: "", member: "x" };
    let no_python = Search { cache: Some(root.path().into()), wheel: Some(wheel), ..Default::default() };
    let text = no_python.find(|_| Ok::<(), _>(())).unwrap_err().to_string();
    assert!(text.contains("no Python"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_cache_follows_the_environment() {
    let xdg = |name| match name {
        "XDG_CACHE_HOME" => Some("/xdg".into()),
        "HOME" => Some("/home/u".into()),
        _ => None,
    };
    assert_eq!(cache_folder(&xdg), Some("/xdg".into()));
    let home = |name| (name == "HOME").then(|| "/home/u".into());
    assert_eq!(cache_folder(&home), Some("/home/u/.cache".into()));
    assert_eq!(cache_folder(&|_| None), None);
    let relative = |name| (name == "XDG_CACHE_HOME").then(|| "cache".into());
    assert_eq!(cache_folder(&relative), None);
}

#[test]
fn versions_are_read_from_names_and_packages() {
    let root = tempfile::tempdir().unwrap();
    let named = root.path().join("libonnxruntime.so.1.32.0");
    fs::write(&named, b"").unwrap();
    assert_eq!(version_of(&named).as_deref(), Some("1.32.0"));
    let capi = root.path().join("onnxruntime/capi");
    fs::create_dir_all(&capi).unwrap();
    fs::create_dir_all(root.path().join("onnxruntime_gpu-1.30.1.dist-info")).unwrap();
    fs::write(capi.join("onnxruntime.dll"), b"").unwrap();
    assert_eq!(version_of(&capi.join("onnxruntime.dll")).as_deref(), Some("1.30.1"));
    assert_eq!(version_of(&root.path().join("libonnxruntime.so")), None);
}

/// A wheel with a wrong digest is refused and leaves nothing behind; with the right one its library is installed.
#[test]
fn the_wheel_is_checked_before_it_is_used() {
    let root = tempfile::tempdir().unwrap();
    let python = ["python3", "python"].into_iter().find(|p| Command::new(p).arg("--version").output().is_ok());
    let python = Path::new(python.expect("the tests need Python"));
    let (scratch, folder) = (root.path().join("scratch"), root.path().join("folder"));
    fs::create_dir_all(&scratch).unwrap();
    fs::create_dir_all(&folder).unwrap();
    let file = scratch.join("w.whl");
    let make = "import sys, zipfile\nz = zipfile.ZipInfo('pkg/capi/lib.so', (2020, 1, 1, 0, 0, 0))\n\
                zipfile.ZipFile(sys.argv[1], 'w').writestr(z, b'library')";
    assert!(Command::new(python).args(["-c", make]).arg(&file).status().unwrap().success());
    let wrong = Wheel { platform: "any", sha256: "00", member: "pkg/capi/lib.so" };
    let error = install(python, &wrong, &file, &scratch, &folder).unwrap_err();
    assert!(error.contains("SHA-256"), "{error}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);

    let digest: String = {
        use sha2::Digest;
        sha2::Sha256::digest(fs::read(&file).unwrap()).iter().map(|b| format!("{b:02x}")).collect()
    };
    let right = Wheel { sha256: digest.leak(), ..wrong };
    let path = install(python, &right, &file, &scratch, &folder).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"library");
    assert_eq!(path, folder.join("lib.so"));
}

#[test]
fn every_pinned_wheel_is_well_formed() {
    let wheel = Wheel::of_this_platform();
    if cfg!(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))) {
        let wheel = wheel.expect("a pinned wheel for Linux");
        assert_eq!(wheel.sha256.len(), 64);
        assert!(is_library(wheel.member.rsplit('/').next().unwrap()) && wheel.member.contains(VERSION));
    }
}
