//! Files that get their names together, or not at all.

use super::Scratch;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::PoisonError,
};

/// The list of what is about to be renamed, in the temporary folder.
const JOURNAL: &str = "placing.json";

/// A file, or folder, that gets its name.
#[derive(Clone, Debug)]
pub struct Move {
    /// Where it lies, on the same file system.
    pub from: PathBuf,
    /// Its name.
    pub to: PathBuf,
    /// Whether what has this name may be replaced.
    pub replaces: bool,
}

/// The file whose name makes all of it valid: until it is there, the rest is undone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Commit {
    path: PathBuf,
    file: (u64, u64),
}

impl Commit {
    /// The file that now lies at `from` will be at `to`.
    ///
    /// # Errors
    /// There is none.
    pub fn new(from: &Path, to: &Path) -> io::Result<Self> {
        Ok(Self { path: std::path::absolute(to)?, file: identity(from)? })
    }

    fn is_done(&self) -> bool {
        identity(&self.path).is_ok_and(|file| file == self.file)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    commit: Option<Commit>,
    steps: Vec<Step>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Step {
    to: PathBuf,
    file: (u64, u64),
    /// A second name of the file that is replaced.
    old: Option<PathBuf>,
}

impl Step {
    /// Puts back what was there; nothing if the new file is not there, or no longer.
    fn undo(&self) -> io::Result<()> {
        if !identity(&self.to).is_ok_and(|file| file == self.file) {
            return Ok(());
        }
        match &self.old {
            Some(old) => fs::rename(old, &self.to),
            None if self.to.is_dir() => fs::remove_dir_all(&self.to),
            None => fs::remove_file(&self.to),
        }
    }
}

/// Files that have their names; dropping this takes the names back.
#[derive(Debug)]
pub struct PublishedFiles {
    done: Vec<Step>,
}

impl PublishedFiles {
    /// Leaves the files where they are.
    pub fn keep(mut self) {
        self.done.clear();
    }
}

impl Drop for PublishedFiles {
    fn drop(&mut self) {
        for step in self.done.iter().rev() {
            let _ = step.undo();
        }
    }
}

impl Scratch {
    /// Gives files their names, in this order; `commit` is the last of them if not given. If one fails, the others are undone.
    ///
    /// # Errors
    /// The name that could not be given, and why. [`io::ErrorKind::AlreadyExists`]: it was taken, and may not be replaced.
    pub fn place(&self, moves: &[Move], commit: Option<Commit>) -> Result<PublishedFiles, (PathBuf, io::Error)> {
        let (journal, olds) = (self.path().join(JOURNAL), self.path().join("old"));
        let mut steps = Vec::new();
        let mut last = None;
        for (n, one) in moves.iter().enumerate() {
            let at = |e| (one.to.clone(), e);
            let old = olds.join(n.to_string());
            let linked = one.replaces && (fs::create_dir_all(&olds).is_ok()) && fs::hard_link(&one.to, &old).is_ok();
            let file = identity(&one.from).map_err(at)?;
            let to = std::path::absolute(&one.to).map_err(at)?;
            last = Some(Commit { path: to.clone(), file });
            steps.push(Step { to, file, old: linked.then_some(old) });
        }
        // Nothing is undone meanwhile by an end that drops nothing.
        let _at_work = super::LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        let text = Journal { commit: commit.or(last), steps };
        write_synced(&journal, &text).map_err(|e| (journal.clone(), e))?;
        let mut placed = PublishedFiles { done: Vec::new() };
        for (one, step) in moves.iter().zip(text.steps) {
            let renamed = if one.replaces { fs::rename(&one.from, &one.to) } else { rename_new(&one.from, &one.to) };
            renamed.map_err(|e| (one.to.clone(), e))?;
            placed.done.push(step);
        }
        Ok(placed)
    }
}

fn write_synced(path: &Path, journal: &Journal) -> io::Result<()> {
    let file = fs::File::create(path)?;
    serde_json::to_writer(&file, journal)?;
    file.sync_all()
}

/// Undoes what a killed process had begun to place from its temporary folder, unless it had finished.
///
/// # Errors
/// The list of files cannot be read, or a file cannot be removed or get its old name back.
pub fn undo_unfinished(scratch: &Path) -> io::Result<()> {
    let text = match fs::read(scratch.join(JOURNAL)) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    // It was killed while it wrote the list: nothing is placed.
    let Ok(journal) = serde_json::from_slice::<Journal>(&text) else { return Ok(()) };
    if journal.commit.is_some_and(|commit| commit.is_done()) {
        return Ok(());
    }
    journal.steps.iter().rev().try_for_each(Step::undo)
}

/// Which file this is, the link itself where it is one.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::symlink_metadata(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Ok((meta.dev(), meta.ino()))
    }
    #[cfg(not(unix))]
    Ok((meta.len(), 0))
}

/// Renames unless `to` exists.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::{
            fs::{CWD, RenameFlags, renameat_with},
            io::Errno,
        };
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => {}
            answer => return answer.map_err(Into::into),
        }
    }
    // A folder cannot be linked; over a file, or over a folder that holds something, it is not renamed.
    if from.is_dir() {
        return fs::rename(from, to);
    }
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    /// Two files, of which the first replaces another.
    fn staged(parent: &Path) -> (Scratch, [Move; 2]) {
        let scratch = Scratch::beside(parent, "m").unwrap();
        fs::write(parent.join("m.data"), "old").unwrap();
        let one = |name: &str, replaces: bool| {
            let from = scratch.path().join(name);
            fs::write(&from, "new").unwrap();
            Move { from, to: parent.join(name), replaces }
        };
        let moves = [one("m.data", true), one("m", false)];
        (scratch, moves)
    }

    #[test]
    fn all_names_or_none() {
        let parent = tempfile::tempdir().unwrap();
        let (scratch, moves) = staged(parent.path());
        let [data, model] = moves.each_ref().map(|one| one.to.clone());
        fs::write(&model, "of somebody else").unwrap();
        assert_eq!(scratch.place(&moves, None).unwrap_err().0, model);
        assert_eq!((text(&data), text(&model)), ("old".into(), "of somebody else".into()));
        fs::remove_file(&model).unwrap();
        fs::write(&moves[0].from, "new").unwrap();
        drop(scratch.place(&moves, None).unwrap());
        assert!(text(&data) == "old" && !model.exists());
        for one in &moves {
            fs::write(&one.from, "new").unwrap();
        }
        scratch.place(&moves, None).unwrap().keep();
        assert_eq!((text(&data), text(&model)), ("new".into(), "new".into()));
    }

    #[test]
    fn what_a_killed_run_left_half_done_is_undone() {
        for finished in [false, true] {
            let parent = tempfile::tempdir().unwrap();
            let (scratch, moves) = staged(parent.path());
            let placed = scratch.place(&moves, None).unwrap();
            // As a killed process leaves it: nothing is dropped, and the lock is gone.
            std::mem::forget(placed);
            let folder = scratch.path().to_path_buf();
            let kept = parent.path().join("kept");
            fs::rename(&folder, &kept).unwrap();
            drop(scratch);
            fs::rename(&kept, &folder).unwrap();
            if !finished {
                fs::rename(&moves[1].to, folder.join("m")).unwrap();
            }
            assert_eq!(super::super::clear(parent.path(), &|_| false), [folder]);
            let data = if finished { "new" } else { "old" };
            assert_eq!((text(&moves[0].to).as_str(), moves[1].to.exists()), (data, finished));
        }
    }
}
