//! Where onnxruntime comes from: what is fetched, what is refused, and what it may not do.

use super::models::classifier;
use crate::flow::program;
use onnx_forget::{
    parity::{Search, ort_library::Step},
    tensor::DType,
};
use std::{fs, path::Path};

#[test]
fn a_library_that_is_named_and_does_not_load_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let model = classifier(folder.path(), DType::F32);
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::write(folder.path().join("libonnxruntime.so.1.99.0"), "no library").unwrap();
    for named in [Path::new("/nope.so"), &empty, &folder.path().join("libonnxruntime.so.1.99.0")] {
        let output = program().arg("verify").arg(&model).env("ORT_DYLIB_PATH", named).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("ORT_DYLIB_PATH") && text.contains(named.to_str().unwrap()), "{text}");
    }
    let output =
        program().arg("verify").arg(&model).env("ORT_DYLIB_PATH", "/nope.so").args(["--parity", "tract"]).output();
    assert_eq!(output.unwrap().status.code(), Some(0), "tract alone needs none");
}

#[test]
fn what_lies_in_the_current_folder_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let model = classifier(folder.path(), DType::F32);
    let package = folder.path().join("onnxruntime/capi");
    fs::create_dir_all(&package).unwrap();
    fs::write(folder.path().join("onnxruntime/__init__.py"), "").unwrap();
    fs::write(package.join("libonnxruntime.so.1.99.0"), "no library").unwrap();
    let pip = folder.path().join("pip.py");
    fs::write(&pip, "open('ran', 'w')").unwrap();
    let mut verify = program();
    verify.arg("verify").arg(&model).current_dir(folder.path()).env_remove("ORT_DYLIB_PATH");
    let output = verify.args(["--offline", "-v"]).output().unwrap();
    // Whether another onnxruntime is found depends on the machine.
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("1.99.0"), "{text}");
    assert!(!folder.path().join("ran").exists());
}

/// onnxruntime keeps its usage events below the home folder.
#[test]
fn onnxruntime_records_no_events() {
    let folder = tempfile::tempdir().unwrap();
    let model = classifier(folder.path(), DType::F32);
    let found = Search::from_environment(false).find(|path| path.is_file().then_some(()).ok_or("no file".to_string()));
    let Ok((_, _, library)) = found else { return };
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    let mut verify = program();
    verify.arg("verify").arg(&model).env("ORT_DYLIB_PATH", library).env("HOME", &home).env_remove("XDG_CACHE_HOME");
    let output = verify.env_remove("ORT_DISABLE_TELEMETRY").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0, "{:?}", fs::read_dir(&home).unwrap().collect::<Vec<_>>());
}

/// The first run fetches the library into the cache, the second finds it there.
#[test]
fn the_pinned_wheel_is_fetched_once() {
    let cache = tempfile::tempdir().unwrap();
    let search =
        Search { named: None, beside: None, cache: Some(cache.path().into()), ..Search::from_environment(false) };
    // As if the Python packages on this machine were of no use.
    let only_cached = |path: &Path| {
        let inside = path.starts_with(cache.path());
        let size = std::fs::metadata(path).map(|m| m.len()).unwrap_or(0);
        if inside && size > 1 << 20 { Ok(size) } else { Err("not from the cache".to_string()) }
    };
    let (size, step, path) = match search.find(only_cached) {
        Ok(found) => found,
        // Without a package index there is nothing to fetch from; anything but that is a defect.
        Err(e) if e.to_string().contains("No matching distribution") || e.to_string().contains("no pinned wheel") => {
            eprintln!("not tested, no package index: {e}");
            return;
        }
        Err(e) => panic!("{e}"),
    };
    assert_eq!(step, Step::Fetched);
    let folder = search.cached().unwrap();
    assert!(path.starts_with(&folder));
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 2, "the library and the lock file, no leftovers: {left:?}");

    let offline = Search { offline: true, ..search };
    let (again, step, same) = offline.find(only_cached).unwrap();
    assert_eq!((again, step, same), (size, Step::Cache, path));
}
