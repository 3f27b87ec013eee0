//! Arrow IPC: files (Feather) and streams, as pandas, polars and Hugging Face's `datasets` write them.
//!
//! A file's own index tells where its batches lie. A stream has none: a first pass over its messages' headers finds them,
//! and a batch is read together with the schema and the dictionaries before it. Both are checked before the library that
//! decodes them allocates what they claim.

mod messages;

use super::{Batches, Table};
use crate::quiet;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, SchemaRef};
use messages::Messages;
use std::{
    fs::File,
    io::{Cursor, Read, Seek},
};

/// An Arrow IPC file or stream.
#[derive(Debug)]
pub struct Ipc {
    schema: SchemaRef,
    messages: Messages,
    /// Whether it has an index of its own, by which its batches are read.
    indexed: bool,
    bytes: u64,
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
        let indexed = &magic == b"ARROW1";
        let messages = if indexed { Messages::of_file(file, bytes) } else { Messages::of_stream(file, bytes) };
        let messages = messages.map_err(|e| damaged(&e))?;
        let first = if indexed { Vec::new() } else { messages.stream(file, 1, None)? };
        let read = || -> Result<_, ArrowError> {
            Ok(match indexed {
                true => FileReader::try_new_buffered(&*file, None)?.schema(),
                false => StreamReader::try_new(Cursor::new(first), None)?.schema(),
            })
        };
        let schema = quiet::catch(read).map_err(|e| damaged(&e))?.map_err(|e| damaged(&e))?;
        Ok(Self { schema, messages, indexed, bytes })
    }
}

impl Table for Ipc {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn groups(&self) -> Vec<usize> {
        self.messages.rows()
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
        let bytes = match self.indexed {
            true => None,
            false => Some(self.messages.up_to(&mut file, group)?),
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, RecordBatch};
    use arrow_ipc::{
        CompressionType,
        writer::{FileWriter, IpcWriteOptions, StreamWriter},
    };
    use std::{io::Write, sync::Arc};

    fn numbers() -> RecordBatch {
        let column = Arc::new(Int64Array::from_iter_values((0..1000).map(|i| i / 7)));
        RecordBatch::try_from_iter([("x", column as _)]).unwrap()
    }

    /// A file or stream of two compressed batches.
    fn written(indexed: bool) -> Vec<u8> {
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
        let (batch, mut out) = (numbers(), Vec::new());
        if indexed {
            let mut writer = FileWriter::try_new_with_options(&mut out, &batch.schema(), options).unwrap();
            (0..2).for_each(|_| writer.write(&batch).unwrap());
            writer.finish().unwrap();
        } else {
            let mut writer = StreamWriter::try_new_with_options(&mut out, &batch.schema(), options).unwrap();
            (0..2).for_each(|_| writer.write(&batch).unwrap());
            writer.finish().unwrap();
        }
        out
    }

    fn opened(bytes: &[u8]) -> Result<(Ipc, File), String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Ok((Ipc::open(&mut file)?, file))
    }

    /// `bytes` with these eight, where they are found behind `from`, replaced.
    fn replaced(bytes: &[u8], from: usize, old: i64, new: i64) -> Vec<u8> {
        let at = from + bytes[from..].windows(8).position(|window| window == old.to_le_bytes()).unwrap();
        let mut changed = bytes.to_vec();
        changed[at..at + 8].copy_from_slice(&new.to_le_bytes());
        changed
    }

    #[test]
    fn batches_are_read_by_themselves() {
        for indexed in [false, true] {
            let (table, file) = opened(&written(indexed)).unwrap();
            assert_eq!(table.groups(), [1000, 1000]);
            let read: Vec<_> = table.read(file, 1, &["x"], None, 4096).unwrap().collect::<Result<_, _>>().unwrap();
            assert_eq!(read, [numbers()]);
        }
    }

    #[test]
    fn what_a_file_claims_is_held_against_its_bytes() {
        let whole = written(true);
        let footer = whole.len() - 10 - u32::from_le_bytes(*whole[whole.len() - 10..].first_chunk().unwrap()) as usize;
        let listed = arrow_ipc::root_as_footer(&whole[footer..whole.len() - 10]).unwrap();
        let block = *listed.recordBatches().unwrap().get(1);
        let cases = [
            (replaced(&whole, footer, block.bodyLength(), 1 << 40), "reaches beyond the file"),
            (replaced(&whole, footer, block.bodyLength(), -1), "damaged or cut off"),
            (replaced(&whole, footer, block.offset(), 1 << 40), "reaches beyond the file"),
            (whole[..whole.len() - 3].to_vec(), "does not contain correct footer"),
        ];
        for (bytes, why) in cases {
            let error = opened(&bytes).err().unwrap();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_buffers_claim_to_decompress_to_is_bounded() {
        for indexed in [false, true] {
            let error = opened(&replaced(&written(indexed), 0, 8000, 1 << 40)).err().unwrap();
            assert!(error.contains("when decompressed"), "{error}");
            assert!(opened(&replaced(&written(indexed), 0, 8000, -2)).is_err());
        }
    }
}
