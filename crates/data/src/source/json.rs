//! JSON files: an object a line, or one document: a list of objects, a list of values, or an object of equally long lists.
//!
//! A first pass over the whole file finds the columns and their types, and where every few thousand rows begin.

use super::{Batches, Table, groups::Groups, values::Kind};
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema, SchemaRef};
use indexmap::IndexMap;
use serde_json::{Map, Value};
use std::{
    fs::File,
    io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom},
    sync::Arc,
};

/// Bytes of a document, or of one line, that are held in memory.
const LIMIT: u64 = 512 << 20;

/// A JSON file.
#[derive(Debug)]
pub struct Json {
    columns: IndexMap<String, Kind>,
    groups: Groups,
    /// A document, as lines.
    held: Option<Arc<[u8]>>,
}

impl Json {
    /// Reads the whole file once.
    ///
    /// # Errors
    /// What is not JSON, by its line, or holds no rows.
    pub fn open(file: &mut File) -> Result<Self, String> {
        let fail = |e: std::io::Error| format!("cannot be read ({e})");
        file.rewind().map_err(fail)?;
        let mut reader = BufReader::new(&*file);
        let mut first = Vec::new();
        let mut blank = true;
        while blank && line(&mut reader, &mut first)? > 0 {
            blank = text(&first).is_empty();
        }
        let by_lines = matches!(serde_json::from_slice(text(&first)), Ok(Value::Object(o)) if !whole(&mut reader, &o)?);
        file.rewind().map_err(fail)?;
        if by_lines {
            let (columns, groups) = scan(BufReader::new(&*file))?;
            return Ok(Self { columns, groups, held: None });
        }
        let mut all = Vec::new();
        Read::by_ref(file).take(LIMIT + 1).read_to_end(&mut all).map_err(fail)?;
        if all.len() as u64 > LIMIT {
            return Err("a JSON document of more than 512 MiB: write one object a line (JSON Lines), or Parquet".into());
        }
        let document: Value = serde_json::from_slice(text(&all))
            .map_err(|e| format!("not readable as JSON (line {}, column {})", e.line(), e.column()))?;
        let held: Arc<[u8]> = as_lines(document)?.into();
        let (columns, groups) = scan(Cursor::new(&held))?;
        Ok(Self { columns, groups, held: Some(held) })
    }
}

impl Table for Json {
    fn schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|(name, kind)| Field::new(name, kind.data_type(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
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
        let mut bytes = Vec::new();
        match &self.held {
            Some(held) => {
                let range = group.at as usize..(group.at + group.bytes) as usize;
                bytes.extend_from_slice(held.get(range).ok_or("damaged (fewer bytes than at first)")?);
            }
            None => {
                let fail = |e: std::io::Error| format!("cannot be read ({e})");
                file.seek(SeekFrom::Start(group.at)).map_err(fail)?;
                file.take(group.bytes).read_to_end(&mut bytes).map_err(fail)?;
            }
        }
        let changed = || "damaged (not the rows that it held at first)".to_owned();
        let lines = bytes.split(|&b| b == b'\n').map(text).filter(|line| !line.is_empty());
        let parsed: Vec<Value> = lines.map(serde_json::from_slice).collect::<Result<_, _>>().map_err(|_| changed())?;
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for (name, kind) in self.columns.iter().filter(|(name, _)| columns.contains(&name.as_str())) {
            let values: Vec<Option<&Value>> = parsed.iter().map(|row| row.get(name)).collect();
            arrays.push(kind.array(&values).ok_or_else(changed)?);
            fields.push(Field::new(name, kind.data_type(), true));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(parsed.len()));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options);
        let batch = batch.map_err(|e| e.to_string())?;
        super::groups::chosen(batch, rows, chunk)
    }
}

/// A line, without what is around it.
fn text(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii()
}

/// Reads a line, and gives its bytes.
fn line(from: &mut impl BufRead, into: &mut Vec<u8>) -> Result<u64, String> {
    into.clear();
    let n = Read::by_ref(from).take(LIMIT).read_until(b'\n', into).map_err(|e| format!("cannot be read ({e})"))?;
    match n as u64 == LIMIT {
        true => Err("a line of more than 512 MiB".into()),
        false => Ok(n as u64),
    }
}

/// Whether the object on the first line is a document by itself: lists of one length, and nothing behind it.
fn whole(rest: &mut impl BufRead, object: &Map<String, Value>) -> Result<bool, String> {
    let mut next = Vec::new();
    while line(rest, &mut next)? > 0 {
        if !text(&next).is_empty() {
            return Ok(false);
        }
    }
    Ok(equal_lists(object).is_some())
}

/// The length of all lists, if the object holds nothing else.
fn equal_lists(object: &Map<String, Value>) -> Option<usize> {
    let mut lengths = object.values().map(|v| v.as_array().map(Vec::len));
    let first = lengths.next()??;
    lengths.all(|n| n == Some(first)).then_some(first)
}

/// A document's rows, one a line.
fn as_lines(document: Value) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut put = |row: &Value| {
        let written = serde_json::to_writer(&mut out, row).map_err(|e| e.to_string());
        out.push(b'\n');
        written
    };
    match document {
        Value::Array(rows) => {
            let objects = rows.iter().filter(|r| r.is_object()).count();
            let nested = rows.iter().any(Value::is_array);
            if nested || (objects != 0 && objects != rows.len()) {
                return Err("a JSON list whose elements are not all objects, nor all plain values".into());
            }
            for row in rows {
                match row {
                    Value::Object(_) => put(&row)?,
                    value => put(&Value::Object(Map::from_iter([("id".to_owned(), value)])))?,
                }
            }
        }
        Value::Object(object) if equal_lists(&object).is_some() => {
            let rows = equal_lists(&object).unwrap_or(0);
            for i in 0..rows {
                let of = |v: &Value| v.as_array().and_then(|list| list.get(i)).cloned().unwrap_or(Value::Null);
                put(&Value::Object(object.iter().map(|(name, v)| (name.clone(), of(v))).collect()))?;
            }
        }
        _ => {
            return Err("a JSON document that is not rows: write a list of objects, or one object a line \
                (pandas: `to_json(path, orient=\"records\", lines=True)`)"
                .into());
        }
    }
    Ok(out)
}

/// Columns, in the order in which they first occur, and where the rows lie.
fn scan(mut from: impl BufRead) -> Result<(IndexMap<String, Kind>, Groups), String> {
    let mut groups = Groups::default();
    let mut columns: IndexMap<String, Kind> = IndexMap::new();
    let (mut at, mut number) = (0u64, 0u64);
    let mut buffer = Vec::new();
    loop {
        let bytes = line(&mut from, &mut buffer)?;
        if bytes == 0 {
            return Ok((columns, groups));
        }
        number += 1;
        let start = at;
        at += bytes;
        if text(&buffer).is_empty() {
            continue;
        }
        let Ok(Value::Object(row)) = serde_json::from_slice(text(&buffer)) else {
            return Err(format!("line {number} is not a JSON object"));
        };
        groups.add(start, bytes);
        for (name, value) in &row {
            let kind = columns.entry(name.clone()).or_default();
            if kind.see(value).is_none() {
                let problem = "holds a list or an object here, and something else in other rows";
                return Err(format!("line {number}: column `{name}` {problem}"));
            }
        }
    }
}
