//! Temporary folders whose owner can be told to be alive, and files that get their names together.
//!
//! A killed process leaves its temporary folders behind. Each folder made here is locked by its process for as long as that
//! lives. A later run thus tells a folder that is still in use from one that nobody will ever remove, and removes the latter.
//! Where the process was killed while it gave files their names, the later run first puts back what was there before.

mod placing;

pub use placing::{Commit, Move, PublishedFiles};

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, Once, PoisonError},
};
use tempfile::TempDir;

/// Part of every name that is made here. A folder of this name is ours by its name alone.
const MARK: &str = "onnx-forget-";
/// Random characters that follow it.
const RANDOM: usize = 12;
const SUFFIX: &str = ".partial";

/// Those of this process that are not removed yet.
static LIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A temporary folder that its owner alone can read, locked and removed by its owner.
#[derive(Debug)]
pub struct Scratch {
    // Removed before the lock is given up.
    folder: TempDir,
    _lock: Option<File>,
}

impl Scratch {
    /// A new folder `.NAME.….partial` in `folder`, for files that will be renamed to names in it.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn beside(folder: &Path, name: &str) -> io::Result<Self> {
        // A file system allows 255 bytes.
        let short: String = name.chars().take(40).collect();
        Self::new(folder, &format!(".{short}.{MARK}"), SUFFIX)
    }

    /// A new folder in the system's folder for temporary files. The first one also removes what killed runs left there.
    ///
    /// # Errors
    /// That folder cannot be written.
    pub fn in_temp() -> io::Result<Self> {
        static CLEARED: Once = Once::new();
        let folder = std::env::temp_dir();
        CLEARED.call_once(|| drop(clear(&folder, &|_| false)));
        Self::new(&folder, MARK, "")
    }

    fn new(folder: &Path, prefix: &str, suffix: &str) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(prefix).suffix(suffix).rand_bytes(RANDOM);
        #[cfg(unix)]
        builder.permissions(<fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700));
        loop {
            let folder = builder.tempdir_in(folder)?;
            // Shared, since some network file systems lock exclusively only what is open for writing.
            let lock = File::open(folder.path()).ok().filter(|file| file.lock_shared().is_ok());
            // Another run may have taken it for a dead one's before it was locked.
            if folder.path().is_dir() {
                LIVE.lock().unwrap_or_else(PoisonError::into_inner).push(folder.path().to_path_buf());
                return Ok(Self { folder, _lock: lock });
            }
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).retain(|path| path != self.folder.path());
    }
}

/// Undoes what this process has not finished, and removes its temporary folders: for an end that drops nothing.
pub fn abandon() {
    // Where the thread that is ending the process holds it, the next run clears up.
    let Ok(live) = LIVE.try_lock() else { return };
    for path in live.iter() {
        let _ = placing::undo_unfinished(path).and_then(|()| fs::remove_dir_all(path));
    }
}

/// Removes the folders of this program in `folder` whose process is dead, and undoes what it had not finished. `also` names
/// further ones by their names. Returns what was removed; what cannot be is left.
pub fn clear(folder: &Path, also: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut removed = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = entry.path();
        if !(is_ours(name) || also(name)) || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let Some(_lock) = dead(&path) else { continue };
        if placing::undo_unfinished(&path).and_then(|()| fs::remove_dir_all(&path)).is_ok() {
            tracing::info!("removed {}, which a killed run left", path.display());
            removed.push(path);
        }
    }
    removed
}

/// Whether a name is one that is made here.
fn is_ours(name: &str) -> bool {
    let middle = name.strip_suffix(SUFFIX).filter(|rest| rest.starts_with('.')).unwrap_or(name);
    let Some((before, random)) = middle.rsplit_once(MARK) else { return false };
    let random = random.len() == RANDOM && random.bytes().all(|b| b.is_ascii_alphanumeric());
    random && (middle.len() < name.len()) != before.is_empty()
}

/// The lock of a folder of this user that no living process holds.
fn dead(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let (opened, named) = (file.metadata().ok()?, fs::symlink_metadata(path).ok()?);
        let same = (opened.dev(), opened.ino()) == (named.dev(), named.ino());
        if !same || opened.uid() != rustix::process::getuid().as_raw() {
            return None;
        }
    }
    file.try_lock().ok()?;
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_those_of_others() {
        for ours in ["onnx-forget-Ab3dEf6h1jKl", ".m.onnx.onnx-forget-Ab3dEf6h1jKl.partial"] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in [
            "onnx-forget-backup",
            "onnx-forget-of-the-year",
            "mine-onnx-forget-Ab3dEf6h1jKl",
            ".m.onnx.onnx-forget-Ab3dEf6h1jKl",
            "onnx-forget-Ab3dEf6h1jKl.partial",
            ".partial",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_in_use_stays_and_a_dead_one_goes() {
        let parent = tempfile::tempdir().unwrap();
        let living = Scratch::beside(parent.path(), "m.onnx").unwrap();
        let dead = parent.path().join(".m.onnx.onnx-forget-Ab3dEf6h1jKl.partial");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("weights"), "old").unwrap();
        fs::write(parent.path().join(".m.onnx.onnx-forget-000000000000.partial"), "a file of somebody").unwrap();
        std::os::unix::fs::symlink(living.path(), parent.path().join("onnx-forget-Ab3dEf6h1jKl")).unwrap();
        assert_eq!(clear(parent.path(), &|_| false), [dead]);
        assert!(living.path().is_dir());
        let path = living.path().to_path_buf();
        assert!(LIVE.lock().unwrap().contains(&path));
        drop(living);
        assert!(!path.exists() && !LIVE.lock().unwrap().contains(&path));
    }
}
