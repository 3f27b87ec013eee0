//! Files, whatever their format.

use super::{
    Known, delimited,
    format::{self, Format},
    ipc, json, parquet,
};
use crate::{Error, Result};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use std::{fs::File, path::Path, time::SystemTime};

/// Batches of one group of rows.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch, String>> + Send>;

/// A file of one format. What goes wrong is said without the file's name.
pub trait Table: std::fmt::Debug + Send + Sync {
    /// The columns.
    fn schema(&self) -> SchemaRef;

    /// Rows of each group that is read at once.
    fn groups(&self) -> Vec<usize>;

    /// Values of a column, counting a list's elements, where the file tells; at least its rows.
    fn stored_values(&self, _column: &str) -> u64 {
        self.groups().iter().map(|&rows| rows as u64).sum()
    }

    /// Those of `columns` that the file has, of one group, at most `chunk` rows at a time. `rows` chooses rows by their
    /// number within the group, ascending.
    ///
    /// # Errors
    /// A number beyond the last group, a file that is damaged, or one that cannot be read.
    fn read(
        &self,
        file: File,
        group: usize,
        columns: &[&str],
        rows: Option<&[usize]>,
        chunk: usize,
    ) -> Result<Batches, String>;
}

/// What tells that a file was replaced while the program runs.
pub type Stamp = (u64, Option<SystemTime>);

/// Opens a file by what it holds.
///
/// # Errors
/// A file whose format is not known, or that does not follow its format.
pub fn open_table(path: &Path, mut file: File, known: Option<Known<'_>>) -> Result<Box<dyn Table>, String> {
    Ok(match format::of(path)? {
        Format::Parquet => Box::new(parquet::Parquet::open(&file)?),
        Format::Arrow => Box::new(ipc::Ipc::open(&mut file)?),
        Format::Json => Box::new(json::Json::open(&mut file)?),
        Format::Delimited(separator) => Box::new(delimited::Delimited::open(&mut file, separator, known)?),
    })
}

/// Opens a regular file, to be read from its beginning.
///
/// # Errors
/// [`Error::ReadData`] if there is no regular file, or if it cannot be opened.
pub fn open_file(path: &Path) -> Result<(File, Stamp)> {
    let fail = |e: std::io::Error| Error::ReadData { path: path.into(), problem: format!("cannot be read ({e})") };
    let is_file = std::fs::metadata(path).map_err(fail)?.is_file();
    if !is_file {
        return Err(Error::ReadData { path: path.into(), problem: "not a regular file".into() });
    }
    let file = File::open(path).map_err(fail)?;
    let about = file.metadata().map_err(fail)?;
    Ok((file, (about.len(), about.modified().ok())))
}
