//! Which names may be written.

use crate::{
    error::{Error, Result},
    onnx::{FileIdentity, OnnxFile, ReadOptions, external_data::components, folder_of, span::Spans},
};
use std::{
    ffi::OsString,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// A name to be written.
#[derive(Clone, Debug)]
pub struct Target {
    /// An existing folder of the user's choice.
    pub folder: PathBuf,
    /// Path below it: a file name for the model, for external data any path that the rules allow.
    pub name: PathBuf,
    /// For external data: the model that will refer to it.
    model: Option<PathBuf>,
}

/// The target for the new model.
///
/// # Errors
/// [`Error::Write`] if it may not be written.
pub fn model(file: &OnnxFile, spans: &Spans, out: &Path, force: bool) -> Result<Target> {
    let folder = folder_of(out);
    let name: OsString = match out.file_name() {
        Some(name) if !out.as_os_str().is_empty() => name.to_os_string(),
        _ => return Err(Error::Write { path: out.to_path_buf(), problem: "this names no file".to_string() }),
    };
    let target = Target { folder, name: name.into(), model: None };
    match fs::metadata(&target.folder) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(target.failed("what should be its folder is a file".to_string())),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(target.failed(format!("there is no folder {}; create it", target.folder.display())));
        }
        Err(e) => return Err(target.failed(e.to_string())),
    }
    let carrier = file.carrier();
    if !carrier.parts.is_empty() && same_folder(&target.folder, carrier.path) {
        return Err(
            target.failed("this lies in the checkpoint's folder, which is never touched; choose another name".into())
        );
    }
    target.require_free(file, spans, force)?;
    Ok(target)
}

/// Whether two folders are the same.
pub fn same_folder(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

impl Target {
    /// The whole path.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// [`Error::Write`] for this path.
    pub fn failed(&self, problem: String) -> Error {
        Error::Write { path: self.path(), problem }
    }

    /// The name of the `n`th new external file of this model.
    ///
    /// # Errors
    /// [`Error::Write`] if the name of the model is not in UTF-8, or makes a path that external data may not have.
    pub fn external_name(&self, n: usize) -> Result<String> {
        let problem = "external data are named after it, which takes a name in UTF-8";
        let stem = self.name.to_str().ok_or_else(|| self.failed(problem.to_string()))?;
        let name = if n == 0 { format!("{stem}.data") } else { format!("{stem}.{n}.data") };
        components(&name).map_err(|problem| self.failed(problem))?;
        Ok(name)
    }

    /// The target for an external file at `path` beside this model.
    ///
    /// # Errors
    /// [`Error::Write`] if the path is that of the model, or lies below it; those of [`Target::require_free`].
    pub fn beside(&self, file: &OnnxFile, spans: &Spans, path: &str, force: bool) -> Result<Self> {
        let target = Self { folder: self.folder.clone(), name: path.into(), model: Some(self.path()) };
        if target.name.starts_with(&self.name) {
            let problem = "the model's external data have this name, or lie in a folder of this name; choose another";
            return Err(self.failed(problem.to_string()));
        }
        target.require_free(file, spans, force)?;
        Ok(target)
    }

    /// Whether the name exists, and may be replaced.
    ///
    /// # Errors
    /// [`Error::Write`] if the name belongs to the input or its external data, to a link, a folder, or a file with
    /// other names; to any file if `force` is off; or to one that is not external data of the model that is replaced.
    pub fn require_free(&self, file: &OnnxFile, spans: &Spans, force: bool) -> Result<bool> {
        let mut below = self.folder.clone();
        for part in self.name.parent().into_iter().flat_map(Path::components) {
            below.push(part);
            match fs::symlink_metadata(&below) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => return Err(self.failed(format!("{} is not a folder, or is a link", below.display()))),
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
                Err(e) => return Err(self.failed(e.to_string())),
            }
        }
        let meta = match fs::symlink_metadata(self.path()) {
            Ok(meta) => meta,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(self.failed(e.to_string())),
        };
        let refuse = |problem: &str| Err(self.failed(problem.to_string()));
        if meta.is_symlink() {
            return refuse("this is a symbolic link, which is never written through; choose another name");
        }
        let identity = FileIdentity::of(&meta);
        let carrier = file.carrier();
        let inputs = [(file.identity(), file.path()), (carrier.identity, carrier.path)];
        if inputs.into_iter().any(|(other, path)| is(&identity, &self.path(), other, path)) {
            return refuse("this is the input, which is never touched; choose another name");
        }
        if self.model.is_none() && !carrier.parts.is_empty() {
            return refuse("the new checkpoint is a folder, and replaces nothing; choose another name, or remove this");
        }
        if meta.is_dir() {
            return refuse("this is a folder; give a file name");
        }
        if !meta.is_file() {
            return refuse("this is not a regular file");
        }
        for used in spans.external() {
            let location = &used.reference.location;
            let Ok(data) = file.external(location) else { continue };
            if is(&identity, &self.path(), data.identity(), &file.folder().join(location)) {
                return refuse("this is external data of the input, which is never touched; choose another name");
            }
        }
        if identity.links > 1 {
            return refuse("this file has other names too (hard links); remove it, or choose another name");
        }
        match &self.model {
            Some(model) if !model.exists() => refuse(
                "the file exists, and no model that it would belong to: perhaps it is left of another run; remove it, or choose another name",
            ),
            _ if !force => refuse("the file exists; choose another name, or pass --force to replace it"),
            Some(model) if !refers(model, &self.name) => refuse(
                "the file exists and does not belong to the model that is replaced; move it, or choose another folder",
            ),
            _ => Ok(true),
        }
    }

    /// Creates the folders between [`folder`](Self::folder) and the file.
    ///
    /// # Errors
    /// [`Error::Write`] if a folder cannot be created.
    pub fn make_folders(&self) -> Result<()> {
        let mut below = self.folder.clone();
        for part in self.name.parent().into_iter().flat_map(Path::components) {
            below.push(part);
            match fs::create_dir(&below) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(self.failed(e.to_string())),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether a file is a certain other one.
fn is(identity: &FileIdentity, path: &Path, other: &FileIdentity, other_path: &Path) -> bool {
    let same_path = || matches!((path.canonicalize(), other_path.canonicalize()), (Ok(a), Ok(b)) if a == b);
    (cfg!(unix) && identity.file == other.file) || same_path()
}

/// Whether the model at `path`, which is to be replaced, refers to the external file `name`.
fn refers(path: &Path, name: &Path) -> bool {
    let Ok(spans) = OnnxFile::open(path, &ReadOptions::default()).and_then(|old| Spans::scan(&old)) else {
        return false;
    };
    spans
        .external()
        .iter()
        .any(|used| components(&used.reference.location).is_ok_and(|parts| parts.iter().collect::<PathBuf>() == name))
}
