//! Writing the spliced model and its external files to a folder of their own.

use super::{
    external::Group,
    patch::{self, Patch, Why},
    plan::Plan,
};
use crate::{
    error::{Error, Result},
    onnx::{Carrier, OnnxFile, external_data::ExternalFile, span::Spans},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// How sure the bytes must be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// Whenever the system likes: for files that are read back once and removed.
    Quick,
    /// Before the function returns.
    Synced,
}

/// Where the new model and each external file go, below one folder.
#[derive(Debug)]
pub struct Layout<'a> {
    /// The folder, which holds nothing else.
    pub folder: &'a Path,
    /// File name of the model.
    pub model: &'a Path,
    /// For each group of the plan its new path, or `None` for the one that the model has.
    pub moved: &'a [Option<String>],
}

impl Layout<'_> {
    /// The path of an external file below the folder.
    pub fn path_of<'b>(&'b self, index: usize, group: &'b Group) -> &'b str {
        self.moved.get(index).and_then(Option::as_deref).unwrap_or(&group.path)
    }
}

/// Writes all files; returns the patches of the model file, lengths included.
///
/// # Errors
/// [`Error::Write`] names the file or folder that cannot be written; [`Error::Internal`] if two patches overlap.
pub fn stage(file: &OnnxFile, spans: &Spans, plan: &Plan, layout: &Layout<'_>, speed: Speed) -> Result<Vec<Patch>> {
    let mut patches = plan.patches.clone();
    for (index, group) in plan.groups.iter().enumerate() {
        let path = layout.folder.join(layout.path_of(index, group));
        // One that does not change may be there already.
        if !group.changed.is_empty() || !path.exists() {
            write_external(group, spans, layout.folder, &path, speed).map_err(|e| failed(&path, &e))?;
        }
        let moved = layout.moved.get(index).and_then(Option::as_deref);
        let sums = group.uses.iter().filter_map(|&i| spans.external().get(i)).any(|used| used.checksum.is_some());
        let sum = if sums && !group.changed.is_empty() { Some(sha1(&path)?) } else { None };
        for used in group.uses.iter().filter_map(|&i| spans.external().get(i)) {
            let texts =
                [(Some(&used.location), moved, Why::Location), (used.checksum.as_ref(), sum.as_deref(), Why::Checksum)];
            for (text, new, why) in texts {
                if let (Some(text), Some(new)) = (text, new) {
                    let (range, bytes) = (text.bytes.clone(), new.as_bytes().to_vec());
                    patches.push(Patch { range, bytes, frame: Some(text.frame), why });
                }
            }
        }
    }
    let patches = patch::complete(spans.frames(), patches)?;
    let path = layout.folder.join(layout.model);
    write_carrier(&file.carrier(), &patches, &path, speed)?;
    if speed == Speed::Synced {
        sync_folder(layout.folder)?;
    }
    Ok(patches)
}

/// Writes the file that holds the parameters, or the folder: of the latter no length changes, so that each patch lies in
/// one of its files.
fn write_carrier(carrier: &Carrier<'_>, patches: &[Patch], path: &Path, speed: Speed) -> Result<()> {
    if carrier.parts.is_empty() {
        return write_patched(carrier.bytes, patches, path, carrier.identity.mode, speed);
    }
    make_folder(path, carrier.identity.mode).map_err(|e| failed(path, &e))?;
    for part in carrier.parts {
        let own = patches.iter().filter(|p| part.range.start <= p.range.start && p.range.end <= part.range.end);
        let shifted = |p: &Patch| p.range.start - part.range.start..p.range.end - part.range.start;
        let own: Vec<Patch> = own.map(|p| Patch { range: shifted(p), ..p.clone() }).collect();
        let bytes = carrier.bytes.get(part.range.clone()).unwrap_or_default();
        write_patched(bytes, &own, &path.join(&part.name), part.identity.mode, speed)?;
    }
    if speed == Speed::Synced { sync_folder(path) } else { Ok(()) }
}

fn write_patched(bytes: &[u8], patches: &[Patch], path: &Path, mode: u32, speed: Speed) -> Result<()> {
    let write = || {
        let mut out = BufWriter::with_capacity(1 << 20, create(path, mode)?);
        patch::write(bytes, patches, &mut out)?;
        out.flush()?;
        finish(out.get_ref(), speed)
    };
    write().map_err(|e: std::io::Error| failed(path, &e))
}

/// A new folder with the permissions `mode`, which its owner can write to.
fn make_folder(path: &Path, mode: u32) -> std::io::Result<()> {
    fs::create_dir(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o700))?;
    }
    let _ = mode;
    Ok(())
}

fn failed(path: &Path, e: &std::io::Error) -> Error {
    Error::Write { path: path.to_path_buf(), problem: e.to_string() }
}

fn write_external(group: &Group, spans: &Spans, folder: &Path, path: &Path, speed: Speed) -> std::io::Result<()> {
    let parent: PathBuf = path.parent().unwrap_or(folder).to_path_buf();
    fs::create_dir_all(parent)?;
    let mut out = create(path, group.file.identity().mode)?;
    if group.changed.is_empty() {
        out.write_all(group.file.bytes())?;
    } else {
        group.write(spans, &mut out)?;
    }
    finish(&out, speed)
}

/// A new file (never an existing one, never through a link) with the permissions `mode`.
fn create(path: &Path, mode: u32) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    // Never readable by more than it will be.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let file = options.open(path)?;
    // What the umask took away.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    let _ = mode;
    Ok(file)
}

fn finish(file: &File, speed: Speed) -> std::io::Result<()> {
    if speed == Speed::Synced { file.sync_all() } else { Ok(()) }
}

fn sha1(path: &Path) -> Result<String> {
    let file = File::open(path).map_err(|e| failed(path, &e))?;
    let mapped = ExternalFile::read(&file);
    mapped.map(|f| f.sha1().to_string()).map_err(|problem| Error::Write { path: path.to_path_buf(), problem })
}

/// Makes the names in `folder` durable.
///
/// # Errors
/// [`Error::Write`] if the folder cannot be opened or synced.
pub fn sync_folder(folder: &Path) -> Result<()> {
    #[cfg(unix)]
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| failed(folder, &e))?;
    let _ = folder;
    Ok(())
}
