//! From temporary files to OUT.

use super::{
    Change, Proof,
    patch::Patch,
    plan::{self, Plan},
    stage::{self, Layout, Speed},
    target::{self, Target},
    verify,
};
use crate::{
    error::{Error, Result},
    onnx::{OnnxFile, span::Spans},
};
use serde::Serialize;
use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A new model that is written but has no name yet. Dropping it removes every trace.
#[derive(Debug)]
pub struct Pending<'a> {
    pub(super) file: &'a OnnxFile,
    pub(super) changes: &'a [Change],
    pub(super) spans: Spans,
    pub(super) plan: Plan,
    pub(super) patches: Vec<Patch>,
    /// New path of each group, if it moves.
    pub(super) moved: Vec<Option<String>>,
    pub(super) out: Target,
    /// External files that get a name beside OUT; with their index in the plan.
    data: Vec<(usize, Target)>,
    force: bool,
    verified: Cell<bool>,
    // Last, so that the files outlive what looks at them.
    folder: TempDir,
}

/// What was published.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    /// The new model.
    pub path: PathBuf,
    /// New external files.
    pub external_files: Vec<PathBuf>,
}

/// Writes the temporary files; see [`splice`](super::splice).
pub fn prepare<'a>(file: &'a OnnxFile, changes: &'a [Change], out: &Path, force: bool) -> Result<Pending<'a>> {
    let spans = Spans::scan(file)?;
    let out = target::model(file, &spans, out, force)?;
    let plan = plan::plan(file, &spans, changes)?;
    let same_folder = target::same_folder(&out.folder, file.folder());
    let mut moved = vec![None; plan.groups.len()];
    let mut data = vec![];
    let mut renamed = 0;
    for (index, group) in plan.groups.iter().enumerate() {
        if same_folder {
            // Files that do not change stay where they are, and the model refers to them as before.
            if group.changed.is_empty() {
                continue;
            }
            let name = out.external_name(renamed)?;
            renamed += 1;
            data.push((index, out.beside(file, &spans, &name, force)?));
            if let Some(slot) = moved.get_mut(index) {
                *slot = Some(name);
            }
        } else {
            data.push((index, out.beside(file, &spans, &group.path, force)?));
        }
    }
    let mut builder = tempfile::Builder::new();
    let prefix = format!(".{}.", out.name.display());
    builder.prefix(&prefix).suffix(".partial");
    #[cfg(unix)]
    builder.permissions(<fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700));
    let folder = builder.tempdir_in(&out.folder).map_err(|e| out.failed(e.to_string()))?;
    let layout = Layout { folder: folder.path(), model: &out.name, moved: &moved };
    let patches = stage::stage(file, &spans, &plan, &layout, Speed::Synced)?;
    let verified = Cell::new(false);
    Ok(Pending { file, changes, spans, plan, patches, moved, out, data, force, verified, folder })
}

impl Pending<'_> {
    /// The temporary model file. It can be loaded: the external files that it needs lie beside it.
    pub fn model_path(&self) -> PathBuf {
        self.folder.path().join(&self.out.name)
    }

    /// Reads the temporary files again and proves that they are the input with the changes, and nothing else.
    ///
    /// # Errors
    /// [`Error::ParityAfter`] says what is not; [`Error::Malformed`] if the input was changed meanwhile.
    pub fn verify(&self) -> Result<Proof> {
        let proof = verify::verify(self)?;
        self.verified.set(true);
        Ok(proof)
    }

    /// Renames the files into place, external files first and OUT last. Verifies first if nobody has.
    ///
    /// # Errors
    /// As [`verify`](Self::verify), and [`Error::Write`] if a name was taken meanwhile or cannot be made; then nothing is
    /// left of what was not there before.
    pub fn publish(self) -> Result<Published> {
        if !self.verified.get() {
            self.verify()?;
        }
        self.file.require_unchanged()?;
        let mut placed = vec![];
        let result = self.place_all(&mut placed);
        if result.is_err() {
            // OUT itself comes last: if it was placed, nothing failed before.
            for path in placed.iter().rev() {
                let _ = fs::remove_file(path);
            }
        }
        result?;
        let external_files = self.data.iter().map(|(_, target)| target.path()).collect();
        Ok(Published { path: self.out.path(), external_files })
    }

    /// Renames all files; collects those whose names are new.
    fn place_all(&self, placed: &mut Vec<PathBuf>) -> Result<()> {
        for (index, target) in &self.data {
            let group = self.plan.groups.get(*index);
            let group = group.ok_or_else(|| Error::Internal("write-back: an external file is lost".to_string()))?;
            let moved = self.moved.get(*index).and_then(Option::as_deref);
            let from = self.folder.path().join(moved.unwrap_or(&group.path));
            self.place(&from, target, placed)?;
        }
        self.place(&self.model_path(), &self.out, placed)?;
        self.data.iter().map(|(_, target)| target).chain([&self.out]).try_for_each(|t| stage::sync_folder(&t.folder))
    }

    fn place(&self, from: &Path, target: &Target, placed: &mut Vec<PathBuf>) -> Result<()> {
        let existed = target.require_free(self.file, &self.spans, self.force)?;
        target.make_folders()?;
        let to = target.path();
        if existed {
            return fs::rename(from, &to).map_err(|e| target.failed(e.to_string()));
        }
        rename_new(from, &to).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                target.failed("it appeared while the program ran; it is left as it is".to_string())
            }
            _ => target.failed(e.to_string()),
        })?;
        placed.push(to);
        Ok(())
    }
}

/// Renames unless `to` exists.
fn rename_new(from: &Path, to: &Path) -> std::io::Result<()> {
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
