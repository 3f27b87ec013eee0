//! Encoded images of a column: bytes, or paths of files.

use crate::column;
use arrow_array::{Array, ArrayRef, LargeBinaryArray, LargeStringArray, StructArray, cast::AsArray};
use std::{
    borrow::Cow,
    fs::File,
    io::Read,
    path::{Component, Path, PathBuf},
};

/// Bytes of an image file, at most.
const LIMIT: u64 = 512 << 20;

/// The images of some rows.
pub struct Encoded {
    bytes: Option<LargeBinaryArray>,
    paths: Option<LargeStringArray>,
    folder: PathBuf,
}

impl Encoded {
    /// Of a column of bytes, of text that holds paths, or of structs of `bytes` and `path`. Paths are relative to `folder`.
    ///
    /// # Errors
    /// A column that holds neither images nor text.
    pub fn of(array: &ArrayRef, folder: &Path) -> Result<Self, String> {
        let text = |array: &ArrayRef| Ok::<_, String>(column::text(array)?.as_string::<i64>().clone());
        let (bytes, paths) = match column::classify(array.data_type()) {
            column::Class::Text => (None, Some(text(array)?)),
            _ => {
                let paths = array.as_any().downcast_ref::<StructArray>().and_then(|s| s.column_by_name("path"));
                let paths = paths.filter(|p| column::classify(p.data_type()) == column::Class::Text);
                (Some(column::blobs(array)?), paths.map(text).transpose()?)
            }
        };
        Ok(Self { bytes, paths, folder: folder.into() })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.bytes.as_ref().map_or_else(|| self.paths.as_ref().map_or(0, Array::len), Array::len)
    }

    /// The bytes of a row's image.
    ///
    /// # Errors
    /// Neither bytes nor a path; a path that leads out of the table's folder, or to no file.
    pub fn get(&self, row: usize) -> Result<Cow<'_, [u8]>, String> {
        if let Some(bytes) = self.bytes.as_ref().filter(|b| row < b.len() && !b.is_null(row)) {
            return Ok(Cow::Borrowed(bytes.value(row)));
        }
        match self.paths.as_ref().filter(|p| row < p.len() && !p.is_null(row)) {
            Some(paths) => read(&self.folder, Path::new(paths.value(row))).map(Cow::Owned),
            None => Err("has neither the bytes of an image nor the path of one".into()),
        }
    }
}

fn read(folder: &Path, path: &Path) -> Result<Vec<u8>, String> {
    // An absolute path says what it means; a relative one has no reason to leave the folder.
    if !path.is_absolute() && path.components().any(|c| matches!(c, Component::ParentDir)) {
        return Err("is a path that leads out of the table's folder: give it whole, or move the image".into());
    }
    let place = folder.join(path);
    let fail = |e: std::io::Error| {
        let from = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        format!("is the path of an image that cannot be read ({e}), looked for from {}", from.display())
    };
    if !std::fs::metadata(&place).map_err(fail)?.is_file() {
        return Err("is the path of something that is no file".into());
    }
    let mut bytes = Vec::new();
    File::open(&place).map_err(fail)?.take(LIMIT + 1).read_to_end(&mut bytes).map_err(fail)?;
    match bytes.len() as u64 > LIMIT {
        true => Err("is the path of a file of more than 512 MiB".into()),
        false => Ok(bytes),
    }
}
