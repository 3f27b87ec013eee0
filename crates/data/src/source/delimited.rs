//! CSV and TSV files: a line a row, the first line the columns' names.
//!
//! A first pass over the whole file finds each column's type, and where every few thousand rows begin, so that rows are
//! then read by groups, as those of other formats are. A column is of integers, numbers or booleans if all its values
//! are; a value with leading zeros makes it text, since ids are compared by their exact value. An empty field is no value,
//! and so are the words `NA`, `NaN`, `null` and their like in a column of numbers.

use super::{Batches, Table, groups::Groups, lines::Lines};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, LargeStringArray, NullArray, RecordBatch, RecordBatchOptions,
    UInt64Array,
};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    sync::Arc,
};

/// What pandas and others write where a number is missing.
const MISSING: [&str; 10] = ["NA", "N/A", "#N/A", "NaN", "nan", "-nan", "null", "NULL", "None", "<NA>"];

/// Rows that are looked at to tell names from values.
const SAMPLE: usize = 100;

/// Says whether a word is the name of a column, where a first line may be a row already.
pub type Known<'a> = &'a dyn Fn(&str) -> bool;

/// A text file of rows.
#[derive(Debug)]
pub struct Delimited {
    separator: u8,
    schema: SchemaRef,
    groups: Groups,
}

impl Delimited {
    /// Reads the whole file once. Without `known`, the first line has to be the names.
    ///
    /// # Errors
    /// Lines of other lengths than the first one; no names.
    pub fn open(file: &mut File, separator: u8, known: Option<Known<'_>>) -> Result<Self, String> {
        let names = names(file, separator, known)?;
        let start = after_mark(file)?;
        let mut lines = Lines::new(&*file, separator);
        let mut kinds: Vec<Kind> = Vec::new();
        let mut groups = Groups::default();
        let mut at = 0;
        if names.is_some() {
            lines.next()?;
            at = lines.position();
        }
        while lines.next()? {
            let row = groups.rows();
            groups.add(start + at, lines.position() - at);
            at = lines.position();
            kinds.resize(lines.fields().count(), Kind::default());
            for (column, (kind, value)) in kinds.iter_mut().zip(lines.fields()).enumerate() {
                let problem = || format!("row {row} (counted from 0), column {column}: text that is not UTF-8");
                kind.see(std::str::from_utf8(value).map_err(|_| problem())?);
            }
        }
        let names = names.unwrap_or_else(|| match kinds.len() {
            1 => vec!["id".into()],
            n => (0..n).map(|i| format!("column_{i}")).collect(),
        });
        kinds.resize(names.len(), Kind::default());
        let fields: Vec<_> =
            names.into_iter().zip(kinds).map(|(n, kind)| Field::new(n, kind.data_type(), true)).collect();
        Ok(Self { separator, schema: Arc::new(Schema::new(fields)), groups })
    }
}

impl Table for Delimited {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn groups(&self) -> Vec<usize> {
        self.groups.sizes()
    }

    fn read(
        &self,
        mut file: File,
        group: usize,
        columns: &[&str],
        rows: Option<&[usize]>,
        chunk: usize,
    ) -> Result<Batches, String> {
        let group = self.groups.get(group)?;
        file.seek(SeekFrom::Start(group.at)).map_err(|e| format!("cannot be read ({e})"))?;
        let mut lines = Lines::new(file.take(group.bytes), self.separator);
        let wanted: Vec<(usize, FieldRef)> = self
            .schema
            .fields()
            .iter()
            .cloned()
            .enumerate()
            .filter(|(_, f)| columns.contains(&f.name().as_str()))
            .collect();
        let mut values: Vec<Column> = wanted.iter().map(|(_, f)| Column::of(f.data_type())).collect();
        let mut count = 0;
        while lines.next()? {
            for (column, (place, field)) in values.iter_mut().zip(&wanted) {
                let value = lines.fields().nth(*place).and_then(|v| std::str::from_utf8(v).ok());
                let changed = || format!("column `{}`: changed while it was being read", field.name());
                column.push(value.ok_or_else(changed)?).ok_or_else(changed)?;
            }
            count += 1;
        }
        let arrays = values.into_iter().map(|c| c.finish(count)).collect();
        let schema = Arc::new(Schema::new(wanted.into_iter().map(|(_, f)| f).collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(schema, arrays, &options).map_err(|e| e.to_string())?;
        super::groups::chosen(batch, rows, chunk)
    }
}

/// Places the file behind a byte order mark, and gives that place.
fn after_mark(file: &mut File) -> Result<u64, String> {
    let fail = |e: std::io::Error| format!("cannot be read ({e})");
    file.rewind().map_err(fail)?;
    let mut head = Vec::new();
    Read::by_ref(file).take(3).read_to_end(&mut head).map_err(fail)?;
    let start = if head == b"\xef\xbb\xbf" { 3 } else { 0 };
    file.seek(SeekFrom::Start(start)).map_err(fail)?;
    Ok(start)
}

/// The columns' names, or nothing where the first line is a row already.
fn names(file: &mut File, separator: u8, known: Option<Known<'_>>) -> Result<Option<Vec<String>>, String> {
    after_mark(file)?;
    let mut lines = Lines::new(&*file, separator);
    if !lines.next()? {
        return Err("no row".into());
    }
    let words: Vec<String> = lines.fields().map(|w| String::from_utf8_lossy(w).trim().to_owned()).collect();
    let mut kinds = vec![Kind::default(); words.len()];
    for _ in 0..SAMPLE {
        if !lines.next()? {
            break;
        }
        kinds.iter_mut().zip(lines.fields()).for_each(|(kind, value)| kind.see(&String::from_utf8_lossy(value)));
    }
    let a_value = |word: &String| {
        let mut kind = Kind::default();
        kind.see(word);
        !matches!(kind.data_type(), DataType::LargeUtf8 | DataType::Null)
    };
    let values = words.iter().any(a_value);
    if let Some(known) = known {
        let named = words.iter().any(|w| known(w));
        // Words above numbers are names, too.
        let above = !values && kinds.iter().any(|k| !matches!(k.data_type(), DataType::LargeUtf8 | DataType::Null));
        if !named && !above && (values || words.len() == 1) {
            return Ok(None);
        }
    } else if values && words.iter().filter(|w| !w.is_empty()).all(a_value) {
        return Err("its first line holds values, but has to hold the columns' names: add a line of names".into());
    }
    let unnamed = |(i, word): (usize, String)| match (word.is_empty(), i) {
        // As pandas calls its index in other files.
        (true, 0) => "__index_level_0__".to_owned(),
        (true, i) => format!("column_{i}"),
        (false, _) => word,
    };
    Ok(Some(words.into_iter().enumerate().map(unnamed).collect()))
}

/// What all values of a column can be.
#[derive(Clone, Copy, Debug)]
struct Kind {
    any: bool,
    boolean: bool,
    signed: bool,
    unsigned: bool,
    float: bool,
}

impl Default for Kind {
    fn default() -> Self {
        Self { any: false, boolean: true, signed: true, unsigned: true, float: true }
    }
}

impl Kind {
    fn see(&mut self, value: &str) {
        let value = value.trim();
        if value.is_empty() || MISSING.contains(&value) {
            return;
        }
        self.any = true;
        let digits = value.trim_start_matches(['-', '+']);
        let zeros =
            digits.len() > 1 && digits.starts_with('0') && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        let whole = !zeros && !value.starts_with('+');
        self.boolean &= boolean(value).is_some();
        self.signed &= whole && value.parse::<i64>().is_ok();
        self.unsigned &= whole && value.parse::<u64>().is_ok();
        // An integer that no integer type holds stays text: as a float, it would be another one.
        let long = digits.len() > 17 && digits.bytes().all(|b| b.is_ascii_digit());
        self.float &= !zeros && !long && value.parse::<f64>().is_ok();
    }

    fn data_type(&self) -> DataType {
        match self {
            Self { any: false, .. } => DataType::Null,
            Self { boolean: true, .. } => DataType::Boolean,
            Self { signed: true, .. } => DataType::Int64,
            Self { unsigned: true, .. } => DataType::UInt64,
            Self { float: true, .. } => DataType::Float64,
            _ => DataType::LargeUtf8,
        }
    }
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Values of a column as they are read.
enum Column {
    Null,
    Boolean(Vec<Option<bool>>),
    Signed(Vec<Option<i64>>),
    Unsigned(Vec<Option<u64>>),
    Float(Vec<Option<f64>>),
    Text(Vec<Option<String>>),
}

impl Column {
    fn of(ty: &DataType) -> Self {
        match ty {
            DataType::Boolean => Self::Boolean(Vec::new()),
            DataType::Int64 => Self::Signed(Vec::new()),
            DataType::UInt64 => Self::Unsigned(Vec::new()),
            DataType::Float64 => Self::Float(Vec::new()),
            DataType::LargeUtf8 => Self::Text(Vec::new()),
            _ => Self::Null,
        }
    }

    /// `None` if the value is not of the type that the first pass found.
    fn push(&mut self, value: &str) -> Option<()> {
        if let Self::Text(v) = self {
            v.push((!value.is_empty()).then(|| value.to_owned()));
            return Some(());
        }
        let value = value.trim();
        let missing = value.is_empty() || MISSING.contains(&value);
        match self {
            Self::Null => missing.then_some(())?,
            Self::Boolean(v) => v.push(if missing { None } else { Some(boolean(value)?) }),
            Self::Signed(v) => v.push(if missing { None } else { Some(value.parse().ok()?) }),
            Self::Unsigned(v) => v.push(if missing { None } else { Some(value.parse().ok()?) }),
            Self::Float(v) => v.push(if missing { None } else { Some(value.parse().ok()?) }),
            Self::Text(_) => {}
        }
        Some(())
    }

    fn finish(self, rows: usize) -> ArrayRef {
        match self {
            Self::Null => Arc::new(NullArray::new(rows)),
            Self::Boolean(v) => Arc::new(BooleanArray::from(v)),
            Self::Signed(v) => Arc::new(Int64Array::from(v)),
            Self::Unsigned(v) => Arc::new(UInt64Array::from(v)),
            Self::Float(v) => Arc::new(Float64Array::from(v)),
            Self::Text(v) => Arc::new(LargeStringArray::from(v)),
        }
    }
}
