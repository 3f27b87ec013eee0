//! Where the messages of an Arrow IPC file or stream lie. What they claim is held against the bytes that there are.

use crate::source::inflated;
use arrow_ipc::{Message, MessageHeader, reader::read_footer_length, root_as_footer, root_as_message};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

/// Bytes of a message's header, at most.
const HEADER: u32 = 256 << 20;
/// The length at the start of a buffer that is stored as it is, though its batch is compressed.
const NOT_COMPRESSED: i64 = -1;

/// The messages of a file or stream, by their first byte and length.
#[derive(Debug, Default)]
pub struct Messages {
    /// The schema and the dictionaries.
    common: Vec<(u64, u64)>,
    batches: Vec<Batch>,
}

#[derive(Debug)]
struct Batch {
    place: (u64, u64),
    rows: usize,
    /// How many of the common messages lie before it.
    before: usize,
}

impl Messages {
    /// The messages that the footer of a file of `bytes` bytes lists.
    ///
    /// # Errors
    /// A file that cannot be read, a footer or message that is damaged, batches that overlap or reach beyond the file,
    /// or a batch that claims to be too large when decompressed.
    pub fn of_file(file: &mut File, bytes: u64) -> Result<Self, String> {
        let cut = || "its footer is damaged or cut off".to_string();
        let tail = bytes.checked_sub(10).ok_or_else(cut)?;
        let length = read(file, tail, 10)?.try_into().map_err(|_| cut())?;
        let length = read_footer_length(length).map_err(|e| e.to_string())? as u64;
        let start = tail.checked_sub(length).ok_or_else(cut)?;
        let footer = read(file, start, length)?;
        let footer = root_as_footer(&footer).map_err(|_| cut())?;
        let blocks = [footer.dictionaries(), footer.recordBatches()];
        let (mut all, mut sum) = (Self::default(), 0u64);
        for block in blocks.into_iter().flatten().flatten() {
            let number = |n: i64| u64::try_from(n).map_err(|_| cut());
            let (at, head) = (number(block.offset())?, number(block.metaDataLength().into())?);
            let length = head.checked_add(number(block.bodyLength())?).ok_or_else(cut)?;
            at.checked_add(length).filter(|end| *end <= start).ok_or("a batch reaches beyond the file")?;
            // Each block is read by itself, however many there are.
            sum = sum.checked_add(length).filter(|sum| *sum <= start).ok_or("its batches overlap")?;
            let (header, _) = header(file, at).map_err(|e| e.to_string())?.ok_or("a message that is none")?;
            let message = root_as_message(&header).map_err(|_| "a message that is none")?;
            all.add(file, &message, (at, length), at + head, bytes)?;
        }
        Ok(all)
    }

    /// The messages of a stream of `bytes` bytes.
    ///
    /// # Errors
    /// A stream that cannot be read, a damaged message, a batch that is cut off, or one that claims to be too large
    /// when decompressed.
    pub fn of_stream(file: &mut File, bytes: u64) -> Result<Self, String> {
        let mut all = Self::default();
        let mut at = 0;
        while let Some((header, prefix)) = header(file, at).map_err(|e| e.to_string())? {
            let message = root_as_message(&header).map_err(|_| "a message that is none")?;
            let body = u64::try_from(message.bodyLength()).map_err(|e| e.to_string())?;
            let length = prefix + header.len() as u64;
            let end = at.checked_add(length).and_then(|n| n.checked_add(body)).filter(|end| *end <= bytes);
            let end = end.ok_or("it ends within a batch")?;
            all.add(file, &message, (at, end - at), at + length, bytes)?;
            at = end;
        }
        Ok(all)
    }

    /// Adds a message at `place`, whose body starts at `body`.
    fn add(
        &mut self,
        file: &mut File,
        message: &Message<'_>,
        place: (u64, u64),
        body: u64,
        bytes: u64,
    ) -> Result<(), String> {
        let room = (place.0 + place.1).saturating_sub(body);
        let decoded = decoded(file, message, body, room)?;
        if decoded > inflated(bytes) {
            return Err(format!("a batch of a file of {bytes} bytes claims to have {decoded} bytes when decompressed"));
        }
        match message.header_type() {
            MessageHeader::RecordBatch => {
                let rows = message.header_as_record_batch().map_or(0, |batch| batch.length());
                let rows = usize::try_from(rows).map_err(|e| e.to_string())?;
                self.batches.push(Batch { place, rows, before: self.common.len() });
            }
            MessageHeader::Schema | MessageHeader::DictionaryBatch => self.common.push(place),
            _ => return Err("it holds something else than tables".into()),
        }
        Ok(())
    }

    /// Rows of each batch.
    pub fn rows(&self) -> Vec<usize> {
        self.batches.iter().map(|batch| batch.rows).collect()
    }

    /// The bytes of a stream of the batch with that number and what lies before it.
    ///
    /// # Errors
    /// A number beyond the last batch; a file that cannot be read.
    pub fn up_to(&self, file: &mut File, batch: usize) -> Result<Vec<u8>, String> {
        let batch = self.batches.get(batch).ok_or("no such batch")?;
        self.stream(file, batch.before, Some(batch.place))
    }

    /// The bytes of a stream of `before` common messages and one batch.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn stream(&self, file: &mut File, before: usize, batch: Option<(u64, u64)>) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        for (at, length) in self.common.iter().take(before).copied().chain(batch) {
            out.extend(read(file, at, length)?);
        }
        Ok(out)
    }
}

/// Bytes that the compressed buffers of a message say they have when decompressed.
fn decoded(file: &mut File, message: &Message<'_>, body: u64, room: u64) -> Result<u64, String> {
    let batch = match message.header_type() {
        MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()),
        _ => message.header_as_record_batch(),
    };
    let Some(batch) = batch.filter(|batch| batch.compression().is_some()) else { return Ok(0) };
    let wrong = || "a buffer lies outside its batch".to_string();
    let mut sum = 0u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let number = |n: i64| u64::try_from(n).map_err(|_| wrong());
        let (offset, length) = (number(buffer.offset())?, number(buffer.length())?);
        offset.checked_add(length).filter(|end| *end <= room).ok_or_else(wrong)?;
        if length >= 8 {
            let claimed = read(file, body + offset, 8)?.try_into().map(i64::from_le_bytes).map_err(|_| wrong())?;
            sum = sum.saturating_add(if claimed == NOT_COMPRESSED { length } else { number(claimed)? });
        }
    }
    Ok(sum)
}

/// Bytes of the file; fewer where it ends.
fn read(file: &mut File, at: u64, length: u64) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let all = file.seek(SeekFrom::Start(at)).and_then(|_| Read::by_ref(file).take(length).read_to_end(&mut out));
    all.map(|_| out).map_err(|e| format!("cannot be read ({e})"))
}

/// The header of the message at `at`, and the bytes before it; nothing where the messages end.
fn header(file: &mut File, at: u64) -> io::Result<Option<(Vec<u8>, u64)>> {
    file.seek(SeekFrom::Start(at))?;
    let mut word = || -> io::Result<Option<u32>> {
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
        Some(n) if n > HEADER => return Err(io::Error::other("a header of more than 256 MiB")),
        Some(n) => n,
    };
    let mut bytes = Vec::new();
    Read::by_ref(file).take(length.into()).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == u64::from(length) {
        true => Ok(Some((bytes, prefix))),
        false => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
    }
}
