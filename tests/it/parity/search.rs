//! Fetching the pinned onnxruntime.

use onnx_forget::parity::{Search, ort_library::Step};
use std::path::Path;

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
