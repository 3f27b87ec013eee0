//! Tables: Parquet, CSV, JSON and Arrow IPC files, folders of them and globs, read as one table by groups of rows.
//!
//! [`Source::open`] takes a path, and content decides the format, not the name: a list of ids opens as training rows do.
//! [`Source::open_list`] also takes a text file whose first line is a value already. Every column has one type over all
//! files ([`Source::fields`]); rows come as Arrow batches ([`Source::scan`], [`Source::read`]), whatever the format.

mod delimited;
mod delta;
mod faults;
mod folder;
mod footer;
mod format;
mod groups;
mod ipc;
mod json;
mod keys;
mod lines;
mod list;
mod location;
mod pages;
mod parquet;
mod part;
mod shape;
mod table;
mod thrift;
mod unify;
mod values;

pub use delimited::Known;
pub use groups::chosen;
pub use location::absolute;
pub use part::Part;
pub use shape::folder_of;

use super::{MemoryTable, Places, digest::Content, fault::Fault, path, rows::Within};
use crate::{Error, Result};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema, SchemaRef};
use list::ListedFile;
use shape::{in_folder, shaped};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};
pub use table::Batches;
use table::{Stamp, Table, open_file, open_table};
use unify::Column;

/// What compressed bytes may come to, at most: an error is better than room for more.
fn inflated(bytes: u64) -> u64 {
    const FREE: u64 = 64 << 20;
    const EACH: u64 = 1024;
    bytes.saturating_mul(EACH).saturating_add(FREE)
}

/// One table in one or more files.
#[derive(Debug)]
pub struct Source {
    asked: Places,
    /// `asked` as a path, for messages.
    name: PathBuf,
    files: Vec<DataFile>,
    pieces: Vec<Piece>,
    columns: Vec<Column>,
    /// Those of `columns` that can be read.
    schema: SchemaRef,
    rows: usize,
    parts: BTreeSet<Part>,
    warnings: Vec<String>,
}

#[derive(Debug)]
struct DataFile {
    path: PathBuf,
    rows: Stored,
    /// Values that the folder's name gives to all rows.
    constants: Vec<(Field, ArrayRef)>,
    /// Number of its first row.
    first: usize,
}

/// Where the rows of a [`DataFile`] are.
#[derive(Debug)]
enum Stored {
    File(Box<dyn Table>, Stamp),
    Memory(MemoryTable),
}

impl Stored {
    fn schema(&self) -> SchemaRef {
        match self {
            Self::File(table, _) => table.schema(),
            Self::Memory(table) => table.schema(),
        }
    }

    fn stored_values(&self, column: &str) -> u64 {
        match self {
            Self::File(table, _) => table.stored_values(column),
            Self::Memory(table) => table.stored_values(column),
        }
    }
}

/// A group of rows: the unit that is read at once.
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
    /// Opens what `asked` names: rows in memory, or files, folders or globs, in their order and in order of the names.
    /// Files in sub-folders of a folder are taken, too; names that begin with `_` or `.` are not; `key=value` folders
    /// are columns.
    ///
    /// # Errors
    /// Nothing there, a file that is no table, files of several formats, or one that is damaged.
    pub fn open(asked: &Places) -> Result<Self> {
        Self::with(asked, None, None)
    }

    /// Opens what `asked` names, as [`Source::open`] does. Where the names of files or folders tell parts apart
    /// (`train-*`, `test-*`), only those of `part` are read.
    ///
    /// # Errors
    /// Those of [`Source::open`]; names that tell parts apart, but not this one.
    pub fn open_part(asked: &Places, part: Part) -> Result<Self> {
        Self::with(asked, Some(part), None)
    }

    /// Opens a list of values, such as ids: the first line of a text file is its columns' names if `known` says so of
    /// one of them, or if it is a word and numbers follow. Otherwise, a single column is called `id`. The values of a
    /// JSON list are a column called `id`.
    ///
    /// # Errors
    /// Those of [`Source::open`].
    pub fn open_list(asked: &Path, known: Known<'_>) -> Result<Self> {
        Self::with(&asked.into(), None, Some(known))
    }

    fn with(asked: &Places, part: Option<Part>, known: Option<Known<'_>>) -> Result<Self> {
        let fail = |path: &Path, problem: String| Error::ReadData { path: path.into(), problem };
        let mut files: Vec<DataFile> = Vec::new();
        let mut pieces = Vec::new();
        let mut rows = 0usize;
        if let Places::Memory(table) = asked {
            for (group, batch) in table.batches().iter().enumerate() {
                pieces.push(Piece { file: 0, group, first: rows, rows: batch.num_rows() });
                rows += batch.num_rows();
            }
            let (path, held) = (table.as_path().into(), Stored::Memory(table.clone()));
            files.push(DataFile { path, rows: held, constants: Vec::new(), first: 0 });
        }
        let list::Listing { files: found, parts, warnings } = list::list_all(asked, part)?;
        for ListedFile { path, constants } in found {
            let (handle, stamp) = open_file(&path)?;
            let table = open_table(&path, handle, known).map_err(|problem| fail(&path, problem))?;
            let first = rows;
            for (group, n) in table.groups().into_iter().enumerate() {
                pieces.push(Piece { file: files.len(), group, first: rows, rows: n });
                rows = rows.checked_add(n).ok_or_else(|| fail(&path, "too many rows".into()))?;
            }
            files.push(DataFile { path, rows: Stored::File(table, stamp), constants, first });
        }
        let columns = unify::columns(files.iter().map(|f| (f.path.as_path(), f.schema())));
        let usable: Vec<_> = columns.iter().filter(|c| c.problem.is_none()).map(|c| c.field.clone()).collect();
        let metadata = files.first().map(|f| f.rows.schema().metadata().clone()).unwrap_or_default();
        let schema = Arc::new(Schema::new(usable).with_metadata(metadata));
        let name = asked.to_string().into();
        Ok(Self { asked: asked.clone(), name, files, pieces, columns, schema, rows, parts, warnings })
    }

    /// The path as it was given; several as one text, for messages.
    pub fn path(&self) -> &Path {
        &self.name
    }

    /// Where the rows are, as it was given.
    pub fn places(&self) -> &Places {
        &self.asked
    }

    /// The files, in order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|f| f.path.as_path())
    }

    /// What digests of the files are made of, in order.
    pub fn contents(&self) -> impl Iterator<Item = Content<'_>> {
        self.files.iter().map(|f| match &f.rows {
            Stored::File(..) => Content::File(&f.path),
            Stored::Memory(table) => Content::Memory(table),
        })
    }

    /// What the user should know about the files, though it stops nothing.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether files beside these hold that part, by their names.
    pub fn has_part(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// Rows of all files.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Groups of rows of all files, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// What the first file's schema says beside its columns, such as Hugging Face's and pandas' own descriptions.
    pub fn metadata(&self, key: &str) -> Option<String> {
        self.schema.metadata().get(key).cloned()
    }

    /// Columns that can be read, in the first file's order, with the type that they have in all files.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.schema.fields().iter().map(|f| f.as_ref())
    }

    /// The column of that name, or the field of a struct column by its path.
    pub fn field(&self, name: &str) -> Option<&Field> {
        path::find(&self.schema, name)
    }

    /// The column of that name.
    ///
    /// # Errors
    /// Why it cannot be read, or which columns there are.
    pub fn require(&self, name: &str, what: &str) -> Result<&Field> {
        if let Some(field) = self.field(name) {
            return Ok(field);
        }
        let path = self.name.display();
        let of_name = |c: &&Column| c.field.name() == name || name.starts_with(&format!("{}.", c.field.name()));
        Err(Error::Data(match self.columns.iter().find(of_name).and_then(|c| c.problem.as_ref()) {
            Some(problem) => format!("{path}: column `{name}`, needed for {what}, {problem}"),
            None => format!("{path}: no column `{name}` for {what}; its columns are {}", self.names()),
        }))
    }

    /// The column names as text for messages.
    pub fn names(&self) -> String {
        let names: Vec<_> = self.fields().map(|f| format!("`{}`", f.name())).collect();
        names.join(", ")
    }

    /// Stored values of a column (list elements, not rows), by the files' own count.
    pub fn stored_values(&self, column: &str) -> u64 {
        self.files.iter().map(|f| f.rows.stored_values(column)).sum()
    }

    /// Reads `columns` of one group, in their order and at most `chunk` rows at a time. `rows` chooses rows by their
    /// number within the group, ascending.
    ///
    /// # Errors
    /// A column that the table does not have; a file that is damaged, that was changed, or that holds another number of
    /// rows than it says.
    pub fn read(
        &self,
        piece: Piece,
        columns: &[&str],
        rows: Option<&[usize]>,
        chunk: usize,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        let file = self.files.get(piece.file).ok_or_else(|| Error::Internal("a piece of another table".into()))?;
        let mut roots: Vec<&str> = Vec::with_capacity(columns.len());
        for name in columns {
            self.require(name, "the model")?;
            roots.extend(path::root(&self.schema, name).filter(|root| !roots.contains(root)));
        }
        let fields = roots.iter().filter_map(|name| self.schema.field_with_name(name).ok().cloned());
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let batches = match &file.rows {
            Stored::Memory(table) => table.read(piece.group, &roots, rows, chunk),
            Stored::File(table, stamp) => match open_file(&file.path)? {
                (handle, now) if now == *stamp => table.read(handle, piece.group, &roots, rows, chunk),
                _ => Err("changed while it was being read".into()),
            },
        };
        let mut batches = batches.map_err(|problem| self.problem(piece, problem))?;
        let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
        let constants = file.constants.clone();
        let mut left = rows.map_or(piece.rows, <[usize]>::len);
        let path = file.path.clone();
        let mut ended = false;
        Ok(std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let next = match batches.next() {
                Some(batch) => batch.and_then(|batch| {
                    left = left.checked_sub(batch.num_rows()).ok_or("damaged (more rows than it says)")?;
                    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
                    let batch = path::take(shaped(&schema, &batch, &constants)?, &columns)?;
                    in_folder(batch, &path).map(Some)
                }),
                None if left > 0 => Err("damaged (fewer rows than it says)".to_owned()),
                None => Ok(None),
            };
            ended = !matches!(next, Ok(Some(_)));
            next.map_err(|problem| Error::ReadData { path: path.clone(), problem }).transpose()
        }))
    }

    /// Reads `columns` of the chosen rows from first to last. `each` gets the number of a batch's first row among
    /// the chosen ones; the row of what it finds wrong counts from the batch's first.
    ///
    /// # Errors
    /// Those of [`Source::read`]; [`Error::ReadData`] for rows without a value, and for what `each` finds wrong.
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
            let mut before = 0;
            for batch in self.read(piece, columns, chosen.as_deref(), 1 << 16)? {
                let batch = batch?;
                self.check_nulls(piece, &batch)?;
                each(done, &batch).map_err(|e| self.fault(piece, chosen.as_deref(), before, e))?;
                done += batch.num_rows();
                before += batch.num_rows();
            }
        }
        Ok(())
    }
}

impl DataFile {
    /// The file's columns, and those of its folder's name that it does not have itself.
    fn schema(&self) -> SchemaRef {
        let own = self.rows.schema();
        let mut fields: Vec<_> = own.fields().iter().cloned().collect();
        let missing = self.constants.iter().filter(|(f, _)| own.field_with_name(f.name()).is_err());
        fields.extend(missing.map(|(f, _)| Arc::new(f.clone())));
        Arc::new(Schema::new(fields))
    }
}
