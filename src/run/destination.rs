//! What can be known of a run's output before its work.

use super::{
    job::Job,
    options::Options,
    staged::{REPORT, cannot_write, require_ours},
};
use crate::{
    data::Places,
    error::{Error, Result},
    onnx::OnnxFile,
    scratch::{self, Scratch},
    writeback,
};
use std::path::{Path, PathBuf};

/// What may be written, and where.
pub struct Destination {
    /// The new model.
    pub out: PathBuf,
    /// The folder of its report.
    pub folder: PathBuf,
    /// Whether files that are there may be replaced.
    pub force: bool,
}

impl Destination {
    /// As the flags and the configuration say.
    pub fn new(options: &Options, out: Option<&Path>, force: bool) -> Self {
        let out = options.out(out);
        Self { folder: options.report_folder(&out), out, force }
    }

    /// Whether all of it may and can be written; a dry run only warns of an OUT that is there. Removes what killed runs left.
    /// Returns what the user should know.
    ///
    /// # Errors
    /// [`Error::Write`] says what stands in the way.
    pub fn check(&self, file: &OnnxFile, dry_run: bool) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        let mut left = writeback::clear_leftovers(&self.out);
        left.extend(scratch::clear(&self.folder, &|_| false));
        for path in left {
            warnings.push(format!("removed {}, which a killed run had left", path.display()));
        }
        match writeback::check_destination(file, &self.out, self.force) {
            Err(e) if dry_run && writeback::check_destination(file, &self.out, true).is_ok() => {
                warnings.push(e.to_string())
            }
            answer => answer?,
        }
        check_folder(&self.folder, &REPORT, self.force)?;
        Ok(warnings)
    }

    /// Whether nothing of it is a file that the job reads.
    ///
    /// # Errors
    /// [`Error::Write`] names the file.
    pub fn require_apart(&self, job: &Job) -> Result<()> {
        let options = &job.options;
        let given =
            options.config.iter().chain(options.forget.iter().flat_map(Places::paths)).chain(&options.references);
        let given = given.chain(&options.loss_graph);
        let read: Vec<&PathBuf> = given.chain(job.data.files.iter().map(|(path, _)| path)).collect();
        let report = REPORT.iter().map(|(name, _)| self.folder.join(name));
        std::iter::once(self.out.clone()).chain(report).try_for_each(|path| require_other(path, &read))
    }

    /// The folder for the report of a run that was rejected: another one where a model and its report are, which stay.
    pub fn rejected_folder(&self) -> PathBuf {
        let published = ["attestation.intoto.json", "tags.json"].iter().any(|name| self.folder.join(name).exists());
        if !published && !self.out.exists() {
            return self.folder.clone();
        }
        let mut name = self.out.file_stem().unwrap_or_default().to_os_string();
        name.push(".rejected.report");
        self.out.with_file_name(name)
    }
}

/// Whether a folder for `files` can be made and written, and holds none of another program, unless these may be replaced.
///
/// # Errors
/// [`Error::Write`] says what stands in the way.
pub fn check_folder(folder: &Path, files: &[(&str, &str)], force: bool) -> Result<()> {
    if !force {
        require_ours(folder, files)?;
    }
    if folder.exists() && !folder.is_dir() {
        let problem = "this is a file; the report needs a folder, give another one".into();
        return Err(Error::Write { path: folder.to_path_buf(), problem });
    }
    if let Some(path) = files.iter().map(|(name, _)| folder.join(name)).find(|path| path.is_dir()) {
        return Err(Error::Write { path, problem: "this is a folder; give another one for the report".into() });
    }
    // A folder that is not there is made at the end, in the last one that is.
    let there = std::path::absolute(folder).map_err(|e| cannot_write(folder, &e))?;
    let there = there.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    Scratch::beside(there, "report").map(drop).map_err(|e| cannot_write(folder, &e))
}

/// Fails if `path` is one of the files that are read.
///
/// # Errors
/// [`Error::Write`] names it.
pub fn require_other(path: PathBuf, read: &[&PathBuf]) -> Result<()> {
    if read.iter().any(|other| is_same(&path, other)) {
        let problem = "the job reads this file, which is never replaced; choose another name".into();
        return Err(Error::Write { path, problem });
    }
    Ok(())
}

/// Whether two paths are one file.
fn is_same(a: &Path, b: &Path) -> bool {
    let (Ok(first), Ok(second)) = (a.canonicalize(), b.canonicalize()) else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let file = |path: &Path| path.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
        if file(&first).is_some() && file(&first) == file(&second) {
            return true;
        }
    }
    first == second
}

/// The path of a neighbor of `path` with `ending` in place of its extension.
pub fn sibling(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_os_string();
    name.push(ending);
    path.with_file_name(name)
}

/// The path with `ending` after its whole name, as names of checkpoints have no extension.
pub(super) fn longer(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    path.with_file_name(name)
}
