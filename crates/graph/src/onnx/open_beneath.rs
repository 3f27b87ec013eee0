//! Opening a file below a folder without leaving it, whatever links somebody puts there meanwhile.

use std::{fs::File, path::Path};

const LINK: &str = "it is, or lies behind, a symbolic link; put the file itself there (`cp -L`), or pass \
                    --allow-symlink-inside if the link stays inside the model's folder";
const MISSING: &str = "there is no such file beside the model; external data must be moved together with the model";
const OUTSIDE: &str = "a symbolic link leads out of the model's folder; put the file itself there (`cp -L`)";

/// Opens `parts` below `base` for reading. `base` itself is the user's, and may be or contain links.
///
/// With `links_inside`, symbolic links are followed as long as they stay below `base`; else every link is refused.
///
/// # Errors
/// What stands in the way, in words.
pub fn open(base: &Path, parts: &[&str], links_inside: bool) -> Result<File, String> {
    #[cfg(target_os = "linux")]
    if let Some(answer) = linux::open(base, parts, links_inside) {
        return answer;
    }
    portable(base, parts, links_inside)
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use rustix::{
        fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2},
        io::Errno,
    };

    /// `openat2` does all of it in one step. `None` where the kernel or a sandbox does not have it.
    pub fn open(base: &Path, parts: &[&str], links_inside: bool) -> Option<Result<File, String>> {
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let base = match openat(CWD, base, folder, Mode::empty()) {
            Ok(base) => base,
            Err(e) => return Some(Err(format!("the model's folder: {e}"))),
        };
        let links = if links_inside { ResolveFlags::NO_MAGICLINKS } else { ResolveFlags::NO_SYMLINKS };
        // Non-blocking, so that a named pipe does not wait for its writer before it is refused.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let path = parts.join("/");
        Some(match openat2(base, path.as_str(), flags, Mode::empty(), ResolveFlags::BENEATH | links) {
            Ok(file) => Ok(file.into()),
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL | Errno::AGAIN) => return None,
            Err(Errno::LOOP) => Err(LINK.to_string()),
            Err(Errno::XDEV) => Err(OUTSIDE.to_string()),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(MISSING.to_string()),
            Err(e) => Err(e.to_string()),
        })
    }
}

/// The same component by component, each opened without following links.
#[cfg(unix)]
fn portable(base: &Path, parts: &[&str], links_inside: bool) -> Result<File, String> {
    use rustix::{
        fs::{CWD, Mode, OFlags, openat},
        io::Errno,
    };
    let real_base = base.canonicalize().map_err(|e| format!("the model's folder: {e}"))?;
    let resolved = if links_inside { Some(resolve_inside(&real_base, parts)?) } else { None };
    let parts: Vec<&std::ffi::OsStr> = match &resolved {
        Some(path) => path.iter().collect(),
        None => parts.iter().map(|part| part.as_ref()).collect(),
    };
    let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, &real_base, folder, Mode::empty()).map_err(|e| format!("the model's folder: {e}"))?;
    let last = parts.len().saturating_sub(1);
    for (i, part) in parts.into_iter().enumerate() {
        let flags = if i == last { OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK } else { folder };
        at = openat(&at, part, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(|e| {
            let link = rustix::fs::statat(&at, part, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|s| rustix::fs::FileType::from_raw_mode(s.st_mode) == rustix::fs::FileType::Symlink);
            match e {
                _ if link => LINK.to_string(),
                Errno::NOENT | Errno::NOTDIR => MISSING.to_string(),
                e => e.to_string(),
            }
        })?;
    }
    Ok(at.into())
}

#[cfg(not(unix))]
fn portable(base: &Path, parts: &[&str], links_inside: bool) -> Result<File, String> {
    let real_base = base.canonicalize().map_err(|e| format!("the model's folder: {e}"))?;
    let inside = resolve_inside(&real_base, parts)?;
    let plain: std::path::PathBuf = parts.iter().collect();
    if !links_inside && inside != plain {
        return Err(LINK.to_string());
    }
    File::open(real_base.join(inside)).map_err(|e| e.to_string())
}

/// `parts` with all links followed, relative to `real_base`.
fn resolve_inside(real_base: &Path, parts: &[&str]) -> Result<std::path::PathBuf, String> {
    let full = parts.iter().fold(real_base.to_path_buf(), |path, part| path.join(part));
    let real = full.canonicalize().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => MISSING.to_string(),
        _ => e.to_string(),
    })?;
    real.strip_prefix(real_base).map(Path::to_path_buf).map_err(|_| OUTSIDE.to_string())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::{fs, io::Read, os::unix::fs::symlink};

    type Open = fn(&Path, &[&str], bool) -> Result<File, String>;

    /// Both ways of opening answer the same.
    fn both(test: impl Fn(Open)) {
        test(portable);
        #[cfg(target_os = "linux")]
        test(|base, parts, links| linux::open(base, parts, links).unwrap_or_else(|| portable(base, parts, links)));
    }

    fn text(file: Result<File, String>) -> Result<String, String> {
        let mut text = String::new();
        file?.read_to_string(&mut text).map_err(|e| e.to_string())?;
        Ok(text)
    }

    #[test]
    fn files_below_the_folder_open() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        fs::write(dir.path().join("sub/b"), "2").unwrap();
        both(|open| {
            for links in [false, true] {
                assert_eq!(text(open(dir.path(), &["a"], links)).unwrap(), "1");
                assert_eq!(text(open(dir.path(), &["sub", "b"], links)).unwrap(), "2");
                for parts in [&["c"][..], &["sub", "c"], &["a", "b"], &["none", "b"]] {
                    let error = open(dir.path(), parts, links).unwrap_err();
                    assert!(error.contains("no such file") || error.contains("Not a directory"), "{parts:?}: {error}");
                }
            }
        });
    }

    #[test]
    fn links_are_refused_and_links_out_of_the_folder_always() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("model");
        fs::create_dir_all(base.join("sub")).unwrap();
        fs::write(dir.path().join("secret"), "s").unwrap();
        fs::write(base.join("sub/w"), "w").unwrap();
        symlink("sub/w", base.join("inside")).unwrap();
        symlink("sub", base.join("folder")).unwrap();
        symlink("../secret", base.join("outside")).unwrap();
        symlink(dir.path().join("secret"), base.join("absolute")).unwrap();
        symlink("..", base.join("up")).unwrap();
        both(|open| {
            for parts in [&["inside"][..], &["folder", "w"], &["outside"], &["absolute"], &["up", "secret"]] {
                let error = open(&base, parts, false).unwrap_err();
                assert!(error.contains("--allow-symlink-inside"), "{parts:?}: {error}");
            }
            assert_eq!(text(open(&base, &["inside"], true)).unwrap(), "w");
            assert_eq!(text(open(&base, &["folder", "w"], true)).unwrap(), "w");
            for parts in [&["outside"][..], &["absolute"], &["up", "secret"]] {
                let error = open(&base, parts, true).unwrap_err();
                assert!(error.contains("out of the model's folder"), "{parts:?}: {error}");
            }
            // The folder itself may be reached through a link.
            let alias = dir.path().join("alias");
            let _ = symlink(&base, &alias);
            assert_eq!(text(open(&alias, &["sub", "w"], false)).unwrap(), "w");
        });
    }
}
