//! From temporary files to OUT.

use super::{
    Change, Proof,
    external::Group,
    patch::Patch,
    plan::{self, Plan},
    stage::{self, Layout, Speed},
    target::{self, Target},
    verify,
};
use crate::{
    error::{Error, Result},
    onnx::{OnnxFile, span::Spans},
    scratch::{Commit, Move, Scratch},
};
use serde::Serialize;
use std::{
    cell::Cell,
    fs, io,
    path::{Path, PathBuf},
};
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
    folder: Scratch,
}

/// Where the new files lie in the temporary folder.
const NEW: &str = "new";

/// What was published.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    /// The new model.
    pub path: PathBuf,
    /// New external files.
    pub external_files: Vec<PathBuf>,
}

/// Writes the temporary files; see [`splice`](super::splice).
///
/// # Errors
/// Those of [`splice`](super::splice).
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
    let folder = Scratch::beside(&out.folder, &out.name.to_string_lossy()).map_err(|e| out.failed(e.to_string()))?;
    let new = folder.path().join(NEW);
    fs::create_dir(&new).map_err(|e| out.failed(e.to_string()))?;
    let layout = Layout { folder: &new, model: &out.name, moved: &moved };
    let patches = stage::stage(file, &spans, &plan, &layout, Speed::Synced)?;
    let verified = Cell::new(false);
    Ok(Pending { file, changes, spans, plan, patches, moved, out, data, force, verified, folder })
}

/// Whether OUT and its external data may and can be written; see [`check_destination`](super::check_destination).
///
/// # Errors
/// Those of [`check_destination`](super::check_destination).
pub fn check(file: &OnnxFile, out: &Path, force: bool) -> Result<()> {
    let spans = Spans::scan(file)?;
    let out = target::model(file, &spans, out, force)?;
    let groups = Group::all(file, &spans)?;
    if target::same_folder(&out.folder, file.folder()) {
        // Whether any of it changes is known at the end.
        if !groups.is_empty() {
            out.beside(file, &spans, &out.external_name(0)?, force)?;
        }
    } else {
        groups.iter().try_for_each(|group| out.beside(file, &spans, &group.path, force).map(|_| ()))?;
    }
    let cannot = |e: io::Error| out.failed(format!("its folder cannot be written: {e}"));
    drop(Scratch::beside(&out.folder, &out.name.to_string_lossy()).map_err(cannot)?);
    let needed = file.carrier().bytes.len() as u64;
    match room(&out.folder) {
        Some(room) if room < needed => Err(out.failed(format!(
            "the file system has {} MiB left, and the new model takes {} MiB",
            room >> 20,
            (needed >> 20) + 1
        ))),
        _ => Ok(()),
    }
}

/// Bytes that may still be written to the file system of `folder`, where it says.
fn room(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    return rustix::fs::statvfs(folder).ok().map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    #[cfg(not(unix))]
    return None.filter(|_: &u64| folder.exists());
}

impl Pending<'_> {
    /// The temporary model file. It can be loaded: the external files that it needs lie beside it.
    pub fn model_path(&self) -> PathBuf {
        self.new_folder().join(&self.out.name)
    }

    /// Where all temporary files lie.
    pub(super) fn new_folder(&self) -> PathBuf {
        self.folder.path().join(NEW)
    }

    /// What a list of files that belong to the model waits for.
    ///
    /// # Errors
    /// [`Error::Write`] if the temporary model file is gone.
    pub fn commit(&self) -> Result<Commit> {
        Commit::new(&self.model_path(), &self.out.path()).map_err(|e| self.out.failed(e.to_string()))
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
        let mut moves = Vec::new();
        for (index, target) in &self.data {
            let group = self.plan.groups.get(*index);
            let group = group.ok_or_else(|| Error::Internal("write-back: an external file is lost".to_string()))?;
            let moved = self.moved.get(*index).and_then(Option::as_deref);
            moves.push(self.movement(self.new_folder().join(moved.unwrap_or(&group.path)), target)?);
        }
        moves.push(self.movement(self.model_path(), &self.out)?);
        let failed = |(path, e): (PathBuf, io::Error)| {
            let problem = match e.kind() {
                io::ErrorKind::AlreadyExists => "it appeared while the program ran; it is left as it is".to_string(),
                _ => e.to_string(),
            };
            Error::Write { path, problem }
        };
        let placed = self.folder.place(&moves, None).map_err(failed)?;
        let mut targets = self.data.iter().map(|(_, target)| target).chain([&self.out]);
        targets.try_for_each(|target| stage::sync_folder(&target.folder))?;
        placed.keep();
        let external_files = self.data.iter().map(|(_, target)| target.path()).collect();
        Ok(Published { path: self.out.path(), external_files })
    }

    fn movement(&self, from: PathBuf, target: &Target) -> Result<Move> {
        let replaces = target.require_free(self.file, &self.spans, self.force)?;
        target.make_folders()?;
        Ok(Move { from, to: target.path(), replaces })
    }
}
