//! Arrow IPC: files (Feather) and streams, as pandas, polars and Hugging Face's `datasets` write them.
//!
//! A file's own index tells where its batches lie. A stream has none: a first pass over its messages' headers finds them,
//! and a batch is read together with the schema and the dictionaries before it.

use super::{Batches, Table};
use crate::quiet;
use arrow_ipc::{
    MessageHeader,
    reader::{FileReader, StreamReader},
    root_as_message,
};
use arrow_schema::{ArrowError, SchemaRef};
use std::{
    fs::File,
    io::{Cursor, Read, Seek, SeekFrom},
};

/// Bytes of a message's header, at most.
const HEADER: u32 = 256 << 20;

/// An Arrow IPC file or stream.
#[derive(Debug)]
pub struct Ipc {
    schema: SchemaRef,
    /// Rows of each batch.
    rows: Vec<usize>,
    /// Where a stream's messages lie; nothing for a file.
    messages: Option<Messages>,
    bytes: u64,
}

/// The messages of a stream, by their first byte and length.
#[derive(Debug, Default)]
struct Messages {
    /// The schema and the dictionaries.
    common: Vec<(u64, u64)>,
    /// Batches, and how many of `common` lie before each.
    batches: Vec<((u64, u64), usize)>,
}

impl Ipc {
    /// Reads what tells where the batches lie.
    ///
    /// # Errors
    /// What is not Arrow IPC, or is cut.
    pub fn open(file: &mut File) -> Result<Self, String> {
        let damaged = |e: &dyn std::fmt::Display| format!("not a readable Arrow IPC file ({e})");
        let mut magic = [0; 6];
        file.rewind().and_then(|()| file.read_exact(&mut magic)).map_err(|e| damaged(&e))?;
        let bytes = file.metadata().map_err(|e| damaged(&e))?.len();
        if &magic == b"ARROW1" {
            let read = || -> Result<_, ArrowError> {
                let schema = FileReader::try_new_buffered(&*file, None)?.schema();
                let rows = FileReader::try_new_buffered(&*file, Some(Vec::new()))?.map(|b| Ok(b?.num_rows()));
                Ok((schema, rows.collect::<Result<_, ArrowError>>()?))
            };
            let (schema, rows) = quiet::catch(read).map_err(|e| damaged(&e))?.map_err(|e| damaged(&e))?;
            return Ok(Self { schema, rows, messages: None, bytes });
        }
        let mut rows = Vec::new();
        let messages = Messages::of(file, bytes, &mut rows).map_err(|e| damaged(&e))?;
        let first = messages.stream(file, 1, None)?;
        let reader = quiet::catch(|| StreamReader::try_new(Cursor::new(first), None));
        let schema = reader.map_err(|e| damaged(&e))?.map_err(|e| damaged(&e))?.schema();
        Ok(Self { schema, rows, messages: Some(messages), bytes })
    }
}

impl Messages {
    /// Reads the headers of a stream of that many bytes, and the rows of each batch.
    fn of(file: &mut File, bytes: u64, rows: &mut Vec<usize>) -> Result<Self, String> {
        let mut all = Self::default();
        let mut at = 0;
        while let Some((header, prefix)) = header(file, at).map_err(|e| e.to_string())? {
            let message = root_as_message(&header).map_err(|_| "a message that is none")?;
            let body = u64::try_from(message.bodyLength()).map_err(|e| e.to_string())?;
            let length = prefix + header.len() as u64;
            let end = at.checked_add(length).and_then(|n| n.checked_add(body)).filter(|end| *end <= bytes);
            let end = end.ok_or("it ends within a batch")?;
            match message.header_type() {
                MessageHeader::RecordBatch => {
                    let n = message.header_as_record_batch().map_or(0, |b| b.length());
                    rows.push(usize::try_from(n).map_err(|e| e.to_string())?);
                    all.batches.push(((at, end - at), all.common.len()));
                }
                MessageHeader::Schema | MessageHeader::DictionaryBatch => all.common.push((at, end - at)),
                _ => return Err("it holds something else than tables".into()),
            }
            at = end;
        }
        Ok(all)
    }

    /// The bytes of a stream of `before` common messages and one batch.
    fn stream(&self, file: &mut File, before: usize, batch: Option<(u64, u64)>) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let parts = self.common.iter().take(before).copied().chain(batch);
        for (at, bytes) in parts {
            file.seek(SeekFrom::Start(at)).map_err(|e| format!("cannot be read ({e})"))?;
            Read::by_ref(file).take(bytes).read_to_end(&mut out).map_err(|e| format!("cannot be read ({e})"))?;
        }
        Ok(out)
    }
}

impl Table for Ipc {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn groups(&self) -> Vec<usize> {
        self.rows.clone()
    }

    fn stored_values(&self, column: &str) -> u64 {
        // No more than as many integers as the file has room for.
        if self.schema.field_with_name(column).is_ok() { self.bytes / 4 } else { 0 }
    }

    fn read(
        &self,
        mut file: File,
        group: usize,
        columns: &[&str],
        rows: Option<&[usize]>,
        chunk: usize,
    ) -> Result<Batches, String> {
        let fields = self.schema.fields().iter().enumerate();
        let wanted = fields.filter(|(_, f)| columns.contains(&f.name().as_str())).map(|(i, _)| i).collect();
        let damaged = |e: &dyn std::fmt::Display| format!("damaged ({e})");
        let bytes = match &self.messages {
            None => None,
            Some(messages) => {
                let &(batch, before) = messages.batches.get(group).ok_or("no such batch")?;
                Some(messages.stream(&mut file, before, Some(batch))?)
            }
        };
        let read = || match bytes {
            Some(bytes) => StreamReader::try_new(Cursor::new(bytes), Some(wanted))?.next().transpose(),
            None => {
                let mut reader = FileReader::try_new_buffered(file, Some(wanted))?;
                reader.set_index(group)?;
                reader.next().transpose()
            }
        };
        let found = quiet::catch(read).map_err(|e| damaged(&e))?.map_err(|e| damaged(&e))?;
        super::groups::chosen(found.ok_or("damaged (a batch is missing)")?, rows, chunk)
    }
}

/// The header of the message at `at`, and the bytes before it; nothing where the messages end.
fn header(file: &mut File, at: u64) -> std::io::Result<Option<(Vec<u8>, u64)>> {
    file.seek(SeekFrom::Start(at))?;
    let mut word = || -> std::io::Result<Option<u32>> {
        let mut bytes = Vec::new();
        Read::by_ref(file).take(4).read_to_end(&mut bytes)?;
        Ok(<[u8; 4]>::try_from(bytes).ok().map(u32::from_le_bytes))
    };
    // Streams of old versions have no mark before the length.
    let (length, prefix) = match word()? {
        Some(u32::MAX) => (word()?, 8),
        other => (other, 4),
    };
    let length = match length {
        None | Some(0) => return Ok(None),
        Some(n) if n > HEADER => return Err(std::io::Error::other("a header of more than 256 MiB")),
        Some(n) => n,
    };
    let mut bytes = Vec::new();
    Read::by_ref(file).take(length.into()).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == u64::from(length) {
        true => Ok(Some((bytes, prefix))),
        false => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
    }
}
