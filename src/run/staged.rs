//! The report's files, which get their names together with the model, or not at all.

use crate::{
    data::digest,
    error::{Error, Result},
    owner,
    report::{self, Report, Status},
    scratch::{Commit, Move, PublishedFiles, Scratch},
    shown,
};
use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

/// The files of a report, and what is in each of them that no other program writes.
pub const REPORT: [(&str, &str); 4] = [
    ("report.json", "\"schema\": \"onnx-forget/report/"),
    ("report.html", "<title>onnx-forget report</title>"),
    ("attestation.intoto.json", "pkg:cargo/onnx-forget"),
    ("tags.json", "\"onnx_forget."),
];
/// The same of a comparison.
pub const COMPARISON: [(&str, &str); 3] = [
    ("compare.csv", "method,outcome,seeds,"),
    ("compare.json", "\"schema\": \"onnx-forget/compare/"),
    ("compare.html", "<title>onnx-forget comparison</title>"),
];

/// How files are written.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Permissions, as far as the umask allows.
    pub mode: u32,
    /// Whether files of another program may be replaced.
    pub force: bool,
}

/// Permissions of a report: whoever cannot read all the data cannot read it.
pub fn mode_of<'a>(data: impl IntoIterator<Item = &'a Path>) -> u32 {
    #[cfg(unix)]
    let of = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).map_or(0, |meta| meta.mode())
    };
    #[cfg(not(unix))]
    let of = |_: &Path| 0o666;
    data.into_iter().map(of).reduce(|a, b| a & b).unwrap_or(0) & 0o666 | 0o600
}

/// Files under temporary names, which are removed on drop.
pub struct StagedReport {
    moves: Vec<Move>,
    scratch: Scratch,
    // Last: a folder that is empty again is removed.
    made: MadeFolder,
}

/// Files that have their names; dropping this puts back what was there before.
pub struct PlacedReport {
    placed: PublishedFiles,
    _staged: (Scratch, MadeFolder),
}

impl PlacedReport {
    /// Leaves the files where they are.
    pub fn keep(self) {
        self.placed.keep();
    }
}

impl StagedReport {
    /// Writes the report; where a model is published, also the statement about it and the tags for its registry.
    ///
    /// # Errors
    /// [`Error::Write`] if the folder cannot be written, or has such files of another program and these may not be replaced.
    pub fn write(report: &Report, folder: &Path, manner: Manner) -> Result<Self> {
        let json = json(report)?;
        let digest = digest::bytes(json.as_bytes());
        let mut texts = vec![("report.json", json), ("report.html", report::html(report))];
        if report.status() == Status::Published {
            let statement = self::json(&report::statement(report))?;
            texts.extend([
                ("attestation.intoto.json", statement),
                ("tags.json", self::json(&report::tags(report, &digest))?),
            ]);
        }
        if !manner.force {
            require_ours(folder, &REPORT)?;
        }
        Self::stage(folder, texts, manner.mode)
    }

    fn stage(folder: &Path, texts: Vec<(&str, String)>, mode: u32) -> Result<Self> {
        let made = MadeFolder::new(folder)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let scratch = Scratch::beside(folder, &name).map_err(|e| cannot_write(folder, &e))?;
        let mut moves = Vec::new();
        for (name, text) in texts {
            let (from, to) = (scratch.path().join(name), folder.join(name));
            if to.is_dir() {
                return Err(Error::Write {
                    path: to,
                    problem: "this is a folder; give another one for the report".into(),
                });
            }
            write_new(&from, text.as_bytes(), mode).map_err(|e| cannot_write(&to, &e))?;
            moves.push(Move { from, replaces: fs::symlink_metadata(&to).is_ok(), to });
        }
        Ok(Self { moves, scratch, made })
    }

    /// Gives the files their names. They are undone if the program is killed before `commit` has its own.
    ///
    /// # Errors
    /// [`Error::Write`] names the file that could not be placed; then none is.
    pub fn place(self, commit: Option<Commit>) -> Result<PlacedReport> {
        // Where this fails, the whole is dropped in the order of its fields: the folder last.
        let placed = self.scratch.place(&self.moves, commit).map_err(|(path, e)| cannot_write(&path, &e))?;
        Ok(PlacedReport { placed, _staged: (self.scratch, self.made) })
    }
}

/// A value as the text of a file.
pub fn json(value: &impl serde::Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::Internal(e.to_string()))?;
    Ok(shown::json(&text) + "\n")
}

/// A folder that is removed if nothing was put into it.
struct MadeFolder(Option<PathBuf>);

impl MadeFolder {
    fn new(folder: &Path) -> Result<Self> {
        let made = Self((!folder.exists()).then(|| folder.to_path_buf()));
        fs::create_dir_all(folder).map_err(|e| cannot_write(folder, &e))?;
        Ok(made)
    }
}

impl Drop for MadeFolder {
    fn drop(&mut self) {
        if let Some(folder) = &self.0 {
            // Fails where there is something in it.
            let _ = fs::remove_dir(folder);
        }
    }
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let _ = mode;
    options.open(path)?.write_all(bytes)
}

/// Fails if somebody else may put files there, or one of the files is there and another program's, or one that hides what it is.
///
/// # Errors
/// [`Error::Write`] names the folder or the file.
pub fn require_ours(folder: &Path, files: &[(&str, &str)]) -> Result<()> {
    if let Some(why) = owner::not_ours(folder) {
        let problem = format!("this folder {why}; give another one for the report, or pass --force");
        return Err(Error::Write { path: folder.to_path_buf(), problem });
    }
    for (name, mark) in files {
        let path = folder.join(name);
        if path.is_file() && !holds(&path, mark) {
            let problem = "a file of this name is there, and is not of this program; give another folder by --report";
            return Err(Error::Write { path, problem: problem.into() });
        }
    }
    Ok(())
}

fn holds(path: &Path, mark: &str) -> bool {
    let mut head = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(1 << 20).read_to_end(&mut head));
    read.is_ok() && head.windows(mark.len()).any(|part| part == mark.as_bytes())
}

/// Writes texts to files in `folder`: all of them, or none.
pub fn place_texts(folder: &Path, texts: Vec<(&str, String)>, mode: u32) -> Result<()> {
    StagedReport::stage(folder, texts, mode)?.place(None)?.keep();
    Ok(())
}

/// A failure to write `path`.
pub fn cannot_write(path: &Path, e: &std::io::Error) -> Error {
    Error::Write { path: path.to_path_buf(), problem: e.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_cannot_be_placed_leaves_no_folder() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("report");
        let staged = StagedReport::stage(&folder, vec![("a", "one".into()), ("b", "two".into())], 0o600).unwrap();
        // The second name is taken by a folder that holds something.
        fs::create_dir(folder.join("b")).unwrap();
        fs::write(folder.join("b/c"), "").unwrap();
        assert!(staged.place(None).is_err());
        fs::remove_dir_all(folder.join("b")).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "neither files nor temporary ones");
        // The list of what is to be placed cannot be written.
        fs::remove_dir(&folder).unwrap();
        let staged = StagedReport::stage(&folder, vec![("a", "one".into())], 0o600).unwrap();
        fs::create_dir(staged.scratch.path().join("placing.json")).unwrap();
        assert!(staged.place(None).is_err() && !folder.exists());
    }
}
