//! Parquet files, folders of them and globs, read as one table by row groups.

use super::{fault::Fault, path, rows::Within};
use crate::{Error, Result};
use arrow_array::RecordBatch;
use arrow_schema::{Field, SchemaRef};
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
    },
};
use std::{
    fs::File,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// One table in one or more Parquet files of the same columns.
#[derive(Debug)]
pub struct Source {
    asked: PathBuf,
    files: Vec<DataFile>,
    pieces: Vec<Piece>,
    schema: SchemaRef,
    rows: usize,
}

#[derive(Debug)]
struct DataFile {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    stamp: Stamp,
}

/// What tells that a file was replaced while the program runs.
type Stamp = (u64, Option<SystemTime>);

/// A row group: the unit that is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    file: usize,
    group: usize,
    /// First row, counted over all files.
    pub first: usize,
    /// Number of rows.
    pub rows: usize,
}

impl Source {
    /// Opens what `asked` names: a file, a folder (all `*.parquet` in it, sorted) or a glob (sorted).
    ///
    /// # Errors
    /// Nothing there, not Parquet, or files whose columns differ.
    pub fn open(asked: &Path) -> Result<Self> {
        let fail = |path: &Path, problem: String| Error::ReadData { path: path.into(), problem };
        let mut files: Vec<DataFile> = Vec::new();
        let mut pieces = Vec::new();
        let mut rows = 0usize;
        for path in list(asked)? {
            let (handle, stamp) = open_file(&path)?;
            let metadata = ArrowReaderMetadata::load(&handle, ArrowReaderOptions::new())
                .map_err(|e| fail(&path, format!("not a readable Parquet file ({e})")))?;
            if let Some(first) = files.first() {
                same_columns(first, &path, &metadata)?;
            }
            for group in 0..metadata.metadata().num_row_groups() {
                let n = metadata.metadata().row_group(group).num_rows();
                let n =
                    usize::try_from(n).map_err(|_| fail(&path, "a row group with a negative number of rows".into()))?;
                pieces.push(Piece { file: files.len(), group, first: rows, rows: n });
                rows = rows.checked_add(n).ok_or_else(|| fail(&path, "too many rows".into()))?;
            }
            files.push(DataFile { path, metadata, stamp });
        }
        let Some(first) = files.first() else {
            return Err(fail(asked, "no *.parquet file there".into()));
        };
        let schema = first.metadata.schema().clone();
        Ok(Self { asked: asked.into(), files, pieces, schema, rows })
    }

    /// What a file says beside its columns under that key.
    pub fn metadata(&self, key: &str) -> Option<String> {
        self.schema.metadata().get(key).cloned()
    }

    /// The same for a list of values, such as ids; `known` says whether a word is the name of a column.
    pub fn open_list(asked: &Path, _known: &dyn Fn(&str) -> bool) -> Result<Self> {
        Self::open(asked)
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.asked
    }

    /// The files, in order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|f| f.path.as_path())
    }

    /// Rows of all files.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Row groups of all files, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Columns, in the first file's order.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.schema.fields().iter().map(|f| f.as_ref())
    }

    /// The column of that name, or the field of a struct column by its path.
    pub fn field(&self, name: &str) -> Option<&Field> {
        path::find(&self.schema, name)
    }

    /// The column of that name, or an error that lists the columns there are.
    pub fn require(&self, name: &str, what: &str) -> Result<&Field> {
        self.field(name).ok_or_else(|| {
            Error::Data(format!(
                "{}: no column `{name}` for {what}; its columns are {}",
                self.asked.display(),
                self.names()
            ))
        })
    }

    /// The column names as text for messages.
    pub fn names(&self) -> String {
        let names: Vec<_> = self.fields().map(|f| format!("`{}`", f.name())).collect();
        names.join(", ")
    }

    /// Stored values of a column (list elements, not rows), by the files' own count.
    pub fn stored_values(&self, column: &str) -> u64 {
        let groups = self.files.iter().flat_map(|f| f.metadata.metadata().row_groups());
        let chunks = groups.flat_map(|g| g.columns());
        let of_column = chunks.filter(|c| c.column_path().parts().first().is_some_and(|p| p == column));
        of_column.map(|c| u64::try_from(c.num_values()).unwrap_or(0)).sum()
    }

    /// Reads `columns` of one row group, at most `chunk` rows at a time. `rows` chooses rows by their number within
    /// the group, ascending.
    pub fn read(
        &self,
        piece: Piece,
        columns: &[&str],
        rows: Option<&[usize]>,
        chunk: usize,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        let file = self.files.get(piece.file).ok_or_else(|| Error::Internal("a piece of another table".into()))?;
        let (handle, stamp) = open_file(&file.path)?;
        if stamp != file.stamp {
            let problem = "changed while it was being read".into();
            return Err(Error::ReadData { path: file.path.clone(), problem });
        }
        let wrap = {
            let path = file.path.clone();
            move |e: &dyn std::fmt::Display| Error::ReadData { path: path.clone(), problem: format!("damaged ({e})") }
        };
        let schema = file.metadata.parquet_schema();
        let read: Vec<&str> = columns.iter().filter_map(|c| path::root(&self.schema, c)).collect();
        let roots = schema.root_schema().get_fields().iter().enumerate();
        let roots: Vec<_> = roots.filter(|(_, f)| read.contains(&f.name())).map(|(i, _)| i).collect();
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(handle, file.metadata.clone())
            .with_projection(ProjectionMask::roots(schema, roots))
            .with_row_groups(vec![piece.group])
            .with_batch_size(chunk.max(1));
        if let Some(rows) = rows {
            builder = builder.with_row_selection(selection(rows, piece.rows));
        }
        let reader = builder.build().map_err(|e| wrap(&e))?;
        let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
        Ok(reader.map(move |batch| {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            path::take(batch.map_err(|e| wrap(&e))?, &columns).map_err(|e| wrap(&e))
        }))
    }

    /// Reads `columns` of the chosen rows from first to last. `each` gets the number of a batch's first row among
    /// the chosen ones.
    pub fn scan(
        &self,
        columns: &[&str],
        rows: &super::Rows,
        mut each: impl FnMut(usize, &RecordBatch) -> Result<(), Fault>,
    ) -> Result<()> {
        let mut done = 0;
        for &piece in &self.pieces {
            let chosen = match rows.within(piece.first, piece.rows) {
                Within::None => continue,
                Within::All => None,
                Within::Some(rows) => Some(rows),
            };
            let mut read = 0;
            for batch in self.read(piece, columns, chosen.as_deref(), 1 << 16)? {
                let batch = batch?;
                self.check_nulls(piece, &batch)?;
                each(done, &batch).map_err(|fault| self.fault(piece, chosen.as_deref(), read, fault))?;
                read += batch.num_rows();
                done += batch.num_rows();
            }
        }
        Ok(())
    }

    /// An error about the file that `piece` lies in.
    pub fn problem(&self, piece: Piece, problem: String) -> Error {
        let path = self.files.get(piece.file).map_or(&self.asked, |f| &f.path);
        Error::ReadData { path: path.clone(), problem }
    }

    /// An error about rows of a batch that begins with row number `read` of the `chosen` ones of a piece. It names the
    /// row by its number in the file.
    pub fn fault(&self, piece: Piece, chosen: Option<&[usize]>, read: usize, fault: Fault) -> Error {
        let row = fault.row.map(|row| read + row).and_then(|n| chosen.map_or(Some(n), |c| c.get(n).copied()));
        let first = self.pieces.iter().find(|p| p.file == piece.file).map_or(0, |p| p.first);
        let problem = match row {
            Some(row) => format!("row {} (counted from 0): {}", piece.first - first + row, fault.problem),
            None => fault.problem,
        };
        self.problem(piece, problem)
    }

    /// # Errors
    /// Rows without a value, with their number in the whole file.
    pub fn check_nulls(&self, piece: Piece, batch: &RecordBatch) -> Result<()> {
        for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
            if super::column::has_nulls(array) {
                let mut count = 0;
                for other in self.pieces.iter().filter(|p| p.file == piece.file) {
                    for batch in self.read(*other, &[field.name()], None, 1 << 14)? {
                        let batch = batch?;
                        count += batch.columns().iter().map(super::column::null_rows).sum::<usize>();
                    }
                }
                let name = field.name();
                let problem = format!(
                    "column `{name}`: {count} rows have no value, or one inside their list; remove or fill them"
                );
                return Err(self.problem(piece, problem));
            }
        }
        Ok(())
    }
}

/// The chosen rows of a group as runs of rows to read and to skip.
fn selection(rows: &[usize], total: usize) -> RowSelection {
    let mut runs: Vec<RowSelector> = Vec::new();
    let mut next = 0;
    for &row in rows {
        if row > next || runs.is_empty() {
            if row > next {
                runs.push(RowSelector::skip(row - next));
            }
            runs.push(RowSelector::select(1));
        } else if let Some(last) = runs.last_mut() {
            last.row_count += 1;
        }
        next = row + 1;
    }
    if next < total {
        runs.push(RowSelector::skip(total - next));
    }
    runs.into()
}

fn open_file(path: &Path) -> Result<(File, Stamp)> {
    let fail = |e: std::io::Error| Error::ReadData { path: path.into(), problem: format!("cannot be read ({e})") };
    let is_file = std::fs::metadata(path).map_err(fail)?.is_file();
    if !is_file {
        return Err(Error::ReadData { path: path.into(), problem: "not a regular file".into() });
    }
    let file = File::open(path).map_err(fail)?;
    let about = file.metadata().map_err(fail)?;
    Ok((file, (about.len(), about.modified().ok())))
}

/// The files that a path names. A path that exists is taken as it is, also with glob signs in its name.
fn list(asked: &Path) -> Result<Vec<PathBuf>> {
    let fail = |problem: String| Error::ReadData { path: asked.into(), problem };
    let mut found = if asked.is_dir() {
        let entries = std::fs::read_dir(asked).map_err(|e| fail(format!("cannot be read ({e})")))?;
        let paths = entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>();
        let mut paths = paths.map_err(|e| fail(format!("cannot be read ({e})")))?;
        paths.retain(|p| p.extension().is_some_and(|x| x.eq_ignore_ascii_case("parquet")) && p.is_file());
        paths
    } else if asked.exists() {
        vec![asked.to_owned()]
    } else {
        let text = asked.to_str().filter(|t| t.contains(['*', '?', '[']));
        let pattern = text.ok_or_else(|| fail("no such file or folder".into()))?;
        let paths = glob::glob(pattern).map_err(|e| fail(format!("not a valid glob: {e}")))?;
        let paths = paths.collect::<Result<Vec<_>, _>>().map_err(|e| fail(format!("cannot be read ({e})")))?;
        paths.into_iter().filter(|p| p.is_file()).collect()
    };
    found.sort();
    if found.is_empty() {
        return Err(fail("no Parquet file there".into()));
    }
    Ok(found)
}

fn same_columns(first: &DataFile, path: &Path, metadata: &ArrowReaderMetadata) -> Result<()> {
    let (a, b) = (first.metadata.schema(), metadata.schema());
    let missing =
        |x: &SchemaRef, y: &SchemaRef| x.fields().iter().find(|f| y.field_with_name(f.name()).is_err()).cloned();
    let differs = |f: &&std::sync::Arc<Field>| {
        b.field_with_name(f.name()).is_ok_and(|g| !g.data_type().equals_datatype(f.data_type()))
    };
    let problem = if let Some(f) = missing(a, b) {
        format!("no column `{}`, which {} has", f.name(), first.path.display())
    } else if let Some(f) = missing(b, a) {
        format!("column `{}`, which {} does not have", f.name(), first.path.display())
    } else if let Some(f) = a.fields().iter().find(differs) {
        format!("column `{}` has another type than in {} ({})", f.name(), first.path.display(), f.data_type())
    } else {
        return Ok(());
    };
    Err(Error::ReadData { path: path.into(), problem })
}
